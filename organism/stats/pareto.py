"""Which points no other point beats in everything, and how much a set of points covers. Pure."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def nondominated(points: npt.ArrayLike, maximize: Sequence[bool]) -> npt.NDArray[np.bool_]:
    """For each row of an (n, d) table: is no other row at least as good in every column and better in one?

    Equal rows stand together. A row with a missing value (NaN) is not on the front and beats nobody.
    """
    costs = _costs(points, maximize)
    # A comparison with NaN is false: a row that lacks a value is no worse than none, and is beaten by none.
    no_worse = np.all(costs[:, None, :] <= costs[None, :, :], axis=2)
    better = np.any(costs[:, None, :] < costs[None, :, :], axis=2)
    beaten = np.any(no_worse & better, axis=0)
    return np.logical_not(beaten | np.any(np.isnan(costs), axis=1))


def hypervolume(points: npt.ArrayLike, reference: Sequence[float], maximize: Sequence[bool]) -> float:
    """The volume between the reference (a point worse than all) and the front: Zitzler and Thiele 1998.

    Points that are not better than the reference in every column, or have a missing value, add nothing. Slice by
    slice over the last column (While et al. 2006), which is quick for dozens of points in a few columns.
    """
    costs = _costs(points, maximize)
    bound = _costs([list(reference)], maximize)[0]
    return _volume(costs[(costs < bound).all(axis=1)], bound)


def _costs(points: npt.ArrayLike, maximize: Sequence[bool]) -> Numbers:
    """The points with every column turned so that less is better."""
    table = np.asarray(points, dtype=float).reshape(-1, len(maximize))
    return np.where(np.asarray(maximize, dtype=bool), -table, table)


def _volume(costs: Numbers, bound: Numbers) -> float:
    if not len(costs):
        return 0.0
    if costs.shape[1] == 1:
        return float(bound[0] - costs.min())
    ordered = costs[np.argsort(costs[:, -1], kind="stable")]
    ends = [*ordered[1:, -1], bound[-1]]
    slices = [(float(end - row[-1]), at) for at, (row, end) in enumerate(zip(ordered, ends, strict=True))]
    return sum(deep * _volume(ordered[: at + 1, :-1], bound[:-1]) for deep, at in slices if deep > 0)
