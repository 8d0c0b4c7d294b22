import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.records import QuantileParts
from organism.stats.compare import Comparison, difference
from organism.stats.moments import moments
from organism.stats.quantile import quantile_estimate, quantile_of_rows, quantile_reach

# Golden numbers from gbstats @ growthbook 8f1db445 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


def parts_of(users: np.ndarray, values: np.ndarray, probability: float) -> QuantileParts:
    """What the store's query brings, from rows."""
    reach = quantile_reach(len(values), probability)
    at = np.clip([probability, probability - reach, probability + reach], 0, 1)
    estimate, low, high = np.quantile(values, at)
    code = np.unique(users, return_inverse=True)[1]
    table = np.column_stack([np.bincount(code, values <= estimate), np.bincount(code)])
    return QuantileParts(probability, reach, len(values), estimate, low, high, moments(table))


def golden(case: str, probability: float) -> tuple[QuantileParts, QuantileParts, dict]:
    rows = [np.array(CASES[case]["inputs"][arm]) for arm in ("control", "treatment")]
    wanted = next(e["values"] for e in CASES[case]["expected"] if e["call"].endswith(f"_{probability}"))
    control, treatment = (parts_of(r[:, 0], r[:, 1], probability) for r in rows)
    return control, treatment, wanted


def same(found: Comparison, wanted: dict) -> bool:
    return (
        found.effect == pytest.approx(wanted["effect"], rel=1e-9)
        and (found.ci_low, found.ci_high) == pytest.approx(wanted["ci"], rel=1e-9)
        and found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    )


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_a_quantile_over_rows_equals_gbstats(probability):
    control, treatment, wanted = golden("quantile_iid", probability)
    assert same(difference(quantile_of_rows(control), quantile_of_rows(treatment)), wanted)
    for parts, stat in ((control, wanted["control_stat"]), (treatment, wanted["treatment_stat"])):
        assert (parts.low, parts.high) == pytest.approx((stat["quantile_lower"], stat["quantile_upper"]), rel=1e-9)


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_a_quantile_clustered_by_user_equals_gbstats_but_for_the_degrees_of_freedom(probability):
    control, treatment, wanted = golden("quantile_clustered", probability)
    arms = [quantile_estimate(parts) for parts in (control, treatment)]
    assert sqrt(arms[0].variance + arms[1].variance) == pytest.approx(wanted["se"], rel=1e-9)
    # The peer counts rows (402 and 406) as degrees of freedom; here they are the users, 60 and 55.
    rows = [arm._replace(n=parts.n_rows) for arm, parts in zip(arms, (control, treatment), strict=True)]
    assert same(difference(*rows), wanted)
    ours = difference(*arms)
    assert (ours.n_control, ours.n_treatment) == (60, 55)
    assert ours.ci_high - ours.ci_low > wanted["ci"][1] - wanted["ci"][0]


def test_a_quantile_that_cannot_be_bounded_has_no_variance():
    users, values = np.arange(30), np.arange(30.0)
    assert quantile_estimate(parts_of(users, values, 0.5)).variance > 0
    assert quantile_estimate(parts_of(users, values, 0.95)).variance is None  # 30 rows do not reach around p95
    assert quantile_estimate(parts_of(np.zeros(30), values, 0.5)) == (14.5, None, 1)  # one user
    assert quantile_estimate(parts_of(users, np.full(30, 3.0), 0.5)).variance is None  # one value
    mostly = np.where(values < 24, 3.0, values)
    assert quantile_estimate(parts_of(users, mostly, 0.5)).variance is None  # one value all around the median
    assert difference(*[quantile_estimate(parts_of(users, np.full(30, 3.0), 0.5))] * 2).p_value is None


def test_a_reach_shrinks_with_rows_and_a_probability_outside_0_to_1_is_refused():
    assert quantile_reach(400, 0.9) == pytest.approx(1.959963984540054 * sqrt(0.09 / 400), rel=1e-9)
    assert quantile_reach(0, 0.9) == 1
    with pytest.raises(ValueError, match="above 0 and below 1"):
        quantile_reach(10, 95)


def logs(rng: np.random.Generator, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Latencies of requests, alike within a user."""
    users = np.repeat(np.arange(n_users), rng.integers(1, 12, n_users))
    return users, np.exp(rng.normal(0, 0.6, n_users)[users] + rng.normal(0, 0.6, len(users)))


def test_the_clustered_p95_keeps_its_error_rate_where_the_one_over_rows_does_not():
    # 1,000 experiments without an effect, 150 users an arm; the binomial 99% band of 5% is 3.2% to 6.8%.
    rng, clustered, naive = np.random.default_rng(5), 0, 0
    for _ in range(1_000):
        arms = [parts_of(*logs(rng, 150), 0.95) for _ in range(2)]
        clustered += difference(*map(quantile_estimate, arms)).p_value <= 0.05
        naive += difference(*map(quantile_of_rows, arms)).p_value <= 0.05
    assert clustered / 1_000 < 0.068
    assert naive / 1_000 > 0.12


@settings(deadline=None)
@given(st.integers(0, 300), st.sampled_from([1e-3, 7.0]))
def test_scaling_scales_swapping_flips_and_a_constant_changes_nothing(seed, scale):
    rng = np.random.default_rng(seed)
    rows = [logs(rng, 60) for _ in range(2)]

    def compared(arms: list, factor: float = 1.0, shift: float = 0.0) -> Comparison:
        return difference(*(quantile_estimate(parts_of(u, v * factor + shift, 0.9)) for u, v in arms))

    plain, scaled = compared(rows), compared(rows, scale)
    swapped, moved = compared(rows[::-1]), compared(rows, 1.0, 1e8)
    assert (scaled.effect, scaled.ci_high) == pytest.approx((scale * plain.effect, scale * plain.ci_high), rel=1e-9)
    assert (swapped.effect, swapped.ci_low) == pytest.approx((-plain.effect, -plain.ci_high), rel=1e-9)
    assert (moved.effect, moved.p_value) == pytest.approx((plain.effect, plain.p_value), abs=1e-6)
    assert (plain.p_value <= 0.05) == (plain.ci_low > 0 or plain.ci_high < 0)
