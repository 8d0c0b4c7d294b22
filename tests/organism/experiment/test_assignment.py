import json
from pathlib import Path

import numpy as np
import pytest

from organism.errors import DesignError
from organism.experiment.assignment import assign, bucket, bucket_ranges, check_shares, choose, deal
from organism.experiment.layers import in_layer
from organism.records import Variant

# GrowthBook SDK conformance vectors, packages/sdk-js/test/cases.json specVersion 5 (MIT).
CASES = json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
HASHES, RANGES, CHOICES, NAMESPACES = (
    one["values"] for one in next(case for case in CASES if case["id"] == "hash_bucketing")["expected"]
)


@pytest.mark.parametrize(("seed", "value", "version", "wanted"), HASHES)
def test_the_hash_is_growthbooks(seed, value, version, wanted):
    if wanted is None:
        with pytest.raises(ValueError, match="use 1 or 2"):
            bucket(seed, value, version)
    else:
        assert bucket(seed, value, version) == wanted


@pytest.mark.parametrize(("name", "asked", "wanted"), RANGES)
def test_the_ranges_are_growthbooks(name, asked, wanted):
    found = bucket_ranges(*asked)
    assert len(found) == len(wanted), name
    assert np.array(found) == pytest.approx(np.array(wanted), rel=1e-9), name


@pytest.mark.parametrize(("name", "place", "ranges", "wanted"), CHOICES)
def test_the_choice_is_growthbooks(name, place, ranges, wanted):
    assert choose(place, ranges) == (None if wanted == -1 else wanted), name


@pytest.mark.parametrize(("name", "user", "namespace", "wanted"), NAMESPACES)
def test_a_layer_is_growthbooks_namespace(name, user, namespace, wanted):
    assert in_layer(user, *namespace) is wanted, name


def test_every_vector_of_the_reference_is_walked():
    assert [len(each) for each in (HASHES, RANGES, CHOICES, NAMESPACES)] == [15, 13, 13, 16]


def two(share):
    return Variant(name="control", share=1 - share), Variant(name="treatment", share=share)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_users_fall_into_the_arms_by_the_shares_and_stay_there(share):
    arms = [assign("notes", f"user-{n}", two(share)) for n in range(20_000)]
    treated = np.mean([arm.variant == "treatment" for arm in arms])
    assert treated == pytest.approx(share, abs=0.012)
    assert arms == [assign("notes", f"user-{n}", two(share)) for n in range(20_000)]
    assert {arm.probability for arm in arms if arm.variant == "control"} == {1 - share}
    assert {arm.probability for arm in arms if arm.variant == "treatment"} == {share}


def test_five_uneven_variants_get_their_shares():
    shares = (0.1, 0.15, 0.2, 0.25, 0.3)
    variants = [Variant(name=f"v{n}", share=share) for n, share in enumerate(shares)]
    arms = [assign("notes", f"user-{n}", variants) for n in range(20_000)]
    found = [np.mean([arm.variant == one.name for arm in arms]) for one in variants]
    assert found == pytest.approx(shares, abs=0.012)


def test_another_salt_deals_anew():
    agree = np.mean([assign("one", f"u{n}", two(0.5)) == assign("two", f"u{n}", two(0.5)) for n in range(5_000)])
    assert agree == pytest.approx(0.5, abs=0.03)


def test_more_coverage_moves_nobody_who_had_a_variant():
    narrow, wide = bucket_ranges(2, 0.4), bucket_ranges(2, 0.9)
    places = [bucket("notes", f"u{n}") for n in range(5_000)]
    before = {place: choose(place, narrow) for place in places}
    assert np.mean([found is not None for found in before.values()]) == pytest.approx(0.4, abs=0.02)
    assert all(choose(place, wide) == found for place, found in before.items() if found is not None)


def test_probabilities_other_than_the_shares_are_dealt_and_told():
    arms = [deal("notes", f"u{n}", two(0.5), (0.05, 0.95)) for n in range(5_000)]
    assert np.mean([arm.variant == "treatment" for arm in arms]) == pytest.approx(0.95, abs=0.01)
    assert {arm.probability for arm in arms} == {0.05, 0.95}


@pytest.mark.parametrize("share", [0.0, 1.0, -1, 2])
def test_a_share_that_empties_an_arm_is_refused(share):
    with pytest.raises(DesignError, match="between 0 and 1"):
        assign("notes", "user", two(share))


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((1.0,), "compares two or more"),
        ((0.4, 0.4), "found shares of 0.4, 0.4; give each variant a share between 0 and 1, in all 1"),
        ((0.7, 0.7), "in all 1"),
        ((float("nan"), 0.5), "in all 1"),
        ((1 / 51,) * 51, "at most 50"),
    ],
)
def test_shares_that_do_not_make_one_are_refused_in_a_sentence(shares, said):
    with pytest.raises(DesignError, match=said):
        check_shares([Variant(name=f"v{n}", share=share) for n, share in enumerate(shares)])


def test_two_variants_of_one_name_are_refused():
    with pytest.raises(DesignError, match="different names"):
        check_shares([Variant(name="a", share=0.5), Variant(name="a", share=0.5)])
