import json
from math import exp
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

from organism.stats.srm import SrmMethod, exact_srm, sequential_srm, srm_log_odds, srm_p_value, srm_test, srm_track

# Golden numbers from scipy 1.18.1, tea-tasting 2.0.0 and savvi 0.3.1 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


@pytest.mark.parametrize("case", CASES["srm_chi2"]["expected"][0]["values"], ids=lambda c: str(c["counts"]))
def test_srm_equals_scipys_chi_square(case):
    assert srm_p_value(case["counts"], case["weights"]) == pytest.approx(case["p_value"], rel=1e-9)


@pytest.mark.parametrize(("control", "treatment", "ratio"), CASES["srm_exact"]["inputs"]["cases"])
def test_the_exact_test_of_two_arms_equals_tea_tastings_binomial(control, treatment, ratio):
    wanted = CASES["srm_exact"]["expected"][0]["values"][f"srm_{control}_{treatment}_{ratio}"]["binom"]
    assert exact_srm([control, treatment], [1, ratio]) == pytest.approx(wanted, rel=1e-9)


def test_the_exact_test_of_few_users_equals_scipys_binomial_whatever_the_share():
    for n in (1, 2, 3, 8, 20, 57):
        for k in range(n + 1):
            for share in (0.5, 0.1, 0.9, 1 / 3, 0.25):
                found = exact_srm([k, n - k], [share, 1 - share])
                assert found == pytest.approx(binomtest(k, n, share).pvalue, rel=1e-9)


def test_the_exact_test_of_three_arms_adds_up_the_splits_that_are_no_likelier():
    shares, seen = [0.2, 0.3, 0.5], [7, 3, 4]
    splits = [(i, j, 14 - i - j) for i in range(15) for j in range(15 - i)]
    chances = np.array([multinomial.pmf(split, 14, shares) for split in splits])
    wanted = chances[chances <= multinomial.pmf(seen, 14, shares) * (1 + 1e-7)].sum()
    assert exact_srm(seen, shares) == pytest.approx(wanted, rel=1e-9)


def test_too_many_users_for_the_exact_test_of_several_arms_are_sent_to_chi_square():
    with pytest.raises(ValueError, match="use srm_p_value"):
        exact_srm([5000, 5000, 5000], [1, 1, 1])


def test_small_counts_are_tested_exactly_and_large_ones_by_chi_square():
    assert srm_test([9, 1], [0.9, 0.1]) == (exact_srm([9, 1], [0.9, 0.1]), SrmMethod.EXACT)
    assert srm_test([5000, 5200], [1, 1]) == (srm_p_value([5000, 5200], [1, 1]), SrmMethod.CHI_SQUARE)
    assert srm_test([20_000, 20_000, 1], [1, 1, 1e-6]).method == SrmMethod.CHI_SQUARE
    assert srm_test([0, 0], [1, 1]).p_value is None


def test_the_sequential_test_equals_savvis():
    case = CASES["srm_sequential"]
    wanted = case["expected"][0]["values"]
    track = srm_track([look["counts"] for look in wanted], case["inputs"]["theta0"], 100)
    assert track == pytest.approx([look["p_value"] for look in wanted], rel=1e-7)
    odds = [exp(srm_log_odds(look["counts"], case["inputs"]["theta0"], 100)) for look in wanted]
    assert odds == pytest.approx([look["odds"] for look in wanted], rel=1e-7)
    three = case["expected"][1]["values"]
    assert exp(srm_log_odds(three["counts"], three["theta0"], 100)) == pytest.approx(three["odds"], rel=1e-7)


def test_the_sequential_p_never_rises_again_and_shares_need_not_sum_to_1():
    looks = [[60, 20], [100, 60], [1000, 990]]
    track = srm_track(looks, [3, 3])
    assert track == sorted(track, reverse=True)
    assert track[0] == track[-1] == sequential_srm(looks, [0.5, 0.5]) < 0.02
    assert srm_track(looks[-1:], [1, 1]) == [1.0]


def test_a_small_loop_that_lost_two_thirds_of_an_arm_is_found_while_it_is_watched():
    """With savvi's concentration p would be 0.015 and 0.015: not below the 0.001 that blocks an experiment."""
    assert sequential_srm([[10, 30], [20, 60]], [1, 1]) < 0.001
    assert sequential_srm([[28, 70]], [1, 1]) < 0.001


def test_before_the_first_user_the_split_cannot_be_judged():
    assert srm_track([[0, 0], [1, 0]], [1, 1])[0] is None
    assert sequential_srm([], [1, 1]) is None
    assert exact_srm([0, 0, 0], [1, 1, 1]) is None
    assert srm_p_value([0, 0], [1, 1]) is None


def test_a_lost_tenth_of_one_arm_of_millions_is_found_without_a_warning():
    assert sequential_srm([[5_000_000, 4_500_000]], [1, 1]) < 1e-300


@pytest.mark.parametrize("test", [srm_p_value, exact_srm, srm_log_odds])
def test_nonsense_is_refused(test):
    with pytest.raises(ValueError, match="one share an arm"):
        test([3], [0.5, 0.5])
    with pytest.raises(ValueError, match="above 0"):
        test([3, 4], [0.5, 0.0])


def test_thirty_looks_at_a_fair_split_of_three_arms_raise_few_alarms():
    rng = np.random.default_rng(2)
    shares = [0.5, 0.3, 0.2]
    alarms = 0
    for _ in range(400):
        looks = rng.multinomial(200, shares, size=30).cumsum(axis=0)
        alarms += sequential_srm(looks.tolist(), shares) <= 0.05
    assert alarms <= 20
