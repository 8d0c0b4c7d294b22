"""The recipe that answers a goal: the first that the data allows, with the reason and what was passed over."""

from organism.optimize.catalog import RECIPES
from organism.optimize.goals import GOALS, Goal, offered, suggest
from organism.records import Recipe


def test_every_recipe_for_people_answers_some_goal():
    answered = {recipe for card in GOALS.values() for recipe, _ in card.candidates}
    assert set(RECIPES) - {Recipe.EVALUATE} <= answered
    assert all(recipe in RECIPES for card in offered().values() for recipe, _ in card.candidates)


def test_the_first_candidate_that_can_start_is_suggested():
    found = suggest(Goal.WRITE, lambda recipe: None)
    assert (found.recipe, found.objection) == (Recipe.SFT, None)
    assert found.sentence.startswith("Imitate expert edits: an expert's own text")


def test_what_was_passed_over_is_said_with_its_reason():
    short = {Recipe.SFT: "3 rows can be trained on; wanted 20."}
    found = suggest(Goal.WRITE, short.get)
    assert found.recipe is Recipe.KTO
    assert "Imitate expert edits would come first, but: 3 rows can be trained on; wanted 20." in found.sentence


def test_when_nothing_can_start_the_first_stands_with_what_it_lacks():
    found = suggest(Goal.WRITE, lambda recipe: f"{recipe} is short")
    assert (found.recipe, found.objection) == (Recipe.SFT, "sft is short")
