"""A judge behind a real local HTTP server that speaks OpenAI's chat completions."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from organism.config import Workspace
from organism.errors import InputError, ModelError
from organism.lm.endpoint_judge import KEY, KNOWN, EndpointJudge
from organism.lm.judge import Preference, judge_of


class Chat(ThreadingHTTPServer):
    """Judges by a rule: `says` gives the answer's text from the question; every request is kept."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.statuses: list[int] = []
        self.style = "longer"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1#grader-1"

    def answer(self, question: str) -> str:
        if "Grade:" in question:
            return "I would give it 7.5 out of 10."
        first, second = question.split("Draft A:\n")[1].split("\n\nAnswer:")[0].split("\n\nDraft B:\n")
        longer = "A" if len(first) > len(second) else "B"
        return {"longer": f"Draft {longer}.", "first": "A", "vague": "Both have merits."}[self.style]


class _Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers.get("Authorization"), body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        content = self.server.answer(body["messages"][0]["content"])
        said = (
            {"choices": [{"message": {"role": "assistant", "content": content}}]} if status == 200 else {"no": status}
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_endpoint_is_asked_in_both_orders_in_the_shape_of_openai(chat, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(KEY, "sk-local")
    monkeypatch.setenv(KNOWN, chat.address)
    judge = judge_of(chat.address, Workspace(tmp_path))
    assert judge.prefer("Write a note.", "short", "a longer one") is Preference.SECOND
    (path, key, body), (_, _, swapped) = chat.requests
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer sk-local", "grader-1", 0)
    assert "Draft A:\nshort\n\nDraft B:\na longer one" in body["messages"][0]["content"]
    assert "Draft A:\na longer one\n\nDraft B:\nshort" in swapped["messages"][0]["content"]
    assert judge.name.startswith("grader-1 at 127.0.0.1:")


def test_the_key_goes_to_the_judge_of_this_machine_and_no_other(chat, monkeypatch) -> None:
    monkeypatch.setenv(KEY, "sk-local")
    monkeypatch.setenv(KNOWN, "http://127.0.0.1:9/v1#elsewhere")
    EndpointJudge.at(chat.address).prefer("p", "one", "two")
    assert {key for _, key, _ in chat.requests} <= {None, ""}


def test_a_judge_that_always_takes_the_first_text_has_no_preference(chat) -> None:
    chat.style = "first"
    assert EndpointJudge.at(chat.address).prefer("p", "one", "two") is Preference.TIE


def test_equal_texts_tie_without_a_question(chat) -> None:
    assert EndpointJudge.at(chat.address).prefer("p", "same", "same ") is Preference.TIE
    assert chat.requests == []


def test_many_rows_are_judged_in_their_order_and_told(chat) -> None:
    told: list[tuple[int, int]] = []
    firsts, seconds = ["x" * n for n in range(1, 9)], ["y" * 5] * 8
    said = EndpointJudge.at(chat.address).prefer_all(["p"] * 8, firsts, seconds, lambda *done: told.append(done))
    assert [s.value for s in said] == ["second"] * 4 + ["tie"] + [
        "first"
    ] * 3  # of two as long B is said in both orders
    assert told[-1] == (8, 8)


def test_a_grade_is_a_share_of_ten(chat) -> None:
    assert EndpointJudge.at(chat.address).score("p", "text") == 0.75


def test_a_busy_endpoint_is_asked_again(chat) -> None:
    chat.statuses = [503, 200, 200]
    assert EndpointJudge.at(chat.address).prefer("p", "one", "longer") is Preference.SECOND
    assert len(chat.requests) == 3


@pytest.mark.parametrize(
    ("status", "said"), [(401, "answered 401.*set ORGANISM_JUDGE_KEY"), (404, "answered 404"), (400, "answered 400")]
)
def test_a_refusal_is_a_sentence(chat, status, said) -> None:
    chat.statuses = [status]
    with pytest.raises(ModelError, match=said):
        EndpointJudge.at(chat.address).prefer("p", "one", "two")


def test_answers_that_nobody_can_read_are_ties_and_too_many_are_refused(chat) -> None:
    chat.style = "vague"
    judge = EndpointJudge.at(chat.address)
    assert judge.prefer("p", "one", "longer") is Preference.TIE
    with pytest.raises(ModelError, match="3 answers that are none of A, B and tie"):
        judge.prefer_all(["p"] * 3, ["a", "b", "c"], ["dd", "ee", "ff"])


def test_nobody_at_home_and_no_model_are_sentences(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"cannot be reached.*start it, or name another judge"):
        EndpointJudge.at("http://127.0.0.1:9/v1#m").prefer("p", "one", "two")
    with pytest.raises(InputError, match="names no model; write http://HOST:PORT/v1#MODEL"):
        judge_of("http://127.0.0.1:9/v1", Workspace(tmp_path))
    with pytest.raises(InputError, match="no judge is named; train one"):
        judge_of("", Workspace(tmp_path))
