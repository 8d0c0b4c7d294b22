"""What a sweep would start: every combination once, a design only where it shapes what is learned."""

import pytest

from organism.errors import DesignError, InputError
from organism.optimize.sweeps import Cut, cut_from_words, labels, plan_from, settings_from_words, tracks_of


def _plan(**asked: object):
    return plan_from({"name": "first", "recipes": ["sft"], **asked})


def test_a_design_multiplies_only_the_tracks_that_it_shapes():
    plan = _plan(designs=["price", "quality"], cuts=[{}, {"min_reward": 0.5}], seeds=[0, 1])
    found = [(track.design, track.cut.title, track.seed) for track in tracks_of(plan)]
    assert found == [
        (None, "all answers", 0),
        (None, "all answers", 1),
        ("price", "reward 0.5 and more", 0),
        ("price", "reward 0.5 and more", 1),
        ("quality", "reward 0.5 and more", 0),
        ("quality", "reward 0.5 and more", 1),
    ]


def test_labels_say_only_what_tells_the_tracks_apart():
    plan = _plan(cuts=[{"max_rows": 50}, {"max_rows": 80, "regions": ["north"]}])
    assert labels(tracks_of(plan)) == ["Imitate expert edits, 50 rows", "Imitate expert edits, 80 rows, region north"]
    assert labels(tracks_of(_plan())) == ["Imitate expert edits"]


def test_a_plan_and_its_plain_form_are_the_same():
    plan = _plan(designs=["v1"], cuts=[{"max_rows": 50}], seeds=[3], preset="solid", changes={"epochs": 1})
    assert plan_from(plan.spec()) == plan


def test_a_cut_is_read_from_words():
    assert cut_from_words("max_rows=100,min_reward=0.6,regions=north+south") == Cut(
        {"max_rows": 100, "min_reward": 0.6, "regions": ["north", "south"]}
    )
    assert cut_from_words("") == Cut()
    assert settings_from_words(["base=folder", "epochs=2"]) == {"base": "folder", "epochs": 2}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"name": "  "}, "is no name of tracks"),
        ({"recipes": []}, "without any recipes"),
        ({"recipes": ["alchemy"]}, "no recipe 'alchemy'"),
        ({"recipes": "sft"}, "recipes is 'sft'; give a list"),
        ({"cuts": [{"color": 3}]}, "no setting 'color'; there are: max_rows"),
        ({"cuts": [4]}, "give an object of settings"),
        ({"cuts": [{"min_reward": "high"}]}, "min_reward is 'high'; give a number from 0 to 1"),
        ({"cuts": [{"min_reward": None}]}, "min_reward is None; give a number from 0 to 1"),
        ({"cuts": [{"variants": 5}]}, "variants is 5; give a word or a list of words"),
        ({"cuts": [{"regions": [1]}]}, r"regions is \[1\]; give a word or a list of words"),
        ({"seeds": [10**400]}, "seed is 1000"),
        ({"seeds": [0.5]}, "give whole numbers"),
        ({"seeds": [1, 2], "changes": {"seed": 7}}, "changes sets seed to 7"),
        ({"preset": "wild"}, "no preset 'wild'"),
        ({"changes": {"epochs": 0}}, "epochs is 0"),
        ({"color": 1}, "tracks have no setting 'color'"),
        ({"seeds": list(range(30))}, "this makes 30 tracks, and at most 24"),
    ],
)
def test_what_cannot_be_started_is_a_sentence(asked, sentence):
    with pytest.raises((InputError, DesignError), match=sentence):
        _plan(**asked)


def test_a_word_without_a_value_is_a_sentence():
    with pytest.raises(InputError, match="'max_rows' gives no value"):
        cut_from_words("max_rows")
