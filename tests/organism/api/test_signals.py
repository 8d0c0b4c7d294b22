"""Signals over HTTP: what there is, a team's own, and 422 with a sentence for what cannot be one."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from organism.api import signals
from organism.api.app import create_api

KEY = "a-key-for-tests"
LOOP = {"loop": "notes"}
SHORT = {"name": "short", "expression": "output_tokens < 60", "note": "under 60 tokens", "author": "Ann"}


@pytest.fixture
def http(store, events) -> Iterator[TestClient]:
    events.answered("a")
    events.draft("b")
    events.write()
    api = create_api(lambda: store, KEY, routers=[signals.router])
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def listed(http: TestClient) -> dict[str, dict]:
    return {row["name"]: row for row in http.get("/signals", params=LOOP).json()["signals"]}


def test_a_signal_is_defined_listed_and_removed(http):
    made = http.post("/signals", params=LOOP, json=SHORT)
    assert (made.status_code, made.json()) == (201, {"name": "short", "is_new": True, "n_present": 2, "n_rows": 2})
    found = listed(http)
    assert found["short"]["expression"] == "output_tokens < 60"
    assert (found["accepted"]["kind"], found["accepted"]["n_present"], found["accepted"]["n_rows"]) == (
        "built_in",
        1,
        2,
    )
    gone = http.delete("/signals/short", params=LOOP)
    assert gone.status_code == 200
    assert gone.json()["designs"] == []
    after = listed(http)["short"]
    assert after["removed_at"] == gone.json()["removed_at"]
    assert after["n_present"] is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"expression": "(SELECT 1)"}, "a query inside the expression"),
        ({"expression": "latency_ms / 0"}, "write x / nullif(y, 0)"),
        ({"expression": "interaction.prompt"}, "short gives text"),
        ({"name": "Short"}, "no name for a signal"),
    ],
)
def test_what_cannot_be_a_signal_is_422_with_a_sentence(http, changed, sentence):
    answer = http.post("/signals", params=LOOP, json={**SHORT, **changed})
    assert answer.status_code == 422
    assert sentence in str(answer.json())
    assert "short" not in listed(http)


def test_removing_what_is_not_there_is_422(http):
    answer = http.delete("/signals/nothing", params=LOOP)
    assert answer.status_code == 422
    assert "no signal is named 'nothing'" in str(answer.json())


def test_without_the_key_nobody_reads_them(http):
    assert http.get("/signals", params=LOOP, headers={"Authorization": "Bearer no"}).status_code == 401
