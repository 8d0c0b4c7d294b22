"""Reports and records over HTTP: one file that loads nothing, and bytes whose hash is told."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from organism.api import experiments
from organism.api.app import create_api
from organism.experiment.flow import decide
from organism.experiment.record import replay
from organism.records import Verdict
from organism.store.database import Store
from tests.organism.conftest import START, Events
from tests.organism.experiment.running import run

KEY = "a-key-for-tests"


@pytest.fixture
def experiment_id(store: Store, events: Events) -> str:
    made = run(store, events.loop_id, "<b>first</b>")
    for n in range(30):
        for day in range(3):
            at = START + timedelta(days=day, hours=1)
            kind = "accept" if n % 2 or n % 3 == day else "reject"
            events.answered(f"user {n}", at=at, kind=kind, experiment_id=made, variant_id="ab"[n % 2])
    events.write()
    return made


@pytest.fixture
def http(store: Store) -> Iterator[TestClient]:
    api = create_api(lambda: store, KEY, routers=[experiments.router])
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_a_report_is_one_html_file(http: TestClient, experiment_id: str) -> None:
    answer = http.get(f"/experiments/{experiment_id}/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f"experiment-{experiment_id}.html" in answer.headers["content-disposition"]
    assert "&lt;b&gt;first&lt;/b&gt;" in answer.text
    assert "<b>first</b>" not in answer.text
    assert " src=" not in answer.text
    assert " href=" not in answer.text


def test_a_record_is_its_own_bytes_and_replays(http: TestClient, store: Store, experiment_id: str) -> None:
    early = http.get(f"/experiments/{experiment_id}/record")
    assert early.json()["decision"] is None
    done = decide(store, experiment_id, Verdict.STOP, "No gain", "Ann", now=START + timedelta(days=4))
    answer = http.get(f"/experiments/{experiment_id}/record")
    assert answer.headers["x-record-sha256"] == done.record_sha256 == hashlib.sha256(answer.content).hexdigest()
    assert answer.json()["decision"]["actor"] == "Ann"
    assert replay(answer.content.decode(), done.record_sha256).is_same
    reports = [http.get(f"/experiments/{experiment_id}/report").content for _ in range(2)]
    assert reports[0] == reports[1]
    assert done.record_sha256 in reports[0].decode()


def test_nothing_is_said_without_a_key_or_of_an_experiment_that_is_not_there(
    http: TestClient, experiment_id: str
) -> None:
    for what in ("report", "record"):
        refused = http.get(f"/experiments/{experiment_id}/{what}", headers={"Authorization": "Bearer x"})
        assert refused.status_code == 401
        missing = http.get(f"/experiments/nothing/{what}")
        assert missing.status_code == 422
        assert "no experiment has the id 'nothing'" in missing.json()["error"]
