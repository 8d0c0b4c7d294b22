"""The recipes for people: what each does, what it learns from, its presets and the few knobs that matter. No torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from organism.errors import InputError
from organism.optimize.configs import CONFIGS, TrainingConfig, config_of
from organism.records import DatasetKind, Preset, Recipe, Role


class Knob(NamedTuple):
    """One setting that a person may turn. `choices` are its usual steps; any value within the bounds is taken."""

    name: str
    label: str
    help: str
    choices: tuple[float, ...]


class Sizing(NamedTuple):
    """One preset of a recipe: how many rows it asks for, and its settings where they differ from the usual."""

    max_rows: int
    max_heldout_rows: int
    changes: Mapping[str, Any]


class RecipeCard(NamedTuple):
    """What a person reads before choosing a recipe; `kind` and `basis` say which training set it needs."""

    recipe: Recipe
    title: str
    sentence: str
    learns_from: str
    kind: DatasetKind
    basis: str
    makes: Role
    knobs: tuple[Knob, ...]
    presets: Mapping[Preset, Sizing]


PRESET_TITLES = {Preset.QUICK: "Quick look", Preset.SOLID: "Solid", Preset.CAREFUL: "Careful"}

PASSES = Knob("epochs", "Passes over the rows", "More passes learn more, then by heart.", (1, 2, 3, 4, 5, 6, 8))
RATE = Knob(
    "learning_rate",
    "Learning rate",
    "Step size. Small models like the shipped one take larger steps than a model of a billion.",
    (1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2),
)
CAPACITY = Knob("lora_r", "Capacity (LoRA rank)", "How much the adapter can change.", (4, 8, 16, 32, 64))
REPLAY = Knob(
    "replay_share",
    "Share of replayed base drafts",
    "Mixing in what the base writes well keeps its facts while it learns a style.",
    (0.0, 0.1, 0.2, 0.3, 0.5),
)

SFT = RecipeCard(
    recipe=Recipe.SFT,
    title="Imitate expert edits",
    sentence="Supervised fine-tuning: the model learns to write what experts finally kept.",
    learns_from="drafts that experts edited or accepted",
    kind=DatasetKind.SFT,
    basis="expert",
    makes=Role.WRITER,
    knobs=(PASSES, RATE, CAPACITY, REPLAY),
    presets={
        Preset.QUICK: Sizing(100, 60, {"epochs": 2}),
        Preset.SOLID: Sizing(400, 300, {}),
        Preset.CAREFUL: Sizing(1000, 300, {"epochs": 4, "replay_share": 0.2, "patience": 3}),
    },
)

RECIPES: dict[Recipe, RecipeCard] = {card.recipe: card for card in (SFT,)}


def find_recipe(name: str) -> RecipeCard:
    """The recipe of this name, written with - or _; raises InputError with those there are."""
    word = name.strip().lower().replace("-", "_")
    if word not in RECIPES:
        raise InputError(f"there is no recipe {name[:40]!r}; the recipes are: {', '.join(RECIPES)}")
    return RECIPES[Recipe(word)]


def find_preset(name: str) -> Preset:
    """The preset of this name; raises InputError with those there are."""
    if name.strip().lower() not in list(Preset):
        raise InputError(f"there is no preset {name[:40]!r}; the presets are: {', '.join(Preset)}")
    return Preset(name.strip().lower())


def configured(
    recipe: Recipe, preset: Preset = Preset.SOLID, changes: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """The settings of a preset with some of them changed; raises DesignError for an unknown name or a bad value."""
    config = config_of(recipe, {**RECIPES[recipe].presets[preset].changes, **(changes or {})})
    config.check()
    return config


assert set(RECIPES) == set(CONFIGS), "every recipe has settings and a card"
