import json
from itertools import product
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from organism.stats.compare import difference
from organism.stats.moments import empty, moments
from organism.stats.proportion import (
    Count,
    count_of,
    exact_p,
    pooled_p,
    score_difference,
    share_of,
    wilson,
)

# Golden numbers from statsmodels 0.15.0, scipy 1.18.1, gbstats 8f1db445, tea-tasting 2.0.0 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
CONTROL, TREATMENT = (
    Count(CASES["two_proportions"]["inputs"][arm]["successes"], CASES["two_proportions"]["inputs"][arm]["n"])
    for arm in ("control", "treatment")
)


def expected(case: str, peer: str, call: str) -> dict:
    found = [e for e in CASES[case]["expected"] if e["peer"].startswith(peer) and call in e["call"]]
    return found[0]["values"]


def test_the_pooled_z_equals_statsmodels_and_scipys_chi_square():
    found = pooled_p(CONTROL, TREATMENT)
    assert found == pytest.approx(expected("two_proportions", "statsmodels", "proportions_ztest")["p_value"], rel=1e-9)
    assert found == pytest.approx(expected("two_proportions", "scipy", "chi2")["p_value"], rel=1e-9)


def test_the_unpooled_z_and_t_equal_statsmodels_spotify_tea_tasting_and_gbstats():
    arms = share_of(CONTROL), share_of(TREATMENT)
    z, wald = difference(*arms, use_t=False), expected("two_proportions", "statsmodels", "method='wald'")
    assert z.p_value == pytest.approx(wald["p_value"], rel=1e-9)
    assert (z.ci_low, z.ci_high) == pytest.approx(wald["ci"], rel=1e-9)
    spotify = expected("two_proportions", "spotify", "absolute=True")
    assert (z.ci_low, z.p_value) == pytest.approx((spotify["ci_lower"], spotify["p-value"]), rel=1e-9)
    tea = expected("two_proportions", "tea-tasting", "equal_var=False, correction=False")
    assert (z.p_value, z.relative) == pytest.approx((tea["pvalue"], tea["rel_effect_size"]), rel=1e-9)
    t, growthbook = difference(*arms), expected("two_proportions", "gbstats", "ProportionStatistic absolute")
    assert t.p_value == pytest.approx(growthbook["p_value"], rel=1e-9)
    assert (t.ci_low, t.ci_high) == pytest.approx(growthbook["ci"], rel=1e-9)


def test_the_score_p_and_the_score_interval_of_the_ratio_equal_statsmodels():
    found = score_difference(CONTROL, TREATMENT)
    ratio = expected("two_proportions", "statsmodels", "method='score', compare='ratio'")
    assert found.p_value == pytest.approx(ratio["p_value"], rel=1e-9)
    assert (1 + found.relative_low, 1 + found.relative_high) == pytest.approx(ratio["ci"], rel=1e-9)


def test_the_score_interval_of_the_difference_equals_newcombes_table_and_statsmodels_up_to_its_slip():
    # Newcombe (1998, Statistics in Medicine 17, 873-890), table II, method 6: Miettinen and Nurminen.
    published = {(48, 80, 56, 70): (0.0528, 0.3382), (3, 10, 9, 10): (0.1700, 0.8406)}
    for (a, n, b, m), limits in published.items():
        found = score_difference(Count(a, n), Count(b, m))
        assert (found.ci_low, found.ci_high) == pytest.approx(limits, abs=5e-5)
    # statsmodels#10269: its constrained shares are not the likeliest ones away from 0; p at 0 is right.
    found = score_difference(CONTROL, TREATMENT)
    slipped = expected("two_proportions", "statsmodels", "method='score', compare='diff'")
    assert found.p_value == pytest.approx(slipped["p_value"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(slipped["ci"], rel=2e-3)
    assert (found.ci_low, found.ci_high) != pytest.approx(slipped["ci"], rel=1e-6)


def brute_force_score(control: Count, treatment: Count, delta: float) -> float:
    """The score with the constrained shares found by maximizing the likelihood, not by a formula."""
    a, n, b, m = *control, *treatment

    def unlikely(p: float) -> float:
        return -(b * log(p + delta) + (m - b) * log(1 - p - delta) + a * log(p) + (n - a) * log(1 - p))

    p = minimize_scalar(
        unlikely, bounds=(max(1e-12, -delta), min(1, 1 - delta) - 1e-12), method="bounded", options={"xatol": 1e-13}
    ).x
    variance = (p + delta) * (1 - p - delta) / m + p * (1 - p) / n
    return (b / m - a / n - delta) / (variance * (n + m) / (n + m - 1)) ** 0.5


@pytest.mark.parametrize(
    ("control", "treatment"), [((312, 2400), (356, 2350)), ((3, 12), (9, 10)), ((40, 50), (7, 30))]
)
def test_the_limits_are_where_a_brute_force_score_is_just_rejected(control, treatment):
    arms = Count(*control), Count(*treatment)
    found = score_difference(*arms)
    assert brute_force_score(*arms, found.ci_low) == pytest.approx(1.959963984540054, rel=1e-5)
    assert brute_force_score(*arms, found.ci_high) == pytest.approx(-1.959963984540054, rel=1e-5)


def test_wilsons_interval_equals_statsmodels_and_has_a_width_without_successes():
    low, high = CASES["wilson_interval"]["expected"][0]["values"]
    found = wilson(Count(312, 2400))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    none = wilson(Count(0, 20))
    assert none.low == 0
    assert none.high == pytest.approx(1.959963984540054**2 / (20 + 1.959963984540054**2), rel=1e-9)


def test_fishers_exact_p_equals_scipy():
    (a, b), (c, d) = CASES["fisher_exact"]["inputs"]["table"]
    found = exact_p(Count(a, a + b), Count(c, c + d))
    assert found == pytest.approx(CASES["fisher_exact"]["expected"][0]["values"]["p_value"], rel=1e-9)
    assert exact_p(Count(0, 5), Count(0, 7)) is None
    # Even splits: the table found is the likeliest, and every other is no likelier.
    assert exact_p(Count(5, 10), Count(5, 10)) == pytest.approx(1.0)


def test_where_nobody_or_everybody_did_it_there_is_no_p():
    for count in (Count(0, 10), Count(10, 10)):
        found = score_difference(count, count)
        assert (found.effect, found.p_value, found.ci_low) == (0, None, None)
    assert score_difference(None, Count(3, 5)).effect is None
    assert pooled_p(Count(0, 4), Count(0, 9)) is None


def test_a_control_without_successes_has_a_difference_and_no_relative_limits():
    found = score_difference(Count(0, 40), Count(9, 40))
    assert found.p_value < 0.05
    assert found.ci_low > 0
    assert (found.relative, found.relative_low, found.relative_high) == (None, None, None)
    other = score_difference(Count(9, 40), Count(0, 40))
    assert (other.relative, other.relative_low) == (-1, -1)
    assert other.relative_high < 0


def test_small_tables_have_limits_that_agree_with_p_and_hold_the_effect():
    for a, b in product(range(6), range(8)):
        for level in (0.8, 0.95):
            found = score_difference(Count(a, 5), Count(b, 7), level)
            if found.p_value is None:
                continue
            assert -1 <= found.ci_low <= found.effect <= found.ci_high <= 1
            excludes = found.ci_low > 0 or found.ci_high < 0
            assert (found.p_value <= 1 - level) == excludes
            if found.relative_low is not None and found.relative_high is not None:
                assert (found.relative_low > 0 or found.relative_high < 0) == excludes


@pytest.mark.parametrize("n", [200_000, 10_000_000])
@pytest.mark.parametrize("share", [2e-4, 0.1, 0.97])
def test_millions_of_users_cost_no_digits(n, share):
    done = round(n * share)
    reach = (2 * share * (1 - share) / n) ** 0.5
    for z in (-4.0, -1.9, 1.9, 4.0):
        found = score_difference(Count(done, n), Count(round(done + z * reach * n), n))
        excludes = found.ci_low > 0 or found.ci_high < 0
        assert (found.p_value <= 0.05) == excludes == (found.relative_low > 0 or found.relative_high < 0)
        assert (found.ci_high - found.ci_low) / 2 == pytest.approx(1.96 * reach, rel=0.5)


def test_an_interval_of_a_low_level_around_no_success_has_limits_too():
    found = score_difference(Count(900, 1000), Count(0, 1000), 0.3)
    assert -1 == found.relative_low < found.relative_high < -0.999
    assert score_difference(Count(0, 0), Count(1, 2)).p_value is None


def test_more_successes_than_users_are_refused():
    with pytest.raises(ValueError, match="found 3 successes of 2 users"):
        score_difference(Count(1, 2), Count(3, 2))


counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))).map(lambda c: Count(*c))


@settings(deadline=None)
@given(counts, counts)
def test_swapping_the_arms_flips_the_signs(a, b):
    one, other = score_difference(a, b), score_difference(b, a)
    assert one.effect == -other.effect
    if one.p_value is None:
        assert other.p_value is None
    else:
        assert one.p_value == pytest.approx(other.p_value)
        assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), abs=1e-9)


def test_moments_of_zeros_and_ones_give_the_count_and_other_values_none():
    column = np.array([0, 1, 1, 0, 1.0])[:, None]
    assert count_of(moments(column)) == pytest.approx(Count(3, 5))
    assert count_of(moments(column * 0.5)) is None
    assert count_of(empty(1)) is None


def test_the_score_keeps_its_error_rate_where_walds_does_not():
    # The exact chance of rejecting at 5% with 20 users an arm and a true share of 5%, summed over all tables.
    n, p = 20, 0.05
    chances = [1.0]
    for _ in range(n):
        chances = [x * (1 - p) + y * p for x, y in zip([*chances, 0], [0, *chances], strict=True)]
    score = wald = 0.0
    for a, b in product(range(n + 1), repeat=2):
        arms = Count(a, n), Count(b, n)
        score += chances[a] * chances[b] * ((score_difference(*arms).p_value or 1) <= 0.05)
        wald += chances[a] * chances[b] * ((difference(*map(share_of, arms), use_t=False).p_value or 1) <= 0.05)
    assert score < 0.05
    assert score < wald
