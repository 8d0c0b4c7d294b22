"""The share of votes for one side when several voters judge the same items: the votes are not independent."""

from collections.abc import Hashable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri, stdtrit

Numbers = npt.NDArray[np.float64]


class VoteShare(NamedTuple):
    """A mean of votes in [0, 1] with its interval; all None without votes, the interval None where there is no second
    voter and no second item.

    `n_effective` is how many independent votes these are worth.
    """

    share: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    n: int
    n_effective: float | None


def vote_share(
    votes: Sequence[float], voters: Sequence[Hashable], items: Sequence[Hashable], *, level: float = 0.95
) -> VoteShare:
    """The mean of votes (1 for, 0 against, ½ for neither), one a voter and item, with an interval for new voters on
    new items.

    The variance is clustered by voter and by item at once (Cameron, Gelbach and Miller 2011, "Robust Inference With
    Multiway Clustering", eq. 2.3, each part times G / (G − 1)); it is at least the larger of the two alone. The
    interval is Wilson's with the effective number of votes in place of n, as Dean and Pagano (2015) advise for
    clustered proportions, shrunk by (z / t)² with t of the fewer clusters minus 1 (Korn and Graubard 1998): few voters
    say little about others, however many votes each has. A unanimous vote is worth its fewer clusters, each one vote.
    """
    score = np.asarray(votes, dtype=float)
    n = len(score)
    if not n:
        return VoteShare(None, None, None, None, 0, None)
    share = float(score.mean())
    groups = [codes for codes in (_codes(voters), _codes(items)) if codes.max() > 0]
    if not groups:
        return VoteShare(share, None, None, None, n, None)
    fewest = min(int(codes.max()) + 1 for codes in groups)
    variance = _variance(score - share, groups)
    z, t = float(ndtri((1 + level) / 2)), float(stdtrit(fewest - 1, (1 + level) / 2))
    n_effective = min(share * (1 - share) / variance, n) * (z / t) ** 2 if variance else float(fewest)
    low, high = _wilson(share, n_effective, z)
    return VoteShare(share, low, high, sqrt(variance), n, n_effective)


def clustered_share(values: Sequence[float], clusters: Sequence[Hashable], *, level: float = 0.95) -> VoteShare:
    """The mean of values in [0, 1] with an interval for new clusters (users), each of which may have several values.

    That of `vote_share` with one way of clustering. Unlike a percentile bootstrap it does not shrink to a point where
    all agree, and few users say little.
    """
    return vote_share(values, clusters, [None] * len(values), level=level)


def _codes(names: Sequence[Hashable]) -> npt.NDArray[np.intp]:
    codes, _ = pd.factorize(np.asarray(names, dtype=object))
    return codes


def _variance(residuals: Numbers, groups: Sequence[npt.NDArray[np.intp]]) -> float:
    """Of a mean, by one or two ways of clustering."""
    parts = [_clustered(residuals, codes) for codes in groups]
    if len(parts) == 1:
        return parts[0]
    own = _clustered(residuals, np.arange(len(residuals)))
    return max(sum(parts) - own, *parts)


def _clustered(residuals: Numbers, codes: npt.NDArray[np.intp]) -> float:
    sums = np.bincount(codes, weights=residuals)
    return float((sums**2).sum() / len(residuals) ** 2 * len(sums) / (len(sums) - 1))


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share among n; n need not be whole."""
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(center - half, 0.0), min(center + half, 1.0)
