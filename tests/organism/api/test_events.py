"""The event routes over real HTTP: durable, idempotent, guarded, and polite when they refuse."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from organism.store.database import Store
from organism.store.sources import count_events

DRAFT = {"external_id": "a", "loop": "scribe", "source": "app", "output": "Cough for three days."}
ANSWER = {"external_id": "f", "source": "app", "interaction_external_id": "a", "kind": "edit", "final_text": "Cough."}
SALE = {"external_id": "o", "source": "app", "loop": "scribe", "business_key": "k", "name": "sale", "value": 3}


def test_one_event_or_many_are_taken_and_answered_when_they_are_durable(http: httpx.Client, store: Store) -> None:
    one = http.post("/interactions", json=DRAFT)
    assert one.status_code == 202
    assert one.json() | {"ids": []} == {"accepted": 1, "duplicates": 0, "quarantined": 0, "ids": [], "reasons": []}
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", one.json()["ids"][0])
    many = http.post("/interactions", json=[DRAFT, DRAFT | {"external_id": "b"}])
    assert (many.status_code, many.json()["accepted"], many.json()["duplicates"]) == (202, 1, 1)
    assert http.post("/feedback", json=ANSWER).json()["accepted"] == 1
    assert http.post("/outcomes", json=SALE).json()["accepted"] == 1
    assert count_events(store) == {"interactions": 2, "feedback_events": 1, "outcomes": 1}


def test_loop_and_source_can_be_named_once_for_all_rows(http: httpx.Client, store: Store) -> None:
    rows = [{"external_id": "a"}, {"external_id": "b", "source": "own"}]
    assert http.post("/interactions?loop=l&source=web", json=rows).json()["accepted"] == 2
    assert store.rows("SELECT source FROM interactions ORDER BY external_id") == [("web",), ("own",)]


def test_a_bad_row_is_named_and_the_others_are_taken(http: httpx.Client) -> None:
    answer = http.post("/interactions", json=[DRAFT, DRAFT | {"external_id": "b", "latency_ms": "slow"}])
    assert answer.status_code == 202
    assert answer.json()["quarantined"] == 1
    assert answer.json()["reasons"][0].startswith("row 2: latency_ms is 'slow'")


def test_when_every_row_is_bad_the_answer_is_422_with_the_sentence(http: httpx.Client) -> None:
    answer = http.post("/feedback", json=ANSWER)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("no interaction with external_id 'a'")
    assert answer.json()["quarantined"] == 1


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is empty"),
        (b'{"external_id": ', "the body is not JSON"),
        (b'{"a": 1}, {"b": 2}', "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
    ],
)
def test_a_body_that_is_not_json_is_one_sentence(http: httpx.Client, body: bytes, sentence: str) -> None:
    answer = http.post("/interactions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence)


def test_nothing_is_written_without_the_key(http: httpx.Client) -> None:
    for path in ("/interactions", "/feedback", "/outcomes", "/quarantine/retry", "/quarantine/x/retry"):
        for key in ("", "Bearer wrong", "Bearer ключ", "Basic abc"):
            answer = http.post(path, json=[], headers={"Authorization": key.encode()})
            assert answer.status_code == 401
            assert "Authorization: Bearer" in answer.json()["error"]


def test_nothing_is_told_without_the_key(url: str) -> None:
    for path in ("/sources", "/quarantine", "/loops"):
        assert httpx.get(f"{url}/v1{path}").status_code == 401


def test_only_json_is_taken(http: httpx.Client) -> None:
    answer = http.post("/interactions", content="external_id=a", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json() == {"error": "the content type is text/plain; send application/json."}


@pytest.mark.parametrize("stated", [True, False])
def test_a_body_that_is_too_large_is_refused_with_or_without_a_stated_length(http: httpx.Client, stated: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * 2**20

    content: Any = b" " * (17 * 2**20) if stated else pieces()
    answer = http.post("/interactions", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "smaller batches" in answer.json()["error"]


def test_health_asks_the_store_and_needs_no_key(url: str, http: httpx.Client) -> None:
    http.post("/interactions", json=DRAFT)
    answer = httpx.get(f"{url}/v1/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["rows"]["interactions"] == 1
    assert answer.json()["data_versions"]["interactions"] == 1


def test_a_closed_store_answers_503_with_its_sentence(http: httpx.Client, store: Store) -> None:
    http.post("/interactions", json=DRAFT)
    store.close()
    answer = http.post("/interactions", json=DRAFT)
    assert answer.status_code == 503
    assert "the store is closed" in answer.json()["error"]


def test_quarantined_rows_are_listed_mended_and_sent_again(http: httpx.Client) -> None:
    http.post("/feedback", json=[ANSWER, ANSWER | {"external_id": "g", "kind": "clap"}])
    listed = http.get("/quarantine").json()
    assert listed["waiting"] == 2
    by_id = {row["row"]["external_id"]: row for row in listed["rows"]}
    assert by_id["g"]["reason"].startswith("kind is 'clap'")
    http.post("/interactions", json=DRAFT)
    assert http.post("/quarantine/retry").json()["accepted"] == 1
    clap = by_id["g"]["quarantine_id"]
    assert http.post(f"/quarantine/{clap}/retry").status_code == 422
    assert http.post(f"/quarantine/{clap}/retry", json={"kind": "accept"}).json()["accepted"] == 1
    assert http.get("/quarantine").json() == {"waiting": 0, "rows": []}
    assert len(http.get("/quarantine?mended=true").json()["rows"]) == 2


def test_sources_and_loops_are_told(http: httpx.Client) -> None:
    http.post("/interactions", json=DRAFT)
    source = http.get("/sources").json()["sources"][0]
    assert (source["source"], source["kind"], source["n_rows"]) == ("app", "interactions", 1)
    assert http.get("/loops").json()["loops"][0]["name"] == "scribe"
