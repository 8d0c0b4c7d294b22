"""Does an effect wear off, or grow, as users get used to it? By time since each user's own first exposure. Pure."""

from typing import Any

import numpy as np

from organism.experiment.scorecard import Novelty, NoveltyDay
from organism.records import Moments
from organism.stats.compare import Estimate, difference, ratio_of_sums
from organism.stats.moments import combine
from organism.store.experiment_days import Periods

FEWEST_USERS = 2


def read_novelty(periods: Periods | None, control: str, treatment: str, alpha: float) -> Novelty | None:
    """The effect by days since exposure, and the slope over them; None where nobody has the metric.

    The slope is the weighted least-squares line through the periods' effects, the weights the harmonic means of both
    arms' denominators. Its variance is of the users' linearized sums over all periods, so that it holds although the
    same users stand in many of them (delta method, clustered by user).
    """
    if periods is None or not {control, treatment} <= periods.moments.keys():
        return None
    arms = [periods.moments[name] for name in (control, treatment)]
    n_users = [periods.n_users.get(name, (0,) * (len(arms[0].mean) // 2)) for name in (control, treatment)]
    days = tuple(
        _day(arms, period, periods.days, (n_users[0][period], n_users[1][period]), alpha)
        for period in range(len(arms[0].mean) // 2)
    )
    used = [k for k in range(len(days)) if min(n_users[0][k], n_users[1][k]) >= FEWEST_USERS]
    if len(used) < 2:
        return Novelty(days, None, None, None, None, "One period of use so far: no trend can be told from it.")
    weights = _weights(arms, used, periods.days)
    slopes = [_slope(arm, used, weights) for arm in arms]
    found = difference(slopes[0], slopes[1], 1 - alpha)
    return Novelty(
        days,
        found.effect,
        found.ci_low,
        found.ci_high,
        found.p_value,
        _sentence(found.effect, found.p_value, days, alpha),
    )


def _day(arms: list[Moments], period: int, days: int, n_users: tuple[int, int], alpha: float) -> NoveltyDay:
    control, treatment = (ratio_of_sums(arm, 2 * period, 2 * period + 1) for arm in arms)
    if min(n_users) < FEWEST_USERS:
        return NoveltyDay(period * days, None, None, None, *n_users)
    found = difference(control, treatment, 1 - alpha)
    return NoveltyDay(period * days, found.effect, found.ci_low, found.ci_high, *n_users)


def _weights(arms: list[Moments], used: list[int], days: int) -> np.ndarray:
    """What each used period's effect counts in the slope, so that slope = weights · effects, a day."""
    totals = np.array([[arm.n * arm.mean[2 * k + 1] for k in used] for arm in arms])
    weight = totals.prod(axis=0) / totals.sum(axis=0)
    at = (np.array(used) + 0.5) * days
    centered = at - np.average(at, weights=weight)
    slope: np.ndarray = weight * centered / (weight * centered**2).sum()
    return slope


def _slope(arm: Moments, used: list[int], weights: np.ndarray) -> Estimate:
    """One arm's slope of its ratio over the periods, with its variance over users."""
    row: Any = np.zeros(len(arm.mean))
    value = 0.0
    for k, weight in zip(used, weights.tolist(), strict=True):
        ratio = arm.mean[2 * k] / arm.mean[2 * k + 1]
        value += weight * ratio
        row[2 * k] = weight / arm.mean[2 * k + 1]
        row[2 * k + 1] = -weight * ratio / arm.mean[2 * k + 1]
    residuals = combine(arm, [row])
    variance = residuals.cross[0][0] / (arm.n - 1) / arm.n if arm.n > 1 else None
    return Estimate(value, variance, arm.n)


def _sentence(slope: float | None, p_value: float | None, days: tuple[NoveltyDay, ...], alpha: float) -> str:
    if slope is None or p_value is None:
        return "Users do not differ enough to tell a trend."
    said = f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
    if p_value > alpha:
        return f"No sign that the effect changes as users get used to it (slope test over {len(days)} periods, {said})."
    first = next((day.effect for day in days if day.effect is not None), slope)
    way = "wears off" if first * slope < 0 else "grows"
    return f"The effect {way} as users get used to it (slope test over {len(days)} periods, {said})."
