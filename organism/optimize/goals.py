"""What a person wants to get better, and which recipe answers that with the data that there is. Pure."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from organism.optimize.catalog import RECIPES
from organism.records import Recipe


class Goal(StrEnum):
    """What should get better, in one word."""

    WRITE = "write"
    ACCEPT = "accept"
    REWARD = "reward"
    JUDGE = "judge"
    SCALE = "scale"


class GoalCard(NamedTuple):
    """A goal for people, and the recipes that answer it, the first choice first, each with its reason."""

    title: str
    candidates: tuple[tuple[Recipe, str], ...]


class Suggestion(NamedTuple):
    """The recipe to start from, why, and why it cannot start; `objection` is None when it can."""

    recipe: Recipe
    sentence: str
    objection: str | None


GOALS: dict[Goal, GoalCard] = {
    Goal.WRITE: GoalCard(
        "Drafts read like our experts' own",
        (
            (Recipe.SFT, "an expert's own text says more than any grade, and imitation uses every word of it"),
            (Recipe.KTO, "it needs no expert's text: what people took and rejected is enough"),
        ),
    ),
    Goal.ACCEPT: GoalCard(
        "People reject fewer drafts",
        (
            (Recipe.KTO, "it learns from each thumb as it is, up or down, and needs no pairs"),
            (Recipe.DPO, "an expert's edit beside the draft that it replaced shows what was wrong with the draft"),
        ),
    ),
    Goal.REWARD: GoalCard(
        "Drafts earn more under a reward design",
        (
            (Recipe.WEIGHTED, "experts' texts count by what the design gives, so facts stay while the style moves"),
            (Recipe.BEST_OF_N, "the model imitates the best of its own drafts, by the design's own count"),
            (Recipe.GRPO, "the design itself is the reward that training climbs"),
        ),
    ),
    Goal.JUDGE: GoalCard(
        "A judge that grades drafts as people would",
        ((Recipe.REWARD_MODEL, "it learns from what people preferred, and can then label where nobody has time"),),
    ),
    Goal.SCALE: GoalCard(
        "Learn from more comparisons than people have time for",
        (
            (Recipe.RLAIF, "a judge compares the model's own drafts, and its agreement with people is measured"),
            (Recipe.DPO, "people's edits are compared with the drafts that they replaced, and no judge is needed"),
        ),
    ),
}


def offered() -> dict[Goal, GoalCard]:
    """The goals that some recipe here answers."""
    found = {goal: card._replace(candidates=_known(card)) for goal, card in GOALS.items()}
    return {goal: card for goal, card in found.items() if card.candidates}


def suggest(goal: Goal, objection_of: Callable[[Recipe], str | None]) -> Suggestion:
    """The first candidate that could start now, else the first of all with what it lacks.

    `objection_of` says what is short for a recipe, None when nothing is; it is asked in order, until one can start.
    """
    candidates, passed = _known(GOALS[goal]), ""
    objections: list[str] = []
    for recipe, reason in candidates:
        objection = objection_of(recipe)
        if objection is None:
            return Suggestion(recipe, f"{RECIPES[recipe].title}: {reason}.{passed}", None)
        objections.append(objection)
        passed = passed or f" {RECIPES[recipe].title} would come first, but: {objection.rstrip('.')}."
    recipe, reason = candidates[0]
    return Suggestion(recipe, f"{RECIPES[recipe].title}: {reason}.", objections[0])


def _known(card: GoalCard) -> tuple[tuple[Recipe, str], ...]:
    return tuple((recipe, reason) for recipe, reason in card.candidates if recipe in RECIPES)
