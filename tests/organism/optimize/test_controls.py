"""Runs that wait or have ended: paused, stopped, put in line again, cloned, tried again, named. Nothing trains here."""

import threading
from pathlib import Path

import pytest

from organism.config import Workspace, utcnow
from organism.errors import DesignError, InputError, RunError
from organism.optimize.controls import LONGEST_LINE, log_tail
from organism.optimize.flow import (
    SftConfig,
    clone_run,
    free_name,
    named,
    pause_run,
    read_run,
    resume_run,
    retry_run,
    start_run,
    stop_run,
    wait_for_run,
)
from organism.optimize.runs import RunFolder
from organism.records import RunStatus
from organism.store.database import Store
from organism.store.loops import ensure_loop
from organism.store.training_runs import change_run, claim_run, find_run, update_run
from tests.organism.optimize.test_supervisor import freeze

NOW = utcnow()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def loop_id(store: Store) -> str:
    return ensure_loop(store, "clinical-notes", NOW)


@pytest.fixture
def run_id(store: Store, workspace: Workspace, loop_id: str, tiny_base: Path) -> str:
    """A queued run named `first`."""
    config = SftConfig(base=str(tiny_base))
    return start_run(store, workspace, loop_id, freeze(store, loop_id, 24, 3), config, name=" first ", now=utcnow())


def _end(store: Store, run_id: str, status: RunStatus = RunStatus.FAILED) -> None:
    update_run(store, run_id, {"status": str(status), "started_at": NOW, "finished_at": NOW})


def test_a_waiting_run_is_paused_and_goes_on_waiting(store: Store, workspace: Workspace, run_id: str) -> None:
    assert pause_run(store, workspace, run_id) is RunStatus.QUEUED
    assert wait_for_run(store, run_id, timeout=1).status is RunStatus.PAUSED
    with pytest.raises(DesignError, match="is paused; only a run that waits or is at work can be paused"):
        pause_run(store, workspace, run_id)
    resume_run(store, workspace, run_id, now=utcnow())
    assert read_run(store, run_id).status is RunStatus.QUEUED


def test_a_paused_run_is_stopped_and_a_stopped_one_resumed(store: Store, workspace: Workspace, run_id: str) -> None:
    pause_run(store, workspace, run_id)
    assert stop_run(store, workspace, run_id) is RunStatus.PAUSED
    assert read_run(store, run_id).message == "Stopped before it started"
    resume_run(store, workspace, run_id, now=utcnow())
    with pytest.raises(DesignError, match="is queued; only a paused, stopped, interrupted or failed run"):
        resume_run(store, workspace, run_id, now=utcnow())


def test_a_run_that_a_supervisor_takes_in_the_same_moment_is_asked_to_end(
    store: Store, workspace: Workspace, run_id: str
) -> None:
    folder = RunFolder(workspace.runs / run_id)
    for ask, word in ((pause_run, "pause"), (stop_run, "")):
        update_run(store, run_id, {"status": str(RunStatus.QUEUED)})
        go_on = threading.Event()
        store.submit(lambda cursor, go_on=go_on: go_on.wait(5))  # the writer is busy: all that follows stands in line
        taken = store.submit(lambda cursor: claim_run(cursor, run_id, utcnow()), "training_runs")
        threading.Timer(0.1, go_on.set).start()
        assert ask(store, workspace, run_id) is RunStatus.RUNNING, "as it stood when it was asked, not when it was read"
        assert taken.result()
        assert read_run(store, run_id).status is RunStatus.RUNNING
        assert folder.stop.read_text() == word


def test_of_two_who_resume_a_run_at_once_one_does(store: Store, workspace: Workspace, run_id: str) -> None:
    _end(store, run_id)
    go_on = threading.Event()
    store.submit(lambda cursor: go_on.wait(5))
    resumed = {"status": str(RunStatus.RUNNING)}
    store.submit(lambda cursor: change_run(cursor, run_id, resumed), "training_runs")
    threading.Timer(0.1, go_on.set).start()
    with pytest.raises(DesignError, match="is running; only a paused, stopped, interrupted or failed run"):
        resume_run(store, workspace, run_id, now=utcnow())


@pytest.mark.parametrize("status", [RunStatus.DONE, RunStatus.STOPPED, RunStatus.FAILED, RunStatus.INTERRUPTED])
def test_a_run_that_has_ended_is_not_paused(store: Store, workspace: Workspace, run_id: str, status: RunStatus) -> None:
    _end(store, run_id, status)
    with pytest.raises(DesignError, match=f"is {status}; only a run that waits or is at work can be paused"):
        pause_run(store, workspace, run_id)


def test_a_clone_learns_the_same_rows_with_other_settings(store: Store, workspace: Workspace, run_id: str) -> None:
    made = read_run(store, clone_run(store, workspace, run_id, {"epochs": 1}, now=utcnow()))
    first = read_run(store, run_id)
    assert (made.parent_run_id, made.name, made.status) == (run_id, "first 2", RunStatus.QUEUED)
    assert {**first.config, "epochs": 1} == made.config
    folders = [RunFolder(workspace.runs / run) for run in (run_id, made.run_id)]
    assert folders[0].examples() == folders[1].examples()
    assert folders[0].heldout() == folders[1].heldout()
    assert folders[1].config() == SftConfig(base=made.config["base"], epochs=1)
    assert folders[1].description()["dataset_hash"] == folders[0].description()["dataset_hash"]


def test_a_clone_that_cannot_be_leaves_nothing(store: Store, workspace: Workspace, run_id: str) -> None:
    def clone(changes: dict[str, object], name: str | None = None) -> None:
        clone_run(store, workspace, run_id, changes, name=name, now=utcnow())

    with pytest.raises(DesignError, match="a fine-tune has no setting 'speed'"):
        clone({"speed": 2})
    with pytest.raises(DesignError, match="epochs is 0; give a number from 1 to 50"):
        clone({"epochs": 0})
    with pytest.raises(DesignError, match=r"epochs is 2\.5; give a whole number"):
        clone({"epochs": 2.5})
    with pytest.raises(DesignError, match=f"run {run_id} is already at work on the same rows"):
        clone({})
    with pytest.raises(DesignError, match=f"the name 'first' belongs to run {run_id} already"):
        clone({"epochs": 1}, name="first")
    assert [folder.name for folder in workspace.runs.iterdir()] == [run_id]
    (workspace.runs / run_id / "config.json").unlink()
    with pytest.raises(RunError, match="of this run is gone; start a new run"):
        clone({"epochs": 1})


def test_a_run_is_tried_again_only_when_it_has_ended(store: Store, workspace: Workspace, run_id: str) -> None:
    with pytest.raises(DesignError, match="is queued; only a run that has ended can be tried again"):
        retry_run(store, workspace, run_id, now=utcnow())
    _end(store, run_id)
    again = read_run(store, retry_run(store, workspace, run_id, now=utcnow()))
    assert (again.parent_run_id, again.name, again.started_at) == (run_id, "first 2", None)
    assert again.config == read_run(store, run_id).config
    assert read_run(store, run_id).status is RunStatus.FAILED


def test_two_runs_of_a_loop_share_no_name_and_other_loops_may(
    store: Store, workspace: Workspace, run_id: str, loop_id: str, tiny_base: Path
) -> None:
    config = SftConfig(base=str(tiny_base), seed=5)
    _end(store, run_id, RunStatus.DONE)
    with pytest.raises(DesignError, match=f"the name 'first' belongs to run {run_id} already; give this one another"):
        start_run(store, workspace, loop_id, freeze(store, loop_id, 24, 3), config, name="first", now=utcnow())
    other = ensure_loop(store, "mail", NOW)
    made = start_run(store, workspace, other, freeze(store, other, 24, 3), config, name="first", now=utcnow())
    assert read_run(store, made).name == "first"


def test_a_name_is_one_short_line() -> None:
    assert [named(None), named("  "), named(" a b ")] == [None, None, "a b"]
    for bad in ("x" * 101, "two\nlines"):
        with pytest.raises(DesignError, match="give one line of up to 100 letters"):
            named(bad)


def test_a_free_name_counts_on() -> None:
    assert free_name((), "long") == "long"
    assert free_name({"long"}, "long") == "long 2"
    assert free_name({"long", "long 2", "long 3"}, "long 2") == "long 4"


def test_a_run_is_found_by_its_name_and_by_either_end_of_its_id(store: Store, loop_id: str, run_id: str) -> None:
    for ref in ("first", run_id, run_id[-6:], run_id[:30]):
        assert find_run(store, loop_id, ref).run_id == run_id
    for ref in ("second", "", "%"):
        with pytest.raises(InputError, match="no run has the id or name"):
            find_run(store, loop_id, ref)


def test_an_end_that_two_runs_share_means_neither(
    store: Store, workspace: Workspace, loop_id: str, run_id: str
) -> None:
    clone_run(store, workspace, run_id, {"seed": 1}, now=utcnow())
    with pytest.raises(InputError, match="of 2 runs' ids; give more of it"):
        find_run(store, loop_id, run_id[:2])


def test_the_end_of_a_log_is_its_last_lines(workspace: Workspace) -> None:
    assert log_tail(workspace, "nobody") == []
    folder = RunFolder(workspace.runs / "r")
    folder.path.mkdir(parents=True)
    folder.log.write_bytes(b"".join(b"line %d\n" % n for n in range(90)) + b"\xff" * 3 + b"x" * 9000)
    tail = log_tail(workspace, "r", 3)
    assert tail[:2] == ["line 88", "line 89"]
    assert len(tail[2]) == LONGEST_LINE
    assert log_tail(workspace, "r", 0) == []
    assert len(log_tail(workspace, "r")) == 40
