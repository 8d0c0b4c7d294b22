"""From the rows of a query of sums to moments, by cell and added up by variant and segment."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.records import Moments
from organism.store.unit_sql import Query, Way

Numbers = npt.NDArray[np.float64]
EXACT = 2.0**53
# A standard deviation below this part of the mean is rounding.
LAST_DIGITS = 2.0**-50


class Answer(NamedTuple):
    """One query's cells: labels (the variant, then a value a segment), the place of their grouping set, figures."""

    query: Query
    labels: list[tuple[str | None, ...]]
    set_of: npt.NDArray[np.intp]
    figures: Numbers

    @property
    def n(self) -> Numbers:
        """Units of each cell."""
        return self.figures[:, 0]


class Sums(NamedTuple):
    """One metric in every cell of an answer: units (cells,), means (cells, k), centered products (cells, k, k).

    `loss` is how many times larger sums of squares were than the centered ones, in the worst cell; NaN where a sum
    is not finite.
    """

    n: Numbers
    mean: Numbers
    cross: Numbers
    loss: float


class Roll(NamedTuple):
    """Which cells (`rows` of an answer) add up to which groups, and the groups' labels: variant and value."""

    segment: str | None
    rows: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    labels: list[tuple[str, str | None]]

    def sum(self, figures: Numbers) -> Numbers:
        """The figures (cells, ...) added up by group."""
        total = np.zeros((len(self.labels), *figures.shape[1:]))
        np.add.at(total, self.groups, figures[self.rows])
        return total


def sums_of(way: Way, answer: Answer) -> Sums:
    """The metric in every cell, from sums about its pivots or from DuckDB's own covariances."""
    places, k = answer.query.places[way.metric], len(way.columns)
    n = answer.n if places.n is None else answer.figures[:, places.n]
    first = answer.figures[:, places.first]
    second = np.empty((len(n), k, k))
    for place, (i, j) in zip(places.second, way.pairs, strict=True):
        second[:, i, j] = second[:, j, i] = answer.figures[:, place]
    first[n == 0], second[n == 0] = 0.0, 0.0
    if way.one_pass:
        return Sums(n, first, second * n[:, None, None], 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = first / np.maximum(n, 1)[:, None]
        # One unit has no spread, whatever rounding says.
        cross = np.where((n > 1)[:, None, None], second - mean[:, :, None] * first[:, None, :], 0.0)
    return Sums(n, mean + np.array(way.pivots), cross, _loss(n, first, second, cross))


def _loss(n: Numbers, first: Numbers, second: Numbers, cross: Numbers) -> float:
    squares, centered = (np.diagonal(products, axis1=1, axis2=2) for products in (second, cross))
    if not np.isfinite(second).all() or not np.isfinite(cross).all():
        return float("nan")
    # Whole numbers below 2^53 are summed without rounding, so what is left of them is right, be it 0.
    exact = (squares == np.floor(squares)) & (first == np.floor(first)) & (squares < EXACT)
    lossy = ~exact & (n[:, None] > 1) & (squares > 0)
    shares = np.divide(squares, centered, out=np.full(squares.shape, np.inf), where=centered > 0)
    return float(shares[lossy].max(initial=1.0))


def roll_up(answer: Answer, segment: str | None, set_place: int, place: int | None) -> Roll:
    """Group the cells of one grouping set by variant, and by the segment at `place`. None as variant is in none."""
    rows = [row for row, one in enumerate(answer.set_of) if one == set_place and answer.labels[row][0] is not None]
    keys = [(str(answer.labels[row][0]), None if place is None else answer.labels[row][place + 1]) for row in rows]
    labels = sorted(dict.fromkeys(keys), key=lambda key: (key[0], key[1] is None, key[1] or ""))
    number = {label: i for i, label in enumerate(labels)}
    return Roll(segment, np.array(rows, dtype=np.intp), np.array([number[k] for k in keys], dtype=np.intp), labels)


def moments_of(roll: Roll, sums: Sums) -> list[Moments]:
    """Chan's merge of all cells of each group at once: their products, and n times the cells' distances squared."""
    with np.errstate(invalid="ignore", over="ignore"):
        n, mean, cross = _merged(roll, sums)
    return [frozen(*one) for one in zip(n, mean, cross, strict=True)]


def _merged(roll: Roll, sums: Sums) -> tuple[Numbers, Numbers, Numbers]:
    n = roll.sum(sums.n)
    whole = n[roll.groups]
    share = np.divide(sums.n[roll.rows], whole, out=np.zeros(len(roll.rows)), where=whole > 0)
    # Distances from a cell of the group rather than from 0, so that a large mean costs no digits.
    nearest = np.zeros((len(roll.labels), sums.mean.shape[1]))
    filled = np.flatnonzero(sums.n[roll.rows] > 0)
    nearest[roll.groups[filled]] = sums.mean[roll.rows[filled]]
    away = np.where(sums.n[roll.rows, None] > 0, sums.mean[roll.rows] - nearest[roll.groups], 0.0)
    shift = np.zeros_like(nearest)
    np.add.at(shift, roll.groups, share[:, None] * away)
    delta = away - shift[roll.groups]
    cross = roll.sum(sums.cross)
    np.add.at(cross, roll.groups, sums.n[roll.rows, None, None] * delta[:, :, None] * delta[:, None, :])
    mean = nearest + shift
    # Cells of one constant may differ in the last digit of their means: that is no spread.
    rounding = np.diagonal(cross, axis1=1, axis2=2) <= n[:, None] * (LAST_DIGITS * mean) ** 2
    cross[rounding] = 0.0
    cross.transpose(0, 2, 1)[rounding] = 0.0
    return n, mean, cross


def frozen(n: float, mean: Sequence[float] | Numbers, cross: Numbers) -> Moments:
    """Moments as plain numbers."""
    return Moments(int(n), tuple(float(m) for m in mean), tuple(tuple(row) for row in cross.tolist()))
