"""The client sends in batches, tries again safely, and raises with the server's sentence."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism import client as module
from organism.api.app import create_api
from organism.client import Client
from organism.errors import InputError, StoreError
from organism.store.database import Store
from organism.store.sources import count_events

KEY = "a-key-for-tests"


class Served:
    """A real server that can be stopped and started again on the same port."""

    def __init__(self, store: Store) -> None:
        self._app = Starlette(routes=[Mount("/v1", create_api(lambda: store, KEY))])
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> None:
        config = uvicorn.Config(self._app, port=self.port, log_level="error", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    served = Served(store)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{served.port}", KEY, source="app", loop="scribe") as client:
        yield client


def test_rows_go_in_by_batches_and_their_ids_come_back_in_order(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    sent = client.send_interactions([{"external_id": str(n), "output": "x"} for n in range(25)])
    assert (sent.accepted, len(sent.ids)) == (25, 25)
    third = store.rows("SELECT interaction_id::VARCHAR FROM interactions WHERE external_id = '3'")[0][0]
    assert sent.ids[3] == third
    answers = [{"external_id": f"f{n}", "interaction_id": i, "kind": "accept"} for n, i in enumerate(sent.ids)]
    assert client.send_feedback(answers).accepted == 25
    sale = {"external_id": "o", "business_key": "k", "name": "sale", "value": 1}
    assert client.send_outcomes([sale]).accepted == 1
    assert client.health()["rows"] == {"interactions": 25, "feedback_events": 25, "outcomes": 1}


def test_refused_rows_are_named_with_their_batch(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    rows = [{"external_id": "a"}, {"external_id": "b"}, {"external_id": "c"}, {"external_id": "d", "latency_ms": -1}]
    sent = client.send_interactions(rows)
    assert (sent.accepted, sent.quarantined) == (3, 1)
    assert sent.reasons[0].startswith("from row 3: row 2: latency_ms is -1")


def test_when_no_row_goes_in_the_sentence_is_raised(client: Client) -> None:
    with pytest.raises(InputError, match="latency_ms is -1"):
        client.send_interactions([{"external_id": "a", "latency_ms": -1}])


def test_a_wrong_key_is_said(served: Served) -> None:
    with (
        Client(f"http://127.0.0.1:{served.port}", "wrong") as client,
        pytest.raises(InputError, match="the key is missing"),
    ):
        client.send_interactions([{"external_id": "a"}])


def test_a_server_that_restarts_is_waited_for_and_nothing_is_doubled(
    served: Served, client: Client, store: Store
) -> None:
    client.send_interactions([{"external_id": "a"}])
    served.stop()
    late = threading.Timer(0.4, served.start)
    late.start()
    sent = client.send_interactions([{"external_id": "a"}, {"external_id": "b"}])
    late.join()
    assert (sent.accepted, sent.duplicates) == (1, 1)
    assert count_events(store)["interactions"] == 2


def test_a_server_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", KEY) as client, pytest.raises(StoreError, match="cannot be reached"):
        client.health()


def test_something_else_on_the_port_is_noticed(store: Store) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    served = Served(store)
    served._app = Starlette(routes=[Route("/v1/health", lambda _request: PlainTextResponse("hello"))])
    served.start()
    with (
        Client(f"http://127.0.0.1:{served.port}", KEY) as client,
        pytest.raises(StoreError, match="is this an Organism"),
    ):
        client.health()
    served.stop()
