"""What people do to a run that is in line or at work: stop, pause, resume, and read the end of its log."""

from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from organism.config import Workspace
from organism.errors import DesignError, RunError
from organism.optimize.runs import FINISHED, PAUSE, RunFolder, why_the_disk
from organism.records import RunStatus
from organism.store.database import Cursor, Store
from organism.store.training_runs import ACTIVE, TrainingRun, change_run, find_twin, read_run, status_of

CAN_RESUME = FINISHED - {RunStatus.DONE} | {RunStatus.PAUSED}
LONGEST_LINE = 2_000


def stop_run(store: Store, workspace: Workspace, run_id: str) -> RunStatus:
    """Ask a run to end; it saves a checkpoint and can be resumed. Returns the status at the moment of asking."""
    run = read_run(store, run_id)
    when = "before it started" if run.started_at is None else "while it waited"
    stopped = {"status": str(RunStatus.STOPPED), "message": f"Stopped {when}"}
    status = _change_if(store, run_id, (RunStatus.QUEUED, RunStatus.PAUSED), stopped)
    if status in ACTIVE and status is not RunStatus.QUEUED:
        _ask(workspace, run_id)
    return status


def pause_run(store: Store, workspace: Workspace, run_id: str) -> RunStatus:
    """Ask a run to save a checkpoint and make room for others until it is resumed; a waiting one steps out of line.

    Returns the status at the moment of asking. Raises DesignError for a run that has ended or is paused already.
    """
    read_run(store, run_id)
    paused = {"status": str(RunStatus.PAUSED), "message": "Paused while it waited"}
    status = _change_if(store, run_id, (RunStatus.QUEUED,), paused)
    if status not in ACTIVE:
        raise DesignError(f"run {run_id} is {status}; only a run that waits or is at work can be paused")
    if status is not RunStatus.QUEUED:
        _ask(workspace, run_id, PAUSE)
    return status


def _change_if(store: Store, run_id: str, stands: Collection[RunStatus], changes: Mapping[str, Any]) -> RunStatus:
    """Change a run that stands there, and say where it stood: both in one transaction, since a supervisor may start a
    waiting run at any moment, and a run that is at work must not be written down as stopped.
    """

    def work(cursor: Cursor) -> RunStatus | None:
        status = status_of(cursor, run_id)
        if status in stands:
            change_run(cursor, run_id, changes)
        return status

    status: RunStatus = store.write(work, "training_runs")
    return status


def resume_run(store: Store, workspace: Workspace, run_id: str, *, now: datetime) -> None:
    """Queue a run again that was paused, stopped, interrupted or failed; it goes on from its last checkpoint.

    Raises DesignError when it is active or done, or when its twin is active; RunError when its folder is gone.
    """
    run = read_run(store, run_id)
    _require_resumable(run_id, run.status)
    folder = RunFolder(workspace.runs / run_id)
    if not (folder.path / "config.json").is_file():
        raise RunError(f"the folder {folder.path} of this run is gone; start a new run on the same training set")
    changes = {"status": str(RunStatus.QUEUED), "message": "Waiting to go on", "finished_at": None, "pid": None}

    def work(cursor: Cursor) -> None:
        _require_resumable(run_id, status_of(cursor, run_id))  # of two people who resume it at once, one does
        refuse_twin(cursor, run)
        folder.stop.unlink(missing_ok=True)
        change_run(cursor, run_id, changes)

    store.write(work, "training_runs")


def _require_resumable(run_id: str, status: RunStatus | None) -> None:
    if status not in CAN_RESUME:
        raise DesignError(f"run {run_id} is {status}; only a paused, stopped, interrupted or failed run can be resumed")


def refuse_twin(cursor: Cursor, run: TrainingRun) -> None:
    """Raise DesignError when a run with the same rows and settings is active, inside the writer's transaction."""
    if twin := find_twin(cursor, run):
        raise DesignError(
            f"run {twin} is already at work on the same rows with the same settings; "
            "wait for it, stop it, or change a setting"
        )


def _ask(workspace: Workspace, run_id: str, word: str = "") -> None:
    try:
        RunFolder(workspace.runs / run_id).ask_to_stop(word)
    except OSError as error:
        raise RunError(why_the_disk(error, workspace.runs)) from error


def log_tail(workspace: Workspace, run_id: str, n_lines: int = 40) -> list[str]:
    """The last lines of what the run's process printed, the oldest first; empty before it has printed any."""
    file = RunFolder(workspace.runs / run_id).log
    if n_lines < 1 or not file.is_file():
        return []
    with file.open(encoding="utf-8", errors="replace") as lines:
        return [line.rstrip("\n")[:LONGEST_LINE] for line in deque(lines, maxlen=n_lines)]


def said_of(run: TrainingRun) -> dict[str, Any]:
    """A run as plain data for the wire, without what only its supervisor needs."""
    return {name: getattr(run, name) for name in run.__slots__ if name not in ("pid", "pid_started_at")}
