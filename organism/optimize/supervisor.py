"""A thread that starts queued runs, as many at once as the cap allows, and follows them by their files to the end.

Children are sessions of their own: they outlive this process, and the next supervisor takes them up again.
"""

import logging
import shutil
import subprocess
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import psutil

from organism.config import Workspace, utcnow
from organism.errors import OrganismError, RunError
from organism.optimize.places import spawn
from organism.optimize.registration import register
from organism.optimize.run_settings import RunSettings, read_run_settings
from organism.optimize.runs import RunFolder, Status
from organism.records import RunStatus
from organism.store.database import DatabaseError, Store
from organism.store.training_runs import TrainingRun, claim_run, read_active_runs, update_run

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
        self._last_settings = RunSettings()
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
        """One round: follow what runs, then start what waits. What is wrong with one run holds up no other."""
        runs = read_active_runs(self.store)
        settings = self._settings()
        at_work = [run for run in runs if run.status is not RunStatus.QUEUED]
        for run in at_work:
            try:
                self._follow(run, now, settings)
            except (OrganismError, OSError, DatabaseError):
                LOG.exception("run %s could not be followed; it is looked at again", run.run_id)
        free = settings.max_runs - sum(run.is_here for run in at_work)
        for run in runs:
            if run.status is RunStatus.QUEUED and (free > 0 or not run.is_here):
                self._launch(run, now, settings.max_runs)
                free -= run.is_here

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                self.look(utcnow())
            except Exception:
                # A full disk, a locked file or a bug today must not end the watch over the runs of tomorrow: nobody
                # would notice that this thread is gone.
                LOG.exception("the supervisor could not finish a round; it tries again")
            self._closing.wait(POLL_SECONDS)

    def _settings(self) -> RunSettings:
        """What holds now; while the file is broken, what held before: runs are followed all the same."""
        try:
            self._last_settings = read_run_settings(self.workspace)
        except OrganismError as error:
            LOG.warning("%s", error)
        return self._last_settings

    def _launch(self, run: TrainingRun, now: datetime, cap: int) -> None:
        if not self.store.write(lambda cursor: claim_run(cursor, run.run_id, now, cap), "training_runs"):
            return
        folder = RunFolder(self.workspace.runs / run.run_id)
        try:
            child = spawn(folder, run.place)
        except (OSError, OrganismError) as error:
            message = f"the training process could not be started: {error}. Mend that, then resume the run."
            self._end(run, RunStatus.FAILED, message, now)
            return
        self._children[run.run_id] = child
        update_run(self.store, run.run_id, {"pid": child.pid, "pid_started_at": born(child.pid)})

    def _follow(self, run: TrainingRun, now: datetime, settings: RunSettings) -> None:
        if child := self._children.get(run.run_id):
            child.poll()  # reaps it, so that a dead child is not taken for a living one
        folder = RunFolder(self.workspace.runs / run.run_id)
        # Liveness first: a child that ends in between has then written its last word.
        alive = is_alive(run.pid, run.pid_started_at)
        try:
            status = folder.status()
            alive = alive or is_alive(status.pid, status.pid_started_at)
            news = _news(status, settings)
            if status.state is RunStatus.DONE:
                register(self.store, run, folder, news, now)
                self._children.pop(run.run_id, None)
            elif status.state is RunStatus.STOPPED and folder.is_to_pause():
                self._end(run, RunStatus.PAUSED, status.message.replace("Stopped", "Paused", 1), now, news)
            elif status.state in (RunStatus.STOPPED, RunStatus.FAILED):
                self._end(run, status.state, status.message, now, news)
            elif alive:
                self._report(run, status, news)
            elif run.pid is not None or run.started_at is None or now - run.started_at > STARTING:
                told = NO_NEWS if status.state is RunStatus.QUEUED else news
                self._end(run, RunStatus.INTERRUPTED, why_it_died(folder), now, told)
        except RunError as error:
            self._end(run, RunStatus.FAILED, str(error), now)

    def _report(self, run: TrainingRun, status: Status, news: Mapping[str, Any]) -> None:
        """Copy the child's word into the store, when it is news."""
        if status.state is RunStatus.QUEUED:
            return
        if any(value != getattr(run, name) for name, value in news.items()):
            update_run(self.store, run.run_id, news)

    def _end(
        self, run: TrainingRun, status: RunStatus, message: str, now: datetime, news: Mapping[str, Any] = NO_NEWS
    ) -> None:
        """Close the run in one write, with the last that its child said, so that nobody reads half of it."""
        ended = {} if status is RunStatus.PAUSED else {"finished_at": now, "seconds_left": None}
        update_run(self.store, run.run_id, {**news, "status": str(status), "message": message, **ended})
        self._children.pop(run.run_id, None)


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
    if not folder.path.is_dir():
        return f"the folder {folder.path} of this run is gone, and its training process with it; start a new run"
    if shutil.disk_usage(folder.path).free < ALMOST_FULL:
        return (
            f"the disk that holds {folder.path} is full, and the training process ended; free some space, then resume"
        )
    return (
        "the training process vanished (killed, out of memory, or the machine restarted); "
        "resume it: it goes on from its last checkpoint. log.txt in the run's folder has its last words"
    )


def _news(status: Status, settings: RunSettings) -> dict[str, Any]:
    """What the child says, in the columns of the store."""
    told = "message step total_steps loss tokens_per_second learning_rate reward memory_mb seconds_left seconds".split()
    said = {name: getattr(status, name) for name in told}
    return {"status": str(status.state), **said, "cost_usd": settings.cost(status.seconds)}
