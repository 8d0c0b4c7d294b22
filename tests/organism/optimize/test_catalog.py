"""The recipes for people: presets that work, knobs that exist, names that are understood or refused in a sentence."""

from dataclasses import fields

import pytest

from organism.errors import DesignError, InputError
from organism.optimize.catalog import RECIPES, configured, find_preset, find_recipe
from organism.optimize.configs import CONFIGS
from organism.records import Preset, Recipe


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_preset_can_be_started_as_it_is(recipe: Recipe) -> None:
    sizes = [RECIPES[recipe].presets[preset].max_rows for preset in Preset]
    assert sizes == sorted(sizes)
    for preset in Preset:
        assert isinstance(configured(recipe, preset), CONFIGS[recipe])


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_knob_turns_a_setting_within_its_bounds(recipe: Recipe) -> None:
    known = {field.name for field in fields(CONFIGS[recipe])}
    for knob in RECIPES[recipe].knobs:
        assert knob.name in known
        assert knob.help.endswith(".")
        for choice in knob.choices:
            configured(recipe, changes={knob.name: choice})


def test_a_recipe_is_found_by_either_spelling_and_others_are_named() -> None:
    assert find_recipe(" Best-of-N ").recipe is Recipe.BEST_OF_N
    with pytest.raises(InputError, match=r"there is no recipe 'ppo'; the recipes are: sft, .*kto"):
        find_recipe("ppo")
    with pytest.raises(InputError, match=r"there is no preset 'huge'; the presets are: quick, solid, careful"):
        find_preset("huge")


def test_a_setting_of_another_recipe_is_refused() -> None:
    with pytest.raises(DesignError, match="a fine-tune has no setting 'beta'; known settings: "):
        configured(Recipe.SFT, changes={"beta": 0.1})
    with pytest.raises(DesignError, match="undesirable_share is 1"):
        configured(Recipe.KTO, changes={"undesirable_share": 1.0})
