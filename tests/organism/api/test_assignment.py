"""Assignment over a real server: one answer a user, exposures, holdout, layers; bad input is one sentence."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api import assignment
from organism.api.app import create_api
from organism.client import Client
from organism.config import ROOT
from organism.errors import InputError
from organism.store.database import Store
from organism.store.experiments import read_experiment
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.conftest import Events
from tests.organism.experiment.running import NOW, run

KEY = "a-key-for-tests"


@pytest.fixture
def http(store: Store) -> Iterator[httpx.Client]:
    bound = socket.create_server(("127.0.0.1", 0))
    api = create_api(lambda: store, KEY, routers=[assignment.router], hosts=["127.0.0.1"])
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Mount("/v1", api)]), log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_a_loops_experiments_answer_with_all_that_serving_needs(
    http: httpx.Client, store: Store, events: Events
) -> None:
    one = run(store, events.loop_id, targeting={"region": ["north"]})
    store.execute("UPDATE variants SET prompt = 'Be brief.' WHERE name = 'b'", [], "experiments")
    asked = {"loop": "notes", "user_key": "ann", "attributes": {"region": "north"}}
    first = http.post("/assign", json=asked).json()
    (found,) = first["assignments"]
    assert first["user_key"] == "ann"
    assert found == {
        "experiment_id": one,
        "experiment": "first",
        "variant": found["variant"],
        "model_version_id": None,
        "model_version": None,
        "prompt": {"a": None, "b": "Be brief."}[found["variant"]],
        "probability": 0.5,
        "reason": "hash",
        "is_new": True,
    }
    again = http.post("/assign", json={"experiment_id": one, "user_key": "ann"}).json()["assignments"][0]
    assert (again["variant"], again["reason"], again["is_new"]) == (found["variant"], "kept", False)
    older = http.post(f"/experiments/{one}/assign", json={"user_key": "ann"}).json()
    assert (older["variant"], older["probability"]) == (found["variant"], 0.5)
    out = http.post("/assign", json=asked | {"user_key": "ben", "attributes": {}}).json()["assignments"][0]
    assert (out["variant"], out["probability"], out["reason"]) == (None, None, "not targeted")


def test_200_calls_at_once_for_one_user_leave_one_row_and_one_answer(
    http: httpx.Client, store: Store, events: Events
) -> None:
    one = run(store, events.loop_id, shares=(0.5, 0.5))
    two = run(store, events.loop_id, "second", versions=("c", "d"), policy="thompson")

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=http.base_url, headers=http.headers, limits=limits, timeout=60) as client:
            asked = {"loop": "notes", "user_key": "ann"}
            return await asyncio.gather(*(client.post("/assign", json=asked) for _ in range(200)))

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} == {200}
    told = {tuple((a["variant"], a["probability"]) for a in answer.json()["assignments"]) for answer in answers}
    assert len(told) == 1
    assert sum(answer.json()["assignments"][0]["is_new"] for answer in answers) == 1
    rows = store.rows("SELECT experiment_id, variant_id, probability FROM assignments ORDER BY experiment_id")
    assert [row[0] for row in rows] == sorted([one, two])
    assert told == {tuple(row[1:] for row in rows)}


def test_exposures_go_in_once_and_are_counted(http: httpx.Client, store: Store, events: Events) -> None:
    one = run(store, events.loop_id)
    variant = http.post(f"/experiments/{one}/assign", json={"user_key": "ann"}).json()["variant"]
    sent = {"experiment_id": one, "user_key": "ann", "exposed_at": "2026-09-07T10:00:00+02:00"}
    answer = http.post("/exposures", json=sent)
    assert (answer.status_code, answer.json()) == (202, {"recorded": 1, "known": 0})
    assert http.post("/exposures", json=[sent, sent | {"user_key": "ben", "variant": "a"}]).json() == {
        "recorded": 1,
        "known": 1,
    }
    counts = {row["variant"]: row for row in http.get(f"/experiments/{one}/exposures").json()["exposures"]}
    assert sum(row["n_exposed"] for row in counts.values()) == 2
    assert (counts[variant]["n_assigned"], counts[variant]["mean_probability"]) == (1, 0.5)
    assert counts[variant]["first_at"].startswith("2026-09-07T08:00:00")


def test_the_client_assigns_and_tells_of_exposures(http: httpx.Client, store: Store, events: Events) -> None:
    one = run(store, events.loop_id, targeting={"region": ["north"]})
    with Client(str(http.base_url).removesuffix("/v1/"), KEY, loop="notes") as client:
        (found,) = client.assign("ann", attributes={"region": "north"})
        assert found["variant"] in ("a", "b")
        assert client.assign("ann", experiment_id=one)[0]["variant"] == found["variant"]
        assert (client.expose(one, "ann"), client.expose(one, "ann")) == (True, False)
        with pytest.raises(InputError, match="no user was named"):
            client.assign("")


def test_the_holdout_is_set_read_and_holds(http: httpx.Client, store: Store, events: Events) -> None:
    run(store, events.loop_id)
    assert http.get("/holdout", params={"loop": "notes"}).json() == {"holdout": None}
    put = http.put("/holdout", params={"loop": "notes"}, json={"share": 0.5, "actor": "Ana"})
    assert (put.status_code, put.json()["holdout"]["share"]) == (200, 0.5)
    reasons = [
        http.post("/assign", json={"loop": "notes", "user_key": f"u{n}"}).json()["assignments"][0]["reason"]
        for n in range(30)
    ]
    assert set(reasons) == {"holdout", "hash"}


def test_layers_are_listed_with_what_is_free(http: httpx.Client, store: Store, events: Events) -> None:
    run(store, events.loop_id, layer=("drafts", 0.2, 0.5))
    (layer,) = http.get("/layers", params={"loop": "notes"}).json()["layers"]
    assert (layer["slots"][0]["experiment"], layer["free"]) == ("first", [[0.0, 0.2], [0.5, 1.0]])


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/assign", {"experiment_id": "ONE", "user_key": " "}, "no user was named"),
        ("/assign", {"experiment_id": "nowhere", "user_key": "ann"}, "no experiment has the id 'nowhere'"),
        ("/assign", {"loop": "nowhere", "user_key": "ann"}, "no loop is named 'nowhere'"),
        ("/assign", {"loop": "notes", "experiment_id": "ONE", "user_key": "ann"}, "both named"),
        ("/assign", {"experiment_id": "ONE", "user_key": "ann", "attributes": {"region": ["x"]}}, "attribute 'region'"),
        ("/assign", {"experiment_id": "ONE", "user_key": "ann", "attributes": "north"}, "attributes: "),
        ("/assign", {"experiment_id": "ONE", "user_key": "ann", "atributes": {}}, "atributes: "),
        ("/assign", {"experiment_id": "ONE"}, "user_key: "),
        ("/assign", {"experiment_id": "ENDED", "user_key": "ann"}, "has ended; ask for the live version"),
        ("/experiments/nowhere/assign", {"user_key": "ann"}, "no experiment has the id"),
        ("/exposures", {"experiment_id": "ONE", "user_key": "ann"}, "has no variant in experiment"),
        ("/exposures", {"experiment_id": "ONE", "user_key": "ann", "variant": "z"}, "has no variant 'z'"),
        (
            "/exposures",
            {"experiment_id": "ONE", "user_key": "ann", "variant": "a", "exposed_at": "0001-01-01T00:00:00+14:00"},
            "wanted a time between",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    http: httpx.Client, store: Store, events: Events, path: str, body: dict, said: str
) -> None:
    one, ended = run(store, events.loop_id), run(store, events.loop_id, "ended", versions=("c", "d"))
    store.execute("UPDATE experiments SET status = 'decided' WHERE experiment_id = ?", [ended], "experiments")
    ids = {"ONE": one, "ENDED": ended}
    answer = http.post(
        path, json={name: ids.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
    )
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert store.rows("SELECT count(*) FROM assignments") == [(0,)]


_ASSIGN_UNTIL_KILLED = """
import sys
from pathlib import Path
from organism.config import utcnow
from organism.experiment.assign_flow import assign_user
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
store = open_store(Path(sys.argv[1]))
n = 0
while True:
    found = assign_user(store, sys.argv[2], f"u{n}", utcnow())
    print(f"u{n}", found.variant, flush=True)
    n += 1
"""


def test_an_acknowledged_assignment_survives_a_kill(tmp_path: Path) -> None:
    place = tmp_path / "organism.duckdb"
    store = open_store(place)
    one = run(store, ensure_loop(store, "notes", NOW))
    store.close()
    child = subprocess.Popen(
        [sys.executable, "-c", _ASSIGN_UNTIL_KILLED, str(place), one], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [child.stdout.readline().split() for _ in range(25)]
    os.kill(child.pid, signal.SIGKILL)
    told += [line.split() for line in child.stdout if line.endswith("\n")]
    child.wait()
    store = open_store(place)
    kept = dict(store.rows("SELECT user_key, variant_id FROM assignments"))
    assert read_experiment(store, one).status == "running"
    store.close()
    assert len(told) >= 25
    assert all(kept[user] == variant for user, variant in told)


def test_half_a_surrogate_pair_is_refused_in_a_sentence(http: httpx.Client) -> None:
    body = b'{"experiment_id": "e\\ud800", "user_key": "ann", "variant": "a"}'
    answer = http.post("/exposures", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, "surrogate pair" in answer.json()["error"]) == (422, True)
