"""The reward's means and variances as forms in the weights: thousands of designs at once. Pure.

With weights as shares s (summing to 1) a variant's mean reward is m·s, its variance s'Vs and the covariance of two
variants through their shared users s'Gs (the delta method is linear in the residuals, and those in the weights). So
the forms are computed once for a set of moments, and each further design is one small product.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from organism.digest.rewards import ROUNDING, RewardMoments
from organism.records import Moments
from organism.stats import compare
from organism.stats.moments import combine

Numbers = npt.NDArray[np.float64]


class PairForms(NamedTuple):
    """What the users of both variants bring: their number, and three (k, k) forms. `a` is the first by name."""

    n: int
    a: Numbers
    b: Numbers
    covariance: Numbers


class RewardForms(NamedTuple):
    """`variants` by name; `means` (v, k); `variances` (v, k, k), NaN with one user; `n_users` (v,).

    `sums` (v, k, k) and `counts` (v,) are the parts whose difference a variance is: they tell it from rounding.
    """

    signals: tuple[str, ...]
    variants: tuple[str, ...]
    n_users: tuple[int, ...]
    means: Numbers
    variances: Numbers
    sums: Numbers
    counts: Numbers
    pairs: dict[tuple[int, int], PairForms]


class Differences(NamedTuple):
    """For each row of shares: the effect (treatment minus control) and its two-sided p, NaN where nobody can say."""

    effect: Numbers
    p_value: Numbers


def reward_forms(users: RewardMoments) -> RewardForms:
    """The forms of these moments. A variant without rows is not among them."""
    names = tuple(sorted(name for name, arm in users.variants.items() if arm.n and arm.mean[-1]))
    arms = [users.variants[name] for name in names]
    k = len(users.signals)
    residuals = [_to_residuals(arm) for arm in arms]
    place = {name: at for at, name in enumerate(names)}
    pairs = {
        (place[a], place[b]): _pair(both, residuals[place[a]], residuals[place[b]])
        for (a, b), both in users.shared.items()
        if a in place and b in place and min(users.variants[a].n, users.variants[b].n) > 1
    }
    crosses = [np.array(arm.cross) * to[0, 0] ** 2 for arm, to in zip(arms, residuals, strict=True)]
    return RewardForms(
        users.signals,
        names,
        tuple(arm.n for arm in arms),
        np.array([np.array(arm.mean[:-1]) / arm.mean[-1] for arm in arms]).reshape(-1, k),
        np.array([to @ np.array(arm.cross) @ to.T for arm, to in zip(arms, residuals, strict=True)]).reshape(-1, k, k),
        np.array([cross[:k, :k] for cross in crosses]).reshape(-1, k, k),
        np.array([cross[k, k] for cross in crosses]),
        pairs,
    )


def rewards_at(forms: RewardForms, shares: Numbers) -> Numbers:
    """Mean rewards (designs, variants) for shares of the weights (designs, signals)."""
    return shares @ forms.means.T


def differences_at(forms: RewardForms, shares: Numbers, control: int, treatment: int) -> Differences:
    """Two variants compared for many designs at once: the same effect and p as `reward_difference` gives for each."""
    first, second = sorted((control, treatment))
    whole = [_variance_at(forms, side, shares) for side in (first, second)]
    n = (forms.n_users[first], forms.n_users[second])
    parts = _parts(whole, n, forms.pairs.get((first, second)), shares)
    variance = sum(part for part, _ in parts)
    means = rewards_at(forms, shares)
    effect = means[:, treatment] - means[:, control]
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = 1 / sum(((part / variance) ** 2 / free for part, free in parts if free), np.zeros(len(shares)))
        p_value = 2 * stdtr(degrees, -np.abs(effect) / np.sqrt(variance))
    return Differences(effect, np.where(variance > 0, p_value, np.nan))


def _parts(
    whole: list[Numbers], n: tuple[int, int], both: PairForms | None, shares: Numbers
) -> list[tuple[Numbers, float]]:
    """The variance of users of the first only, of the second only, and of both, each with its degrees of freedom."""
    if both is None:
        return [(whole[0], n[0] - 1), (whole[1], n[1] - 1)]
    kept = [(size - 1) / size for size in n]
    shared = [np.minimum(_at(form, shares), whole[side]) for side, form in enumerate((both.a, both.b))]
    covariance = np.where((shared[0] > 0) & (shared[1] > 0), _at(both.covariance, shares), 0.0)
    apart = [_unless_rounding(whole[side] - shared[side], whole[side]) * (n[side] > both.n) for side in (0, 1)]
    together = shared[0] + shared[1]
    paired = _unless_rounding(together - 2 * covariance, together)
    return [
        (apart[0], (n[0] - both.n) * kept[0]),
        (apart[1], (n[1] - both.n) * kept[1]),
        (paired, both.n * sqrt(kept[0] * kept[1])),
    ]


def _to_residuals(users: Moments) -> Numbers:
    """The (k, k + 1) map from a user's sums to the scaled residuals of its signals; see `overlap_of_ratios`."""
    mean = np.array(users.mean)
    scale = sqrt(users.n / (users.n - 1)) / (users.n * mean[-1]) if users.n > 1 else np.nan
    return scale * np.hstack([np.eye(len(mean) - 1), -(mean[:-1] / mean[-1])[:, None]])


def _variance_at(forms: RewardForms, side: int, shares: Numbers) -> Numbers:
    """One variant's variance of the mean reward at each row of shares; 0 where it is rounding, NaN with one user."""
    found = _at(forms.variances[side], shares)
    whole = _at(forms.sums[side], shares) + (shares @ forms.means[side]) ** 2 * forms.counts[side]
    return np.where(found < ROUNDING, 0.0, _unless_rounding(found, whole))


def _pair(both: Moments, of_a: Numbers, of_b: Numbers) -> PairForms:
    k = len(of_a)
    empty = np.zeros_like(of_a)
    found = combine(both, np.block([[of_a, empty], [empty, of_b]]))
    products = np.array(found.cross) + both.n * np.outer(found.mean, found.mean)
    return PairForms(both.n, products[:k, :k], products[k:, k:], products[:k, k:])


def _at(form: Numbers, shares: Numbers) -> Numbers:
    """s'Fs for each row s."""
    found: Numbers = np.einsum("pk,pk->p", shares @ form, shares)
    return found


def _unless_rounding(part: Numbers, whole: Numbers) -> Numbers:
    return np.where(part > compare.ROUNDING * whole, part, np.where(np.isnan(part), np.nan, 0.0))
