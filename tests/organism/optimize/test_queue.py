"""The queue on a tiny model: as many at once as the cap says, one pauses and makes room, time and cost add up."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from organism.config import Workspace, utcnow
from organism.optimize.flow import (
    SftConfig,
    Supervisor,
    TrainingRun,
    pause_run,
    read_progress,
    read_run,
    resume_run,
    set_cap,
    set_price,
    start_run,
    stop_run,
    wait_for_run,
)
from organism.optimize.runs import RunFolder, training_steps
from organism.records import RunStatus
from organism.store.database import Store
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.optimize.test_supervisor import freeze

NOW = datetime(2026, 9, 7, 8)
USD_PER_HOUR = 3.6


@dataclass
class Queue:
    """What was seen of four runs under a cap of two."""

    store: Store
    workspace: Workspace
    runs: list[str] = field(default_factory=list)
    together: list[RunStatus] = field(default_factory=list)
    paused: TrainingRun | None = None
    took_the_place: RunStatus | None = None

    def states(self) -> list[RunStatus]:
        return [read_run(self.store, run_id).status for run_id in self.runs]


def _until(reached: Callable[[], bool], seconds: float = 300.0) -> None:
    ends_at = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Queue]:
    """Two of three runs train; the first pauses, the third takes its place and is stopped; the first goes on."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    store = open_store(workspace.database)
    loop_id = ensure_loop(store, "clinical-notes", NOW)
    dataset_id = freeze(store, loop_id, 40, 3)
    set_cap(workspace, 2)
    set_price(workspace, USD_PER_HOUR)
    seen = Queue(store, workspace)
    for seed in range(3):
        config = SftConfig(
            base=str(tiny_base), seed=seed, epochs=40, batch_size=2, checkpoint_every=50, max_new_tokens=8, threads=1
        )
        seen.runs.append(start_run(store, workspace, loop_id, dataset_id, config, now=utcnow()))
    first, second, third = seen.runs
    with Supervisor(store, workspace):
        _until(lambda: len(training_steps(RunFolder(workspace.runs / first))) > 5)
        seen.together = seen.states()
        pause_run(store, workspace, first)
        seen.paused = wait_for_run(store, first, timeout=200)
        _until(lambda: read_run(store, third).status is not RunStatus.QUEUED)
        seen.took_the_place = read_run(store, third).status
        stop_run(store, workspace, third)
        resume_run(store, workspace, first, now=utcnow())
        for run_id in (first, second, third):
            wait_for_run(store, run_id, timeout=200)
    yield seen
    store.close()


def test_two_train_at_once_and_the_third_waits(queue: Queue) -> None:
    at_work = (RunStatus.RUNNING, RunStatus.EVALUATING)
    assert queue.together[0] in at_work
    assert queue.together[1] in at_work
    assert queue.together[2] is RunStatus.QUEUED


def test_a_paused_run_keeps_its_step_and_makes_room(queue: Queue) -> None:
    assert queue.paused is not None
    assert queue.paused.status is RunStatus.PAUSED
    assert queue.paused.message == f"Paused after step {queue.paused.step} of 800"
    assert queue.took_the_place is RunStatus.RUNNING


def test_a_paused_run_goes_on_where_it_was_and_ends(queue: Queue) -> None:
    assert queue.paused is not None
    assert queue.states() == [RunStatus.DONE, RunStatus.DONE, RunStatus.STOPPED]
    progress = read_progress(queue.workspace, queue.runs[0])
    assert list(progress["step"]) == list(range(1, 801))
    resumed_at = progress["at"].diff().dt.total_seconds().idxmax()
    assert progress["step"].iloc[resumed_at] == (queue.paused.step or 0) + 1, "not one step was trained twice"


def test_time_at_work_adds_up_over_a_pause_and_costs_what_was_stated(queue: Queue) -> None:
    assert queue.paused is not None
    done = read_run(queue.store, queue.runs[0])
    assert done.seconds is not None
    assert queue.paused.seconds is not None
    assert 0 < queue.paused.seconds < done.seconds
    assert done.finished_at is not None
    assert done.seconds < (done.finished_at - done.created_at).total_seconds()
    assert done.cost_usd == pytest.approx(done.seconds / 3600 * USD_PER_HOUR)


def test_a_run_tells_its_learning_rate_and_memory(queue: Queue) -> None:
    done = read_run(queue.store, queue.runs[1])
    assert done.learning_rate is not None
    assert done.memory_mb is not None
    assert done.memory_mb > 50
    assert done.seconds_left is None
