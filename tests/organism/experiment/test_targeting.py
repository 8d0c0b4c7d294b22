"""Targeting: conditions as data, checked when they are written, and one sentence for what is none."""

import pytest

from organism.errors import DesignError, InputError
from organism.experiment.targeting import check_attributes, check_targeting, in_words, is_targeted

RULES = {"region": ["north", "south"], "plan": {"not": ["free"]}, "age": {"at_least": 18, "at_most": 65}}
MEETS = {"region": "north", "plan": "gold", "age": 40}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, True),
        ({"region": "south", "age": 18}, True),
        ({"region": "east"}, False),
        ({"plan": "free"}, False),
        ({"age": 17.9}, False),
        ({"age": 66}, False),
        ({"region": None}, False),
        ({"plan": None}, False),
        ({"age": None}, False),
        ({"mood": "good"}, True),
    ],
)
def test_every_condition_must_hold_and_silence_meets_none(change, wanted):
    assert (
        is_targeted(RULES, {name: value for name, value in {**MEETS, **change}.items() if value is not None}) is wanted
    )


def test_without_rules_everyone_is_targeted():
    assert is_targeted({}, {})
    assert in_words({}) == "everyone"


def test_true_is_not_one():
    assert is_targeted({"beta": [True]}, {"beta": True})
    assert not is_targeted({"beta": [True]}, {"beta": 1})
    assert not is_targeted({"seats": [1]}, {"seats": True})
    assert is_targeted({"seats": [1]}, {"seats": 1.0})


def test_the_full_form_is_kept_and_said_in_words():
    assert check_targeting(RULES)["region"] == {"in": ["north", "south"]}
    assert check_targeting(check_targeting(RULES)) == check_targeting(RULES)
    assert in_words(RULES) == "region is north or south, plan is not free, age is at least 18 and is at most 65"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["north"], "wanted attributes with a condition each"),
        ({"": ["x"]}, "wanted a word"),
        ({"region": "north"}, "wanted a list"),
        ({"region": []}, "with one or more"),
        ({"region": [["north"]]}, "wanted a list of texts or numbers"),
        ({"region": {}}, "has no condition"),
        ({f"a{n}": ["x"] for n in range(51)}, "names 51 attributes; give a condition on at most 50"),
        ({"region": [str(n) for n in range(1001)]}, "lists 1,001 values; list at most 1,000"),
        ({"age": {"over": 18}}, "the conditions are in, not, at_least, at_most"),
        ({"age": {"at_least": "18"}}, "wanted a number"),
        ({"age": {"at_least": True}}, "wanted a number"),
        ({"age": {"at_least": float("nan")}}, "wanted a number"),
        ({"age": {"at_least": 65, "at_most": 18}}, "nobody is that"),
    ],
)
def test_what_is_no_condition_is_refused_when_it_is_written(rules, said):
    with pytest.raises(DesignError, match=said):
        check_targeting(rules)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("north", "send an object"),
        ({"region": ["north"]}, "attribute 'region' is"),
        ({"age": float("inf")}, "wanted a text, a number, true or false"),
        ({"age": 10**400}, "wanted a text, a number, true or false"),
        ({"home": {"city": "Bonn"}}, "attribute 'home'"),
    ],
)
def test_attributes_of_the_wrong_type_are_refused(attributes, said):
    with pytest.raises(InputError, match=said):
        check_attributes(attributes)


def test_a_word_where_a_number_is_wanted_is_refused():
    with pytest.raises(InputError, match="attribute 'age' is '40'; the experiment's targeting wants a number"):
        is_targeted(RULES, MEETS | {"age": "40"})
