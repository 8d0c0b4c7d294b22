"""What each variant costs and gives, signal by signal, and which variants no other beats. Pure."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.digest.designs import groups_present, weighted
from organism.digest.rewards import RewardMoments, VariantReward, reward_difference, rewards_by_variant
from organism.records import Moments, RewardDesign
from organism.stats.compare import Comparison, interval, ratio_of_sums
from organism.stats.pareto import nondominated

COST, LATENCY, QUALITY = "cost_usd", "latency_ms", "quality"
Difference = Callable[[str, str, str], Comparison]
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


def trade_offs(
    by_signal: Mapping[str, Mapping[str, Moments]], users: RewardMoments, design: RewardDesign
) -> pd.DataFrame:
    """Each variant's cost, latency and quality with intervals, and whether no other variant beats it in all three.

    `by_signal` comes from `signal_moments` for COST and LATENCY; quality is the design's reward with price and
    performance at 0. Columns: variant, then cost_usd, latency_ms and quality, each with _low and _high, and on_front.
    What not every variant has is no axis; empty with fewer than two axes.
    """
    wide = variant_profiles(by_signal).pivot(index="variant", columns="signal", values=["mean", "low", "high"])
    columns = {}
    for name in (COST, LATENCY):
        for column, suffix in (("mean", ""), ("low", "_low"), ("high", "_high")):
            found = wide[column, name] if (column, name) in wide else pd.Series(index=wide.index, dtype=float)
            columns[name + suffix] = found.astype(float)
    frame = pd.DataFrame(columns).join(_quality(users, design), how="inner").dropna(subset=[QUALITY])
    frame = frame.reset_index(names="variant")
    axes = [name for name in (COST, LATENCY, QUALITY) if frame[name].notna().all() and len(frame)]
    if len(axes) < 2:
        return frame.iloc[:0].assign(on_front=pd.Series(dtype=bool))
    return frame.assign(on_front=on_front(frame[axes].to_numpy(dtype=float), [name == QUALITY for name in axes]))


def _quality(users: RewardMoments, design: RewardDesign) -> pd.DataFrame:
    """The reward's quality part by variant, with its interval."""
    names = [QUALITY, f"{QUALITY}_low", f"{QUALITY}_high"]
    if "quality" not in groups_present(design):
        return pd.DataFrame(columns=names, dtype=float)
    found = pd.DataFrame(rewards_by_variant(users, _quality_only(design)), columns=VariantReward._fields).set_index(
        "variant"
    )
    return found[["mean", "low", "high"]].set_axis(names, axis=1).astype(float)


def _quality_only(design: RewardDesign) -> RewardDesign:
    return weighted(design, price=0.0, performance=0.0, quality=1.0)


def quality_difference(users: RewardMoments, design: RewardDesign, *, control: str, treatment: str) -> Comparison:
    """Treatment less control in the reward's quality part, clustered by user."""
    return reward_difference(users, _quality_only(design), control=control, treatment=treatment)


def beaten_unsurely(frame: pd.DataFrame, maximize: Mapping[str, bool], difference: Difference) -> dict[str, list[str]]:
    """For each variant that is not on the front, where it is beaten on average only; nowhere: surely in everything.

    `frame` has a variant a row and a column for each of `maximize`; `difference(axis, control, treatment)` gives
    treatment less control, clustered by user. A 95% interval that holds 0, or none at all, is not sure. Of several
    variants that beat it the one that does so most surely counts.
    """
    names, points = list(frame["variant"]), frame[list(maximize)].to_numpy(dtype=float)
    costs = np.where(list(maximize.values()), -points, points)
    found: dict[str, list[str]] = {}
    for place, name in enumerate(names):
        beats = np.all(costs <= costs[place], axis=1) & np.any(costs < costs[place], axis=1)
        doubts = [
            [axis for axis in maximize if not _sure(difference(axis, name, names[by]))] for by in beats.nonzero()[0]
        ]
        if doubts:
            found[name] = min(doubts, key=len)
    return found


def _sure(change: Comparison) -> bool:
    return change.ci_low is not None and change.ci_high is not None and (change.ci_low > 0 or change.ci_high < 0)
