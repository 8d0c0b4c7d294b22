"""kill -9 under load, again and again: `python -m bench.kill [--rounds 20]`.

In each round the server is started on the same workspace, four clients send batches of a hundred, and the process
is killed at a random moment. A batch without an answer is sent again in the next round. At the end every
acknowledged event must be there, and none twice.
"""

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench import _server
from organism.config import Workspace
from organism.records import EventKind
from organism.store.database import Store
from organism.store.schema import open_store

BATCH = 100
N_CLIENTS = 4


class Sender:
    """One client over all rounds: its next batch, and how many of its batches were acknowledged."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.acknowledged = 0

    def run(self, port: int) -> None:
        """Send one batch after the other until the server is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {_server.KEY}", "Content-Type": "application/json"}
        while True:
            body = json.dumps([self._row(n) for n in range(BATCH)])
            try:
                connection.request("POST", f"/v1/{self._kind()}", body, headers)
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                return
            if answer.status != 202 or said["accepted"] + said["duplicates"] != BATCH:
                raise SystemExit(f"a batch was refused: {str(said)[:300]}")
            self.acknowledged += 1

    def names(self, kind: EventKind) -> set[str]:
        """External ids of all acknowledged events of a kind."""
        batches = range(0 if kind is EventKind.INTERACTIONS else 1, self.acknowledged, 2)
        return {self._name(batch // 2, n) for batch in batches for n in range(BATCH)}

    def _kind(self) -> EventKind:
        return EventKind.FEEDBACK if self.acknowledged % 2 else EventKind.INTERACTIONS

    def _name(self, batch: int, n: int) -> str:
        return f"{self.number}-{batch}-{n}"

    def _row(self, n: int) -> dict[str, Any]:
        name = self._name(self.acknowledged // 2, n)
        if self._kind() is EventKind.INTERACTIONS:
            return {"external_id": name, "source": "kill", "loop": "kill", "output": f"draft {name}"}
        return {"external_id": name, "source": "kill", "interaction_external_id": name, "kind": "accept"}


def one_round(folder: str, senders: list[Sender], rng: random.Random) -> None:
    """Start, load, kill in the middle of a write: after some batches, and some milliseconds."""
    port = _server.free_port()
    child = _server.start(["bench._server", folder, str(port)], port)
    threads = [threading.Thread(target=sender.run, args=(port,)) for sender in senders]
    for thread in threads:
        thread.start()
    wanted = sum(sender.acknowledged for sender in senders) + rng.randint(1, 100)
    until = time.perf_counter() + 5
    while sum(sender.acknowledged for sender in senders) < wanted and time.perf_counter() < until:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.02))
    _server.kill(child)
    for thread in threads:
        thread.join()


def count(store: Store, kind: EventKind, senders: list[Sender]) -> tuple[int, int, int]:
    """Acknowledged, lost and doubled events of a kind."""
    table = {EventKind.INTERACTIONS: "interactions", EventKind.FEEDBACK: "feedback_events"}[kind]
    kept = [name for (name,) in store.rows(f"SELECT external_id FROM {table}")]
    acknowledged = set[str]().union(*(sender.names(kind) for sender in senders))
    return len(acknowledged), len(acknowledged - set(kept)), len(kept) - len(set(kept))


def main() -> int:
    """Print what was lost and doubled; returns 1 when anything was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    senders, rng = [Sender(number) for number in range(N_CLIENTS)], random.Random(0)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.rounds):
            one_round(folder, senders, rng)
        store = open_store(Workspace(Path(folder)).database)
        counts = [count(store, kind, senders) for kind in (EventKind.INTERACTIONS, EventKind.FEEDBACK)]
        store.close()
    acknowledged, lost, doubled = (sum(column) for column in zip(*counts, strict=True))
    took = time.perf_counter() - began
    print(f"{asked.rounds} times kill -9 under load in {took:.0f} s: {acknowledged:,} events acknowledged")
    print(f"  lost {lost}, doubled {doubled}   wanted 0 and 0: {'met' if not lost + doubled else 'MISSED'}")
    return 1 if lost or doubled or not acknowledged else 0


if __name__ == "__main__":
    sys.exit(main())
