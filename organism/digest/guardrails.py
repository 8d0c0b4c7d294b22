"""Guardrails: which variants keep within a design's bounds, and which may not win whatever their reward. Pure."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from organism.digest.design_diff import bounds_in_words
from organism.errors import DesignError
from organism.records import Constraint, Moments, RewardDesign
from organism.stats.compare import interval, ratio_of_sums

# So many users who are all alike are believed, though they leave no variance to make an interval of.
ENOUGH_ALIKE = 30


class Status(StrEnum):
    """Whether a variant keeps within a guardrail: its whole interval does, none of it, some of it, or nobody knows."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNSURE = "unsure"
    UNKNOWN = "unknown"


class ConstraintCheck(NamedTuple):
    """One variant under one guardrail: the mean of the signal over interactions, clustered by user, and the verdict."""

    variant: str
    signal: str
    bound: str
    estimate: float | None
    low: float | None
    high: float | None
    status: Status


def constraint_checks(
    by_signal: Mapping[str, Mapping[str, Moments]],
    design: RewardDesign,
    level: float = 0.95,
    *,
    variants: Collection[str] = (),
) -> list[ConstraintCheck]:
    """Every guardrail of the design for every variant, guardrails in their order, variants by name.

    `by_signal` comes from `signal_moments` for the guarded signals: by variant the moments over users of two columns,
    the signal's sum and its count; `variants` names those that are judged though they may carry none. A bound is
    broken where the whole interval lies beyond it, and holds where none of it does. Where users are all alike there
    is no interval: 30 of them are believed, fewer leave it unsure.
    """
    for guardrail in design.constraints:
        if guardrail.signal not in by_signal:
            raise DesignError(
                f"design {design.name!r} guards {guardrail.signal}, whose sums were not read; read the sums of every "
                "guarded signal first"
            )
    judged = sorted({*variants, *(variant for found in by_signal.values() for variant in found)})
    return [
        _constraint_check(guardrail, variant, by_signal[guardrail.signal].get(variant), level)
        for guardrail in design.constraints
        for variant in judged
    ]


def barred(checks: Collection[ConstraintCheck]) -> list[str]:
    """The variants that break a guardrail, by name: none of them may win."""
    return sorted({check.variant for check in checks if check.status is Status.BROKEN})


def broken(checks: Collection[ConstraintCheck]) -> dict[str, list[str]]:
    """What each barred variant breaks, in words ("written_share at least 0.52"), variants by name."""
    found: dict[str, list[str]] = {name: [] for name in barred(checks)}
    for check in checks:
        if check.status is Status.BROKEN:
            found[check.variant].append(f"{check.signal} {check.bound}")
    return found


def _constraint_check(guardrail: Constraint, variant: str, users: Moments | None, level: float) -> ConstraintCheck:
    arm = ratio_of_sums(users) if users else None
    mean, low, high = interval(arm, level)
    if arm and low is None and arm.n >= ENOUGH_ALIKE:
        low = high = mean
    bound = bounds_in_words(guardrail)
    return ConstraintCheck(variant, guardrail.signal, bound, mean, low, high, _status(guardrail, mean, low, high))


def _status(guardrail: Constraint, mean: float | None, low: float | None, high: float | None) -> Status:
    if mean is None:
        return Status.UNKNOWN
    if low is None or high is None:
        return Status.UNSURE
    floor = -np.inf if guardrail.at_least is None else guardrail.at_least
    ceiling = np.inf if guardrail.at_most is None else guardrail.at_most
    if high < floor or low > ceiling:
        return Status.BROKEN
    return Status.HOLDS if floor <= low and high <= ceiling else Status.UNSURE
