"""Runs, from the queue to a registered version: real children on a tiny model, stopped, killed and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from organism.config import ROOT, Workspace, utcnow
from organism.errors import DesignError
from organism.optimize.configs import SftConfig
from organism.optimize.flow import (
    Supervisor,
    TrainingRun,
    read_eval_results,
    read_evaluation,
    read_progress,
    read_run,
    resume_run,
    start_run,
    stop_run,
    wait_for_run,
)
from organism.optimize.places import spawn
from organism.optimize.runs import Example, RunFolder, Status, make_run_folder, training_steps
from organism.records import RunStatus, content_hash, new_id
from organism.store.database import Store
from organism.store.datasets import append_dataset
from organism.store.loops import ensure_loop
from organism.store.model_versions import read_version
from organism.store.schema import open_store
from organism.store.training_runs import insert_run

NOW = datetime(2026, 9, 7, 8)
N_ROWS, N_HELDOUT, EPOCHS, BATCH = 64, 9, 5, 4
N_STEPS = N_ROWS * EPOCHS // BATCH


@dataclass
class Story:
    """What was seen on the way."""

    store: Store
    workspace: Workspace
    loop_id: str
    straight: str = ""
    broken: str = ""
    twin_error: str = ""
    told: list[tuple[float, str]] = field(default_factory=list)
    second_in_line: RunStatus | None = None
    versions_of_others: tuple[int, int] = (0, 0)
    stopped: TrainingRun | None = None
    seconds_to_stop: float = 0.0
    interrupted: TrainingRun | None = None
    full_disk: Status | None = None

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.workspace.runs / run_id)

    def reach(self, run_id: str, step: int) -> None:
        """Wait until the run has made this step."""
        _wait_until(lambda: bool((steps := training_steps(self.folder(run_id))) and steps[-1]["step"] >= step))


def _wait_until(reached: Callable[[], bool], seconds: float = 200.0) -> None:
    ends_at = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.01)


def _example(n: int) -> dict[str, Any]:
    return {
        "interaction_id": new_id(NOW),
        "feedback_id": new_id(NOW),
        "user_key": f"user {n % 3}",
        "prompt": f"Patient {n} takes drug {n} mg.",
        "completion": f"Note: drug {n} mg.",
        "facts": json.dumps([{"kind": "drug_dose", "any_of": [f"drug {n} mg"]}]),
    }


def freeze(store: Store, loop_id: str, n_train: int, n_heldout: int) -> str:
    """A dataset with this many rows."""
    rows = [{**_example(n), "split": "train" if n < n_train else "heldout"} for n in range(n_train + n_heldout)]
    header = {
        "dataset_id": new_id(NOW),
        "loop_id": loop_id,
        "name": "notes",
        "content_hash": content_hash([row["prompt"] for row in rows]),
        "n_train": n_train,
        "n_heldout": n_heldout,
        "n_users_train": 3,
        "n_users_heldout": 3,
        "dropped": {},
        "created_at": NOW,
    }
    append_dataset(store, header, [{**row, "row_number": n} for n, row in enumerate(rows)])
    return str(header["dataset_id"])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Story]:
    """One run goes straight through; the same run again is stopped, resumed, adopted, killed, and resumed."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    store = open_store(workspace.database)
    told = Story(store, workspace, ensure_loop(store, "clinical-notes", NOW))
    dataset_id = freeze(store, told.loop_id, N_ROWS, N_HELDOUT)
    config = SftConfig(
        base=str(tiny_base), epochs=EPOCHS, batch_size=BATCH, checkpoint_every=8, max_new_tokens=12, threads=1
    )

    def start(settings: SftConfig = config) -> str:
        return start_run(store, workspace, told.loop_id, dataset_id, settings, now=utcnow())

    with Supervisor(store, workspace):
        _go_straight(told, start, config)
        full_disk = _start_on_a_full_disk(told, config)
        told.broken = start()
        told.reach(told.broken, 10)
        asked_at = time.monotonic()
        stop_run(store, workspace, told.broken)
        told.stopped = wait_for_run(store, told.broken, timeout=200)
        told.seconds_to_stop = time.monotonic() - asked_at
        resume_run(store, workspace, told.broken, now=utcnow())
        told.reach(told.broken, told.stopped.step or 0)
        _wait_until(lambda: read_run(store, told.broken).pid is not None)
    # The application restarts here: another supervisor finds the child at work.
    with Supervisor(store, workspace):
        told.reach(told.broken, 30)
        os.kill(read_run(store, told.broken).pid or 0, signal.SIGKILL)
        told.interrupted = wait_for_run(store, told.broken, timeout=200)
        resume_run(store, workspace, told.broken, now=utcnow())
        wait_for_run(store, told.broken, timeout=200)
    full_disk.wait(200)
    told.full_disk = RunFolder(workspace.runs / "full").status()
    yield told
    store.close()


def _go_straight(story: Story, start: Callable[..., str], config: SftConfig) -> None:
    others = ("model_versions", "eval_runs", "interactions", "datasets")
    before = story.store.version(*others)
    story.straight = start()
    with pytest.raises(DesignError) as caught:
        start()
    story.twin_error = str(caught.value)
    waiting = start(SftConfig(**{**asdict(config), "seed": 1}))
    story.reach(story.straight, N_STEPS // 2)
    story.second_in_line = stop_run(story.store, story.workspace, waiting)
    story.versions_of_others = (before, story.store.version(*others))
    wait_for_run(story.store, story.straight, lambda *news: story.told.append(news), timeout=200)


def _start_on_a_full_disk(story: Story, config: SftConfig) -> subprocess.Popen[bytes]:
    examples = [Example(f"Patient {n}", f"Note {n}", "u", str(n)) for n in range(24)]
    description = {"recipe": "sft", "config": asdict(config), "dataset_id": None}
    folder = make_run_folder(story.workspace.runs / "full", description, examples, examples[:2])
    folder.progress.symlink_to("/dev/full")
    return spawn(folder)


def test_a_run_ends_as_a_version_with_its_lineage_and_its_figures(story: Story) -> None:
    run = read_run(story.store, story.straight)
    assert (run.status, run.step, run.total_steps) == (RunStatus.DONE, N_STEPS, N_STEPS)
    version = read_version(story.store, run.model_version_id or "")
    assert (version.name, version.run_id, version.dataset_id) == ("notes-1", run.run_id, run.dataset_id)
    assert story.workspace.locate(version.adapter_path or "") == story.folder(run.run_id).adapter
    evaluation = read_evaluation(story.store, version.model_version_id)
    assert evaluation is not None
    assert (evaluation["n_rows"], evaluation["n_users"]) == (N_HELDOUT, 3)
    results = read_eval_results(story.store, version.model_version_id)
    assert list(results["final_text"]) == [f"Note: drug {n} mg." for n in range(N_ROWS, N_ROWS + N_HELDOUT)]
    assert len(results["measures"].iloc[0]["facts"]) == 1


def test_what_training_learned_is_in_the_drafts_and_so_is_the_end(story: Story) -> None:
    run = read_run(story.store, story.straight)
    losses = read_progress(story.workspace, run.run_id)["loss"]
    assert losses.iloc[-10:].mean() < 0.9 * losses.iloc[:3].mean()
    measures = read_eval_results(story.store, run.model_version_id or "")["measures"]
    assert {row["tokens_before"] for row in measures} == {12}, "a random model writes on until it is cut off"
    assert all(row["tokens_after"] < 12 for row in measures)


def test_progress_names_every_step_with_its_speed(story: Story) -> None:
    progress = read_progress(story.workspace, story.straight)
    assert list(progress["step"]) == list(range(1, N_STEPS + 1))
    assert set(progress["total"]) == {N_STEPS}
    assert (progress["target_tokens_per_second"] < progress["tokens_per_second"]).all()
    assert (progress["target_tokens_per_second"] > 0).all()
    assert progress["seconds_left"].iloc[-1] == 0
    assert abs((progress["at"].iloc[-1] - utcnow()).total_seconds()) < 600
    assert read_progress(story.workspace, "unknown").empty


def test_waiting_tells_how_far_it_is(story: Story) -> None:
    shares = [share for share, _ in story.told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any(text.startswith("Step ") for _, text in story.told)


def test_the_progress_of_a_run_leaves_the_versions_of_other_tables_alone(story: Story) -> None:
    assert story.versions_of_others[0] == story.versions_of_others[1]


def test_the_same_run_is_not_started_twice_and_the_next_waits_for_the_first(story: Story) -> None:
    assert f"run {story.straight} is already at work on the same rows with the same settings" in story.twin_error
    assert story.second_in_line is RunStatus.QUEUED


def test_a_stopped_run_ends_within_seconds_and_keeps_its_checkpoint(story: Story) -> None:
    assert story.stopped is not None
    assert story.stopped.status is RunStatus.STOPPED
    assert story.stopped.message == f"Stopped after step {story.stopped.step} of {N_STEPS}"
    assert story.seconds_to_stop < 10


def test_a_killed_worker_is_found_out_by_the_next_supervisor(story: Story) -> None:
    assert story.interrupted is not None
    assert story.interrupted.status is RunStatus.INTERRUPTED
    assert "resume it: it goes on from its last checkpoint" in (story.interrupted.message or "")


def test_a_run_that_was_stopped_and_killed_ends_bit_identical_to_a_straight_one(story: Story) -> None:
    assert read_run(story.store, story.broken).status is RunStatus.DONE
    straight, broken = (
        load_file(story.folder(run_id).adapter / "adapter_model.safetensors")
        for run_id in (story.straight, story.broken)
    )
    assert straight.keys() == broken.keys()
    assert all((straight[name] == broken[name]).all() for name in straight)
    curves = [read_progress(story.workspace, run_id)["loss"] for run_id in (story.straight, story.broken)]
    assert list(curves[0]) == list(curves[1])


def test_the_next_version_gets_the_next_number(story: Story) -> None:
    run = read_run(story.store, story.broken)
    assert read_version(story.store, run.model_version_id or "").name == "notes-2"


def test_a_full_disk_fails_the_run_with_a_sentence(story: Story) -> None:
    assert story.full_disk is not None
    assert story.full_disk.state is RunStatus.FAILED
    assert "is full" in story.full_disk.message


def test_a_run_whose_folder_is_gone_holds_up_no_other(store: Store, tmp_path: Path) -> None:
    loop_id = ensure_loop(store, "clinical-notes", NOW)
    run = TrainingRun(
        run_id="gone", loop_id=loop_id, dataset_id="d", reward_design_id=None, recipe="sft", config={"base": "b"},
        status=RunStatus.RUNNING, created_at=NOW, started_at=NOW,
    )  # fmt: skip
    (tmp_path / "runs" / "died").mkdir(parents=True)
    RunFolder(tmp_path / "runs" / "died").write_status(Status(RunStatus.RUNNING, "Step 3", step=3, seconds=7.0))
    for one in (run, replace(run, run_id="died"), replace(run, run_id="next", status=RunStatus.QUEUED)):
        store.write(lambda cursor, one=one: insert_run(cursor, one), "training_runs")
    supervisor = Supervisor(store, Workspace(tmp_path))
    supervisor.look(NOW + timedelta(hours=1))
    gone, died = read_run(store, "gone"), read_run(store, "died")
    assert (gone.status, died.status) == (RunStatus.INTERRUPTED, RunStatus.INTERRUPTED)
    assert "of this run is gone" in (gone.message or "")
    assert (died.step, died.seconds, died.finished_at) == (3, 7.0, NOW + timedelta(hours=1))
    supervisor.look(NOW + timedelta(hours=1))
    started = read_run(store, "next")
    assert (started.status, "could not be started" in (started.message or "")) == (RunStatus.FAILED, True)


def test_a_run_that_is_done_is_neither_stopped_nor_resumed(story: Story) -> None:
    assert stop_run(story.store, story.workspace, story.straight) is RunStatus.DONE
    assert not story.folder(story.straight).stop.exists()
    with pytest.raises(DesignError, match="is done; only a paused, stopped, interrupted or failed run can be resumed"):
        resume_run(story.store, story.workspace, story.straight, now=utcnow())


def test_the_worker_never_loads_the_store_or_the_pages() -> None:
    modules = "organism.optimize.worker, organism.optimize.recipes.sft, organism.optimize.evaluation"
    code = f"import sys, {modules}; print(*[m for m in ('duckdb', 'streamlit', 'organism.store') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
