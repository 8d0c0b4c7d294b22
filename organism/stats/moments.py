"""Mergeable sufficient statistics: what a metric keeps of its rows, whatever their number."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from organism.records import Moments

Matrix = npt.NDArray[np.float64]


# What is infinite, or too large to be squared, is so in its own columns, without numpy's warning; readers answer None.
_quiet = np.errstate(invalid="ignore", over="ignore")


@_quiet
def moments(matrix: npt.ArrayLike) -> Moments:
    """The moments of an (n, k) table of n units: centred, so that an offset of 1e8 costs no digits.

    A column with a missing or an infinite value has a mean and products that are not finite, and the others have
    theirs: `compare` answers None for the first.
    """
    table = np.asarray(matrix, dtype=float)
    if table.ndim != 2:
        raise ValueError(f"moments wants a table of n units by k columns; found shape {table.shape}")
    if not len(table):
        return empty(table.shape[1])
    mean = table.mean(axis=0)
    deviations = table - mean
    # The second pass removes what rounding left in the mean (Chan, Golub and LeVeque 1983, eq. 1.7).
    correction = deviations.mean(axis=0)
    cross = deviations.T @ deviations - len(table) * np.outer(correction, correction)
    return _frozen(len(table), mean + correction, cross)


def empty(k: int) -> Moments:
    """The moments of no units: merging them changes nothing."""
    return _frozen(0, np.zeros(k), np.zeros((k, k)))


@_quiet
def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of units together (Chan et al. 1979); the order does not matter."""
    if not a.n or not b.n:
        return a if a.n else b
    n = a.n + b.n
    mean_a, mean_b = np.array(a.mean), np.array(b.mean)
    delta = mean_b - mean_a
    mean = mean_a + delta * (b.n / n)
    cross = np.array(a.cross) + np.array(b.cross) + np.outer(delta, delta) * (a.n * b.n / n)
    return _frozen(n, mean, cross)


def merge_all(parts: Sequence[Moments]) -> Moments:
    """All parts as one; at least one is needed, since none would not say how many columns."""
    whole, *rest = parts
    for part in rest:
        whole = merge(whole, part)
    return whole


@_quiet
def combine(whole: Moments, weights: npt.ArrayLike) -> Moments:
    """The moments of linear combinations of the columns, without the rows.

    `weights` has one row of k weights for each new column: mean = W m, cross = W C W'.
    """
    w = np.asarray(weights, dtype=float)
    return _frozen(whole.n, w @ np.array(whole.mean), w @ np.array(whole.cross) @ w.T)


def _frozen(n: int, mean: Matrix, cross: Matrix) -> Moments:
    return Moments(n, tuple(mean.tolist()), tuple(tuple(row) for row in cross.tolist()))
