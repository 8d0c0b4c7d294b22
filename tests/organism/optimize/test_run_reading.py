"""What a script is told of a run: a writer's promised figures and no more, all that was measured of a judge."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from organism.config import Workspace
from organism.errors import RunError
from organism.optimize.catalog import RECIPES
from organism.optimize.registration import register
from organism.optimize.run_reading import SCRIPTED, describe_run, outcome_of, recipe_as_data
from organism.optimize.runs import RunFolder, append_line, training_steps
from organism.optimize.worker import Worker
from organism.records import Recipe, RunStatus
from organism.store.database import Store
from organism.store.loops import ensure_loop
from organism.store.training_runs import TrainingRun, insert_run, read_run
from organism.wire import as_json

NOW = datetime(2026, 9, 7, 8)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def _ended(store: Store, workspace: Workspace, recipe: Recipe, summary: dict[str, Any]) -> TrainingRun:
    """A run whose three steps made 100, 900 and 200 tokens a second, and which left this summary."""
    run = TrainingRun(
        run_id="r",
        loop_id=ensure_loop(store, "clinical-notes", NOW),
        dataset_id="d",
        reward_design_id=None,
        recipe=recipe,
        config={"base": "bundled:base"},
        status=RunStatus.EVALUATING,
        created_at=NOW,
        pid=7,
    )
    store.write(lambda cursor: insert_run(cursor, run), "training_runs")
    folder = RunFolder(workspace.runs / "r")
    folder.path.mkdir(parents=True)
    for step, speed in enumerate((100.0, 900.0, 200.0), 1):
        append_line(
            folder.progress,
            {"phase": "train", "step": step, "total": 3, "loss": 1.0, "tokens_per_second": speed, "at": 0},
        )
    result = {"summary": {"n_rows": 2, "n_users": 1, **summary}, "rows": []}
    folder.evaluation.write_text(json.dumps(result))
    register(store, run, folder, {"status": "done", "seconds": 12.0}, NOW)
    return read_run(store, "r")


def test_a_writers_figures_are_those_that_are_promised(store: Store, workspace: Workspace) -> None:
    figures = {name: 0.5 for name in SCRIPTED if name != "facts_after"}
    run = _ended(store, workspace, Recipe.SFT, {**figures, "floor": 0.1, "slices": []})
    outcome = outcome_of(store, workspace, run)
    assert list(outcome) == ["run_id", "status", "model_version_id", "evaluation", "tokens_per_second", "seconds"]
    assert outcome["evaluation"] == {**figures, "facts_after": None}
    assert (outcome["status"], outcome["tokens_per_second"], outcome["seconds"]) == ("done", 200.0, 12.0)


def test_a_judges_figures_are_told_as_they_are(store: Store, workspace: Workspace) -> None:
    run = _ended(store, workspace, Recipe.REWARD_MODEL, {"accuracy": 0.8, "accuracy_ci": [0.7, 0.9]})
    evaluation = outcome_of(store, workspace, run)["evaluation"]
    assert (evaluation["accuracy"], evaluation["accuracy_ci"]) == (0.8, [0.7, 0.9])


def test_all_of_a_run_fits_on_the_wire_and_keeps_its_process_to_itself(store: Store, workspace: Workspace) -> None:
    _ended(store, workspace, Recipe.SFT, {"gain": 0.1})
    told = json.loads(as_json(describe_run(store, workspace, "r")))
    assert (told["status"], len(told["progress"]), told["log"], told["foreseen"]) == ("done", 3, [], None)
    assert told["evaluation"]["gain"] == 0.1
    assert "pid" not in told


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_recipes_knobs_come_with_what_is_usual_and_what_is_possible(recipe: Recipe) -> None:
    told = json.loads(as_json(recipe_as_data(RECIPES[recipe])))
    assert told["title"]
    assert all(knob["usual"] is not None and len(knob["bounds"]) == 2 for knob in told["knobs"])
    assert told["presets"]["quick"]["max_rows"] <= told["presets"]["careful"]["max_rows"]


def test_a_line_of_progress_that_was_cut_in_half_is_dropped_before_the_run_goes_on(tmp_path: Path) -> None:
    """A kill or a full disk leaves one; what is appended to it would spoil both lines."""
    run = RunFolder(tmp_path)
    append_line(run.progress, {"phase": "train", "step": 1})
    with run.progress.open("a") as file:
        file.write('{"phase": "train", "st')
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        Worker(run).work()
    append_line(run.progress, {"phase": "train", "step": 2})
    assert [row["step"] for row in training_steps(run)] == [1, 2]
