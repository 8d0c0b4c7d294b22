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
    makes: Role | None
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

BETA = Knob(
    "beta",
    "Hold to the base (beta)",
    "Higher keeps the model nearer to its base; lower lets preferences move it further.",
    (0.02, 0.05, 0.1, 0.3, 1.0),
)
IMITATION = Knob(
    "imitation",
    "Also imitate the chosen text",
    "0 learns the difference only; 1 counts writing the chosen text as much as preferring it.",
    (0.0, 0.1, 0.3, 1.0),
)
UNDESIRABLE = Knob(
    "undesirable_share",
    "Weight of the rejected rows",
    "The share of the loss that rejected drafts make up, however many there are.",
    (0.3, 0.5, 0.7),
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
        Preset.QUICK: Sizing(400, 60, {"epochs": 1, "batch_size": 8}),
        Preset.SOLID: Sizing(1000, 300, {"epochs": 1, "batch_size": 8}),
        Preset.CAREFUL: Sizing(2000, 300, {"epochs": 2, "batch_size": 8, "learning_rate": 2e-3, "patience": 5}),
    },
)

SHARPNESS = Knob(
    "sharpness",
    "How much the reward decides",
    "0 makes all texts count alike, 1 counts each by its reward, more lets the best rewarded ones decide.",
    (0.0, 0.5, 1.0, 2.0, 4.0),
)
N_DRAFTS = Knob("n_drafts", "Drafts per prompt", "More drafts find a better best one, and take longer.", (2, 4, 8, 16))
TEMPERATURE = Knob("temperature", "Variety", "How far the drafts of one prompt may differ.", (0.5, 0.8, 1.0, 1.2))

WEIGHTED = RecipeCard(
    recipe=Recipe.WEIGHTED,
    title="Imitate edits by reward",
    sentence="Reward-weighted fine-tuning: the model learns most from the texts that the reward design values most.",
    learns_from="drafts that experts edited or accepted, weighed by the reward design",
    kind=DatasetKind.SFT,
    basis="expert",
    makes=Role.WRITER,
    knobs=(SHARPNESS, PASSES, RATE, REPLAY),
    presets={
        Preset.QUICK: Sizing(400, 60, {"epochs": 1, "batch_size": 8}),
        Preset.SOLID: Sizing(1000, 300, {"epochs": 1, "batch_size": 8}),
        Preset.CAREFUL: Sizing(2000, 300, {"epochs": 2, "batch_size": 8, "learning_rate": 2e-3, "patience": 5}),
    },
)

BEST_OF_N = RecipeCard(
    recipe=Recipe.BEST_OF_N,
    title="Imitate the best of several drafts",
    sentence="Rejection sampling: the model drafts each prompt several times and learns from the best rewarded draft.",
    learns_from="its own drafts, scored by the reward design against what experts kept",
    kind=DatasetKind.SFT,
    basis="expert",
    makes=Role.WRITER,
    knobs=(N_DRAFTS, TEMPERATURE, PASSES, RATE),
    presets={
        Preset.QUICK: Sizing(60, 60, {"epochs": 4, "batch_size": 8}),
        Preset.SOLID: Sizing(200, 300, {}),
        Preset.CAREFUL: Sizing(400, 300, {"n_drafts": 8, "patience": 3}),
    },
)

DPO = RecipeCard(
    recipe=Recipe.DPO,
    title="Prefer the edit over the draft",
    sentence="Direct preference optimization: the model learns to find the better of two texts likelier.",
    learns_from="pairs: an expert's edit over the draft, or a draft with a higher reward over a lower one",
    kind=DatasetKind.PREFERENCE,
    basis="expert",
    makes=Role.WRITER,
    knobs=(PASSES, RATE, CAPACITY, BETA, IMITATION),
    presets={
        Preset.QUICK: Sizing(100, 60, {"epochs": 2, "learning_rate": 2e-3}),
        Preset.SOLID: Sizing(400, 300, {"epochs": 1, "learning_rate": 2e-3}),
        Preset.CAREFUL: Sizing(1000, 300, {"epochs": 2}),
    },
)

GENTLE_ON_REJECTS = {"epochs": 1, "batch_size": 8, "undesirable_share": 0.3}
"""A rejected note is right but for a word or two, and KTO pushes all of it down."""

KTO = RecipeCard(
    recipe=Recipe.KTO,
    title="Learn from thumbs",
    sentence="Kahneman-Tversky optimization: the model learns from single drafts that people took or rejected.",
    learns_from="accepts and rejects as they are, no pairs needed; what an expert made of an edited draft is an accept",
    kind=DatasetKind.UNPAIRED,
    basis="expert",
    makes=Role.WRITER,
    knobs=(PASSES, RATE, CAPACITY, BETA, UNDESIRABLE),
    presets={
        Preset.QUICK: Sizing(200, 60, {**GENTLE_ON_REJECTS, "learning_rate": 2e-3}),
        Preset.SOLID: Sizing(800, 300, {**GENTLE_ON_REJECTS, "learning_rate": 2e-3}),
        Preset.CAREFUL: Sizing(2000, 300, {**GENTLE_ON_REJECTS, "epochs": 2}),
    },
)

REWARD_MODEL = RecipeCard(
    recipe=Recipe.REWARD_MODEL,
    title="Train a judge",
    sentence="Reward model: a judge learns from what people preferred. It grades drafts and never writes one.",
    learns_from="pairs: an expert's edit over the draft, a blind vote, or a higher reward over a lower one",
    kind=DatasetKind.PREFERENCE,
    basis="expert",
    makes=Role.JUDGE,
    knobs=(PASSES, RATE, CAPACITY),
    presets={
        Preset.QUICK: Sizing(200, 60, {"epochs": 1}),
        Preset.SOLID: Sizing(600, 300, {}),
        Preset.CAREFUL: Sizing(1500, 300, {"epochs": 4, "patience": 3}),
    },
)

RLAIF = RecipeCard(
    recipe=Recipe.RLAIF,
    title="Let a judge compare drafts",
    sentence="The model drafts every prompt twice, a judge says which is better, and the model learns to prefer it.",
    learns_from="prompts with edits; the loop's latest reward model judges unless another judge is named",
    kind=DatasetKind.PREFERENCE,
    basis="expert",
    makes=Role.WRITER,
    knobs=(PASSES, RATE, CAPACITY, BETA, IMITATION),
    presets={
        Preset.QUICK: Sizing(100, 60, {"epochs": 1}),
        Preset.SOLID: Sizing(400, 300, {}),
        Preset.CAREFUL: Sizing(1000, 300, {}),
    },
)

GROUP = Knob(
    "group_size",
    "Drafts of each prompt",
    "They are graded against each other: more tell good from lucky, and take longer.",
    (4, 8, 16),
)
FLOOR = Knob(
    "floor_share",
    "Floor under every draft",
    "The share of the base's own facts and written text that no draft may fall below; at 0 a price weight collapses.",
    (0.0, 0.5, 0.75, 0.9, 1.0),
)
CLIMB_BETA = Knob(
    "beta",
    "Hold to the base (beta)",
    "Higher keeps the model nearer to its base; 0 lets the reward alone decide.",
    (0.0, 0.01, 0.04, 0.1),
)

GRPO = RecipeCard(
    recipe=Recipe.GRPO,
    title="Climb the reward design",
    sentence="Reinforcement learning: the model drafts, the reward design grades, and better drafts become likelier.",
    learns_from="prompts whose final text an expert wrote, graded by the reward design with its guardrails as floors",
    kind=DatasetKind.SFT,
    basis="expert",
    makes=Role.WRITER,
    knobs=(RATE, GROUP, FLOOR, CLIMB_BETA, CAPACITY),
    presets={
        Preset.QUICK: Sizing(60, 60, {}),
        Preset.SOLID: Sizing(240, 300, {}),
        Preset.CAREFUL: Sizing(800, 300, {}),
    },
)

RECIPES: dict[Recipe, RecipeCard] = {
    card.recipe: card for card in (SFT, WEIGHTED, BEST_OF_N, DPO, KTO, REWARD_MODEL, RLAIF, GRPO)
}


def kind_of(recipe: Recipe) -> DatasetKind:
    """What the rows in the folder of such a run are; an evaluation keeps what was learned from as prompts and texts."""
    return DatasetKind.SFT if recipe is Recipe.EVALUATE else RECIPES[recipe].kind


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


assert set(RECIPES) == set(CONFIGS) - {Recipe.EVALUATE}, "every recipe that trains has settings and a card"
