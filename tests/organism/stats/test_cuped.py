import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.records import Moments
from organism.stats.compare import Comparison, difference, mean_of, ratio_of_sums
from organism.stats.cuped import Adjusted, adjust
from organism.stats.moments import empty, merge, moments

# Golden numbers from gbstats 8f1db445, tea-tasting 2.0.0, statsmodels 0.15.0 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


def expected(case: str, peer: str, call: str) -> dict:
    found = [e for e in CASES[case]["expected"] if e["peer"].startswith(peer) and call in e["call"]]
    return found[0]["values"]


def table(case: str, *columns: str) -> list[Moments]:
    inputs = CASES[case]["inputs"]
    return [moments(np.column_stack([inputs[arm][c] for c in columns])) for arm in ("control", "treatment")]


def compared(found: Adjusted) -> Comparison:
    return difference(*found.estimates)


def simulated(seed: int, n: int = 200, effect: float = 0.3, slope: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Two arms' (n, 2) tables: outcome, covariate from before the experiment."""
    rng = np.random.default_rng(seed)
    arms = []
    for shift in (0.0, effect):
        before = rng.normal(5, 2, n)
        arms.append(np.column_stack([shift + slope * before + rng.normal(size=n), before]))
    return arms[0], arms[1]


def test_an_adjusted_mean_equals_gbstats_and_tea_tasting():
    adjusted = adjust(table("cuped_mean", "post", "pre"), 1)
    found, wanted = compared(adjusted), expected("cuped_mean", "gbstats", "absolute; theta")
    assert adjusted.theta[0] == pytest.approx(wanted["theta"], rel=1e-9)
    assert found.effect == pytest.approx(wanted["effect"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(wanted["ci"], rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    tea = expected("cuped_mean", "tea-tasting", "Mean('post','pre')")
    assert (found.mean_control, found.mean_treatment) == pytest.approx((tea["control"], tea["treatment"]), rel=1e-9)
    assert found.relative == pytest.approx(tea["rel_effect_size"], rel=1e-9)


def test_without_a_covariate_it_is_the_plain_test():
    found = compared(adjust(table("cuped_mean", "post"), 1))
    wanted = expected("cuped_mean", "gbstats", "without CUPED")
    assert (found.effect, found.p_value) == pytest.approx((wanted["effect"], wanted["p_value"]), rel=1e-9)


def test_an_adjusted_ratio_equals_tea_tasting_and_is_within_a_thousandth_of_gbstats():
    adjusted = adjust(table("cuped_ratio", "numer", "denom", "numer_pre", "denom_pre"), 2, ratio_covariates=1)
    found, tea = compared(adjusted), expected("cuped_ratio", "tea-tasting", "RatioOfMeans")
    assert found.effect == pytest.approx(tea["effect_size"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (tea["effect_size_ci_lower"], tea["effect_size_ci_upper"]), rel=1e-9
    )
    assert found.p_value == pytest.approx(tea["pvalue"], rel=1e-9)
    assert found.relative == pytest.approx(tea["rel_effect_size"], rel=1e-9)
    # gbstats linearizes each arm at its own ratio before it pools, and so has another theta.
    assert found.effect == pytest.approx(expected("cuped_ratio", "gbstats", "theta")["effect"], rel=1e-3)


def test_the_welch_error_is_statsmodels_hc2_and_slopes_of_ones_own_give_lins_effect():
    control, treatment = table("regression_adjustment_ols", "post", "pre")
    found = difference(mean_of(control), mean_of(treatment))
    plain = expected("regression_adjustment_ols", "statsmodels", "ols('post~t').fit(cov_type='HC2'")
    assert found.effect == pytest.approx(plain["effect"], rel=1e-9)
    assert sqrt(mean_of(control).variance + mean_of(treatment).variance) == pytest.approx(plain["se"], rel=1e-9)
    center = merge(control, treatment).mean[1]
    at_center = [arm.mean[0] - adjust([arm], 1).theta[0] * (arm.mean[1] - center) for arm in (control, treatment)]
    lin = expected("regression_adjustment_ols", "statsmodels", "ols('post~t*prec').fit(cov_type='HC2'")
    assert at_center[1] - at_center[0] == pytest.approx(lin["effect"], rel=1e-9)


def test_several_covariates_equal_least_squares_over_all_users():
    rng = np.random.default_rng(3)
    before = rng.normal(size=(300, 3)) * [1, 10, 0.1] + [4, 100, -2]
    rows = np.column_stack([before @ [0.5, 0.02, 3.0] + rng.normal(size=300), before])
    found = adjust([moments(rows[:120]), moments(rows[120:])], 1)
    design = np.column_stack([np.ones(300), before])
    slopes = np.linalg.lstsq(design, rows[:, 0], rcond=None)[0][1:]
    assert found.theta == pytest.approx(tuple(slopes), rel=1e-9)
    residual = rows[:, 0] - before @ slopes
    wanted = difference(*(mean_of(moments(residual[part, None])) for part in (slice(120), slice(120, None))))
    assert compared(found).effect == pytest.approx(wanted.effect, rel=1e-9)
    assert compared(found).p_value == pytest.approx(wanted.p_value, rel=1e-9)


def test_the_reduction_says_how_much_of_the_variance_is_gone():
    control, treatment = simulated(0, n=20_000)
    found = adjust([moments(control), moments(treatment)], 1)
    assert found.variance_reduction == pytest.approx(1 - 1 / (1 + 0.64 * 4), abs=0.01)


def test_a_useless_covariate_is_dropped_and_the_note_says_why():
    control, treatment = simulated(1)
    with_constant = [moments(np.column_stack([arm, np.full(len(arm), 7.3)])) for arm in (control, treatment)]
    found = adjust(with_constant, 1, names=("reward before", "tenure"))
    assert found.theta[1] == 0
    assert found.note == "not adjusted by tenure: it is the same for every user of an arm"
    assert compared(found) == pytest.approx(compared(adjust([moments(control), moments(treatment)], 1)))
    twice = [moments(np.column_stack([arm, arm[:, 1] * 3 - 4])) for arm in (control, treatment)]
    assert "not adjusted by covariate 2: it follows from the others" in adjust(twice, 1).note


def test_a_covariate_that_is_the_arm_itself_does_not_take_the_effect_away():
    control, treatment = simulated(2)
    arms = [moments(np.column_stack([arm[:, 0], np.full(len(arm), i)])) for i, arm in enumerate((control, treatment))]
    found = adjust(arms, 1)
    assert compared(found).effect == pytest.approx(treatment[:, 0].mean() - control[:, 0].mean(), rel=1e-12)
    assert found.variance_reduction is None


def test_a_covariate_that_the_exposure_changed_is_doubted():
    control, treatment = simulated(2)
    treatment[:, 1] += 3
    assert (
        "reward before differs between the arms"
        in adjust([moments(control), moments(treatment)], 1, names=("reward before",)).note
    )


def test_few_users_are_not_adjusted_by_many_covariates():
    rng = np.random.default_rng(4)
    arms = [moments(rng.normal(size=(25, 4))) for _ in range(2)]
    found = adjust(arms, 1)
    assert [slope != 0 for slope in found.theta] == [True, True, False]
    assert "would need 30 users an arm, found 25" in found.note


def test_an_arm_without_users_or_denominators_is_none_and_the_others_are_adjusted():
    control, treatment = simulated(5)
    found = adjust([moments(control), moments(treatment), empty(2)], 1)
    assert found.estimates[2] is None
    assert compared(Adjusted(found.estimates[:2], None, (), "")).p_value is not None
    nothing = moments(np.zeros((30, 4)))
    assert adjust([nothing, nothing], 2, ratio_covariates=1).estimates == (None, None)


def test_a_pre_period_without_denominators_leaves_the_ratio_as_it_is():
    rng = np.random.default_rng(6)
    arms = [moments(np.column_stack([rng.random((50, 2)) + 1, np.zeros((50, 2))])) for _ in range(2)]
    found = adjust(arms, 2, ratio_covariates=1)
    assert found.estimates == tuple(ratio_of_sums(arm) for arm in arms)
    assert "denominator" in found.note


def test_what_has_no_spread_cannot_be_tested_after_adjusting_either():
    rng = np.random.default_rng(7)
    before = rng.normal(size=(40, 1))
    same = moments(np.column_stack([np.full(40, 0.1), before]))
    assert compared(adjust([same, same], 1)).p_value is None
    explained = [moments(np.column_stack([rows * 3.3 + 0.1, rows])) for rows in (before[:20], before[20:])]
    assert compared(adjust(explained, 1)).p_value is None


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="found 3"):
        adjust([empty(3)], 3)
    with pytest.raises(ValueError, match="wanted 4 or more"):
        adjust([empty(3), empty(3)], 2, ratio_covariates=1)


@settings(deadline=None)
@given(st.integers(0, 500))
def test_swapping_the_arms_flips_the_signs(seed):
    a, b = (moments(arm) for arm in simulated(seed))
    one, other = compared(adjust([a, b], 1)), compared(adjust([b, a], 1))
    assert one.effect == pytest.approx(-other.effect, rel=1e-9)
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), rel=1e-9)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 500), st.sampled_from([-3.0, 1e-3, 40.0]), st.sampled_from([-2.0, 1e4]))
def test_scaling_the_metric_scales_the_effect_and_scaling_the_covariate_changes_nothing(seed, scale, other_scale):
    control, treatment = simulated(seed)
    plain = compared(adjust([moments(control), moments(treatment)], 1))
    scaled = compared(adjust([moments(arm * [scale, other_scale]) for arm in (control, treatment)], 1))
    assert scaled.effect == pytest.approx(scale * plain.effect, rel=1e-8)
    assert sorted((scaled.ci_low, scaled.ci_high)) == pytest.approx(
        sorted((scale * plain.ci_low, scale * plain.ci_high)), rel=1e-8
    )


@settings(deadline=None)
@given(st.integers(0, 500))
def test_a_constant_of_1e8_on_metric_and_covariate_changes_nothing(seed):
    control, treatment = simulated(seed)
    plain = compared(adjust([moments(control), moments(treatment)], 1))
    moved = compared(adjust([moments(arm + 1e8) for arm in (control, treatment)], 1))
    assert moved.effect == pytest.approx(plain.effect, abs=1e-6)
    assert moved.p_value == pytest.approx(plain.p_value, abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 500))
def test_an_unrelated_covariate_moves_the_effect_little_and_never_widens_much(seed):
    control, treatment = simulated(seed, slope=0.0)
    plain = difference(*(mean_of(moments(arm)) for arm in (control, treatment)))
    found = compared(adjust([moments(control), moments(treatment)], 1))
    width = plain.ci_high - plain.ci_low
    assert abs(found.effect - plain.effect) < 0.25 * width
    assert found.ci_high - found.ci_low < 1.01 * width


@settings(deadline=None)
@given(st.integers(0, 500))
def test_p_interval_and_relative_interval_never_contradict(seed):
    found = compared(adjust([moments(arm) for arm in simulated(seed, n=60, effect=0.5)], 1))
    excludes = found.ci_low > 0 or found.ci_high < 0
    assert (found.p_value <= 0.05) == excludes
    assert (found.relative_low > 0 or found.relative_high < 0) == excludes


def test_it_keeps_its_error_rate_where_the_arms_differ_in_size():
    # 2,000 experiments without an effect; the binomial 99% band of 5% is 3.7% to 6.3%.
    rng = np.random.default_rng(8)
    rejected = 0
    for _ in range(2_000):
        before = rng.exponential(size=300)
        rows = np.column_stack([before + rng.normal(size=300), before])
        found = compared(adjust([moments(rows[:60]), moments(rows[60:])], 1))
        rejected += found.p_value <= 0.05
    assert 0.037 <= rejected / 2_000 <= 0.063
