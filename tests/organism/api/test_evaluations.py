"""Evaluations and safety cases over HTTP: start, list, read, compare; bad input is 422 with a sentence."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api.product import create_product_api
from organism.config import Workspace
from organism.store.database import Store
from tests.organism.conftest import Events
from tests.organism.optimize.measured_clinic import HELDOUT, Clinic

JSON = {"content-type": "application/json"}


@pytest.fixture
def clinic(store: Store, events: Events, tiny_base: Path) -> Clinic:
    return Clinic(store, events, tiny_base)


@pytest.fixture
def http(store: Store, clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.delenv("ORGANISM_API_KEY", raising=False)
    bound, place = socket.create_server(("127.0.0.1", 0)), Workspace(tmp_path)
    api = create_product_api(place, lambda: store, lambda: pytest.fail("no drafts are asked for"), hosts=["127.0.0.1"])
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Mount("/v1", api)]), log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    headers = {"Authorization": f"Bearer {place.api_key()}"}
    with httpx.Client(base_url=url, headers=headers, params={"loop": "notes"}) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_an_evaluation_is_queued_as_a_run(http: httpx.Client, clinic: Clinic) -> None:
    answer = http.post("/evaluations", json={"version": "notes-1", "max_rows": 10})
    assert answer.status_code == 201
    run = http.get(f"/runs/{answer.json()['run_id']}").json()
    assert (run["recipe"], run["status"]) == ("evaluate", "queued")
    assert (run["config"]["eval_rows"], run["config"]["against"]) == (10, clinic.base_id)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"version": "nobody"}, "no model version is named 'nobody'"),
        ({"version": "base"}, "is a base itself"),
        ({"version": "notes-1", "max_rows": 0}, "max_rows"),
        ({"version": "notes-1", "max_row": 5}, "max_row: extra inputs are not permitted"),
        ({"version": "notes-1", "judge": "http://host"}, "names no model; write http://HOST:PORT/v1#MODEL"),
        ({"version": "notes-1", "judge": "nobody"}, "no model version is named 'nobody'"),
        ({}, "version: field required"),
    ],
)
def test_what_cannot_be_measured_is_422(http: httpx.Client, body: dict[str, Any], said: str) -> None:
    answer = http.post("/evaluations", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_evaluations_are_listed_read_and_compared(http: httpx.Client, clinic: Clinic) -> None:
    eval_run_id = clinic.measured(clinic.tuned_id, clinic.perfect())
    [listed] = http.get("/evaluations").json()["evaluations"]
    assert (listed["version"], listed["baseline"], listed["after"], listed["safety_n"]) == (
        "notes-1",
        "base",
        1.0,
        None,
    )
    assert http.get("/evaluations", params={"version": "base"}).json()["evaluations"] == []
    found = http.get(f"/evaluations/{eval_run_id}", params={"rows": 2}).json()
    assert (found["version"], found["figures"]["win_rate"]["wins"], len(found["worst"])) == ("notes-1", HELDOUT, 2)
    compared = http.get("/evaluations/compare", params={"version": "base", "against": "notes-1"}).json()
    assert compared["figures"]["win_rate"]["losses"] == HELDOUT
    assert http.get("/evaluations/nope").status_code == 422
    refused = http.get("/evaluations/compare", params={"version": "base", "against": "base"})
    assert "compared with itself" in refused.json()["error"]


def test_safety_cases_come_and_go(http: httpx.Client) -> None:
    case = {"name": "Dose", "prompt": "visit", "must_say": ["5 mg", ["a", "b"]]}
    answer = http.post("/safety-cases", json=[case])
    assert answer.status_code == 201
    [kept] = http.get("/safety-cases").json()["safety_cases"]
    assert kept["must_say"] == [["5 mg"], ["a", "b"]]
    assert http.delete(f"/safety-cases/{kept['case_id']}").json()["removed"] is True
    assert http.get("/safety-cases").json()["safety_cases"] == []
    half_a_letter = b'[{"name": "a", "prompt": "b", "must_say": [["\\ud800"]]}]'
    half = http.post("/safety-cases", content=half_a_letter, headers=JSON)
    assert (half.status_code, "must_say takes words" in half.json()["error"]) == (422, True)
    refused = http.post("/safety-cases", json=[case, {**case, "must_say": []}])
    assert (refused.status_code, "case 2 asks for nothing" in refused.json()["error"]) == (422, True)
