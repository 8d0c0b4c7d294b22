"""What a finished run becomes in the store: a version that writes, a version that judges, or an evaluation alone."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from organism.errors import RunError
from organism.optimize.catalog import RECIPES
from organism.optimize.runs import RunFolder
from organism.records import ModelVersion, Recipe, Role, RunStatus, new_id
from organism.store.database import Cursor, Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.loops import read_loops
from organism.store.model_versions import ensure_base, insert_version, next_name
from organism.store.training_runs import TrainingRun, change_run, status_of

JUDGE = "judge"


def register(store: Store, run: TrainingRun, folder: RunFolder, last: dict[str, Any], now: datetime) -> None:
    """Record what a finished run made, all in one transaction; a second time does nothing.

    `last` is its child's last word, in the columns of the store. A recipe that makes nothing leaves an evaluation of
    the version that evaluation.json names. Raises RunError when evaluation.json is missing or broken.
    """
    result = read_result(folder.evaluation)
    recipe = Recipe(run.recipe)
    makes = None if recipe is Recipe.EVALUATE else RECIPES[recipe].makes
    stem = JUDGE if makes is Role.JUDGE else short_name(read_loops(store).set_index("loop_id")["name"][run.loop_id])

    def work(cursor: Cursor) -> None:
        if status_of(cursor, run.run_id) is RunStatus.DONE:
            return
        made = None if makes is None else _insert_version(cursor, run, makes, stem, now)
        insert_evaluation(cursor, _evaluation(cursor, run, result, made, now), result["rows"])
        change_run(cursor, run.run_id, {**last, "finished_at": now, "model_version_id": made})

    store.write(work, "training_runs", "model_versions", "eval_runs")


def _insert_version(cursor: Cursor, run: TrainingRun, role: Role, stem: str, now: datetime) -> str:
    version = ModelVersion(
        model_version_id=new_id(now),
        loop_id=run.loop_id,
        name=next_name(cursor, run.loop_id, stem),
        base_path=run.config["base"],
        adapter_path=f"workspace:runs/{run.run_id}/adapter",
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        reward_design_id=run.reward_design_id,
        created_at=now,
        role=role,
    )
    insert_version(cursor, version)
    return version.model_version_id


def _evaluation(cursor: Cursor, run: TrainingRun, result: dict[str, Any], made: str | None, now: datetime) -> EvalRun:
    """Of the version that was made against its base, or of the two that the result names."""
    return EvalRun(
        eval_run_id=new_id(now),
        loop_id=run.loop_id,
        run_id=run.run_id,
        model_version_id=made or result["model_version_id"],
        baseline_version_id=result.get("baseline_version_id")
        or ensure_base(cursor, run.loop_id, run.config["base"], now),
        dataset_id=run.eval_dataset_id or run.dataset_id,
        summary=result["summary"],
        created_at=now,
        name=run.name,
        settings={name: run.config.get(name) for name in ("seed", "eval_rows", "max_new_tokens", "judge")},
    )


def read_result(file: Path) -> dict[str, Any]:
    """evaluation.json of a finished run; raises RunError when it is missing or broken.

    Its keys: summary, rows, and where the run made no version model_version_id and baseline_version_id.
    """
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); resume the run to evaluate it again") from error
    return result


def short_name(loop_name: str) -> str:
    """What the versions of a loop are called: the last word of its name, `clinical-scribe` -> `scribe`."""
    words = re.findall(r"[a-z0-9]+", loop_name.casefold())
    return words[-1] if words else "version"
