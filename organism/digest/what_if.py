"""What a design would make of the history: variants' rewards against a control, and what to be careful of. Pure."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import pandas as pd

from organism.digest.guardrails import ConstraintCheck, Status
from organism.digest.rewards import (
    RewardMoments,
    VariantReward,
    reward_difference,
    rewards_by_variant,
)
from organism.digest.weight_space import Flip
from organism.errors import InputError
from organism.records import RewardDesign

FEW_USERS = 20
Bounds = tuple[float, float]


class VariantMean(NamedTuple):
    """A variant's mean reward per interaction; `ci` is clustered by user, None where it cannot be said."""

    variant: str
    n_users: int
    n_interactions: int
    mean: float | None
    ci: Bounds | None


class VariantDifference(NamedTuple):
    """A variant's mean reward minus the control's, with interval and p; None where the data cannot say."""

    variant: str
    control: str
    effect: float | None
    ci: Bounds | None
    p_value: float | None


class Covered(NamedTuple):
    """How many of all interactions carry a signal; `share` is None when there is no interaction."""

    signal: str
    n_present: int
    n_rows: int
    share: float | None


class WhatIf(NamedTuple):
    """A design tried on the history. `warnings` are sentences; an empty list means that nothing stands out."""

    design_id: str
    control: str | None
    variants: list[VariantMean]
    differences: list[VariantDifference]
    nearest_flip: Flip | None
    coverage: list[Covered]
    constraints: list[ConstraintCheck]
    warnings: list[str]


def try_design(
    moments: RewardMoments,
    design: RewardDesign,
    *,
    control: str | None,
    flip: Flip | None,
    coverage: pd.DataFrame,
    checks: Sequence[ConstraintCheck],
    level: float = 0.95,
) -> WhatIf:
    """Put together what the moments say; `coverage` has columns signal, n_present, n_rows."""
    rewards = rewards_by_variant(moments, design, level)
    covered = [_covered(row) for row in coverage.itertuples()]
    return WhatIf(
        design_id=design.id,
        control=control,
        variants=[VariantMean(r.variant, r.n_users, r.n_interactions, r.mean, _bounds(r.low, r.high)) for r in rewards],
        differences=[
            _difference(moments, design, control, r.variant, level) for r in rewards if control and r.variant != control
        ],
        nearest_flip=flip,
        coverage=covered,
        constraints=list(checks),
        warnings=_warnings(design, rewards, covered, checks),
    )


def choose_control(moments: RewardMoments, asked: str | None, bases: Collection[str]) -> str | None:
    """The variant that the others are compared with; None when nothing was scored.

    The one asked for, else a base version's, else the one with most interactions. Raises InputError, with those
    there are, when the one asked for has no interaction to score.
    """
    n_rows = {variant: users.n * users.mean[-1] for variant, users in moments.variants.items()}
    if asked is not None and asked not in n_rows:
        raise InputError(
            f"no interaction of variant {asked!r} carries every signal of this design; "
            f"the control can be: {', '.join(sorted(n_rows)) or 'none yet'}"
        )
    among = [variant for variant in n_rows if variant in bases] or list(n_rows)
    return asked or max(sorted(among), key=n_rows.__getitem__, default=None)


def _difference(
    moments: RewardMoments, design: RewardDesign, control: str, variant: str, level: float
) -> VariantDifference:
    found = reward_difference(moments, design, control=control, treatment=variant, level=level)
    return VariantDifference(variant, control, found.effect, _bounds(found.ci_low, found.ci_high), found.p_value)


def _bounds(low: float | None, high: float | None) -> Bounds | None:
    return None if low is None or high is None else (low, high)


def _covered(row: Any) -> Covered:
    n_present, n_rows = int(row.n_present), int(row.n_rows)
    return Covered(str(row.signal), n_present, n_rows, n_present / n_rows if n_rows else None)


def _warnings(
    design: RewardDesign,
    rewards: Sequence[VariantReward],
    covered: Sequence[Covered],
    checks: Sequence[ConstraintCheck],
) -> list[str]:
    """What a careful colleague would say before anybody acts on the figures."""
    n_rows = max((signal.n_rows for signal in covered), default=0)
    if not n_rows:
        return ["there are no interactions yet, so nothing can be scored; send some first"]
    if not rewards:
        return [f"no interaction carries every signal of this design: {_rarest(design, covered)}"]
    said = []
    if len(rewards) == 1:
        said.append(
            f"only one variant, {rewards[0].variant}, can be scored, so there is nothing to compare it with; "
            "serve another version to some of the users"
        )
    said += [words for reward in rewards if (words := _about_users(reward))]
    if len(rewards) > 2:
        said.append(
            f"{len(rewards) - 1} variants are compared with one control, each at its own 95%: the p-values are not "
            "adjusted for that (Holm: the smallest times their number)"
        )
    n_scored = sum(reward.n_interactions for reward in rewards)
    if n_scored < n_rows / 2:
        said.append(f"only {n_scored:,} of {n_rows:,} interactions carry every signal: {_rarest(design, covered)}")
    said += [
        f"{check.variant} breaks the guardrail {check.signal} {check.bound} and may not win, whatever its reward"
        for check in checks
        if check.status is Status.BROKEN
    ]
    return said


def _about_users(reward: VariantReward) -> str | None:
    if reward.n_users == 1:
        return f"only one user met {reward.variant}, so its mean has no interval; wait for a second user"
    if reward.low is None:
        return f"every user of {reward.variant} earned the same reward, so its mean has no interval"
    if reward.n_users < FEW_USERS:
        return f"only {reward.n_users} users met {reward.variant}, so its interval is rough; wait for {FEW_USERS}"
    return None


def _rarest(design: RewardDesign, covered: Sequence[Covered]) -> str:
    """The signal that leaves most rows out, and how to mend that."""
    optional = {spec.signal for spec in design.signals if spec.missing is not None}
    needed = [signal for signal in covered if signal.signal not in optional] or list(covered)
    least = min(needed, key=lambda signal: signal.n_present)
    return (
        f"{least.signal} is known for {least.n_present:,} of {least.n_rows:,}; "
        "say what a missing one means, or take it out of the design"
    )
