"""A reward design and what it makes of the signals. Pure: no store, no clock.

The reward of an interaction is Σ w·u / Σ w over the design's signals, u the utility in [0, 1]. It is linear in
the weights, so everything that a page asks about weights is arithmetic on `Moments` of per-user utility sums.
"""

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from organism.digest.designs import ordered
from organism.errors import DesignError
from organism.records import Moments, RewardDesign, SignalSpec
from organism.stats.compare import Comparison, Estimate, difference, interval, ratio_of_sums
from organism.stats.moments import combine


class VariantReward(NamedTuple):
    """A variant's mean reward per interaction, its interval clustered by user (None where it cannot be said)."""

    variant: str
    n_users: int
    n_interactions: int
    mean: float | None
    low: float | None
    high: float | None


def utility(spec: SignalSpec, value: float | None) -> float | None:
    """How good one value is: 0 at worst, 1 at best, linear between; what the spec says when it is missing."""
    if value is None or not isfinite(value):
        return spec.missing
    return min(1.0, max(0.0, (value - spec.worst) / (spec.best - spec.worst)))


def reward(design: RewardDesign, row: Mapping[str, float | None]) -> float | None:
    """The reward of one interaction's signals; None when a signal is missing and the design leaves such rows out."""
    total = 0.0
    for spec in design.signals:
        u = utility(spec, row.get(spec.signal))
        if u is None:
            return None
        total += spec.weight * u
    return total / sum(spec.weight for spec in design.signals)


def rewards_by_variant(
    moments: Mapping[str, Moments], design: RewardDesign, level: float = 0.95
) -> list[VariantReward]:
    """Each variant's mean reward under these weights, by name. No scan: arithmetic on the moments.

    `moments` come from `reward_moments` for the same signals and anchors; only weights may differ.
    """
    return [_variant_reward(variant, moments[variant], design, level) for variant in sorted(moments)]


def reward_difference(
    moments: Mapping[str, Moments], design: RewardDesign, *, control: str, treatment: str, level: float = 0.95
) -> Comparison:
    """Treatment's mean reward minus control's, as if their users were different people, with interval and p."""
    arms = [_estimate(moments[name], design) if name in moments else None for name in (control, treatment)]
    return difference(arms[0], arms[1], level)


def _variant_reward(variant: str, users: Moments, design: RewardDesign, level: float) -> VariantReward:
    found = interval(_estimate(users, design), level)
    return VariantReward(variant, users.n, round(users.n * users.mean[-1]), *found)


def _estimate(users: Moments, design: RewardDesign) -> Estimate | None:
    specs = ordered(design.signals)
    if len(users.mean) != len(specs) + 1:
        raise DesignError(
            f"the sums at hand are for {len(users.mean) - 1} signals and design {design.name!r} has {len(specs)}; "
            "read the moments again for this design"
        )
    total = sum(spec.weight for spec in specs)
    if total <= 0:
        raise DesignError(
            f"design {design.name!r} gives no signal a positive weight; "
            f"give at least one of: {', '.join(spec.signal for spec in specs)}"
        )
    sums = [spec.weight / total for spec in specs] + [0.0]
    count = [0.0] * len(specs) + [1.0]
    return ratio_of_sums(combine(users, [sums, count]))
