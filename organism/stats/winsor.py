"""A cap on extreme values, computed once over the users of all variants together, and said in words.

Capping each variant, or each part of a ratio, over a population of its own biases the level and can turn the sign of
the effect (growthbook#6331). Here one table of users gives all the caps, and what comes back is a number that SQL can
use as well: `least(value, cap)`.
"""

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.stats.compare import Estimate
from organism.stats.moments import Matrix


class Cap(NamedTuple):
    """Values above `value` count as `value`: the largest `share` of all users' values, `n_capped` of `n`.

    `value` is None where there was nothing to compute it from; then nothing is capped.
    """

    value: float | None
    share: float
    n: int
    n_capped: int

    def in_words(self, name: str) -> str:
        """One sentence for the page: what was capped, where, and over whom."""
        if self.value is None:
            return f"{name} is not capped: no user has a value"
        return (
            f"{name} is capped at {self.value:g}, so that the largest {100 * self.share:.3g}% of the values of all "
            f"{self.n:,} users, all variants together, count as that: {self.n_capped:,} were above it"
        )


def cap_rank(n: int, share: float) -> int:
    """Which of n values in ascending order (1 is the smallest) is the cap: the one below the largest ⌊share · n⌋.

    In SQL over all variants: `ORDER BY value LIMIT 1 OFFSET cap_rank - 1`. Raises ValueError for a share outside
    [0, 1) or no values.
    """
    if not 0 <= share < 1 or n < 1:
        raise ValueError(f"found a share of {share} of {n} values; wanted 0 <= share < 1 and a value at least")
    return n - floor(share * n + 1e-9)


def caps(table: npt.ArrayLike, share: float) -> list[Cap]:
    """One cap a column of an (n, k) table of the users of all variants together.

    A user with a missing (NaN) or infinite value in any column is in no column's population: the num and den of a
    ratio are capped over the same users.
    """
    rows = np.asarray(table, dtype=float)
    if rows.ndim != 2:
        raise ValueError(f"caps wants a table of n users by k columns; found shape {rows.shape}")
    rows = rows[np.isfinite(rows).all(axis=1)]
    n, columns = rows.shape
    if not n:
        return [Cap(None, share, 0, 0)] * columns
    limits = np.sort(rows, axis=0)[cap_rank(n, share) - 1]
    return [Cap(float(limit), share, n, int((rows[:, j] > limit).sum())) for j, limit in enumerate(limits)]


def winsorized(table: npt.ArrayLike, limits: Sequence[Cap]) -> Matrix:
    """The (n, k) table with each column held at its cap; missing stays missing."""
    tops = [np.inf if cap.value is None else cap.value for cap in limits]
    return np.minimum(np.asarray(table, dtype=float), tops)


def trimmed_mean(values: npt.ArrayLike, share: float) -> Estimate | None:
    """The mean without the lowest and the highest `share` of the values, for Welch's test (Yuen 1974).

    Its variance is that of the values winsorized at both ends over h(h − 1), h values being left; n is h. An
    estimate of the middle of the distribution, not of the mean: for a look beside the mean, never for a sum of money.
    """
    rows = np.sort(np.asarray(values, dtype=float))
    if not 0 <= share < 0.5:
        raise ValueError(f"found a share of {share} to trim at each end; wanted at least 0 and below 0.5")
    cut = floor(share * len(rows) + 1e-9)
    kept = rows[cut : len(rows) - cut]
    if not len(kept) or not np.isfinite(rows).all():
        return None
    held = np.clip(rows, kept[0], kept[-1])
    spread = float(((held - held.mean()) ** 2).sum())
    h = len(kept)
    return Estimate(float(kept.mean()), spread / h / (h - 1) if h > 1 else None, h)
