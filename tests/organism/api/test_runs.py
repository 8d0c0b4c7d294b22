"""Runs over HTTP: recipes, start, estimate, preview, pause, stop, resume, clone, try again; bad input is a sentence."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api import runs
from organism.api.app import create_api
from organism.api.parts import Parts
from organism.config import Workspace
from organism.optimize.catalog import RECIPES
from organism.optimize.runs import RunFolder
from organism.store.training_runs import update_run

KEY = "a-key-for-tests"
NOW = datetime(2026, 10, 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def http(store, events, workspace) -> Iterator[httpx.Client]:
    """A client of a real server whose loop `notes` has 120 answered drafts of forty users."""
    for n in range(120):
        kind = "reject" if n % 3 == 0 else "edit"
        at = NOW - timedelta(hours=n)
        events.answered(f"user-{n % 40:02d}", at=at, kind=kind, prompt=f"drug {n}", output=f"take drug {n} mg")
    events.write()
    bound = socket.create_server(("127.0.0.1", 0))
    api = create_api(lambda: store, KEY, routers=[runs.router], hosts=["127.0.0.1"])
    api.state.parts = Parts(workspace, lambda: pytest.fail("nothing here drafts"))
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Mount("/v1", api)]), log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers, params={"loop": "notes"}, timeout=120) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_every_recipe_is_listed_with_its_knobs_and_presets(http):
    listed = {card["recipe"]: card for card in http.get("/recipes").json()["recipes"]}
    assert set(listed) == set(RECIPES)
    for card in listed.values():
        assert set(card["presets"]) == {"quick", "solid", "careful"}
        for knob in card["knobs"]:
            low, high = knob["bounds"]
            assert low <= knob["usual"] <= high
            assert all(low <= choice <= high for choice in knob["choices"])


def test_a_run_is_started_by_recipe_preset_and_changes(http, tiny_base, workspace):
    asked = {
        "recipe": "dpo",
        "preset": "quick",
        "name": "first pairs",
        "config": {"base": str(tiny_base), "beta": 0.3},
        "max_rows": 40,
    }
    made = http.post("/runs", json=asked)
    assert (made.status_code, made.json()["status"]) == (201, "queued")
    found = http.get(f"/runs/{made.json()['run_id']}").json()
    assert (found["recipe"], found["preset"], found["name"], found["place"]) == ("dpo", "quick", "first pairs", "local")
    assert (found["config"]["beta"], found["config"]["base"]) == (0.3, str(tiny_base))
    assert (found["progress"], found["log"], found["evaluation"], found["cost_usd"]) == ([], [], None, None)
    assert "pid" not in found
    assert len(RunFolder(workspace.runs / found["run_id"]).pairs()) == 40
    assert [run["run_id"] for run in http.get("/runs").json()["runs"]] == [found["run_id"]]


def test_a_run_is_paused_resumed_stopped_cloned_and_tried_again(http, tiny_base, store):
    run_id = http.post("/runs", json={"preset": "quick", "config": {"base": str(tiny_base)}}).json()["run_id"]

    def state() -> str:
        return http.get(f"/runs/{run_id}").json()["status"]

    assert http.post(f"/runs/{run_id}/pause").json()["status"] == "queued"
    assert state() == "paused"
    assert http.post(f"/runs/{run_id}/resume").json()["status"] == "queued"
    assert state() == "queued"
    cloned = http.post(f"/runs/{run_id}/clone", json={"config": {"epochs": 3}, "name": "short"}).json()
    clone = http.get(f"/runs/{cloned['run_id']}").json()
    assert (clone["parent_run_id"], clone["name"], clone["config"]["epochs"]) == (run_id, "short", 3)
    assert http.post(f"/runs/{run_id}/retry").status_code == 422
    http.post(f"/runs/{run_id}/stop")
    assert state() == "stopped"
    assert http.post(f"/runs/{run_id}/pause").status_code == 422
    again = http.post(f"/runs/{run_id}/retry").json()
    assert http.get(f"/runs/{again['run_id']}").json()["parent_run_id"] == run_id
    update_run(store, run_id, {"status": "done"})
    refused = http.post(f"/runs/{run_id}/resume")
    assert (refused.status_code, "is done; only a paused" in refused.json()["error"]) == (422, True)


def test_the_log_and_the_steps_of_a_run_come_with_it(http, tiny_base, workspace):
    run_id = http.post("/runs", json={"preset": "quick", "config": {"base": str(tiny_base)}}).json()["run_id"]
    folder = RunFolder(workspace.runs / run_id)
    folder.log.write_text("one\ntwo\nthree\n")
    folder.progress.write_text('{"phase": "train", "step": 1, "total": 9, "loss": 2.5, "at": 1.0}\n')
    found = http.get(f"/runs/{run_id}", params={"log": 2}).json()
    assert found["log"] == ["two", "three"]
    assert [(step["step"], step["loss"]) for step in found["progress"]] == [(1, 2.5)]


def test_the_cap_and_the_price_are_read_and_changed(http):
    assert http.get("/runs/settings").json() == {"max_runs": 1, "usd_per_hour": None}
    assert http.post("/runs/settings", json={"max_runs": 2}).json() == {"max_runs": 2, "usd_per_hour": None}
    assert http.post("/runs/settings", json={"usd_per_hour": 0.5}).json() == {"max_runs": 2, "usd_per_hour": 0.5}
    for bad in ({"max_runs": 0}, {"usd_per_hour": "much"}, {"speed": 1}):
        refused = http.post("/runs/settings", json=bad)
        assert refused.status_code == 422
    assert http.get("/runs/settings").json() == {"max_runs": 2, "usd_per_hour": 0.5}


def test_whether_it_can_start_and_what_it_takes_are_asked_without_starting(http, tiny_base):
    asked = {"recipe": "kto", "preset": "quick", "config": {"base": str(tiny_base)}}
    ready = http.post("/runs/check", json=asked).json()
    assert (ready["objection"], ready["n_train"] > 20) == (None, True)
    small = http.post("/runs/estimate", json=asked).json()
    large = http.post("/runs/estimate", json={**asked, "config": {**asked["config"], "epochs": 9}}).json()
    assert 0 < small["seconds"] < large["seconds"]
    assert small["memory_low"] < small["memory_mb"] < small["memory_high"]
    assert http.get("/runs").json() == {"runs": []}


@pytest.mark.parametrize("change", [{"bogus": 1}, {"epochs": "abc"}, {"epochs": -3}])
def test_a_check_refuses_the_settings_that_a_start_refuses(http, change):
    refused, started = (http.post(path, json={"config": change}) for path in ("/runs/check", "/runs"))
    assert (refused.status_code, refused.json()) == (422, started.json())
    assert next(iter(change)) in refused.json()["error"]


def test_what_a_start_refuses_is_refused_before_anything_is_frozen(http, tiny_base, store):
    usual = {"preset": "quick", "name": "mine", "config": {"base": str(tiny_base)}}
    assert http.post("/runs", json=usual).status_code == 201
    before = len(store.rows("SELECT dataset_id FROM datasets"))
    for change in ({"recipe": "dpo", "max_rows": 40}, {"name": "other", "max_rows": 41, "config": {"base": "/no"}}):
        assert "error" in http.post("/runs", json=usual | change).json()
    assert len(store.rows("SELECT dataset_id FROM datasets")) == before


def test_a_listed_run_has_the_same_config_as_one_that_is_asked_for(http, tiny_base):
    run_id = http.post("/runs", json={"preset": "quick", "config": {"base": str(tiny_base)}}).json()["run_id"]
    [listed] = http.get("/runs").json()["runs"]
    assert listed["config"] == http.get(f"/runs/{run_id}").json()["config"]
    assert listed["config"]["base"] == str(tiny_base)


def test_what_the_model_sees_is_shown_token_by_token(http, tiny_base):
    asked = {"preset": "quick", "config": {"base": str(tiny_base)}}
    seen = http.post("/runs/preview", json=asked, params={"rows": 2}).json()
    assert seen["n_usable"] == seen["n_rows"]
    row = seen["rows"][0]
    learned = "".join(token for token, is_learned in zip(row["tokens"], row["is_learned"], strict=True) if is_learned)
    assert learned.startswith("final ")
    assert "drug" in "".join(row["tokens"])
    assert http.get("/runs").json() == {"runs": []}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"recipe": "alchemy"}, "there is no recipe 'alchemy'; the recipes are: sft"),
        ({"preset": "slow"}, "there is no preset 'slow'; the presets are: quick, solid, careful"),
        ({"config": {"speed": 2}}, "a fine-tune has no setting 'speed'"),
        ({"config": {"epochs": 2.5}}, "epochs is 2.5; give a whole number"),
        ({"config": {"epochs": True}}, "epochs is True; give a whole number"),
        ({"config": [1]}, "config is [1]; give an object of settings"),
        ({"config": {"base": "/nowhere"}}, "no model folder at /nowhere"),
        ({"dataset_id": "none"}, "no training set begins with the id 'none'"),
        ({"design": "v99"}, "v99"),
        ({"max_rows": "all"}, "max_rows is 'all'; give a whole number"),
        ({"max_rows": 0}, "max_rows is 0"),
        ({"name": "x" * 200}, "give one line of up to 100 letters"),
        ({"place": "moon"}, "nobody knows the place 'moon'"),
        ({"speed": 1}, "a run has no field 'speed'"),
    ],
)
def test_bad_input_is_one_sentence_and_no_run(http, body, sentence):
    refused = http.post("/runs", json=body)
    assert refused.status_code in (409, 422)
    assert sentence in refused.json()["error"]
    assert "\n" not in refused.json()["error"]
    assert http.get("/runs").json() == {"runs": []}


def test_an_unknown_run_is_a_sentence_wherever_it_is_named(http):
    for path in ("stop", "pause", "resume", "clone", "retry"):
        refused = http.post(f"/runs/nobody/{path}")
        assert (refused.status_code, "no run has the id 'nobody'" in refused.json()["error"]) == (422, True)
    assert http.get("/runs/nobody").status_code == 422


def test_a_model_folder_without_a_tokenizer_is_refused(http, tiny_base, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_text("{}")
    for path in ("/runs", "/runs/estimate"):
        refused = http.post(path, json={"config": {"base": str(half)}})
        assert refused.status_code == 409
        assert "tokenizer.json" in refused.json()["error"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (f'{{"epochs": {10**400}}}', "epochs is 1000"),
        (f'{{"base": "{"z" * 5000}"}}', "no model folder at zzz"),
        ('{"base": "\\ud800"}', r"no model folder at \ud800"),
    ],
)
def test_what_no_machine_can_hold_is_a_short_sentence(http, config, said):
    body = f'{{"config": {config}}}'.encode()
    for path in ("/runs", "/runs/estimate"):
        refused = http.post(path, content=body, headers={"content-type": "application/json"})
        assert refused.status_code in (409, 422)
        assert said in refused.json()["error"]
        assert len(refused.text) < 600
