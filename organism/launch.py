"""From a recipe to a queued run: freeze the training set that the recipe needs, then start. The flows in order."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from organism.config import Workspace
from organism.digest.flow import live_design
from organism.digest.training_set_flow import OnProgress, Preview, freeze, preview
from organism.digest.training_settings import Basis, SetSettings
from organism.optimize.catalog import RECIPES, RecipeCard, configured
from organism.optimize.flow import LOCAL, start_run
from organism.records import DatasetKind, Preset, Recipe, RewardDesign
from organism.store.database import Store


class Launched(NamedTuple):
    """A queued run, what it learns from, and what it is measured on."""

    run_id: str
    dataset_id: str
    eval_dataset_id: str


def launch(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    recipe: Recipe,
    preset: Preset = Preset.SOLID,
    *,
    changes: Mapping[str, Any] | None = None,
    dataset_id: str | None = None,
    design: RewardDesign | None = None,
    max_rows: int | None = None,
    name: str | None = None,
    parent_run_id: str | None = None,
    sweep_id: str | None = None,
    place: str = LOCAL,
    now: datetime,
    on_progress: OnProgress | None = None,
) -> Launched:
    """Queue a fine-tune by a recipe's preset, on a named training set or on one frozen now under the design.

    Without a design the live one counts. Users are held out by a hash of their key, so a set of another kind holds out
    the same people. Raises what `freeze` and `start_run` raise.
    """
    config = configured(recipe, preset, changes)
    card, chosen = RECIPES[recipe], design or live_design(store, loop_id)
    if dataset_id is None:
        settings = set_settings(card, preset, max_rows)
        learned = freeze(store, loop_id, settings, design=chosen, now=now, on_progress=on_progress).dataset_id
    else:
        learned = dataset_id
    judged = learned if card.kind is DatasetKind.SFT else _judged(store, loop_id, card, preset, now)
    run_id = start_run(
        store,
        workspace,
        loop_id,
        learned,
        config,
        recipe=recipe,
        preset=preset,
        name=name,
        eval_dataset_id=judged,
        design=chosen,
        parent_run_id=parent_run_id,
        sweep_id=sweep_id,
        place=place,
        now=now,
    )
    return Launched(run_id, learned, judged)


def readiness(
    store: Store,
    loop_id: str,
    recipe: Recipe,
    preset: Preset = Preset.SOLID,
    *,
    design: RewardDesign | None = None,
    max_rows: int | None = None,
) -> Preview:
    """What the recipe would learn from if it were launched now, and why it cannot be; nothing is written."""
    return preview(store, loop_id, set_settings(RECIPES[recipe], preset, max_rows), design=design)


def set_settings(card: RecipeCard, preset: Preset, max_rows: int | None = None) -> SetSettings:
    """The training set that a recipe's preset asks for."""
    sizing = card.presets[preset]
    return SetSettings(
        kind=card.kind,
        basis=Basis(card.basis),
        max_rows=max_rows or sizing.max_rows,
        max_heldout_rows=sizing.max_heldout_rows,
    )


def _judged(store: Store, loop_id: str, card: RecipeCard, preset: Preset, now: datetime) -> str:
    """The set whose held-out side shows before and after for recipes whose own rows carry no expert's text."""
    sizing = card.presets[preset]
    settings = SetSettings(max_rows=sizing.max_rows, max_heldout_rows=sizing.max_heldout_rows)
    return freeze(store, loop_id, settings, now=now).dataset_id
