"""Models over HTTP: the card, the export as one file, the bases; bad input is 422 with a sentence."""

import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api import bases, models
from organism.api.app import create_api
from organism.api.parts import Parts
from organism.config import Workspace
from organism.deploy.flow import register_base
from tests.organism.conftest import START

KEY = "a-key-for-tests"


@pytest.fixture
def http(store, events, tiny_base: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a real server whose loop `notes` has one version, a base."""
    register_base(store, events.loop_id, str(tiny_base), now=START)
    bound = socket.create_server(("127.0.0.1", 0))
    api = create_api(lambda: store, KEY, routers=[models.router, bases.router], hosts=["127.0.0.1"])
    api.state.parts = Parts(Workspace(tmp_path / "w"), lambda: pytest.fail("no draft is asked for"))
    root = Starlette(routes=[Mount("/v1", api)])
    server = uvicorn.Server(uvicorn.Config(root, log_level="error", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {KEY}"}, params={"loop": "notes"}, timeout=120
    ) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_the_card_and_the_export_of_a_version(http: httpx.Client, tmp_path: Path) -> None:
    card = http.get("/models/base/card")
    assert card.headers["content-type"].startswith("text/markdown")
    assert "# base" in card.text
    packed = http.get("/models/base/export")
    assert packed.headers["content-disposition"] == 'attachment; filename="base.zip"'
    with zipfile.ZipFile(io.BytesIO(packed.content)) as files:
        names = set(files.namelist())
        manifest = json.loads(files.read("base/manifest.json"))
    assert {"base/model.safetensors", "base/tokenizer.json", "base/chat_template.jinja", "base/README.md"} <= names
    assert manifest["version"]["name"] == "base"
    missing = http.get("/models/nobody/export")
    assert (missing.status_code, "known versions: base" in missing.text) == (422, True)


def test_bases_are_listed_checked_and_kept(http: httpx.Client, tiny_base: Path, tmp_path: Path) -> None:
    assert http.post("/bases", json={"uri": str(tiny_base), "name": "tiny"}).status_code == 201
    assert [base["name"] for base in http.get("/bases").json()["bases"]] == ["shipped", "tiny"]
    assert http.get("/bases/check", params={"uri": "tiny"}).json()["is_usable"] is True
    (tmp_path / "empty").mkdir()
    found = http.get("/bases/check", params={"uri": str(tmp_path / "empty")}).json()
    assert (found["is_usable"], len(found["problems"]) >= 3) == (False, True)
    refused = http.post("/bases", json={"uri": str(tmp_path / "empty")})
    assert (refused.status_code >= 400, "cannot be a base" in refused.text) == (True, True)
