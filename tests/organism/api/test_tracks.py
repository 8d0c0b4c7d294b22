"""Tracks over HTTP: preview, start, list, results, stop; bad input is 422 with a sentence."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api.product import create_product_api
from organism.config import Workspace
from organism.deploy.serving import DraftServer

NOW = datetime(2026, 10, 1)


@pytest.fixture
def http(store, events, tmp_path) -> Iterator[httpx.Client]:
    """A client of the whole product over a loop `notes` with 120 answered drafts of forty users."""
    for n in range(120):
        events.answered(f"user-{n % 40:02d}", at=NOW - timedelta(hours=n), output=f"draft {n}")
    events.write()
    place = Workspace(tmp_path)
    bound = socket.create_server(("127.0.0.1", 0))
    api = create_product_api(place, lambda: store, lambda: DraftServer(place), hosts=["127.0.0.1"])
    root = Starlette(routes=[Mount("/v1", api)])
    server = uvicorn.Server(uvicorn.Config(root, log_level="error", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    key = {"Authorization": f"Bearer {place.api_key()}"}
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    with httpx.Client(base_url=url, headers=key, params={"loop": "notes"}, timeout=30) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_tracks_are_previewed_started_listed_read_and_stopped(http, tiny_base):
    asked = {"name": "rows", "recipes": ["sft"], "cuts": [{"max_rows": 30}, {"max_rows": 50}]}
    asked |= {"changes": {"base": str(tiny_base)}}
    seen = http.post("/tracks", json={**asked, "preview": True})
    assert (seen.status_code, [track["objection"] for track in seen.json()["tracks"]]) == (200, [None, None])
    assert http.get("/tracks").json() == {"tracks": []}
    made = http.post("/tracks", json=asked)
    assert made.status_code == 201
    sweep_id = made.json()["sweep_id"]
    assert [track["cut"] for track in made.json()["tracks"]] == ["30 rows", "50 rows"]
    assert http.get("/tracks").json()["tracks"][0]["n_active"] == 2
    results = http.get(f"/tracks/{sweep_id}", params={"quality": "written"}).json()["results"]
    assert [(row["status"], row["to_experiment"]) for row in results] == [("queued", False)] * 2
    refused = http.post(f"/tracks/{sweep_id}/experiment", json={"run_id": results[0]["run_id"]})
    assert (refused.status_code, "left no version" in refused.json()["error"]) == (422, True)
    assert http.post(f"/tracks/{sweep_id}/stop").json()["stopped"] == 2


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "is no name of tracks"),
        ({"name": "x", "recipes": ["alchemy"]}, "no recipe 'alchemy'"),
        ({"name": "x", "recipes": ["sft"], "preview": "yes"}, "preview is 'yes'"),
        ({"name": "x", "recipes": ["sft"], "designs": ["greed"]}, "no reward design is called 'greed'"),
    ],
)
def test_bad_input_is_422_with_a_sentence(http, asked, sentence):
    refused = http.post("/tracks", json=asked)
    assert (refused.status_code, sentence in refused.json()["error"]) == (422, True)
    assert http.get("/tracks/no-such").status_code == 422
