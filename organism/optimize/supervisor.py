"""A thread that starts queued runs one at a time, follows them by their files, and registers what they made.

Children are sessions of their own: they outlive this process, and the next supervisor takes them up again.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from organism.config import ROOT, Workspace, utcnow
from organism.errors import OrganismError, RunError
from organism.optimize.catalog import RECIPES
from organism.optimize.runs import RunFolder, Status
from organism.records import ModelVersion, Recipe, RunStatus, new_id
from organism.store.database import Cursor, DatabaseError, Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.loops import read_loops
from organism.store.model_versions import ensure_base, insert_version, next_name
from organism.store.training_runs import (
    TrainingRun,
    change_run,
    claim_run,
    is_done,
    read_active_runs,
    update_run,
)

POLL_SECONDS = 0.5
STARTING = timedelta(seconds=30)
ALMOST_FULL = 16 << 20
NO_NEWS: Mapping[str, Any] = {}
LOG = logging.getLogger("organism.optimize")


class Supervisor:
    """Start it once a process. Several do no harm: a run is claimed in the store before it is started."""

    def __init__(self, store: Store, workspace: Workspace) -> None:
        self.store, self.workspace = store, workspace
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="run-supervisor", daemon=True)

    def start(self) -> Self:
        """Begin to watch; runs that an earlier process left are taken up or marked as interrupted."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop watching. Children go on, and are taken up again by the next supervisor."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def look(self, now: datetime) -> None:
        """One round: follow what runs, then start what waits."""
        runs = read_active_runs(self.store)
        at_work = [run for run in runs if run.status is not RunStatus.QUEUED]
        for run in at_work:
            self._follow(run, now)
        if runs and not at_work:
            self._launch(runs[0], now)

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                self.look(utcnow())
            except (OrganismError, OSError, DatabaseError):
                # A full disk or a locked file today must not end the watch over the runs of tomorrow.
                LOG.exception("the supervisor could not finish a round; it tries again")
            self._closing.wait(POLL_SECONDS)

    def _launch(self, run: TrainingRun, now: datetime) -> None:
        if not self.store.write(lambda cursor: claim_run(cursor, run.run_id, now), "training_runs"):
            return
        folder = RunFolder(self.workspace.runs / run.run_id)
        try:
            child = spawn(folder)
        except OSError as error:
            message = f"the training process could not be started: {error}. Mend that, then resume the run."
            self._end(run, RunStatus.FAILED, message, now)
            return
        self._children[run.run_id] = child
        update_run(self.store, run.run_id, {"pid": child.pid, "pid_started_at": born(child.pid)})

    def _follow(self, run: TrainingRun, now: datetime) -> None:
        if child := self._children.get(run.run_id):
            child.poll()  # reaps it, so that a dead child is not taken for a living one
        folder = RunFolder(self.workspace.runs / run.run_id)
        # Liveness first: a child that ends in between has then written its last word.
        alive = is_alive(run.pid, run.pid_started_at)
        try:
            status = folder.status()
            alive = alive or is_alive(status.pid, status.pid_started_at)
            if status.state is RunStatus.DONE:
                register(self.store, run, folder, now)
            elif status.state in (RunStatus.STOPPED, RunStatus.FAILED):
                self._end(run, status.state, status.message, now, _news(status))
            elif alive:
                self._report(run, status)
            elif run.pid is not None or run.started_at is None or now - run.started_at > STARTING:
                self._end(run, RunStatus.INTERRUPTED, why_it_died(folder), now)
        except RunError as error:
            self._end(run, RunStatus.FAILED, str(error), now)

    def _report(self, run: TrainingRun, status: Status) -> None:
        """Copy the child's word into the store, when it is news."""
        if status.state is RunStatus.QUEUED:
            return
        news = _news(status)
        if any(value != getattr(run, name) for name, value in news.items()):
            update_run(self.store, run.run_id, news)

    def _end(
        self, run: TrainingRun, status: RunStatus, message: str, now: datetime, news: Mapping[str, Any] = NO_NEWS
    ) -> None:
        """Close the run in one write, with the last that its child said, so that nobody reads half of it."""
        last = {**news, "status": str(status), "message": message, "finished_at": now}
        update_run(self.store, run.run_id, last)
        self._children.pop(run.run_id, None)


def spawn(folder: RunFolder) -> subprocess.Popen[bytes]:
    """Start the worker on this folder in a session of its own, its words going to log.txt."""
    folder.write_status(Status(RunStatus.QUEUED, "Starting"))
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "organism.optimize.worker", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def born(pid: int) -> float | None:
    """When the process began: with its number it names one process, since numbers are used again."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def is_alive(pid: int | None, started_at: float | None) -> bool:
    """Whether the process with this number is still the one that began then."""
    if pid is None or started_at is None:
        return False
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started_at) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def why_it_died(folder: RunFolder) -> str:
    """One sentence for a child that vanished without a last word."""
    if shutil.disk_usage(folder.path).free < ALMOST_FULL:
        return (
            f"the disk that holds {folder.path} is full, and the training process ended; free some space, then resume"
        )
    return (
        "the training process vanished (killed, out of memory, or the machine restarted); "
        "resume it: it goes on from its last checkpoint. log.txt in the run's folder has its last words"
    )


def register(store: Store, run: TrainingRun, folder: RunFolder, now: datetime) -> None:
    """Make a finished run a model version with its evaluation, all in one transaction; a second time does nothing."""
    evaluation, last = read_result(folder.evaluation), folder.status()
    stem = short_name(read_loops(store).set_index("loop_id")["name"][run.loop_id])

    def work(cursor: Cursor) -> None:
        if is_done(cursor, run.run_id):
            return
        base_id = ensure_base(cursor, run.loop_id, run.config["base"], now)
        version = _version(run, next_name(cursor, run.loop_id, stem), now)
        insert_version(cursor, version)
        record = EvalRun(
            eval_run_id=new_id(now),
            loop_id=run.loop_id,
            run_id=run.run_id,
            model_version_id=version.model_version_id,
            baseline_version_id=base_id,
            dataset_id=run.dataset_id,
            summary=evaluation["summary"],
            created_at=now,
        )
        insert_evaluation(cursor, record, evaluation["rows"])
        made = {"finished_at": now, "model_version_id": version.model_version_id}
        change_run(cursor, run.run_id, {**_news(last), **made})

    store.write(work, "training_runs", "model_versions", "eval_runs")


def _version(run: TrainingRun, name: str, now: datetime) -> ModelVersion:
    return ModelVersion(
        model_version_id=new_id(now),
        loop_id=run.loop_id,
        name=name,
        base_path=run.config["base"],
        adapter_path=f"workspace:runs/{run.run_id}/adapter",
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        reward_design_id=run.reward_design_id,
        created_at=now,
        role=RECIPES[Recipe(run.recipe)].makes,
    )


def _news(status: Status) -> dict[str, Any]:
    """What the child says, in the columns of the store."""
    told = ("message step total_steps loss tokens_per_second learning_rate reward memory_mb seconds_left").split()
    said = {name: getattr(status, name) for name in told}
    return {"status": str(status.state), **said}


def read_result(file: Path) -> dict[str, Any]:
    """evaluation.json of a finished run; raises RunError when it is missing or broken."""
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); resume the run to evaluate it again") from error
    return result


def short_name(loop_name: str) -> str:
    """What the versions of a loop are called: the last word of its name, `clinical-scribe` -> `scribe`."""
    words = re.findall(r"[a-z0-9]+", loop_name.casefold())
    return words[-1] if words else "version"
