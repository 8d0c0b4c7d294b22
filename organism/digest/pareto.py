"""What each variant costs and gives, signal by signal, and which variants no other beats. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.records import Moments
from organism.stats.compare import interval, ratio_of_sums
from organism.stats.pareto import nondominated

COLUMNS = ["signal", "variant", "mean", "low", "high", "n_users", "n_rows"]


def variant_profiles(by_signal: Mapping[str, Mapping[str, Moments]], level: float = 0.95) -> pd.DataFrame:
    """Each variant's mean of each signal per interaction that carries it, with an interval clustered by user.

    `by_signal` comes from `signal_moments`. Columns: signal, variant, mean, low, high (NaN where fewer than two users,
    or users all alike, leave no interval), n_users, n_rows. A variant without the signal has no row.
    """
    rows = [
        (signal, variant, *interval(ratio_of_sums(users), level), users.n, round(users.n * users.mean[1]))
        for signal, found in by_signal.items()
        for variant, users in sorted(found.items())
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"mean": float, "low": float, "high": float, "n_users": int, "n_rows": int})


def on_front(points: npt.ArrayLike, maximize: Sequence[bool]) -> npt.NDArray[np.bool_]:
    """For each variant's means (n, d): does no other variant do at least as well in all, and better in one?

    A judgment of the means alone: where intervals overlap, say so. A variant that lacks a mean (NaN) is not on it.
    """
    return nondominated(points, maximize)
