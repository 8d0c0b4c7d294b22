"""A run as people and scripts read it: where it stands, how it went, what came of it."""

import statistics
from typing import Any

from organism.config import Workspace
from organism.optimize.catalog import PRESET_TITLES, RECIPES, RecipeCard
from organism.optimize.configs import CONFIGS
from organism.optimize.controls import log_tail
from organism.optimize.flow import read_progress
from organism.optimize.runs import RunFolder
from organism.store.database import Store
from organism.store.evaluations import read_run_evaluation
from organism.store.training_runs import TrainingRun, read_run

SCRIPTED = (
    "before", "after", "gain", "gain_ci", "facts_before", "facts_after", "tokens_before", "tokens_after",
)  # fmt: skip
"""The figures of an evaluation that a script is promised."""
HIDDEN = ("pid", "pid_started_at")


def describe_run(store: Store, workspace: Workspace, run_id: str, *, n_log_lines: int = 40) -> dict[str, Any]:
    """All of a run as plain data: its columns, progress (every step), log (the last lines), evaluation (None without
    one), trained (rows used and dropped), foreseen (what was estimated when it was queued).

    Raises InputError when there is none with this id.
    """
    run, folder = read_run(store, run_id), RunFolder(workspace.runs / run_id)
    return {
        **{name: getattr(run, name) for name in run.__slots__ if name not in HIDDEN},
        "progress": read_progress(workspace, run_id),
        "log": log_tail(workspace, run_id, n_log_lines),
        "evaluation": read_run_evaluation(store, run_id),
        "trained": folder.trained(),
        "foreseen": folder.foreseen(),
    }


def outcome_of(store: Store, workspace: Workspace, run: TrainingRun) -> dict[str, Any]:
    """What `organism train --json` prints: run_id, status, model_version_id, evaluation, tokens_per_second, seconds.

    The evaluation of a model that writes has the keys SCRIPTED and no other; of a judge, all that was measured. The
    speed is the median over the steps, in tokens of prompt and text.
    """
    evaluation = read_run_evaluation(store, run.run_id)
    if evaluation is not None and "gain" in evaluation:
        evaluation = {name: evaluation.get(name) for name in SCRIPTED}
    speeds = read_progress(workspace, run.run_id)["tokens_per_second"].dropna()
    return {
        "run_id": run.run_id,
        "status": str(run.status),
        "model_version_id": run.model_version_id,
        "evaluation": evaluation,
        "tokens_per_second": statistics.median(speeds) if len(speeds) else None,
        "seconds": run.seconds,
    }


def recipe_as_data(card: RecipeCard) -> dict[str, Any]:
    """A recipe for the wire: what it does and learns from, its knobs with their bounds, its presets."""
    config = CONFIGS[card.recipe]
    usual = config()
    knobs = [
        {**knob._asdict(), "usual": getattr(usual, knob.name), "bounds": config.BOUNDS.get(knob.name)}
        for knob in card.knobs
    ]
    presets = {preset: {**sizing._asdict(), "title": PRESET_TITLES[preset]} for preset, sizing in card.presets.items()}
    return {**card._asdict(), "knobs": knobs, "presets": presets}


def recipes_as_data() -> list[dict[str, Any]]:
    """Every recipe."""
    return [recipe_as_data(card) for card in RECIPES.values()]
