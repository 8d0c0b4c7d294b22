"""What a finished run becomes: a writer called by its loop, a judge, or an evaluation and no version."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from organism.errors import RunError
from organism.optimize.registration import register, short_name
from organism.optimize.runs import RunFolder
from organism.records import Recipe, Role, RunStatus
from organism.store.database import Store
from organism.store.evaluations import read_run_evaluation
from organism.store.loops import ensure_loop
from organism.store.model_versions import read_version, read_versions
from organism.store.training_runs import TrainingRun, insert_run, read_run

NOW = datetime(2026, 9, 7, 8)
LAST = {"status": "done", "message": "Trained and evaluated", "seconds": 12.0}


@pytest.fixture
def loop_id(store: Store) -> str:
    return ensure_loop(store, "clinical-notes", NOW)


def _ended(store: Store, loop_id: str, folder: Path, recipe: Recipe, **result: Any) -> tuple[TrainingRun, RunFolder]:
    run = TrainingRun(
        run_id=f"run {recipe}",
        loop_id=loop_id,
        dataset_id="learned",
        eval_dataset_id="judged",
        reward_design_id=None,
        recipe=recipe,
        config={"base": "bundled:base"},
        status=RunStatus.EVALUATING,
        created_at=NOW,
    )
    store.write(lambda cursor: insert_run(cursor, run), "training_runs")
    (folder / run.run_id).mkdir()
    evaluation = {"summary": {"n_rows": 2, "n_users": 1, "gain": 0.1}, "rows": [], **result}
    (folder / run.run_id / "evaluation.json").write_text(json.dumps(evaluation))
    return run, RunFolder(folder / run.run_id)


@pytest.mark.parametrize(
    ("recipe", "name", "role"),
    [(Recipe.SFT, "notes-1", Role.WRITER), (Recipe.REWARD_MODEL, "judge-1", Role.JUDGE)],
)
def test_a_writer_is_called_by_its_loop_and_a_judge_a_judge(
    store: Store, loop_id: str, tmp_path: Path, recipe: Recipe, name: str, role: Role
) -> None:
    run, folder = _ended(store, loop_id, tmp_path, recipe)
    register(store, run, folder, LAST, NOW)
    register(store, run, folder, LAST, NOW)
    ended = read_run(store, run.run_id)
    made = read_version(store, ended.model_version_id or "")
    assert (made.name, made.role, made.dataset_id) == (name, role, "learned")
    assert (ended.status, ended.seconds) == (RunStatus.DONE, 12.0)
    assert set(read_versions(store, loop_id)["name"]) == {"base", name}, "the second registration did nothing"
    assert (read_run_evaluation(store, run.run_id) or {})["gain"] == 0.1
    assert store.rows("SELECT dataset_id FROM eval_runs") == [("judged",)]


def test_a_result_that_cannot_be_read_is_a_sentence_and_no_version(store: Store, loop_id: str, tmp_path: Path) -> None:
    run, folder = _ended(store, loop_id, tmp_path, Recipe.SFT)
    folder.evaluation.write_text("{")
    with pytest.raises(RunError, match=r"evaluation\.json cannot be read .*; resume the run to evaluate it again"):
        register(store, run, folder, LAST, NOW)
    assert read_versions(store, loop_id).empty


@pytest.mark.parametrize(
    ("loop", "name"), [("clinical-scribe", "scribe"), ("Mail Replies!", "replies"), ("…", "version")]
)
def test_versions_are_called_by_the_last_word_of_their_loop(loop: str, name: str) -> None:
    assert short_name(loop) == name
