"""The Bayesian reading of an experiment: the chance to win, what is lost if that is wrong, and the best of several.

The posterior of an effect is normal: its estimate and standard error, drawn toward a normal prior where one is given.
With no prior (flat) the chance to win is one minus the one-sided z p-value, so it never contradicts the headline.
"""

from collections.abc import Sequence
from math import exp, pi, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, betaln, expit, log_expit, logit, ndtr, ndtri

from organism.records import Interval

Values = npt.NDArray[np.float64]
# Tail probabilities between which the integrals are cut into panels, so that no arm's rise falls inside one.
TAILS = (1e-16, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5)
NODES = 24
# A rate further out than this is 0 or 1 in floating point.
MOST_LOG_ODDS = 700.0


class Normal(NamedTuple):
    """A normal distribution: a prior or a posterior of an effect, or of one arm's value."""

    mean: float
    variance: float


class Beta(NamedTuple):
    """A beta distribution of one arm's rate: `a` successes and `b` failures, prior counts included."""

    a: float
    b: float


UNIFORM = Beta(1.0, 1.0)


def posterior(effect: float | None, standard_error: float | None, prior: Normal | None = None) -> Normal | None:
    """The effect's posterior: precisions add, means are weighted by them; flat without a prior. None if unknown."""
    if effect is None or standard_error is None or not standard_error > 0:
        return None
    if prior is None:
        return Normal(effect, standard_error**2)
    if not prior.variance > 0:
        raise ValueError(f"a prior's variance must be above 0; found {prior.variance:g}")
    precision = 1 / prior.variance + 1 / standard_error**2
    return Normal((prior.mean / prior.variance + effect / standard_error**2) / precision, 1 / precision)


def chance_to_win(
    effect: float | None, standard_error: float | None, *, better: int = 1, prior: Normal | None = None
) -> float | None:
    """The probability that treatment is really better: above control (`better` = 1) or below it (-1)."""
    found = posterior(effect, standard_error, prior)
    return None if found is None else float(ndtr(better * found.mean / sqrt(found.variance)))


def expected_loss(
    effect: float | None, standard_error: float | None, *, better: int = 1, prior: Normal | None = None
) -> float | None:
    """What shipping treatment loses on average over the posterior, in the metric's unit: E[max(-effect, 0)].

    s phi(m/s) - m Phi(-m/s). With `better` turned round it is what keeping control loses.
    """
    found = posterior(effect, standard_error, prior)
    if found is None:
        return None
    mean, spread = better * found.mean, sqrt(found.variance)
    z = mean / spread
    return spread * exp(-z * z / 2) / sqrt(2 * pi) - mean * float(ndtr(-z))


def credible_interval(found: Normal | None, level: float = 0.95) -> Interval:
    """The middle `level` of a normal posterior."""
    if found is None:
        return Interval(None, None, None)
    reach = float(ndtri((1 + level) / 2)) * sqrt(found.variance)
    return Interval(found.mean, found.mean - reach, found.mean + reach)


def beta_posterior(successes: float, n: float, prior: Beta = UNIFORM) -> Beta:
    """The posterior of a rate after n trials; the prior is uniform unless given."""
    if not 0 <= successes <= n:
        raise ValueError(f"successes lie between 0 and the number of trials; found {successes:g} of {n:g}")
    return Beta(prior.a + successes, prior.b + n - successes)


def probability_best(arms: Sequence[Beta] | Sequence[Normal]) -> tuple[float, ...] | None:
    """For each arm the probability that its value is the highest of all, summing to 1: what Thompson sampling plays.

    The integral of f_i times the product of the other arms' F_j, by Gauss-Legendre on panels cut at every arm's
    quantiles; rates are taken as log odds, where no density is infinite. None without arms, or where an arm's
    distribution has no width.
    """
    if not arms or any(min(arm.a, arm.b) <= 0 if isinstance(arm, Beta) else not arm.variance > 0 for arm in arms):
        return None
    x, weights = _nodes(np.unique(np.concatenate([_edges(arm) for arm in arms])))
    below = np.array([_below(arm, x) for arm in arms])
    ones = np.ones((1, len(x)))
    before = np.cumprod(np.vstack([ones, below[:-1]]), axis=0)
    after = np.cumprod(np.vstack([ones, below[:0:-1]]), axis=0)[::-1]
    density = np.array([_density(arm, x) for arm in arms])
    best = (density * before * after) @ weights
    return tuple((best / best.sum()).tolist())


def _nodes(edges: Values) -> tuple[Values, Values]:
    points, weights = np.polynomial.legendre.leggauss(NODES)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (middle[:, None] + half[:, None] * points).ravel(), (half[:, None] * weights).ravel()


def _edges(arm: Beta | Normal) -> Values:
    tails = np.array(TAILS)
    if isinstance(arm, Normal):
        reach = sqrt(arm.variance) * ndtri(tails)
        return np.concatenate([arm.mean + reach, arm.mean - reach])
    odds = np.concatenate([logit(betaincinv(arm.a, arm.b, tails)), -logit(betaincinv(arm.b, arm.a, tails))])
    return np.clip(odds, -MOST_LOG_ODDS, MOST_LOG_ODDS)


def _below(arm: Beta | Normal, x: Values) -> Values:
    if isinstance(arm, Normal):
        return np.asarray(ndtr((x - arm.mean) / sqrt(arm.variance)), dtype=float)
    return np.asarray(betainc(arm.a, arm.b, expit(x)), dtype=float)


def _density(arm: Beta | Normal, x: Values) -> Values:
    if isinstance(arm, Normal):
        return np.exp(-((x - arm.mean) ** 2) / (2 * arm.variance)) / sqrt(2 * pi * arm.variance)
    return np.exp(arm.a * log_expit(x) + arm.b * log_expit(-x) - betaln(arm.a, arm.b))
