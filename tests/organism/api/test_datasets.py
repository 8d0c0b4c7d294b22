"""Training sets over HTTP: build, preview, list, look, download; bad input is 422 with a sentence."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pyarrow.parquet as pq
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api import datasets
from organism.api.app import create_api

KEY = "a-key-for-tests"
NOW = datetime(2026, 10, 1)


@pytest.fixture
def http(store, events) -> Iterator[httpx.Client]:
    """A client of a real server whose loop `notes` has 120 answered drafts of forty users."""
    for n in range(120):
        kind = "reject" if n % 3 == 0 else "edit"
        events.answered(f"user-{n % 40:02d}", at=NOW - timedelta(hours=n), kind=kind, output=f"draft {n}")
    events.write()
    bound = socket.create_server(("127.0.0.1", 0))
    api = create_api(lambda: store, KEY, routers=[datasets.router], hosts=["127.0.0.1"])
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Mount("/v1", api)]), log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, params={"loop": "notes"}) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_a_set_is_previewed_built_listed_described_and_downloaded(http):
    asked = {"kind": "preference", "max_rows": 30, "name": "first pairs"}
    seen = http.post("/datasets", json={**asked, "preview": True})
    assert (seen.status_code, seen.json()["n_train"], seen.json()["objection"]) == (200, 30, None)
    assert http.get("/datasets").json() == {"datasets": []}
    built = http.post("/datasets", json=asked)
    assert built.status_code == 201
    made = built.json()
    assert made["dropped"]["no final text"] == 40
    assert http.post("/datasets", json=asked).json() == made, "the same answers and settings are the same set"
    [listed] = http.get("/datasets").json()["datasets"]
    assert (listed["name"], listed["kind"], listed["settings"]["max_rows"]) == ("first pairs", "preference", 30)
    found = http.get(f"/datasets/{made['dataset_id']}", params={"examples": 1}).json()
    assert found["composition"]["answers"] == [{"answer": "edit", "train": 30, "heldout": made["n_heldout"]}]
    assert [row["split"] for row in found["examples"]] == ["train", "heldout"]
    lines = http.get(f"/datasets/{made['dataset_id']}/export", params={"split": "train"})
    assert "attachment" in lines.headers["content-disposition"]
    rows = [json.loads(line) for line in lines.text.splitlines()]
    file = http.get(f"/datasets/{made['dataset_id']}/export", params={"format": "parquet"})
    table = pq.read_table(io.BytesIO(file.content))
    assert rows == table.to_pylist()[:30]
    assert list(rows[0])[:3] == ["prompt", "chosen", "rejected"]


def test_without_a_body_the_latest_expert_texts_are_frozen(http):
    built = http.post("/datasets", params={"max_rows": 25})
    assert (built.status_code, built.json()["kind"], built.json()["n_train"]) == (201, "sft", 25)


def test_completions_by_reward_say_what_was_asked_of_a_draft_and_that_rejected_ones_are_out(http):
    seen = http.post("/datasets", json={"basis": "reward", "preview": True}).json()
    assert 0 < seen["least_reward"] < 1
    assert seen["dropped"]["rejected, so not to imitate"] == 40
    assert http.post("/datasets", json={"preview": True}).json()["least_reward"] is None


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"kind": "preference", "margin": 3}, "margin of 3 is out of range"),
        ({"design": "no-such"}, "no-such"),
        ({"variants": ["nobody"]}, "no draft here has the variant 'nobody'"),
        ({"since": "2030-01-01"}, "0 answers can be trained on"),
        ({"kind": "preference", "basis": "reward"}, "drafted at least twice"),
        ({"flavour": 1}, "'flavour' is no setting"),
        ({"name": 7}, "name is 7"),
        ({"name": "n" * 1000}, "give one line of up to 200 letters"),
        ({"name": "two\nlines"}, "give one line of up to 200 letters"),
        ({"preview": "false"}, "preview is 'false'; give true"),
    ],
)
def test_bad_input_is_422_with_a_sentence(http, asked, match):
    answer = http.post("/datasets", json=asked)
    assert answer.status_code == 422
    assert match in answer.json()["error"]


def test_an_unknown_set_or_form_is_422_with_what_there_is(http):
    made = http.post("/datasets").json()["dataset_id"]
    assert "there are: " in http.get("/datasets/zzzz").json()["error"]
    refused = http.get(f"/datasets/{made}/export", params={"format": "csv"})
    assert (refused.status_code, "jsonl, parquet" in refused.json()["error"]) == (422, True)
    assert httpx.get(str(http.base_url) + "datasets").status_code == 401
