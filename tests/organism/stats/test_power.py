import json
from math import ceil, sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import ndtri
from statsmodels.stats.power import TTestIndPower

from organism.stats.power import (
    Design,
    conditional_power,
    days_needed,
    detectable_effect,
    more_users_needed,
    power_at,
    power_with_more,
    sample_size,
    sequential_inflation,
)
from organism.stats.sequential import critical_value

# Golden numbers from statsmodels 0.15.0, tea-tasting 2.0.0 and gbstats at growthbook 8f1db445 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
MEANS = [e["values"] for e in CASES["sample_size_means"]["expected"]]
RATES = [e["values"] for e in CASES["sample_size_proportions"]["expected"]]


def test_sizes_for_means_equal_statsmodels():
    plain = Design(variance=1.0)
    assert sample_size(plain, 0.2) / 2 == pytest.approx(MEANS[0]["n_d0_2"], rel=1e-6)
    assert sample_size(plain, 0.5) / 2 == pytest.approx(MEANS[0]["n_d0_5"], rel=1e-6)
    uneven = Design(variance=1.0, shares=(0.25, 0.75))
    assert sample_size(uneven, 0.2) / 4 == pytest.approx(MEANS[0]["n1_d0_2_ratio3"], rel=1e-6)
    assert power_at(plain, 0.05, 6000) == pytest.approx(MEANS[2]["power"], rel=1e-6)


def test_size_effect_and_power_for_means_equal_tea_tastings():
    design = Design(variance=1000 / 999)
    assert ceil(sample_size(design, 0.02 * 5)) == MEANS[3]["n_obs"]
    assert detectable_effect(design, 6000) == pytest.approx(MEANS[3]["effect"], rel=1e-6)
    assert power_at(design, 0.05, 6000) == pytest.approx(MEANS[3]["power"], rel=1e-6)


def test_the_detectable_effect_has_the_power_that_statsmodels_solver_stops_short_of():
    # statsmodels 0.15 says 0.0560352 here, of which its own power is 0.79997; ours has 0.8 by that same function.
    found = detectable_effect(Design(variance=1.0), 10_000)
    assert found == pytest.approx(MEANS[2]["mde"], rel=1e-4)
    assert TTestIndPower().power(found, 5000, 0.05) == pytest.approx(0.8, abs=1e-9)
    assert TTestIndPower().power(MEANS[2]["mde"], 5000, 0.05) < 0.79998


def test_sizes_for_proportions_equal_statsmodels_score_test():
    design = Design(rate=0.1)
    assert sample_size(design, 0.01) / 2 == pytest.approx(RATES[0], rel=1e-6)
    assert power_at(design, 0.01, 2 * 14_751) == pytest.approx(RATES[1], rel=1e-6)
    assert detectable_effect(design, sample_size(design, 0.01)) == pytest.approx(0.01, rel=1e-9)


def test_the_other_conventions_for_proportions_are_those_that_the_module_says_they_are():
    z = float(ndtri(0.975) + ndtri(0.8))
    h = 2 * np.arcsin(sqrt(0.11)) - 2 * np.arcsin(sqrt(0.1))
    assert 2 * (z / h) ** 2 == pytest.approx(RATES[2]["n"], rel=1e-5)
    assert ceil(2 * 0.1 * 0.9 * (z / 0.01) ** 2) == RATES[3][1][0]


def test_a_fall_of_a_rate_needs_fewer_users_than_a_rise_of_the_same_size():
    design = Design(rate=0.1)
    assert sample_size(design, -0.02) < sample_size(design, 0.02)
    with pytest.raises(ValueError, match="cannot change by"):
        sample_size(design, -0.1)


def test_covariates_cost_the_users_that_their_variance_did():
    plain, adjusted = Design(variance=4.0), Design(variance=4.0, reduction=0.4)
    assert sample_size(adjusted, 0.1) == pytest.approx(sample_size(Design(variance=2.4), 0.1), rel=1e-9)
    assert sample_size(adjusted, 0.1) / sample_size(plain, 0.1) == pytest.approx(0.6, rel=1e-3)
    rates = [sample_size(Design(rate=0.3, reduction=r), 0.02) for r in (0.0, 0.25)]
    assert rates[1] / rates[0] == pytest.approx(0.75, rel=1e-9)


def test_several_treatments_and_metrics_share_alpha_and_the_smallest_arm_decides():
    three = Design(variance=1.0, shares=(0.4, 0.4, 0.2), n_metrics=2)
    assert three.level == pytest.approx(0.0125)
    pair = sample_size(Design(variance=1.0, shares=(2 / 3, 1 / 3), alpha=0.0125), 0.1)
    assert sample_size(three, 0.1) == pytest.approx(pair / 0.6, rel=1e-9)


def test_traffic_that_is_held_back_counts_among_those_who_enter():
    half = Design(variance=1.0, shares=(0.25, 0.25))
    assert sample_size(half, 0.1) == pytest.approx(2 * sample_size(Design(variance=1.0), 0.1), rel=1e-9)


def test_a_sequential_design_pays_what_the_docstring_derives():
    n = 5000.0
    c, z, zb = critical_value(n), float(ndtri(0.975)), float(ndtri(0.8))
    derived = ((c + zb) / (z + zb)) ** 2
    assert (round(c, 2), round(derived, 2)) == (3.04, 1.91)
    # The effect for which the sequence reaches its power at just its tuning.
    effect = (c + zb) * sqrt(4 / n)
    design = Design(variance=1.0, tuning=n)
    assert sample_size(design, effect) == pytest.approx(n, rel=1e-6)
    assert sequential_inflation(design, effect) == pytest.approx(derived, rel=1e-3)
    assert sequential_inflation(Design(variance=1.0), effect) == pytest.approx(derived, rel=1e-3)


def test_the_sequential_power_is_the_share_of_experiments_whose_last_look_excludes_zero():
    design, effect, n = Design(variance=1.0, tuning=2000.0), 0.15, 2400
    draws = np.random.default_rng(8).normal(effect, sqrt(4 / n), 200_000)
    seen = (np.abs(draws) > critical_value(n, tuning=2000.0) * sqrt(4 / n)).mean()
    assert power_at(design, effect, n) == pytest.approx(seen, abs=0.005)


@pytest.mark.parametrize(
    "design",
    [
        Design(variance=2.0),
        Design(variance=2.0, variance_treatment=5.0, shares=(0.8, 0.1, 0.1)),
        Design(variance=2.0, tuning=1000.0),
        Design(rate=0.03, shares=(0.5, 0.3, 0.2)),
        Design(rate=0.6, tuning=8000.0, reduction=0.2),
    ],
)
def test_size_effect_and_power_undo_each_other(design):
    n = sample_size(design, 0.05)
    assert power_at(design, 0.05, n) == pytest.approx(design.power, abs=1e-4)
    assert detectable_effect(design, n) == pytest.approx(0.05, rel=1e-6)
    assert power_at(design, 0.05, 0.9 * n) < design.power < power_at(design, 0.05, 1.1 * n)


def test_what_no_number_of_users_can_see_is_none():
    assert sample_size(Design(variance=1.0), 0.0) is None
    assert sample_size(Design(variance=1.0), 1e-9) is None
    assert detectable_effect(Design(variance=1.0), 3) is None
    assert detectable_effect(Design(rate=0.9999), 100) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "either the variance"),
        ({"variance": 1.0, "rate": 0.1}, "either the variance"),
        ({"rate": 1.0}, "between 0 and 1"),
        ({"variance": 0.0}, "above 0"),
        ({"variance": 1.0, "reduction": 1.0}, "reduction"),
        ({"variance": 1.0, "shares": (1.0,)}, "two or more"),
        ({"variance": 1.0, "shares": (0.9, 0.4)}, "sum to 1"),
        ({"variance": 1.0, "power": 0.01}, "alpha < power"),
    ],
)
def test_a_design_that_asks_for_nonsense_says_what_it_wants(fields, said):
    with pytest.raises(ValueError, match=said):
        Design(**fields)


def test_days_come_from_the_users_that_the_traffic_really_brings():
    seen = [100.0, 180.0, 240.0, 280.0]
    assert days_needed(50, seen) == 1
    assert days_needed(240, seen) == 3
    assert days_needed(350, seen) == 5  # 70 a day on average after the fourth
    assert days_needed(351, seen) == 6
    assert days_needed(1000, [float(100 * day) for day in range(1, 9)]) == 10
    slowing = [1000.0, *(1000.0 + 10 * day for day in range(1, 8))]
    assert days_needed(1170, slowing) == 18  # the last seven days, not the first rush


def test_where_nobody_new_comes_no_day_is_promised():
    assert days_needed(500, [100.0] + [100.0] * 9) is None
    assert days_needed(500, []) is None


def test_the_power_with_more_users_equals_growthbooks_mid_experiment_power():
    sides = CASES["mid_experiment_power"]["inputs"]
    wanted = CASES["mid_experiment_power"]["expected"][0]["values"]
    (m_c, v_c, n_c), (m_t, v_t, n_t) = (
        (m := s["sum"] / s["n"], (s["sum_squares"] - s["n"] * m**2) / (s["n"] - 1) / s["n"], s["n"])
        for s in (sides["control"], sides["treatment"])
    )
    error = sqrt(v_t / m_c**2 + v_c * m_t**2 / m_c**4)
    assert power_with_more(0.5, error, n_c + n_t) == pytest.approx(wanted["power_now"], rel=1e-4)
    more = more_users_needed(0.5, error, n_c + n_t)
    assert more == pytest.approx(wanted["additional_users"], rel=1e-4)
    assert more / (n_c + n_t) == pytest.approx(wanted["scaling_factor"], rel=1e-4)


def test_more_users_are_needed_for_a_sequence_and_for_several_tests():
    plain = more_users_needed(0.1, 0.05, 4000)
    assert plain < more_users_needed(0.1, 0.05, 4000, n_comparisons=3)
    assert plain < more_users_needed(0.1, 0.05, 4000, tuning=5000)
    assert more_users_needed(1.0, 0.05, 4000) == 0
    assert more_users_needed(0.0, 0.05, 4000) is None
    assert more_users_needed(0.1, None, 4000) is None


def test_the_conditional_power_of_the_current_trend_is_the_b_values():
    # Lan and Wittes 1988 and Proschan, Lan and Wittes 2006, eq. 3.2: B(t) = z sqrt(t), theta = B(t)/t.
    t, z = 0.5, 1.5
    b = z * sqrt(t)
    wanted = 1 - NormalDist().cdf((NormalDist().inv_cdf(0.975) - b / t) / sqrt(1 - t))
    assert conditional_power(0.3, 0.2, t) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("assumed", [None, 0.0, 0.1])
def test_the_conditional_power_is_the_share_of_experiments_that_end_significant(assumed):
    # 40% of 1,000 users seen, one unit of variance each, a running mean of 0.06.
    n, seen, now = 1000, 400, 0.06
    truth = now if assumed is None else assumed
    rest = np.random.default_rng(9).normal(truth, 1 / sqrt(n - seen), 400_000)
    final = (seen * now + (n - seen) * rest) / n
    share = (np.abs(final) * sqrt(n) > ndtri(0.975)).mean()
    assert conditional_power(now, 1 / sqrt(seen), seen / n, assumed=assumed) == pytest.approx(share, abs=0.004)


def test_the_end_of_an_experiment_has_no_power_left_to_gain():
    assert conditional_power(0.3, 0.1, 1.0) == 1.0
    assert conditional_power(0.1, 0.1, 1.0) == 0.0
    assert conditional_power(0.3, 0.1, 1.0, critical=critical_value(5000)) == 0.0
    assert conditional_power(None, 0.1, 0.5) is None
    assert conditional_power(0.3, 0.0, 0.5) is None
    assert conditional_power(0.3, 0.1, 0.0) is None


def test_the_power_never_falls_as_the_effect_grows_though_scipys_tail_is_nan():
    found = [power_at(Design(variance=1.0), effect, 10_000) for effect in np.linspace(0, 2, 200)]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("effect", [1e-3, 0.01, 3.0, 40.0])
def test_the_power_at_the_answer_is_the_power_asked_for(effect):
    design = Design(variance=0.8, variance_treatment=1.3, shares=(0.7, 0.3))
    n = ceil(sample_size(design, effect))
    assert power_at(design, effect, n) >= 0.8
    if n > 10:
        assert power_at(design, effect, n - 2) < 0.8


def test_a_sequence_over_several_metrics_spends_a_share_of_alpha_on_each():
    one, three = (Design(variance=1.0, tuning=5000.0, n_metrics=k) for k in (1, 3))
    n = 8000.0
    limit = critical_value(n, tuning=5000.0, level=0.05 / 3)
    assert power_at(three, limit * sqrt(4 / n), n) == pytest.approx(0.5, abs=1e-6)
    assert sample_size(three, 0.1) > sample_size(one, 0.1)
