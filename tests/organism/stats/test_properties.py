"""What must hold of every statistic of this room, whatever the data."""

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from math import isclose
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from organism.records import Moments, QuantileParts
from organism.stats.bayes import Beta, Normal, chance_to_win, expected_loss, probability_best
from organism.stats.compare import (
    Estimate,
    above_margin,
    below_margin,
    difference,
    mean_of,
    ratio_of_sums,
    standard_error,
)
from organism.stats.cuped import adjust
from organism.stats.heterogeneity import cochran_q
from organism.stats.margins import equivalent, non_inferior
from organism.stats.moments import merge, merge_all, moments
from organism.stats.multiplicity import Correction, adjusted
from organism.stats.proportion import Count, score_difference
from organism.stats.quantile import quantile_estimate, quantile_reach
from organism.stats.sequential import Alternative, confidence_sequence, critical_value, one_sided_sequence
from organism.stats.srm import exact_srm, sequential_srm, srm_p_value

# Sums in another order, and sums of other magnitudes, agree to this part of their size.
ROUNDING = 1e-9

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(12, 300)
alphas = st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.3])

Y, NUM, DEN, PRE, PRE_NUM, PRE_DEN, HIT = range(7)


class Reading(NamedTuple):
    effect: float
    low: float
    high: float
    p_value: float


def users(seed: int, n: int, lift: float = 0.0) -> np.ndarray:
    """n users by seven columns: a skewed value, a ratio's parts, their pre-period and something done or not."""
    rng = np.random.default_rng(seed)
    habit = rng.normal(size=n)
    requests = rng.poisson(4, n) + 1.0
    kept = requests * (3 + habit + rng.normal(size=n)) + lift * requests
    before = rng.poisson(4, n) + 1.0
    value = rng.exponential(2, n) + habit + lift
    return np.column_stack(
        [
            value,
            kept,
            requests,
            habit + rng.normal(size=n) * 0.5,
            before * (3 + habit),
            before,
            rng.random(n) < 0.3 + 0.4 * (lift > 0),
        ]
    ).astype(float)


def mean(table: np.ndarray) -> Estimate | None:
    return mean_of(moments(table[:, [Y]]))


def ratio(table: np.ndarray) -> Estimate | None:
    return ratio_of_sums(moments(table[:, [NUM, DEN]]))


def p80(table: np.ndarray) -> Estimate:
    """The 80th percentile of the value, each user having two rows."""
    rows = np.concatenate([table[:, Y], table[:, Y] * 0.5 + table[:, PRE]])
    reach = min(quantile_reach(len(rows), 0.8), 0.19)
    estimate, low, high = np.quantile(rows, [0.8, 0.8 - reach, 0.8 + reach])
    below = (rows <= estimate).reshape(2, -1).sum(axis=0)
    parts = moments(np.column_stack([below, np.full(len(table), 2.0)]))
    return quantile_estimate(QuantileParts(0.8, reach, len(rows), float(estimate), float(low), float(high), parts))


def plain(value: Callable[[np.ndarray], Estimate | None]) -> Callable[..., Reading]:
    def read(control: np.ndarray, treatment: np.ndarray, alpha: float) -> Reading:
        found = difference(value(control), value(treatment), 1 - alpha)
        return Reading(found.effect, found.ci_low, found.ci_high, found.p_value)

    return read


def adjusting(columns: list[int], n_outcome: int, pairs: int) -> Callable[..., Reading]:
    def read(control: np.ndarray, treatment: np.ndarray, alpha: float) -> Reading:
        arms = [moments(arm[:, columns]) for arm in (control, treatment)]
        found = difference(*adjust(arms, n_outcome, ratio_covariates=pairs).estimates, 1 - alpha)
        return Reading(found.effect, found.ci_low, found.ci_high, found.p_value)

    return read


def watched(value: Callable[[np.ndarray], Estimate | None]) -> Callable[..., Reading]:
    def read(control: np.ndarray, treatment: np.ndarray, alpha: float) -> Reading:
        c, t = value(control), value(treatment)
        error, degrees = standard_error(c, t)
        found = confidence_sequence(t.value - c.value, error, c.n + t.n, alpha=alpha, tuning=300, degrees=degrees)
        return Reading(t.value - c.value, *found)

    return read


SCALABLE = {
    "mean": plain(mean),
    "ratio": plain(ratio),
    "quantile": plain(p80),
    "cuped mean": adjusting([Y, PRE], 1, 0),
    "cuped mean, two covariates": adjusting([Y, PRE, PRE_DEN], 1, 0),
    "cuped ratio": adjusting([NUM, DEN, PRE_NUM, PRE_DEN], 2, 1),
    "sequence of a mean": watched(mean),
    "sequence of a ratio": watched(ratio),
    "sequence of a quantile": watched(p80),
}


def score(control: np.ndarray, treatment: np.ndarray, alpha: float) -> Reading:
    counts = [Count(float(arm[:, HIT].sum()), len(arm)) for arm in (control, treatment)]
    assume(0 < counts[0].successes + counts[1].successes < counts[0].n + counts[1].n)
    found = score_difference(*counts, 1 - alpha)
    return Reading(found.effect, found.ci_low, found.ci_high, found.p_value)


TWO_SIDED = {**SCALABLE, "proportion": score}


def close(a: float, b: float, size: float) -> bool:
    return isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING * size)


@settings(deadline=None, max_examples=60)
@given(seeds, st.lists(st.integers(0, 40), min_size=2, max_size=8), st.permutations(range(8)))
def test_merging_is_associative_and_free_of_order(seed, lengths, order):
    table = users(seed, max(sum(lengths), 2)) + 1000.0
    cuts = np.cumsum(lengths)[:-1]
    parts = [moments(part) for part in np.split(table, cuts)]
    shuffled = [parts[i] for i in order if i < len(parts)]
    from_left, from_right = merge_all(parts), reduce(lambda done, part: merge(part, done), reversed(parts))
    for found in (from_left, from_right, merge_all(shuffled)):
        assert_same(found, moments(table))


def assert_same(a: Moments, b: Moments) -> None:
    assert a.n == b.n
    assert np.allclose(a.mean, b.mean, rtol=1e-12, atol=0)
    assert np.allclose(a.cross, b.cross, rtol=1e-9, atol=1e-9 * np.abs(b.cross).max())


@pytest.mark.parametrize("name", TWO_SIDED)
@settings(deadline=None, max_examples=25)
@given(seeds, sizes, sizes, alphas, st.sampled_from([0.0, 0.4]))
def test_swapping_the_arms_flips_the_signs_and_nothing_else(name, seed, n, m, alpha, lift):
    a, b = users(seed, n), users(seed + 1, m, lift)
    there, back = TWO_SIDED[name](a, b, alpha), TWO_SIDED[name](b, a, alpha)
    size = there.high - there.low
    assert close(there.effect, -back.effect, size)
    assert close(there.low, -back.high, size)
    assert close(there.high, -back.low, size)
    assert close(there.p_value, back.p_value, 1.0)


@pytest.mark.parametrize("name", SCALABLE)
@settings(deadline=None, max_examples=25)
@given(seeds, sizes, sizes, alphas, st.sampled_from([1e-6, 0.3, 7.0, 1e9]))
def test_scaling_the_metric_scales_the_effect_and_leaves_p(name, seed, n, m, alpha, scale):
    a, b = users(seed, n), users(seed + 1, m, 0.2)
    factors = np.ones(7)
    factors[[Y, NUM, PRE]] = scale
    before, after = SCALABLE[name](a, b, alpha), SCALABLE[name](a * factors, b * factors, alpha)
    size = (before.high - before.low) * scale
    assert close(after.effect, before.effect * scale, size)
    assert close(after.low, before.low * scale, size)
    assert close(after.high, before.high * scale, size)
    assert close(after.p_value, before.p_value, 1.0)


@pytest.mark.parametrize("name", TWO_SIDED)
@settings(deadline=None, max_examples=40)
@given(seeds, sizes, sizes, alphas, st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_p_is_at_most_alpha_exactly_when_the_interval_excludes_no_effect(name, seed, n, m, alpha, lift):
    found = TWO_SIDED[name](users(seed, n), users(seed + 1, m, lift), alpha)
    assert (found.p_value <= alpha) == (found.low > 0 or found.high < 0)


@pytest.mark.parametrize("name", [name for name in TWO_SIDED if not name.startswith("sequence")])
@settings(deadline=None, max_examples=20)
@given(seeds, sizes, sizes)
def test_the_interval_at_level_p_just_touches_no_effect(name, seed, n, m):
    # The sharpest form: a hair more than p excludes 0, a hair less does not.
    a, b = users(seed, n), users(seed + 1, m, 0.2)
    p = TWO_SIDED[name](a, b, 0.05).p_value
    assume(1e-9 < p < 0.9)
    outside, inside = TWO_SIDED[name](a, b, p * (1 + 1e-6)), TWO_SIDED[name](a, b, p * (1 - 1e-6))
    assert outside.low > 0 or outside.high < 0
    assert inside.low < 0 < inside.high


@settings(deadline=None, max_examples=200)
@given(
    st.floats(1e-6, 1e6),
    st.integers(2, 10**8),
    alphas,
    st.floats(1, 1e7),
    st.sampled_from([None, 1.0, 3.7, 50.0, 1e5]),
    st.sampled_from([1 - 1e-9, 1 + 1e-9]),
    st.sampled_from([-1, 1]),
)
def test_a_sequence_and_its_p_share_one_boundary_to_nine_digits(error, n, alpha, tuning, degrees, hair, sign):
    reach = confidence_sequence(0.0, error, n, alpha=alpha, tuning=tuning, degrees=degrees).high
    found = confidence_sequence(sign * reach * hair, error, n, alpha=alpha, tuning=tuning, degrees=degrees)
    assert (found.p_value <= alpha) == (found.low > 0 or found.high < 0) == (hair > 1)


@settings(deadline=None, max_examples=200)
@given(
    st.floats(1e-6, 1e6),
    st.integers(2, 10**8),
    alphas,
    st.floats(1, 1e7),
    st.floats(-5, 5),
    st.sampled_from([1 - 1e-8, 1 + 1e-8]),
    st.sampled_from(Alternative),
)
def test_a_one_sided_sequence_and_its_p_share_one_boundary_too(error, n, alpha, tuning, margin, hair, side):
    sign = 1 if side == Alternative.GREATER else -1
    options = {"alpha": alpha, "tuning": tuning, "alternative": side}
    reach = abs(one_sided_sequence(0.0, error, n, **options).bound)
    margin *= reach
    found = one_sided_sequence(margin + sign * reach * hair, error, n, margin=margin, **options)
    assert (found.p_value <= alpha) == (sign * (found.bound - margin) > 0) == (hair > 1)


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, sizes, alphas, st.sampled_from([-0.6, -0.3, 0.1, 0.4, 0.8]))
def test_a_one_sided_p_is_at_most_alpha_exactly_when_its_bound_is_beyond_the_margin(seed, n, m, alpha, margin):
    a, b = mean(users(seed, n)), mean(users(seed + 1, m, 0.3))
    below, above = below_margin(a, b, margin, 1 - alpha), above_margin(a, b, margin, 1 - alpha)
    assert (below.p_value <= alpha) == (below.bound < margin)
    assert (above.p_value <= alpha) == (above.bound > margin)
    for better in (-1, 1):
        found = non_inferior(a, b, abs(margin), better=better, alpha=alpha)
        assert found.holds == (found.p_value <= alpha) == (better * found.bound > -abs(margin))
    same = equivalent(a, b, -abs(margin), abs(margin), alpha=alpha)
    assert same.holds == (same.p_value <= alpha) == (-abs(margin) < same.ci_low and same.ci_high < abs(margin))


@pytest.mark.parametrize("value", [mean, ratio, p80])
@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(2, 3000), st.integers(2, 3000), alphas, st.sampled_from([1.0, 300.0, 5000.0, 1e6]))
def test_a_sequence_is_never_narrower_than_the_fixed_interval(value, seed, n, m, alpha, tuning):
    c, t = value(users(seed, n)), value(users(seed + 1, m))
    found = standard_error(c, t)
    assume(found is not None)
    fixed = difference(c, t, 1 - alpha)
    sequence = confidence_sequence(fixed.effect, found[0], n + m, alpha=alpha, tuning=tuning, degrees=found[1])
    assert sequence.low < fixed.ci_low
    assert sequence.high > fixed.ci_high
    assert fixed.p_value <= alpha or sequence.p_value > alpha
    bound = above_margin(c, t, 0.0, 1 - alpha).bound
    one_sided = one_sided_sequence(fixed.effect, found[0], n + m, alpha=alpha, tuning=tuning, degrees=found[1])
    assert one_sided.bound < bound


@settings(deadline=None, max_examples=200)
@given(st.floats(2, 1e9), st.floats(1e-6, 0.45), st.floats(0.01, 1e9))
def test_the_critical_values_of_a_sequence_exceed_the_normal_ones(n, alpha, tuning):
    assert critical_value(n, alpha=alpha, tuning=tuning) > NormalDist().inv_cdf(1 - alpha / 2)
    one_sided = critical_value(n, alpha=alpha, tuning=tuning, one_sided=True)
    assert one_sided > NormalDist().inv_cdf(1 - alpha)
    assert critical_value(n, alpha=alpha, tuning=tuning, level=alpha / 3) > critical_value(
        n, alpha=alpha, tuning=tuning
    )


@pytest.mark.parametrize("name", ["mean", "quantile", "cuped mean", "cuped mean, two covariates", "sequence of a mean"])
@settings(deadline=None, max_examples=25)
@given(seeds, sizes, sizes)
def test_adding_a_hundred_million_changes_nothing(name, seed, n, m):
    # At 1e8 a double keeps 1.5e-8 of a unit: that, and no more, is what the offset may cost.
    a, b = users(seed, n), users(seed + 1, m, 0.3)
    offset = np.zeros(7)
    offset[[Y, PRE, PRE_DEN]] = 1e8
    if name == "quantile":
        # Both rows of a user must move by the same: the second is 0.5 y + pre.
        offset[PRE] = 0.5e8
    before, after = SCALABLE[name](a, b, 0.05), SCALABLE[name](a + offset, b + offset, 0.05)
    assert after == pytest.approx(before, abs=2e-6)


@settings(deadline=None, max_examples=25)
@given(seeds, sizes)
def test_adding_a_hundred_million_to_the_covariate_of_a_ratio_changes_nothing(seed, n):
    a, b = users(seed, n), users(seed + 1, n, 0.3)
    moved = [moments(arm[:, [NUM, DEN, PRE]] + [0.0, 0.0, 1e8]) for arm in (a, b)]
    before = difference(*adjust([moments(arm[:, [NUM, DEN, PRE]]) for arm in (a, b)], 2).estimates)
    after = difference(*adjust(moved, 2).estimates)
    assert after[:4] == pytest.approx(before[:4], abs=2e-6)


@pytest.mark.parametrize("test", [srm_p_value, exact_srm, lambda counts, shares: sequential_srm([counts], shares)])
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), min_size=2, max_size=4), st.randoms())
def test_which_arm_comes_first_is_nothing_to_a_split(test, arms, random):
    assume(sum(count for count, _ in arms))
    shuffled = random.sample(arms, len(arms))
    there, back = test(*map(list, zip(*arms, strict=True))), test(*map(list, zip(*shuffled, strict=True)))
    assert there == pytest.approx(back, rel=1e-9)
    assert 0 < there <= 1


p_lists = st.lists(st.one_of(st.none(), st.integers(0, 1000).map(lambda k: k / 1000)), max_size=12)


@pytest.mark.parametrize("method", Correction)
@settings(deadline=None, max_examples=60)
@given(p_lists, st.randoms())
def test_adjusting_knows_no_order_never_lowers_a_p_and_keeps_their_order(method, p_values, random):
    found = adjusted(p_values, method)
    order = random.sample(range(len(p_values)), len(p_values))
    again = adjusted([p_values[i] for i in order], method)
    assert all(q is found[i] or isclose(q, found[i], rel_tol=1e-12) for q, i in zip(again, order, strict=True))
    pairs = sorted((p, q) for p, q in zip(p_values, found, strict=True) if p is not None)
    assert all(p <= q * (1 + 1e-12) and q <= 1 for p, q in pairs)
    assert all(earlier[1] <= later[1] for earlier, later in pairwise(pairs))


@settings(deadline=None, max_examples=60)
@given(p_lists)
def test_hochberg_is_never_stricter_than_holm_nor_bh_than_hochberg_and_by_is_than_bh(p_values):
    holm, hochberg, bh, by = (adjusted(p_values, method) for method in Correction)
    for a, b, c, d in zip(holm, hochberg, bh, by, strict=True):
        assert a is None or (c <= b * (1 + 1e-12) and b <= a * (1 + 1e-12) and c <= d)


@settings(deadline=None, max_examples=60)
@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.1, 10), st.sampled_from([None, Normal(0.0, 2.0)]))
def test_turning_the_effect_round_turns_its_chance_and_scaling_it_scales_its_loss(effect, error, scale, prior):
    turned = chance_to_win(-effect, error, prior=prior)
    assert chance_to_win(effect, error, better=-1, prior=prior) == pytest.approx(turned, abs=1e-12)
    assert chance_to_win(effect, error, prior=prior) + turned == pytest.approx(1.0, abs=1e-12)
    assert expected_loss(effect, error, prior=prior) >= 0
    assert expected_loss(effect * scale, error * scale) == pytest.approx(scale * expected_loss(effect, error), abs=1e-9)


arms_of_rates = st.lists(st.builds(Beta, st.floats(0.05, 500), st.floats(0.05, 500)), min_size=2, max_size=5)


@settings(deadline=None, max_examples=60)
@given(arms_of_rates, st.randoms())
def test_the_chances_of_being_best_sum_to_one_in_any_order(arms, random):
    found = probability_best(arms)
    order = random.sample(range(len(arms)), len(arms))
    again = probability_best([arms[i] for i in order])
    assert sum(found) == pytest.approx(1.0, abs=1e-12)
    assert again == pytest.approx([found[i] for i in order], abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(2, 20), st.floats(-100, 100), st.sampled_from([1e-3, 5.0, 1e4]))
def test_heterogeneity_does_not_see_a_common_shift_and_is_free_of_the_unit(seed, k, shift, scale):
    rng = np.random.default_rng(seed)
    effects, variances = rng.normal(size=k), rng.uniform(0.1, 2, k)
    plain, moved = cochran_q(effects, variances), cochran_q(effects * scale + shift, variances * scale**2)
    size = 1e-9 * max(1.0, abs(shift) / scale) ** 2
    assert moved.q == pytest.approx(plain.q, rel=1e-6, abs=size)
    assert moved.p_value == pytest.approx(plain.p_value, rel=1e-6, abs=size)
    assert moved.tau2 == pytest.approx(plain.tau2 * scale**2, rel=1e-6, abs=size * scale**2)
    assert moved.pooled == pytest.approx(plain.pooled * scale + shift, rel=1e-9, abs=1e-9 * scale)
