"""Fine-tunes for the experiments of this folder: the product's own launch, queue and worker, in a scratch workspace."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from organism.config import DEMO_LOOP, Workspace
from organism.demo import open_workspace
from organism.errors import RunError
from organism.optimize.flow import Supervisor, read_evaluation, wait_for_run
from organism.records import RunStatus
from organism.store.database import Store
from organism.store.loops import loop_id_of


class Clinic(NamedTuple):
    """An open scratch workspace with the shipped demo in it, or with rows of the experiment's own."""

    store: Store
    workspace: Workspace
    loop_id: str


@contextmanager
def clinic(folder: str, *, demo: bool = True) -> Iterator[Clinic]:
    """The workspace at this folder; its runs are supervised for the length of the block."""
    workspace = Workspace(Path(folder))
    store = open_workspace(workspace, demo=demo)
    try:
        with Supervisor(store, workspace):
            yield Clinic(store, workspace, loop_id_of(store, DEMO_LOOP) if demo else "")
    finally:
        store.close()


def finished(place: Clinic, run_id: str) -> dict[str, Any]:
    """The figures of a run's evaluation, when it has ended well; RunError otherwise."""
    run = wait_for_run(place.store, run_id)
    if run.status is not RunStatus.DONE or run.model_version_id is None:
        raise RunError(f"run {run_id} ended as {run.status}: {run.message}")
    return read_evaluation(place.store, run.model_version_id) or {}


def kept(file: Path) -> list[dict[str, Any]]:
    """What was measured so far; a measurement that was cut off goes on from there. Remove the file to begin anew."""
    return json.loads(file.read_text())["results"] if file.exists() else []


def keep(file: Path, results: list[dict[str, Any]]) -> None:
    """Write what was measured, so that the picture can be drawn again without training."""
    lines = ",\n".join(json.dumps(row) for row in results)
    file.write_text(f'{{"at": "{time.strftime("%Y-%m-%d")}", "results": [\n{lines}\n]}}\n')


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)
