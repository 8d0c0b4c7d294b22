"""A real server on a free port of this machine, over an empty workspace."""

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api.app import create_api
from organism.store.database import Store

KEY = "a-key-for-tests"


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    bound = socket.create_server(("127.0.0.1", 0))
    root = Starlette(routes=[Mount("/v1", create_api(lambda: store, KEY, hosts=["127.0.0.1"]))])
    server = uvicorn.Server(uvicorn.Config(root, log_level="error", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url + "/v1", headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
