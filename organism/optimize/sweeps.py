"""A sweep: improvement tracks side by side, recipes by reward designs by data cuts by seeds. Plans, no store."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from organism.errors import DesignError, InputError
from organism.optimize.catalog import RECIPES, configured, find_preset, find_recipe
from organism.records import Preset, Recipe, Role

MAX_TRACKS = 24
MAX_NAME = 80
LIVE = "live"
CUT_SETTINGS = ("max_rows", "max_rows_per_user", "since", "until", "min_reward", "variants", "answers", "regions")
LISTS = ("variants", "answers", "regions")
REWARD_IN_TRAINING = frozenset({Recipe.WEIGHTED, Recipe.BEST_OF_N, Recipe.GRPO})
"""Recipes that ask the reward design while they train, whichever rows they start from."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Which of the answers a track learns from: some settings of a training set; all of them without any."""

    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The cut in a few words."""
        said = [_SAID[name](value) for name, value in self.settings.items()]
        return ", ".join(said) or "all answers"

    def check(self) -> None:
        """Raise InputError for a setting that no cut has, or one that could not even be said."""
        if unknown := sorted(set(self.settings) - set(CUT_SETTINGS)):
            raise InputError(f"a data cut has no setting {unknown[0]!r}; there are: {', '.join(CUT_SETTINGS)}")
        least = self.settings.get("min_reward", 0)
        if not isinstance(least, int | float) or isinstance(least, bool) or not 0 <= least <= 1:
            raise InputError(f"min_reward is {least!r:.40}; give a number from 0 to 1")
        for name in LISTS:
            words = self.settings.get(name, ())
            if not isinstance(words, str | list | tuple) or not all(isinstance(word, str) for word in words):
                raise InputError(f"{name} is {words!r:.40}; give a word or a list of words")


class Track(NamedTuple):
    """One run of a sweep. `design` is None where no design shapes the run, so that one stands for all of them."""

    recipe: Recipe
    design: str | None
    cut: Cut
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What is tried side by side. `designs` are what people call them: live, a preset, a version, a name or an id.

    `changes` are settings of every track where they differ from the preset's.
    """

    name: str
    recipes: tuple[Recipe, ...]
    designs: tuple[str, ...] = (LIVE,)
    cuts: tuple[Cut, ...] = (Cut(),)
    seeds: tuple[int, ...] = (0,)
    preset: Preset = Preset.QUICK
    changes: Mapping[str, Any] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """The plan as plain JSON data; `plan_from` reads it."""
        return {
            "name": self.name,
            "recipes": [str(recipe) for recipe in self.recipes],
            "designs": list(self.designs),
            "cuts": [dict(cut.settings) for cut in self.cuts],
            "seeds": list(self.seeds),
            "preset": str(self.preset),
            "changes": dict(self.changes),
        }

    def check(self) -> None:
        """Raise InputError or DesignError, with what was found and wanted, when nothing could be started like this."""
        if not self.name.strip() or len(self.name) > MAX_NAME or not self.name.isprintable():
            raise InputError(
                f"the name {self.name[:40]!r} is no name of tracks; give one line of 1 to {MAX_NAME} letters"
            )
        for what in ("recipes", "designs", "cuts", "seeds"):
            if not getattr(self, what):
                raise InputError(f"tracks were asked for without any {what}; give at least one")
        if judges := [recipe for recipe in self.recipes if RECIPES[recipe].makes is not Role.WRITER]:
            raise DesignError(
                f"the recipe '{judges[0]}' makes a judge, which writes no drafts to compare; "
                "start it as a run of its own, and put recipes that write side by side"
            )
        for cut in self.cuts:
            cut.check()
        if "seed" in self.changes:
            raise InputError(
                f"changes sets seed to {self.changes['seed']!r:.40}, and each track has a seed of `seeds`; "
                "name the seeds there, and leave seed out of changes"
            )
        for recipe, seed in product(self.recipes, self.seeds):
            configured(recipe, self.preset, {**self.changes, "seed": seed})
        if (n := len(tracks_of(self))) > MAX_TRACKS:
            raise DesignError(f"this makes {n} tracks, and at most {MAX_TRACKS} go side by side; take some out")


def tracks_of(plan: SweepPlan) -> list[Track]:
    """Every combination once, in the order given; a design counts only where it shapes what is learned."""
    return _once(
        Track(recipe, design if is_shaped(recipe, cut) else None, cut, seed)
        for recipe, design, cut, seed in product(plan.recipes, plan.designs, plan.cuts, plan.seeds)
    )


def is_shaped(recipe: Recipe, cut: Cut) -> bool:
    """Whether a reward design shapes the run: by choosing its rows, or in its training."""
    return recipe in REWARD_IN_TRAINING or RECIPES[recipe].basis == "reward" or "min_reward" in cut.settings


def labels(tracks: Sequence[Track]) -> list[str]:
    """What each track is called: its recipe, and whatever else tells it from the others."""
    parts = [
        (
            RECIPES[track.recipe].title,
            f"{track.design} design" if track.design else "",
            track.cut.title,
            f"seed {track.seed}",
        )
        for track in tracks
    ]
    differs = [len({row[column] for row in parts}) > 1 for column in range(4)]
    kept = [[word for word, told in zip(row, (True, *differs[1:]), strict=True) if word and told] for row in parts]
    return [", ".join(words) for words in kept]


def plan_from(asked: Mapping[str, Any]) -> SweepPlan:
    """The plan from a stranger's words, checked; raises InputError or DesignError with what is wrong."""
    if unknown := sorted(set(asked) - set(SweepPlan.__dataclass_fields__)):
        raise InputError(
            f"tracks have no setting {unknown[0]!r}; there are: {', '.join(SweepPlan.__dataclass_fields__)}"
        )
    plan = SweepPlan(
        name=_text("name", asked.get("name", "")),
        recipes=tuple(_once(find_recipe(_text("recipes", name)).recipe for name in _listed("recipes", asked, ()))),
        designs=tuple(_once(_text("designs", name) for name in _listed("designs", asked, (LIVE,)))),
        cuts=tuple(_once(_cut(settings) for settings in _listed("cuts", asked, ({},)))),
        seeds=tuple(_once(_whole("seeds", seed) for seed in _listed("seeds", asked, (0,)))),
        preset=find_preset(_text("preset", asked.get("preset", Preset.QUICK))),
        changes=_object("changes", asked.get("changes") or {}),
    )
    plan.check()
    return plan


def cut_from_words(words: str) -> Cut:
    """A cut as a command line says it: `max_rows=100,min_reward=0.6`; several values of one setting with a +.

    Raises InputError for a word without a value, or a setting that no cut has.
    """
    settings = settings_from_words([word for word in words.split(",") if word])
    return _cut({name: str(value).split("+") if name in LISTS else value for name, value in settings.items()})


def settings_from_words(words: Iterable[str]) -> dict[str, Any]:
    """Settings from NAME=VALUE, numbers as numbers; raises InputError for a word without a value."""
    settings: dict[str, Any] = {}
    for word in words:
        name, _, value = word.strip().partition("=")
        if not name or not value:
            raise InputError(f"{word!r} gives no value; write it as NAME=VALUE, for example max_rows=100")
        settings[name] = _value(value)
    return settings


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _cut(settings: Any) -> Cut:
    cut = Cut(_object("cuts", settings))
    cut.check()
    return cut


def _listed(name: str, asked: Mapping[str, Any], usual: Sequence[Any]) -> Sequence[Any]:
    found = asked.get(name, usual)
    if not isinstance(found, list | tuple):
        raise InputError(f"{name} is {found!r}; give a list")
    return found


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} holds {value!r}; give words")
    return value.strip()


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} holds {value!r}; give whole numbers")
    return value


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f'{name} holds {value!r}; give an object of settings, such as {{"max_rows": 100}}')
    return dict(value)


def _once(values: Iterable[Any]) -> list[Any]:
    """The values in their order, each once."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _words(what: str) -> Any:
    return lambda values: f"{what} {' and '.join([values] if isinstance(values, str) else values)}"


_SAID: Mapping[str, Any] = {
    "max_rows": lambda n: f"{n} rows",
    "max_rows_per_user": lambda n: f"{n} rows a user",
    "since": lambda day: f"since {str(day)[:10]}",
    "until": lambda day: f"until {str(day)[:10]}",
    "min_reward": lambda least: f"reward {least:g} and more",
    "variants": _words("variant"),
    "answers": _words("answer"),
    "regions": _words("region"),
}
