"""From a recipe to a queued run: freeze the training set that the recipe needs, then start. The flows in order."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from organism.config import Workspace
from organism.digest.designs_flow import find_design
from organism.digest.flow import live_design
from organism.digest.set_reading import find_set
from organism.digest.training_set_flow import OnProgress, Preview, freeze, preview
from organism.digest.training_settings import Basis, SetSettings
from organism.errors import DesignError, InputError
from organism.optimize.catalog import RECIPES, RecipeCard, configured, find_preset, find_recipe
from organism.optimize.flow import (
    LOCAL,
    Estimate,
    estimate,
    estimate_ahead,
    named,
    ready_config,
    require_free_name,
    start_run,
)
from organism.optimize.inspection import preview_tokens
from organism.optimize.places import place_of
from organism.optimize.seen import TokenPreview
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
    # What is wrong with the name or the settings is said before anything is frozen.
    require_free_name(store, loop_id, named(name))
    config = ready_config(store, workspace, loop_id, configured(recipe, preset, changes))
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


def foresee(
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
) -> Estimate:
    """How long the same launch would take and what memory it needs; nothing is written.

    Without a named set it goes by how many rows one would have now, and by how long the loop's latest drafts are.
    Raises DesignError where no set could be frozen, or a setting cannot work.
    """
    config = configured(recipe, preset, changes)
    if dataset_id is not None:
        return estimate(store, workspace, dataset_id, recipe, config)
    found = readiness(store, loop_id, recipe, preset, design=design, max_rows=max_rows)
    if found.objection is not None:
        raise DesignError(found.objection)
    counts = {"n_train": found.n_train, "n_heldout": found.n_heldout}
    return estimate_ahead(store, workspace, loop_id, recipe, config, **counts)


def look(
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
    n: int = 5,
    now: datetime,
) -> TokenPreview:
    """Exactly what the model would see in the same launch: the first n rows, and what is left out and why.

    Without a named set the one that the launch would freeze is frozen now; the launch then finds it. Takes seconds.
    """
    config = configured(recipe, preset, changes)
    if dataset_id is None:
        settings = set_settings(RECIPES[recipe], preset, max_rows)
        chosen = design or live_design(store, loop_id)
        dataset_id = freeze(store, loop_id, settings, design=chosen, now=now).dataset_id
    return preview_tokens(store, workspace, dataset_id, recipe, config, n=n)


class Asked(NamedTuple):
    """A run as somebody asks for it over the wire: names of a recipe, a preset and a design, and changed settings."""

    recipe: Recipe
    preset: Preset
    changes: dict[str, Any]
    dataset_id: str | None
    design: RewardDesign | None
    max_rows: int | None
    name: str | None
    place: str

    def terms(self) -> dict[str, Any]:
        """What `launch` and `foresee` both take."""
        names = ("changes", "dataset_id", "design", "max_rows")
        return {name: getattr(self, name) for name in names}


def asked_for(store: Store, loop_id: str, values: Mapping[str, Any]) -> Asked:
    """A run from plain data: recipe, preset, config (changed settings), dataset_id (or a beginning of it, or of its
    hash), design (live, a preset, a version, a name, an id), max_rows, name, place; all of it optional.

    Raises InputError or DesignError for what is unknown or of the wrong form.
    """
    if unknown := sorted(set(values) - set(_ASKED)):
        raise InputError(f"a run has no field '{unknown[0]}'; known fields: {', '.join(_ASKED)}")
    for name, kind in _ASKED.items():
        if values.get(name) is not None and (not isinstance(values[name], kind) or isinstance(values[name], bool)):
            raise InputError(f"{name} is {values[name]!r}; give {_IN_WORDS[kind]}, or leave it out")
    given = {name: value for name, value in values.items() if value is not None}
    recipe = find_recipe(given.get("recipe", Recipe.SFT)).recipe
    dataset = given.get("dataset_id")
    if given.get("max_rows", 1) < 1:
        raise InputError(f"max_rows is {given['max_rows']}; give a number above 0, or leave it out")
    return Asked(
        recipe,
        find_preset(given.get("preset", Preset.SOLID)),
        dict(given.get("config", {})),
        None if dataset is None else find_set(store, loop_id, dataset).dataset_id,
        find_design(store, loop_id, given["design"]) if "design" in given else None,
        given.get("max_rows"),
        named(given.get("name")),
        place_of(given.get("place")),
    )


_ASKED: dict[str, type] = {
    "recipe": str,
    "preset": str,
    "config": Mapping,
    "dataset_id": str,
    "design": str,
    "max_rows": int,
    "name": str,
    "place": str,
}
_IN_WORDS = {str: "a word", int: "a whole number", Mapping: "an object of settings"}


def readiness(
    store: Store,
    loop_id: str,
    recipe: Recipe,
    preset: Preset = Preset.SOLID,
    *,
    changes: Mapping[str, Any] | None = None,
    design: RewardDesign | None = None,
    max_rows: int | None = None,
) -> Preview:
    """What the recipe would learn from if it were launched now, and why it cannot be; nothing is written.

    Raises DesignError for settings that a launch would refuse.
    """
    configured(recipe, preset, changes)
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
