"""A reward design and what it makes of the signals. Pure: no store, no clock.

The reward of an interaction is Σ w·u / Σ w over the design's signals, u the utility in [0, 1]. It is linear in
the weights, so everything that a page asks about weights is arithmetic on `Moments` of per-user utility sums.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.digest.designs import ordered
from organism.errors import DesignError
from organism.records import Moments, RewardDesign
from organism.stats.compare import (
    APART,
    Comparison,
    Estimate,
    Overlap,
    difference,
    interval,
    overlap_of_ratios,
    ratio_of_sums,
)
from organism.stats.moments import combine, merge, moments

K = TypeVar("K")

# Utilities lie in [0, 1]: a variance of a mean reward below this is what rounding left of no variance at all.
ROUNDING = 1e-24


class RewardMoments(NamedTuple):
    """All that rewards under any weights need of the rows, whatever their number; shards by user merge.

    `variants[v]`: over the users of v, their utility sums (one column for each of `signals`, by name), then their
    row counts. `shared[(a, b)]`, a < b: over the users seen under both, a's columns and then b's; pairs without
    a shared user are not there.
    """

    signals: tuple[str, ...]
    variants: dict[str, Moments]
    shared: dict[tuple[str, str], Moments]


class VariantReward(NamedTuple):
    """A variant's mean reward per interaction, its interval clustered by user (None where it cannot be said)."""

    variant: str
    n_users: int
    n_interactions: int
    mean: float | None
    low: float | None
    high: float | None


def moments_of_users(sums: pd.DataFrame, signals: Sequence[str]) -> RewardMoments:
    """The moments of per-user sums: columns variant, user_key, then one for each signal (in that order), n_rows."""
    keys, users = pd.factorize(sums["user_key"])
    table = sums.drop(columns=["variant", "user_key"]).to_numpy(dtype=float)
    rows = {str(name): np.asarray(at) for name, at in sums.groupby("variant", sort=True).indices.items()}
    shared: dict[tuple[str, str], Moments] = {}
    for a, b in combinations(sorted(rows), 2):
        of_a = np.full(len(users), -1)
        of_a[keys[rows[a]]] = rows[a]
        beside = of_a[keys[rows[b]]]
        if (both := beside >= 0).any():
            shared[a, b] = moments(np.hstack([table[beside[both]], table[rows[b][both]]]))
    return RewardMoments(tuple(signals), {name: moments(table[at]) for name, at in rows.items()}, shared)


def moments_of_signal(sums: pd.DataFrame, place: int) -> dict[str, Moments]:
    """By variant the moments of one signal's sum and count over the users that have it, from `read_signal_sums`."""
    mine = sums[sums[f"n{place}"] > 0]
    table = mine[[f"s{place}", f"n{place}"]].to_numpy(dtype=float)
    return {str(name): moments(table[at]) for name, at in mine.groupby("variant", sort=True).indices.items()}


def merge_moments(a: RewardMoments, b: RewardMoments) -> RewardMoments:
    """Both shards together. No user may be in two of them; the order does not matter."""
    if a.signals != b.signals:
        raise DesignError(
            f"one shard sums {', '.join(a.signals)} and the other {', '.join(b.signals)}; read both for one design"
        )
    return RewardMoments(a.signals, _merged(a.variants, b.variants), _merged(a.shared, b.shared))


def rewards_by_variant(users: RewardMoments, design: RewardDesign, level: float = 0.95) -> list[VariantReward]:
    """Each variant's mean reward under these weights, by name. No scan: arithmetic on the moments.

    `users` come from `reward_moments` for the same signals and anchors; only weights may differ.
    """
    shares = weight_shares(users, design)
    return [_variant_reward(name, users.variants[name], shares, level) for name in sorted(users.variants)]


def reward_difference(
    users: RewardMoments, design: RewardDesign, *, control: str, treatment: str, level: float = 0.95
) -> Comparison:
    """Treatment's mean reward minus control's with interval and p, clustered by user.

    Var = Var_a + Var_b - 2 Cov, where Cov comes from users seen under both (cluster-robust, Liang and Zeger 1986;
    delta method, Deng et al. 2018; see `overlap_of_ratios`). Without a shared user that is Welch's test on two
    ratios of sums. Everything that needs a second user, or both variants, is None without.
    """
    if control == treatment:
        raise DesignError(f"{control!r} stands on both sides; name two different variants to compare")
    shares = weight_shares(users, design)
    scored = {name: _scored(users.variants[name], shares) for name in (control, treatment) if name in users.variants}
    arms = {name: _estimate(found) for name, found in scored.items()}
    overlap = _overlap(users, scored, shares, control, treatment)
    return difference(arms.get(control), arms.get(treatment), level, overlap=overlap)


def component_shares(users: RewardMoments, design: RewardDesign) -> dict[str, float]:
    """Each signal's share of the variance of the reward between users, in order of the names; they sum to 1.

    The reward's residual by user is Σ_j r_j, r_j = share_j * (utility sum - its ratio * n): signal j's share of the
    variance is Cov(r_j, Σ r) / Var(Σ r), within variants and pooled over them. It is negative where a signal
    moves against the rest. Empty where users do not differ, or there are not two of them.
    """
    shares = weight_shares(users, design)
    arms = [arm for arm in users.variants.values() if (found := _estimate(_scored(arm, shares))) and found.variance]
    if not arms:
        return {}
    parts = shares * (sum(_residual_cross(arm) for arm in arms) @ shares)
    return dict(zip(users.signals, (parts / parts.sum()).tolist(), strict=True))


def effective_signals(users: RewardMoments, design: RewardDesign) -> float | None:
    """How many signals steer the reward in effect: 1 when one alone does, k when k do equally. None if nobody can say.

    The inverse Herfindahl index (Laakso and Taagepera 1979) of the absolute `component_shares`, scaled to sum to 1.
    """
    sizes = np.abs(list(component_shares(users, design).values()))
    if not len(sizes):
        return None
    return float(1 / np.sum((sizes / sizes.sum()) ** 2))


def weight_shares(users: RewardMoments, design: RewardDesign) -> npt.NDArray[np.float64]:
    """The design's weights as shares of 1, in the order of the moments' columns.

    Raises DesignError when the moments are of other signals, or the weights cannot give a reward.
    """
    specs = ordered(design.signals)
    named = tuple(spec.signal for spec in specs)
    if named != users.signals:
        raise DesignError(
            f"the sums at hand are for {', '.join(users.signals) or 'no signal'}, and design {design.name!r} weighs "
            f"{', '.join(named) or 'none'}; read the moments again for this design"
        )
    for spec in specs:
        if not isfinite(spec.weight) or spec.weight < 0:
            raise DesignError(f"design {design.name!r} gives {spec.signal} the weight {spec.weight}; give 0 or more")
    total = sum(spec.weight for spec in specs)
    if total <= 0:
        raise DesignError(
            f"design {design.name!r} gives no signal a positive weight; give at least one of: {', '.join(named)}"
        )
    return np.array([spec.weight for spec in specs]) / total


def _variant_reward(name: str, users: Moments, shares: npt.NDArray[np.float64], level: float) -> VariantReward:
    found = interval(_estimate(_scored(users, shares)), level)
    return VariantReward(name, users.n, round(users.n * users.mean[-1]), *found)


def _scored(users: Moments, shares: npt.NDArray[np.float64]) -> Moments:
    """The moments of two columns over the same users: summed reward, and rows."""
    return combine(users, _reward_and_count(shares))


def _reward_and_count(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows = np.zeros((2, len(shares) + 1))
    rows[0, :-1], rows[1, -1] = shares, 1.0
    return rows


def _estimate(scored: Moments) -> Estimate | None:
    found = ratio_of_sums(scored)
    if found is not None and found.variance is not None and found.variance < ROUNDING:
        return found._replace(variance=0.0)
    return found


def _overlap(
    users: RewardMoments, scored: Mapping[str, Moments], shares: npt.NDArray[np.float64], control: str, treatment: str
) -> Overlap:
    """What the users seen under both variants share, whichever of the two comes first by name."""
    first, second = sorted((control, treatment))
    if (first, second) not in users.shared:
        return APART
    both = combine(users.shared[first, second], np.kron(np.eye(2), _reward_and_count(shares)))
    found = overlap_of_ratios(both, scored[first], scored[second])
    if first == control:
        return found
    return found._replace(control=found.treatment, treatment=found.control)


def _residual_cross(users: Moments) -> npt.NDArray[np.float64]:
    """Cross-products over users of each signal's residual: its utility sum less its mean utility times the rows."""
    mean = np.array(users.mean)
    to_residual = np.hstack([np.eye(len(mean) - 1), -(mean[:-1] / mean[-1])[:, None]])
    return to_residual @ np.array(users.cross) @ to_residual.T


def _merged(a: Mapping[K, Moments], b: Mapping[K, Moments]) -> dict[K, Moments]:
    both = {key: merge(a[key], b[key]) for key in a if key in b}
    return {**a, **b, **both}
