"""Durable events a second over HTTP into the running app: `python -m bench.ingest [--seconds N] [--clients N]`.

Each client is a process with one connection. It sends a hundred interactions, waits for the 202, sends the
hundred answers to them (a third accepted, edited, rejected each; acceptance is measured at ingest), and so on.
The peer is DuckDB alone: the same rows as Arrow tables of a hundred, one durable commit each, one after the
other, nothing checked, nothing measured, nothing over a wire.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import sys
import tempfile
import time
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any, NamedTuple

import duckdb
import httpx
import psutil
import pyarrow as pa

from bench import _server
from organism.records import EventKind
from organism.store.events import EVENT_TABLES

BATCH = 100
LIMIT = 20_000
START = datetime(2026, 1, 1)
KINDS = (EventKind.INTERACTIONS, EventKind.FEEDBACK)


class Load(NamedTuple):
    """What one client got done: events acknowledged, and the seconds that each request took."""

    events: int
    waits: list[float]


def texts(seed: int) -> list[str]:
    """Fifty drafts of about 350 characters."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(2, 9))) for _ in range(400)]
    return [" ".join(rng.choices(words, k=55)) for _ in range(50)]


def rows(kind: EventKind, client: int, first: int, drafts: list[str]) -> list[dict[str, Any]]:
    """A batch of events, the same on any machine."""
    return [one(kind, f"{client}-{n}", n, drafts[n % 50]) for n in range(first, first + BATCH)]


def one(kind: EventKind, name: str, n: int, draft: str) -> dict[str, Any]:
    """One interaction, or the answer to it."""
    shared = {"source": "bench", "occurred_at": (START + timedelta(seconds=n)).isoformat()}
    if kind is EventKind.INTERACTIONS:
        facts = {"input_tokens": 400, "output_tokens": 90, "latency_ms": 812.5, "cost_usd": 0.0004, "consent": True}
        who = {"user_key": f"user {n % 60}", "variant_id": "base", "loop": "bench", "external_id": name}
        return {**shared, **who, **facts, "prompt": draft[:200], "output": draft}
    answer = ("accept", "edit", "reject")[n % 3]
    final = {} if answer == "reject" else {"final_text": f"{draft[:120]} as it was {draft[140:]}"}
    return {**shared, "external_id": f"f-{name}", "interaction_external_id": name, "kind": answer, **final}


def send(port: int, client: int, seconds: float) -> Load:
    """Send until the time is over; every answer must say that all hundred were accepted."""
    drafts, connection = texts(client), http.client.HTTPConnection("127.0.0.1", port)
    waits: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for kind in KINDS:
            body = json.dumps(rows(kind, client, len(waits) // 2 * BATCH, drafts))
            began = time.perf_counter()
            answer = post(connection, kind, body)
            waits.append(time.perf_counter() - began)
            if answer.get("accepted", 0) + answer.get("duplicates", 0) != BATCH:
                raise SystemExit(f"a batch was not accepted whole: {str(answer)[:300]}")
    return Load(len(waits) * BATCH, waits)


def post(connection: http.client.HTTPConnection, kind: EventKind, body: str) -> dict[str, Any]:
    """One request; sent again when the server has meanwhile closed a connection that was idle too long."""
    headers = {"Authorization": f"Bearer {_server.KEY}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/v1/{kind}", body, headers)
        return json.loads(connection.getresponse().read())
    except (ConnectionError, http.client.RemoteDisconnected):
        connection.close()
        connection.request("POST", f"/v1/{kind}", body, headers)
        return json.loads(connection.getresponse().read())


def measure(folder: str, n_clients: int, seconds: float, *, alone: bool) -> tuple[Load, float, float]:
    """All clients at once against the server; returns their load, the seconds, the server's CPU seconds."""
    port = _server.free_port()
    app = ["organism", "serve", "--workspace", folder, "--port", str(port), "--no-demo"]
    child = _server.start(["bench._server", folder, str(port)] if alone else app, port)
    try:
        with multiprocessing.get_context("spawn").Pool(n_clients) as pool:
            pool.starmap(send, [(port, 1000 + n, 0.5) for n in range(n_clients)])
            before = psutil.Process(child.pid).cpu_times()
            began = time.perf_counter()
            loads = pool.starmap(send, [(port, n, seconds) for n in range(n_clients)])
            took = time.perf_counter() - began
        used = psutil.Process(child.pid).cpu_times()
        cpu = used.user + used.system - before.user - before.system
        kept = httpx.get(f"http://127.0.0.1:{port}/v1/health").json()["rows"]
    finally:
        _server.kill(child)
    load = Load(sum(load.events for load in loads), [wait for load in loads for wait in load.waits])
    if kept["interactions"] + kept["feedback_events"] < load.events:
        raise SystemExit(f"{load.events} events were acknowledged, the store has {kept}")
    return load, took, cpu


def peer(folder: str, seconds: float) -> float:
    """Events a second of DuckDB alone."""
    drafts = texts(0)
    tables = {kind: pa.Table.from_pylist([columns(kind, row) for row in rows(kind, 0, 0, drafts)]) for kind in KINDS}
    with duckdb.connect(f"{folder}/peer.duckdb", config={"checkpoint_threshold": "512MB"}) as connection:
        for kind, table in tables.items():
            connection.register("incoming", table)
            connection.execute(f"CREATE TABLE {EVENT_TABLES[kind].name} AS SELECT * FROM incoming LIMIT 0")
        began, n_events = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            for kind, table in tables.items():
                connection.register("incoming", table)
                connection.execute(f"INSERT INTO {EVENT_TABLES[kind].name} SELECT * FROM incoming")
                n_events += BATCH
        return n_events / (time.perf_counter() - began)


def columns(kind: EventKind, row: dict[str, Any]) -> dict[str, Any]:
    """The row as wide as the table: what the wire does not carry is a text of 36 characters, as ids are."""
    return {field.name: row.get(field.name, "0" * 36) for field in EVENT_TABLES[kind].schema}


def main() -> int:
    """Print the figures; returns 1 when they are under the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--clients", type=int, default=4, choices=range(1, 9))
    parser.add_argument("--alone", action="store_true", help="the HTTP API without the pages beside it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alone = peer(folder, 4)
        load, took, cpu = measure(f"{folder}/workspace", asked.clients, asked.seconds, alone=asked.alone)
    rate, cuts = load.events / took, quantiles(load.waits, n=100)
    met = "met" if rate >= LIMIT else "MISSED"
    cores, busy = psutil.cpu_count(), psutil.getloadavg()[0]
    print(f"{rate:,.0f} durable events/s over HTTP in batches of {BATCH}, {asked.clients} clients, {cores} cores")
    print(f"  wanted at least {LIMIT:,}: {met} (load of the machine {busy:.1f})")
    print(f"  a request takes {cuts[49] * 1e3:.0f} ms at the median, {cuts[98] * 1e3:.0f} ms at the 99th percentile")
    print(f"  the server spends {cpu / load.events * 1e6:.0f} µs of CPU on an event")
    print(f"  DuckDB alone, Arrow tables of {BATCH}, a commit each: {alone:,.0f} events/s; ratio {rate / alone:.2f}")
    return 0 if rate >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
