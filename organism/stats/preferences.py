"""Paired choices: how strong the things are (Bradley-Terry), and which weights explain what people chose.

Both are logistic regressions without an intercept, on strengths or on features: P(left is chosen) = σ(x·w), x the left
one's features minus the right one's. Where choices are perfectly ordered the likelihood has no maximum: that is
found out first, said, and the fit takes a stated L2 penalty.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, linprog, minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import chdtri, expit, log_expit, ndtri

Matrix = npt.NDArray[np.float64]

SEPARABLE_L2 = 0.1
UNCONNECTED_PENALTY = 0.01
PRIOR_L2 = 1.0
MAX_WEIGHT = 200.0


class Connectivity(NamedTuple):
    """Whether the strengths of n compared items have a finite maximum likelihood (Ford 1957).

    They have when every item is linked to every other by a chain of wins: `n_groups` 1. `never_lost` and
    `never_won` are positions of items that were compared and never did, `never_compared` those without a pair.
    """

    n_groups: int
    never_lost: tuple[int, ...]
    never_won: tuple[int, ...]
    never_compared: tuple[int, ...]


class Strengths(NamedTuple):
    """Log strengths that sum to zero, their standard errors, and the L2 penalty they were fitted with (0: none)."""

    log_strengths: tuple[float, ...]
    standard_errors: tuple[float, ...]
    log_likelihood: float
    penalty: float


class PairWeights(NamedTuple):
    """Weights of k features, fitted to n choices.

    `low` and `high` are profile likelihood intervals, None where that side goes beyond MAX_WEIGHT; `l2` is 0 unless the
    choices left the weights without a finite maximum (`is_separable`, or fewer directions than weights).
    """

    weights: tuple[float, ...]
    standard_errors: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    covariance: tuple[tuple[float, ...], ...]
    log_likelihood: float
    l2: float
    n_pairs: int
    is_separable: bool


class Looseness(NamedTuple):
    """How far one weight is from settled: at most as wide as its value, and so away from 0.

    `n_more` is about how many more choices like these it would take, to two digits; 0 when settled, None without a
    number to say.
    """

    holds_zero: bool
    is_wide: bool
    n_more: int | None


def connectivity(wins: npt.ArrayLike) -> Connectivity:
    """What `wins` (n × n counts, row beat column) links; strong components by scipy.sparse.csgraph."""
    table = np.asarray(wins, dtype=float)
    won, lost = table.sum(axis=1), table.sum(axis=0)
    compared = (won + lost) > 0
    n_groups, _ = connected_components(table > 0, directed=True, connection="strong")
    return Connectivity(
        int(n_groups),
        tuple(np.flatnonzero(compared & (lost == 0)).tolist()),
        tuple(np.flatnonzero(compared & (won == 0)).tolist()),
        tuple(np.flatnonzero(~compared).tolist()),
    )


def bradley_terry(wins: npt.ArrayLike, penalty: float = 0.0) -> Strengths:
    """Log strengths from `wins` (n × n counts, row beat column): P(i beats j) = σ(θi − θj), Σθ = 0.

    The maximum of the log likelihood minus penalty · Σθ² (Bradley and Terry 1952; Hunter 2004 for the conditions).
    Errors are of the strength against the mean of all. Raises ValueError when the comparisons are not connected
    and there is no penalty: then no finite maximum exists.
    """
    table = np.asarray(wins, dtype=float)
    if not penalty and connectivity(table).n_groups > 1:
        raise ValueError("some item never lost to the others: no finite maximum; ask with a penalty")
    n = len(table)
    found = _minimize(lambda theta: _strength_loss(theta, table, penalty), n)
    centered = np.eye(n) - 1 / n
    covariance = centered @ np.linalg.inv(_strength_loss(found, table, penalty)[2]) @ centered
    likelihood = float((table * log_expit(found[:, None] - found[None, :])).sum())
    errors = np.sqrt(np.clip(np.diag(covariance), 0, None))
    return Strengths(tuple((found - found.mean()).tolist()), tuple(errors.tolist()), likelihood, penalty)


def pair_weights(
    left_minus_right: npt.ArrayLike,
    left_chosen: npt.ArrayLike,
    *,
    l2: float | None = None,
    level: float = 0.95,
    profile: bool = True,
) -> PairWeights:
    """Logistic regression of the choice on feature differences (n × k), without intercept.

    `l2` / 2 · Σw² is taken off the log likelihood; left out it is 0, or SEPARABLE_L2 when the choices leave the
    weights without a finite maximum. Without `profile` the intervals, most of the work, stay None. Raises
    ValueError without a choice.
    """
    x, chosen = np.asarray(left_minus_right, dtype=float), np.asarray(left_chosen, dtype=float)
    if x.ndim != 2 or not len(x) or len(x) != len(chosen):
        raise ValueError(f"found features of shape {x.shape} for {len(chosen)} choices; give one row a choice")
    signed = x * np.where(chosen > 0.5, 1.0, -1.0)[:, None]
    separable = is_separable(signed)
    if l2 is None:
        l2 = SEPARABLE_L2 if separable or np.linalg.matrix_rank(x) < x.shape[1] else 0.0
    weights = _minimize(lambda w: _choice_loss(w, signed, l2), x.shape[1])
    covariance: Matrix = np.linalg.inv(_choice_loss(weights, signed, l2)[2]).astype(np.float64)
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(weights)
    if profile:
        bounds = [_profile(weights, covariance, signed, l2, i, level) for i in range(len(weights))]
    return PairWeights(
        weights=tuple(weights.tolist()),
        standard_errors=tuple(np.sqrt(np.diag(covariance)).tolist()),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
        covariance=tuple(tuple(row) for row in covariance.tolist()),
        log_likelihood=float(log_expit(signed @ weights).sum()),
        l2=float(l2),
        n_pairs=len(x),
        is_separable=separable,
    )


def is_separable(signed: Matrix) -> bool:
    """Whether no choice speaks against some weights, so that these grow without end (quasi-complete separation).

    Rows have the chosen one's features first: max Σ s·w with each s·w ≥ 0 and |w| ≤ 1 is above 0 (Konis 2007).
    """
    if not signed.any():
        return False
    found = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=[(-1, 1)] * signed.shape[1])
    return bool(-found.fun > 1e-9)


def information(left_minus_right: npt.ArrayLike, weights: npt.ArrayLike, l2: float = PRIOR_L2) -> Matrix:
    """What the choices between these pairs say about the weights: Σ p(1−p) x x' + l2 · I, shape (k, k)."""
    w = np.asarray(weights, dtype=float)
    x = np.asarray(left_minus_right, dtype=float).reshape(-1, len(w))
    p = expit(x @ w)
    return (x * (p * (1 - p))[:, None]).T @ x + l2 * np.eye(len(w))


def next_pair(
    candidates: npt.ArrayLike, weights: npt.ArrayLike, known: Matrix, *, rng: np.random.Generator
) -> int | None:
    """The candidate (a row of feature differences) whose choice teaches most; ties are drawn. None without candidates.

    D-optimal: the gain of log det of the information is log(1 + p(1−p) x' H⁻¹ x), so the largest such form wins
    (Chaloner and Verdinelli 1995). A pair whose answer is foreseen (p near 0 or 1), or of equals, teaches nothing.
    """
    x = np.asarray(candidates, dtype=float)
    if not len(x):
        return None
    p = expit(x @ np.asarray(weights, dtype=float))
    gain = p * (1 - p) * np.einsum("ij,jk,ik->i", x, np.linalg.inv(known), x)
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    return int(rng.choice(best))


def looseness(fit: PairWeights, level: float = 0.95, most: int = 5_000) -> list[Looseness]:
    """For each weight whether its interval holds 0 or is wider than its value, and about how many more pairs it takes.

    Errors shrink with the square root of the number of choices: n · (2 z se / |w|)² make the interval as wide as
    the value. A number over `most` is not said: such a weight is near 0, or the choices do not speak of it.
    """
    z = float(ndtri((1 + level) / 2))
    found = []
    for w, error, low, high in zip(fit.weights, fit.standard_errors, fit.low, fit.high, strict=True):
        holds_zero = (low is None or low <= 0) and (high is None or high >= 0)
        is_wide = low is None or high is None or high - low > abs(w)
        if not (holds_zero or is_wide):
            found.append(Looseness(False, False, 0))
            continue
        wanted = fit.n_pairs * (2 * z * error / abs(w)) ** 2 if w else float("inf")
        more = wanted - fit.n_pairs
        found.append(Looseness(holds_zero, is_wide, int(float(f"{max(more, 1):.2g}")) if more <= most else None))
    return found


def shares(
    fit: PairWeights, *, rng: np.random.Generator, n: int = 4000, level: float = 0.95
) -> list[tuple[float | None, float | None, float | None]]:
    """Each weight over Σ|w| with an interval, from n draws of the weights' normal distribution; None when all are 0."""
    w = np.array(fit.weights)
    if not np.abs(w).sum():
        return [(None, None, None)] * len(w)
    draws = rng.multivariate_normal(w, np.array(fit.covariance), size=n, method="eigh")
    relative = draws / np.abs(draws).sum(axis=1, keepdims=True)
    low, high = np.quantile(relative, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return list(zip((w / np.abs(w).sum()).tolist(), low.tolist(), high.tolist(), strict=True))


def _minimize(loss: Callable[[Matrix], tuple[float, Matrix, Matrix]], n: int, start: Matrix | None = None) -> Matrix:
    """The minimum of a convex function that returns its value, gradient and Hessian."""
    found = minimize(
        lambda w: loss(w)[0],
        np.zeros(n) if start is None else start,
        jac=lambda w: loss(w)[1],
        hess=lambda w: loss(w)[2],
        method="trust-exact",
        options={"gtol": 1e-9, "maxiter": 500},
    )
    return np.asarray(found.x, dtype=float)


def _strength_loss(theta: Matrix, wins: Matrix, penalty: float) -> tuple[float, Matrix, Matrix]:
    """Minus the penalized log likelihood, held at Σθ = 0 by (Σθ)² / 2, to which the likelihood is blind."""
    gap = theta[:, None] - theta[None, :]
    value = -(wins * log_expit(gap)).sum() + penalty * theta @ theta + theta.sum() ** 2 / 2
    surprise = wins * expit(-gap)
    slope = surprise.sum(axis=0) - surprise.sum(axis=1) + 2 * penalty * theta + theta.sum()
    both = (wins + wins.T) * expit(gap) * expit(-gap)
    curve = np.diag(both.sum(axis=1)) - both + 2 * penalty * np.eye(len(theta)) + 1.0
    return float(value), slope, curve


def _choice_loss(w: Matrix, signed: Matrix, l2: float) -> tuple[float, Matrix, Matrix]:
    """Minus the penalized log likelihood; rows are signed so that the chosen one's features come first."""
    gap = signed @ w
    p = expit(-gap)
    curve = (signed * (p * (1 - p))[:, None]).T @ signed + l2 * np.eye(len(w))
    return float(-log_expit(gap).sum() + l2 / 2 * w @ w), -(signed.T @ p) + l2 * w, curve


def _profile(
    weights: Matrix, covariance: Matrix, signed: Matrix, l2: float, i: int, level: float
) -> tuple[float | None, float | None]:
    """The interval of weight i: where the deviance, the others fitted anew, is χ²₁'s quantile (Venzon 1988)."""
    cutoff = float(chdtri(1, 1 - level)) / 2
    lowest = _choice_loss(weights, signed, l2)[0]
    others = np.arange(len(weights)) != i
    step = sqrt(covariance[i, i])

    def excess(value: float) -> float:
        def fixed(rest: Matrix) -> tuple[float, Matrix, Matrix]:
            loss, slope, curve = _choice_loss(np.insert(rest, i, value), signed, l2)
            return loss, slope[others], curve[np.ix_(others, others)]

        rest = _minimize(fixed, int(others.sum()), weights[others]) if others.any() else weights[others]
        return fixed(rest)[0] - lowest - cutoff

    def end(direction: int) -> float | None:
        reach = 2 * step
        while excess(weights[i] + direction * reach) < 0:
            reach *= 2
            if reach > MAX_WEIGHT:
                return None
        return float(brentq(excess, weights[i], weights[i] + direction * reach, xtol=1e-3 * step))

    return end(-1), end(+1)
