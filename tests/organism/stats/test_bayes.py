import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from organism.stats.bayes import (
    Beta,
    Normal,
    beta_posterior,
    chance_to_win,
    credible_interval,
    expected_loss,
    posterior,
    probability_best,
)

# Golden numbers from gbstats at growthbook 8f1db445 and scipy 1.18.1 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


def lift(control: tuple[float, float], treatment: tuple[float, float]) -> tuple[float, float]:
    """GrowthBook's relative effect and its delta-method standard error from (value, variance) an arm."""
    (c, var_c), (t, var_t) = control, treatment
    return (t - c) / c, sqrt(var_t / c**2 + var_c * t**2 / c**4)


def mean(side: dict) -> tuple[float, float]:
    value = side["sum"] / side["n"]
    return value, (side["sum_squares"] - side["n"] * value**2) / (side["n"] - 1) / side["n"]


def case(call: str) -> tuple[dict, tuple[float, float]]:
    found = CASES["bayesian_effect"]
    wanted = next(e for e in found["expected"] if call in e["call"])["values"]
    if call == "proportions":
        return wanted, lift(*((k / n, k / n * (1 - k / n) / n) for k, n in ((312, 2400), (356, 2350))))
    return wanted, lift(mean(found["inputs"]["control"]), mean(found["inputs"]["treatment"]))


@pytest.mark.parametrize(
    ("call", "prior"),
    [("EffectBayesianABTest flat", None), ("proper prior", Normal(0.0, 0.09)), ("proportions", None)],
)
def test_chance_loss_and_interval_equal_growthbooks(call, prior):
    wanted, (effect, error) = case(call)
    assert chance_to_win(effect, error, prior=prior) == pytest.approx(wanted["chance_to_win"], rel=1e-6)
    assert expected_loss(effect, error, prior=prior, better=-1) == pytest.approx(wanted["risk"][0], rel=1e-6)
    assert expected_loss(effect, error, prior=prior) == pytest.approx(wanted["risk"][1], rel=1e-6)
    found = credible_interval(posterior(effect, error, prior))
    assert found.estimate == pytest.approx(wanted["effect"], rel=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(wanted["ci"]), rel=1e-6)


def test_where_less_is_better_a_fall_wins():
    assert chance_to_win(-0.2, 0.1, better=-1) == pytest.approx(chance_to_win(0.2, 0.1))
    assert expected_loss(-0.2, 0.1, better=-1) == pytest.approx(expected_loss(0.2, 0.1))
    assert chance_to_win(0.2, 0.1, better=-1) < 0.05


def test_the_flat_chance_to_win_is_one_minus_the_one_sided_p():
    assert chance_to_win(0.13, 0.08) == pytest.approx(1 - ndtr(-0.13 / 0.08), rel=1e-12)


def test_the_loss_is_the_mean_of_what_is_lost_over_the_posterior():
    draws = np.random.default_rng(5).normal(0.3, 0.5, 1_000_000)
    assert expected_loss(0.3, 0.5) == pytest.approx(np.maximum(-draws, 0).mean(), rel=0.01)
    # What one choice loses less the other is the effect itself.
    assert expected_loss(0.3, 0.5, better=-1) - expected_loss(0.3, 0.5) == pytest.approx(0.3, rel=1e-12)


def test_a_sharp_prior_holds_the_effect_and_a_vague_one_leaves_it():
    assert posterior(1.0, 0.1, Normal(0.0, 1e-8)).mean == pytest.approx(0.0, abs=1e-5)
    assert posterior(1.0, 0.1, Normal(0.0, 1e8)) == pytest.approx(posterior(1.0, 0.1), rel=1e-6)
    with pytest.raises(ValueError, match="above 0"):
        posterior(1.0, 0.1, Normal(0.0, 0.0))


@pytest.mark.parametrize(("effect", "error"), [(None, 0.1), (0.1, None), (0.1, 0.0)])
def test_where_the_data_cannot_say_there_is_no_chance_and_no_loss(effect, error):
    assert chance_to_win(effect, error) is None
    assert expected_loss(effect, error) is None
    assert credible_interval(posterior(effect, error)) == (None, None, None)


def test_the_chance_that_one_rate_beats_another_equals_scipys_quadrature():
    found = CASES["bayesian_beta_binomial"]
    arms = [beta_posterior(found["inputs"][a]["successes"], found["inputs"][a]["n"]) for a in ("control", "treatment")]
    assert probability_best(arms)[1] == pytest.approx(found["expected"][0]["values"], rel=1e-8)


def test_the_probability_of_being_best_of_three_equals_scipys_quadrature():
    found = CASES["thompson_pbest"]["expected"][0]["values"]
    arms = [beta_posterior(k, n, Beta(*found["prior"])) for k, n in found["arms"]]
    assert probability_best(arms) == pytest.approx(found["probability_best"], rel=1e-6)


def test_of_two_normal_arms_the_better_is_known_in_closed_form():
    found = probability_best([Normal(0.0, 1.0), Normal(1.0, 2.0)])
    assert found[1] == pytest.approx(chance_to_win(1.0, sqrt(3)), rel=1e-10)


@pytest.mark.parametrize(
    "arms",
    [
        [Normal(0.0, 1.0), Normal(0.1, 1e-10), Normal(-3.0, 25.0)],
        [Normal(1e6, 1.0), Normal(1e6 + 1, 1.0), Normal(1e6 - 1, 4.0)],
        [Beta(0.5, 0.5), Beta(2, 30), Beta(300, 4000)],
        [Beta(1, 1), Beta(1, 1_000_001), Beta(20_001, 1_000_001)],
    ],
)
def test_arms_of_very_different_widths_agree_with_a_million_draws(arms):
    rng = np.random.default_rng(6)
    draws = np.column_stack(
        [
            rng.beta(arm.a, arm.b, 1_000_000)
            if isinstance(arm, Beta)
            else rng.normal(arm.mean, sqrt(arm.variance), 1_000_000)
            for arm in arms
        ]
    )
    shares = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    assert probability_best(arms) == pytest.approx(shares, abs=0.0025)


def test_equal_arms_are_each_as_likely_the_best_and_one_arm_surely_is():
    assert probability_best([Beta(8, 4)] * 50) == pytest.approx([0.02] * 50, rel=1e-8)
    assert probability_best([Normal(3.0, 2.0)]) == (1.0,)


def test_no_arms_or_an_arm_without_width_cannot_be_compared():
    assert probability_best([]) is None
    assert probability_best([Normal(0.0, 0.0), Normal(1.0, 1.0)]) is None
    with pytest.raises(ValueError, match="5 of 3"):
        beta_posterior(5, 3)
