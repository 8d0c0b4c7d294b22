"""Intervals by resampling whole users, for measures that have no simple formula."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.records import Interval

Numbers = Sequence[float] | npt.NDArray[Any]
Clusters = Sequence[object] | npt.NDArray[Any]
MAX_CELLS = 4_000_000


def paired_bootstrap(
    before_num: Numbers,
    before_den: Numbers,
    after_num: Numbers,
    after_den: Numbers,
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    n: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The change of a ratio of sums, after minus before, on the same rows, with a percentile interval.

    Rows of one cluster (one user) are drawn together, so that a talkative user counts once. Rows are
    dropped from neither side: pass 0 in numerator and denominator where a row has no say. The interval
    is None with fewer than two clusters, everything is None where a denominator sums to 0 or a number is missing.
    """
    sums = _cluster_sums([before_num, before_den, after_num, after_den], clusters)
    total = sums.sum(axis=0)
    if not total[1] or not total[3]:
        return Interval(None, None, None)
    draws = _resampled(sums, rng, n)
    return _interval(_change(total[None, :])[0], _change(draws), len(sums), level)


def ratio_bootstrap(
    num: Numbers,
    den: Numbers,
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    n: int = 2000,
    level: float = 0.95,
) -> Interval:
    """One ratio of sums with a percentile interval over resampled clusters; None as in `paired_bootstrap`."""
    return ratios_bootstrap([(num, den)], clusters, rng=rng, n=n, level=level)[0]


def ratios_bootstrap(
    ratios: Sequence[tuple[Numbers, Numbers]],
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    n: int = 2000,
    level: float = 0.95,
) -> list[Interval]:
    """Several ratios of sums (num, den) over the same rows, all from the same resamples of the clusters.

    Each is None as in `paired_bootstrap`, whatever the others are.
    """
    sums = _cluster_sums([column for pair in ratios for column in pair], clusters)
    if not len(sums):
        return [Interval(None, None, None)] * len(ratios)
    total, draws = sums.sum(axis=0), _resampled(sums, rng, n)
    return [
        _interval(float(total[i] / total[i + 1]), _ratio(draws[:, i], draws[:, i + 1]), len(sums), level)
        if total[i + 1]
        else Interval(None, None, None)
        for i in range(0, 2 * len(ratios), 2)
    ]


def _cluster_sums(columns: Sequence[Numbers], clusters: Clusters | None) -> npt.NDArray[np.float64]:
    """The columns summed by cluster, in order of first sight: shape (clusters, columns)."""
    matrix = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    if clusters is None:
        return matrix
    codes, names = pd.factorize(np.asarray(clusters, dtype=object), use_na_sentinel=False)
    if len(codes) != len(matrix):
        raise ValueError(f"{len(codes)} clusters for {len(matrix)} rows; give one cluster a row")
    return np.column_stack([np.bincount(codes, weights=column, minlength=len(names)) for column in matrix.T])


def _resampled(sums: npt.NDArray[np.float64], rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """Column sums of n resamples of the clusters. How often each is drawn is one multinomial a resample."""
    size = len(sums)
    block = max(1, MAX_CELLS // max(size, 1))
    parts = [
        rng.multinomial(size, np.full(size, 1 / size), size=min(block, n - first)) @ sums
        for first in range(0, n, block)
    ]
    return np.concatenate(parts)


def _ratio(num: npt.NDArray[np.float64], den: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(num, den, out=np.full(len(num), np.nan), where=den != 0)


def _change(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return _ratio(sums[:, 2], sums[:, 3]) - _ratio(sums[:, 0], sums[:, 1])


def _interval(estimate: float, draws: npt.NDArray[np.float64], n_clusters: int, level: float) -> Interval:
    usable = draws[~np.isnan(draws)]
    if np.isnan(estimate):
        return Interval(None, None, None)
    if n_clusters < 2 or not len(usable):
        return Interval(float(estimate), None, None)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))
