import json
from math import inf, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_rel

from organism.records import Moments
from organism.stats.compare import (
    Estimate,
    above_margin,
    below_margin,
    difference,
    fieller,
    interval,
    mean_of,
    overlap_of_ratios,
    ratio_of_sums,
)
from organism.stats.moments import moments

# Golden numbers from scipy 1.18.1, statsmodels 0.15.0, gbstats 8f1db445, tea-tasting 2.0.0 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


def expected(case: str, peer: str, call: str = "") -> dict:
    found = [e for e in CASES[case]["expected"] if e["peer"].startswith(peer) and call in e["call"]]
    return found[0]["values"]


def column(values: list[float]) -> Moments:
    return moments([[v] for v in values])


def arms(case: str) -> tuple[Estimate, Estimate]:
    arrays = CASES[case]["inputs"]["arrays"]
    return mean_of(column(arrays["control"])), mean_of(column(arrays["treatment"]))


def ratios() -> tuple[Estimate, Estimate]:
    inputs = CASES["ratio_delta"]["inputs"]
    control, treatment = (
        ratio_of_sums(moments(np.column_stack([inputs[arm]["accepted"], inputs[arm]["suggested"]])))
        for arm in ("control", "treatment")
    )
    return control, treatment


def test_welch_from_rows_equals_scipy():
    found, wanted = difference(*arms("welch_small")), expected("welch_small", "scipy")
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(wanted["ci"], rel=1e-9)
    assert (found.n_control, found.n_treatment) == (14, 11)


def test_welch_from_published_sums_equals_gbstats():
    def arm(s: dict) -> Estimate:
        cross = s["sum_squares"] - s["sum"] ** 2 / s["n"]
        return mean_of(Moments(s["n"], (s["sum"] / s["n"],), ((cross,),)))

    inputs, wanted = CASES["welch_summary"]["inputs"], expected("welch_summary", "gbstats")
    found = difference(arm(inputs["control"]), arm(inputs["treatment"]))
    assert found.effect == pytest.approx(wanted["effect"], rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(wanted["ci"], rel=1e-9)


def test_one_sided_welch_equals_gbstats():
    wanted = expected("welch_one_sided", "gbstats", "Lesser")
    found = below_margin(*arms("welch_one_sided"))
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    assert found.bound == pytest.approx(wanted["ci"][1], rel=1e-9)


def test_the_other_side_equals_gbstats_and_tea_tasting():
    found = above_margin(*arms("welch_one_sided"))
    for wanted in (
        expected("welch_one_sided", "gbstats", "Greater"),
        {"ci": [expected("welch_one_sided", "tea-tasting")["effect_size_ci_lower"]], "p_value": found.p_value},
    ):
        assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
        assert found.bound == pytest.approx(wanted["ci"][0], rel=1e-9)


def test_the_normal_instead_of_t_equals_tea_tasting_and_statsmodels():
    found = difference(*arms("welch_small"), use_t=False)
    tea = expected("student_pooled", "tea-tasting", "use_t=False")
    assert found.p_value == pytest.approx(tea["pvalue"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (tea["effect_size_ci_lower"], tea["effect_size_ci_upper"]), rel=1e-9
    )
    assert found.p_value == pytest.approx(expected("welch_small", "statsmodels")["z"][1], rel=1e-9)


def test_the_relative_effect_is_the_peers_and_its_interval_takes_the_side_that_the_absolute_p_takes():
    def arm(s: dict) -> Estimate:
        return mean_of(Moments(s["n"], (s["sum"] / s["n"],), ((s["sum_squares"] - s["sum"] ** 2 / s["n"],),)))

    inputs, linear = CASES["relative_lift_delta"]["inputs"], expected("relative_lift_delta", "gbstats")
    found = difference(arm(inputs["control"]), arm(inputs["treatment"]))
    assert found.relative == pytest.approx(linear["effect"], rel=1e-9)
    # The peer's own p is 0.0202 for the difference and 0.0619 for the lift; here one p goes with both intervals.
    assert linear["p_value"] > 0.05 > found.p_value
    assert linear["ci"][0] < 0 < found.relative_low
    small = difference(*arms("relative_lift_log"))
    for peer, name in (("gbstats", "effect"), ("tea-tasting", "rel_effect_size")):
        assert small.relative == pytest.approx(expected("relative_lift_log", peer)[name], rel=1e-9)
    assert small.p_value < 0.05
    assert small.relative_high < 0


def test_ratio_by_the_delta_method_equals_gbstats_and_tea_tasting():
    found = difference(*ratios())
    for wanted in (expected("ratio_delta", "gbstats", "absolute"),):
        assert found.effect == pytest.approx(wanted["effect"], rel=1e-9)
        assert (found.ci_low, found.ci_high) == pytest.approx(wanted["ci"], rel=1e-9)
        assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    tea = expected("ratio_delta", "tea-tasting", "RatioOfMeans('")
    assert found.p_value == pytest.approx(tea["pvalue"], rel=1e-9)
    assert found.relative == pytest.approx(tea["rel_effect_size"], rel=1e-9)
    normal, wanted = difference(*ratios(), use_t=False), expected("ratio_delta", "tea-tasting", "use_t=False")
    assert normal.p_value == pytest.approx(wanted["pvalue"], rel=1e-9)
    assert normal.ci_low == pytest.approx(wanted["effect_size_ci_lower"], rel=1e-9)


def test_a_mean_of_requests_clustered_by_user_equals_statsmodels_cluster_errors():
    def arm(events: list) -> Estimate:
        users, values = np.array([u for u, _ in events]), np.array([v for _, v in events])
        sums = [[values[users == user].sum(), (users == user).sum()] for user in np.unique(users)]
        return ratio_of_sums(moments(sums))

    inputs = CASES["clustered_mean_events"]["inputs"]
    control, treatment = arm(inputs["control"]), arm(inputs["treatment"])
    wanted = expected("clustered_mean_events", "statsmodels", "events_cluster_nocorr")
    # The peer divides by n where the delta method here divides by n - 1, an arm at a time.
    error = sqrt(sum(a.variance * (a.n - 1) / a.n for a in (control, treatment)))
    assert treatment.value - control.value == pytest.approx(wanted["effect"], rel=1e-9)
    assert error == pytest.approx(wanted["se"], rel=1e-9)
    assert error > 1.4 * expected("clustered_mean_events", "statsmodels", "events_naive")["se"]


# Values of rows by user, under control and under treatment; three users of each saw that one only.
CLUSTERS = [
    ([0.4, 0.226, 0.247, 0.224], []),
    ([0.237, 0.317], []),
    ([0.563, 0.641, 0.559, 0.535], []),
    ([0.755, 0.653], [0.791, 0.636, 0.571, 0.762]),
    ([0.298, 0.409, 0.443, 0.371], [0.544, 0.63, 0.517, 0.466]),
    ([0.809, 0.708, 0.792, 0.842], [0.706, 0.822, 0.812]),
    ([0.279, 0.341, 0.324, 0.234], [0.51, 0.384, 0.596, 0.54]),
    ([0.273], [0.15]),
    ([0.446, 0.208, 0.42, 0.36], [0.391]),
    ([0.311, 0.189, 0.336, 0.266], [0.274, 0.435, 0.387]),
    ([0.274], [0.44, 0.103, 0.349, 0.307]),
    ([], [0.304, 0.531, 0.279]),
    ([], [0.352, 0.481, 0.381, 0.536]),
    ([], [0.599, 0.219]),
]


def test_a_difference_over_shared_users_equals_statsmodels_cluster_errors():
    # statsmodels 0.15.0: OLS(value ~ treated).fit(cov_type="cluster", groups=user, use_correction=False).
    effect, error = 0.05864527629233504, 0.04521341437496448
    sums = [[(sum(rows), len(rows)) for rows in user] for user in CLUSTERS]
    control, treatment = (moments([user[arm] for user in sums if user[arm][1]]) for arm in (0, 1))
    both = moments([[*a, *b] for a, b in sums if a[1] and b[1]])
    overlap = overlap_of_ratios(both, control, treatment)
    found = difference(ratio_of_sums(control), ratio_of_sums(treatment), use_t=False, overlap=overlap)
    assert found.effect == pytest.approx(effect, rel=1e-12)
    # The peer divides by n where the delta method here divides by n - 1; both arms have 11 users.
    reach = norm.ppf(0.975) * error * sqrt(11 / 10)
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(reach, rel=1e-9)


def test_where_every_user_saw_both_once_it_is_scipys_paired_test():
    rng = np.random.default_rng(8)
    a = rng.normal(5, 2, 13)
    b = a * 0.7 + rng.normal(2, 1, 13)
    ones = np.ones(13)
    control, treatment = moments(np.column_stack([a, ones])), moments(np.column_stack([b, ones]))
    overlap = overlap_of_ratios(moments(np.column_stack([a, ones, b, ones])), control, treatment)
    found, peer = difference(ratio_of_sums(control), ratio_of_sums(treatment), overlap=overlap), ttest_rel(b, a)
    assert found.p_value == pytest.approx(peer.pvalue, rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(peer.confidence_interval()), rel=1e-9)


@settings(deadline=None)
@given(st.floats(-0.99, 0.99), st.floats(1, 20), st.floats(-20, 20), st.floats(0.1, 3))
def test_fieller_with_a_covariance_holds_the_ratios_that_its_test_does_not_reject(correlation, c, t, q):
    control, treatment = Estimate(c, 0.09, 30), Estimate(t, 0.25, 30)
    covariance = correlation * 0.3 * 0.5
    found = fieller(control, treatment, q, covariance)
    for edge in (found.low, found.high):
        if edge is not None:
            ratio = 1 + edge
            error = sqrt(0.25 - 2 * ratio * covariance + ratio**2 * 0.09)
            assert abs(t - ratio * c) == pytest.approx(q * error, rel=1e-6, abs=1e-9)


samples = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=2, max_size=30)


@settings(deadline=None)
@given(samples, samples)
def test_swapping_the_arms_flips_the_signs(a, b):
    one, other = difference(mean_of(column(a)), mean_of(column(b))), difference(mean_of(column(b)), mean_of(column(a)))
    assert one.effect == -other.effect
    assert one.p_value == pytest.approx(other.p_value) if one.p_value is not None else other.p_value is None
    if one.ci_low is not None:
        assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low))


@settings(deadline=None)
@given(samples, samples, st.sampled_from([0.8, 0.95, 0.99]))
def test_p_interval_and_fieller_never_contradict(a, b, level):
    found = difference(mean_of(column(a)), mean_of(column(b)), level)
    assume(found.p_value is not None and abs(found.p_value - (1 - level)) > 1e-9)
    excludes = found.ci_low > 0 or found.ci_high < 0
    assert (found.p_value <= 1 - level) == excludes
    if found.relative_low is not None and abs(found.mean_control) > 1e-6:
        assert (found.relative_low > 0 or found.relative_high < 0) == excludes


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_a_constant_of_1e8_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=40), rng.normal(0.3, 2.0, size=50)
    plain = difference(mean_of(column(a)), mean_of(column(b)))
    moved = difference(mean_of(column(a + 1e8)), mean_of(column(b + 1e8)))
    assert moved.effect == pytest.approx(plain.effect, abs=1e-6)
    assert moved.p_value == pytest.approx(plain.p_value, abs=1e-6)
    assert moved.ci_high - moved.ci_low == pytest.approx(plain.ci_high - plain.ci_low, rel=1e-6)


@settings(deadline=None)
@given(samples, samples, st.sampled_from([-4.0, 1e-3, 250.0]))
def test_scaling_a_metric_scales_the_effect_and_the_interval(a, b, scale):
    plain = difference(mean_of(column(a)), mean_of(column(b)))
    scaled = difference(mean_of(column([x * scale for x in a])), mean_of(column([x * scale for x in b])))
    assert scaled.effect == pytest.approx(scale * plain.effect, rel=1e-9, abs=1e-12)
    assume(plain.p_value is not None and scaled.p_value is not None)
    ends = sorted((scale * plain.ci_low, scale * plain.ci_high))
    assert (scaled.ci_low, scaled.ci_high) == pytest.approx(tuple(ends), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6, 1e8])
def test_the_reference_offsets_leave_effect_and_p_as_they_are(offset):
    inputs = CASES["numerical_stability"]["inputs"]
    assert offset in inputs["offset"]
    rng = np.random.default_rng(inputs["seed"])
    a, b = (shift + rng.normal(0, inputs["sd"], (20_000, 1)) for shift in (0.0, inputs["delta"]))
    plain = difference(mean_of(moments(a)), mean_of(moments(b)))
    moved = difference(mean_of(moments(a + offset)), mean_of(moments(b + offset)))
    assert (moved.effect, moved.p_value) == pytest.approx((plain.effect, plain.p_value), rel=1e-5, abs=1e-7)


def test_rounding_around_a_constant_is_no_spread():
    noisy = Moments(50, (0.1,), ((50 * (0.1 * 2e-16) ** 2,),))
    assert mean_of(noisy).variance == 0
    assert difference(mean_of(noisy), mean_of(noisy)).p_value is None


@pytest.mark.parametrize("size", [1e-170, 1e-100, 1e100, 1e150])
def test_a_metrics_unit_may_be_as_large_or_small_as_its_squares_allow(size):
    rng = np.random.default_rng(5)
    arms = [np.column_stack([rng.gamma(2, 1, n) + 0.3 * arm, np.ones(n)]) for arm, n in enumerate((80, 90))]
    wanted = difference(*[mean_of(moments(arm)) for arm in arms])
    for found in (
        difference(*[mean_of(moments(arm * size)) for arm in arms]),
        difference(*[ratio_of_sums(moments(arm * [size, 1])) for arm in arms]),
    ):
        if size < 1e-150:  # squares of such values are 0: the effect is known, its interval is not
            assert (found.p_value, found.relative_low) == (None, None)
            continue
        assert found.effect == pytest.approx(wanted.effect * size, rel=1e-9)
        assert found.p_value == pytest.approx(wanted.p_value, rel=1e-9)
        assert found[4:7] == pytest.approx(wanted[4:7], rel=1e-9)


@pytest.mark.parametrize("size", [1e155, 1e170, 1e300])
def test_values_too_large_to_be_squared_have_a_mean_and_no_variance(size):
    arms = [np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 2.0]]) * [size, 1], np.array([[1.0, 1.0], [3.0, 1.0]]) * [size, 1]]
    for value in (mean_of, ratio_of_sums):
        ours, theirs = (value(moments(arm)) for arm in arms)
        assert (ours.variance, theirs.variance) == (None, None)
        found = difference(ours, theirs)
        assert found.effect == theirs.value - ours.value
        assert (found.p_value, found.ci_low, found.relative_low) == (None, None, None)
    ones = mean_of(moments(np.full((3, 1), size)))
    assert ones.value == pytest.approx(size)


def test_infinite_values_and_negative_denominators_say_nothing():
    endless = Moments(5, (inf, 1.0), ((inf, 0.0), (0.0, 1.0)))
    assert mean_of(endless) is None
    assert ratio_of_sums(endless) is None
    assert ratio_of_sums(moments([[1.0, -2.0], [3.0, -4.0]])) is None
    assert difference(Estimate(1.0, inf, 5), Estimate(2.0, 1.0, 5)).p_value is None
    assert interval(Estimate(1.0, inf, 5)) == (1.0, None, None)


@pytest.mark.parametrize(("control", "treatment"), [(10.0, 12.0), (-10.0, -12.0), (10.0, -4.0), (3.0, 3.1)])
def test_fieller_is_the_set_of_ratios_that_the_test_does_not_reject(control, treatment):
    c, t, q = Estimate(control, 0.5, 30), Estimate(treatment, 0.8, 30), 2.0
    lifts = np.linspace(-6, 6, 2_000_001)
    ratio = 1 + lifts * (1 if control > 0 else -1)
    kept = lifts[np.abs(treatment - ratio * control) <= q * np.sqrt(0.8 + ratio**2 * 0.5)]
    found = fieller(c, t, q)
    assert (found.low, found.high) == pytest.approx((kept.min(), kept.max()), abs=1e-4)


def test_fieller_states_no_limits_when_the_control_may_be_zero():
    assert fieller(Estimate(0.5, 1.0, 9), Estimate(3.0, 1.0, 9), 2.0) == (pytest.approx(5.0), None, None)


@pytest.mark.parametrize("few", [column([1.0]), column([2.0, 2.0]), moments(np.zeros((0, 1)))])
def test_what_cannot_be_said_is_none_and_never_a_p_of_one(few):
    found = difference(mean_of(few), mean_of(few))
    assert (found.p_value, found.ci_low, found.relative_low) == (None, None, None)
    assert below_margin(mean_of(few), mean_of(few)) is None


def test_a_ratio_without_a_denominator_is_none():
    assert ratio_of_sums(moments([[0.0, 0.0], [0.0, 0.0]])) is None
    assert interval(None) == (None, None, None)


def test_one_arms_interval_is_students():
    low, high = 0.5 - 2.2621571627409915 * 0.1, 0.5 + 2.2621571627409915 * 0.1  # t(9) at 97.5% from R's qt
    assert interval(Estimate(0.5, 0.01, 10)) == pytest.approx((0.5, low, high))
    assert interval(Estimate(0.5, 0.01, 10)).high < inf


@settings(deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=1, max_size=6), min_size=2, max_size=8)
)
def test_the_delta_variance_equals_brute_force_over_users(users):
    sums = np.array([[sum(r * d for r, d in rows), sum(d for _, d in rows)] for rows in users])
    found = ratio_of_sums(moments(sums))
    ratio = sums[:, 0].sum() / sums[:, 1].sum()
    linear = (sums[:, 0] - ratio * sums[:, 1]) / sums[:, 1].mean()
    assert found.value == pytest.approx(ratio, abs=1e-12)
    assert found.variance == pytest.approx(linear.var(ddof=1) / len(sums), rel=1e-9, abs=1e-12)
