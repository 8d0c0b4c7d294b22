"""Does one number order the rows as another does? Spearman's rho, over all rows and within groups, by user.

Ranks are midranks (ties share their mean rank), and a resample of users is ranked anew: with user u drawn c times,
each of its rows stands c times, so a value's midrank is the weight below it plus half the weight at it. That is
exact, and needs no row to be copied.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.records import Interval
from organism.stats.compare import interval, ratio_of_sums
from organism.stats.moments import moments

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
Labels = Sequence[object] | npt.NDArray[Any]
MAX_CELLS = 2_000_000
MIN_USERS = 2


class RankCorrelation(NamedTuple):
    """Spearman's rho with its percentile interval over resampled users; None where the data cannot say.

    `overall` ranks all rows together. `within` ranks each group's rows among themselves and takes the mean of the
    groups' rho, each weighted by its rows; `groups` holds each group's own. A group whose x or y is constant has none.
    """

    overall: Interval
    within: Interval
    groups: dict[str, Interval]
    n_rows: int
    n_users: int


class _Draws(NamedTuple):
    """Rho of each resample: overall and within (n,), by group (groups, n)."""

    overall: Numbers
    within: Numbers
    groups: Numbers


class _Ranked(NamedTuple):
    """One group's rows (places), and of x and y which distinct value each row holds, numbered upward."""

    rows: Codes
    x: Codes
    y: Codes


def rank_correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    groups: Labels,
    users: Labels,
    rng: np.random.Generator,
    n: int = 1000,
    level: float = 0.95,
) -> RankCorrelation:
    """Spearman's rho of x and y (n rows each), overall, within groups and by group, with intervals by user.

    Rows where x or y is not finite are left out. An interval is None with fewer than two users.
    """
    table = _known_rows(x, y, groups, users)
    names = list(table.groups)
    point, draws = _draws(table, np.ones((len(table.user_names), 1))), None
    if len(table.user_names) >= MIN_USERS and len(table.x):
        draws = _bootstrap(table, rng, n)
    return RankCorrelation(
        overall=_percentiles(point.overall[0], None if draws is None else draws.overall, level),
        within=_percentiles(point.within[0], None if draws is None else draws.within, level),
        groups={
            name: _percentiles(point.groups[place, 0], None if draws is None else draws.groups[place], level)
            for place, name in enumerate(names)
        },
        n_rows=len(table.x),
        n_users=len(table.user_names),
    )


def rank_correlation_change(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    is_treatment: npt.ArrayLike,
    users: Labels,
    rng: np.random.Generator,
    n: int = 1000,
    level: float = 0.95,
) -> tuple[Interval, Interval, Interval]:
    """Rho within the control's rows, within the treatment's, and the second minus the first.

    Both are resampled together, so that a user who met both arms is drawn for both.
    """
    table = _known_rows(x, y, np.where(np.asarray(is_treatment, dtype=bool), "treatment", "control"), users)
    nothing = Interval(None, None, None)
    if set(table.groups) != {"control", "treatment"}:
        return nothing, nothing, nothing
    point = _draws(table, np.ones((len(table.user_names), 1))).groups[:, 0]
    enough = len(table.user_names) >= MIN_USERS
    draws = _bootstrap(table, rng, n).groups if enough else np.full((2, 1), np.nan)
    pairs = [(point[0], draws[0]), (point[1], draws[1]), (point[1] - point[0], draws[1] - draws[0])]
    control, treatment, change = (_percentiles(value, of, level) for value, of in pairs)
    return control, treatment, change


def calibration(
    score: npt.ArrayLike, outcome: npt.ArrayLike, *, users: Labels, n_bins: int = 10, level: float = 0.95
) -> pd.DataFrame:
    """The mean outcome by tenth of the score, lowest first, with intervals clustered by user (delta method).

    Columns: bin (1 to n_bins), score_low, score_mean, score_high, n_rows, n_users, mean, low, high. Equal scores
    always share a bin, so bins may differ in size and some may be absent; rows without either number are left out.
    """
    rows = pd.DataFrame({"score": np.asarray(score, dtype=float), "outcome": np.asarray(outcome, dtype=float)})
    rows["user"] = pd.factorize(np.asarray(users, dtype=object), use_na_sentinel=False)[0]
    rows = rows[np.isfinite(rows["score"]) & np.isfinite(rows["outcome"])]
    place = (rows["score"].rank(method="average") - 0.5) / max(len(rows), 1)
    rows["bin"] = np.minimum((place * n_bins).astype(int), n_bins - 1) + 1
    found = [_bin(int(str(number)), mine, level) for number, mine in rows.groupby("bin")]
    columns = ["bin", "score_low", "score_mean", "score_high", "n_rows", "n_users", "mean", "low", "high"]
    return pd.DataFrame(found, columns=columns)


def _bin(number: int, rows: pd.DataFrame, level: float) -> list[float | None]:
    sums = rows.groupby("user")["outcome"].agg(["sum", "count"]).to_numpy(dtype=float)
    mean, low, high = interval(ratio_of_sums(moments(sums)), level)
    score = rows["score"]
    return [number, score.min(), score.mean(), score.max(), len(rows), len(sums), mean, low, high]


class _Table(NamedTuple):
    """The rows that have both numbers: x, y, each row's user, and the rows of each group by name."""

    x: Numbers
    y: Numbers
    user: Codes
    user_names: Sequence[object]
    groups: dict[str, Codes]


def _known_rows(x: npt.ArrayLike, y: npt.ArrayLike, groups: Labels, users: Labels) -> _Table:
    left, right = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    labels, owners = np.asarray(groups, dtype=object), np.asarray(users, dtype=object)
    if not len(left) == len(right) == len(labels) == len(owners):
        raise ValueError(f"found {len(left)}, {len(right)}, {len(labels)} and {len(owners)} rows; wanted equal numbers")
    keep = np.isfinite(left) & np.isfinite(right)
    user, names = pd.factorize(owners[keep], use_na_sentinel=False)
    kept = labels[keep].astype(str)
    by_group = {str(name): np.flatnonzero(kept == name) for name in sorted(set(kept))}
    return _Table(left[keep], right[keep], user, list(names), by_group)


def _bootstrap(table: _Table, rng: np.random.Generator, n: int) -> _Draws:
    """Rho of n resamples of the users, some at a time."""
    size = len(table.user_names)
    block = max(1, min(n, MAX_CELLS // max(len(table.x), size)))
    parts = [_draws(table, _counts(rng, size, min(block, n - first))) for first in range(0, n, block)]
    return _Draws(*(np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)))


def _counts(rng: np.random.Generator, size: int, n: int) -> Numbers:
    """How often each of `size` users is drawn, in n resamples: shape (size, n)."""
    drawn = rng.integers(0, size, size=(size, n)) * n + np.arange(n)
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)


def _draws(table: _Table, counts: Numbers) -> _Draws:
    """Rho under these multiplicities of the users, shape (users, n)."""
    weights = counts[table.user]
    everything = _ranked(table, np.arange(len(table.x)))
    by_group = [_ranked(table, rows) for rows in table.groups.values()]
    n = counts.shape[1]
    rho = np.array([_rho(part, weights) for part in by_group]).reshape(len(by_group), n)
    rows = np.array([weights[part.rows].sum(axis=0) for part in by_group]).reshape(len(by_group), n)
    shares = np.where(np.isnan(rho), 0.0, rows)
    within = _divided(np.nansum(shares * np.nan_to_num(rho), axis=0), shares.sum(axis=0))
    overall = _rho(everything, weights) if len(by_group) != 1 else rho[0]
    return _Draws(overall, within, rho)


def _ranked(table: _Table, rows: Codes) -> _Ranked:
    x, y = (np.unique(values[rows], return_inverse=True)[1] for values in (table.x, table.y))
    return _Ranked(rows, x, y)


def _rho(part: _Ranked, weights: Numbers) -> Numbers:
    """Weighted Pearson correlation of weighted midranks, one a column of weights; NaN where a side is constant."""
    mine = weights[part.rows] if len(part.rows) != len(weights) else weights
    if not len(mine):
        return np.full(weights.shape[1], np.nan)
    (rank_x, spread_x), (rank_y, spread_y) = (_midranks(codes, mine) for codes in (part.x, part.y))
    shared = np.einsum("ij,ij,ij->j", mine, rank_x[part.x], rank_y[part.y])
    return _divided(shared, np.sqrt(spread_x * spread_y))


def _midranks(codes: Codes, weights: Numbers) -> tuple[Numbers, Numbers]:
    """Of each distinct value (upward) the midrank less the mean rank, and the weighted sum of its squares."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    at = np.add.reduceat(weights[order], starts, axis=0)
    rank = np.cumsum(at, axis=0) - at / 2
    rank -= at.sum(axis=0) / 2
    return rank, np.einsum("ij,ij,ij->j", at, rank, rank)


def _divided(num: Numbers, den: Numbers) -> Numbers:
    return np.divide(num, den, out=np.full(num.shape, np.nan), where=den > 0)


def _percentiles(point: float, draws: Numbers | None, level: float) -> Interval:
    if not np.isfinite(point):
        return Interval(None, None, None)
    usable = draws[np.isfinite(draws)] if draws is not None else np.empty(0)
    if not len(usable):
        return Interval(float(point), None, None)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(point), float(low), float(high))
