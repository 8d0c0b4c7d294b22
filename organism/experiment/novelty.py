"""Does an effect wear off, or grow, as users get used to it? By time since each user's own first exposure. Pure."""

import numpy as np
import numpy.typing as npt

from organism.experiment.scorecard import Novelty, NoveltyDay
from organism.stats.compare import Estimate, difference
from organism.store.experiment_days import PeriodPart, Periods

FEWEST_USERS = 2
Numbers = npt.NDArray[np.float64]


def read_novelty(periods: Periods | None, control: str, treatment: str, alpha: float) -> Novelty | None:
    """The effect by days since exposure, and the slope over them; None where nobody has the metric.

    The slope is the weighted least-squares line through the periods' effects, the weights the harmonic means of both
    arms' denominators. Its variance is of the users' linearized sums over all periods, so that it holds although the
    same users stand in many of them (delta method, clustered by user). A period's degrees of freedom are those of its
    own users, the slope's are Satterthwaite's over the periods' variances, at most those of all users.
    """
    parts = {part.variant: part for part in periods.parts} if periods else {}
    if periods is None or control not in parts or treatment not in parts:
        return None
    arms = [parts[control], parts[treatment]]
    n_periods = len(arms[0].ratios)
    days = tuple(_day(arms, period, periods.days, alpha) for period in range(n_periods))
    used = [k for k, day in enumerate(days) if day.effect is not None]
    if len(used) < 2:
        return Novelty(days, None, None, None, None, "One period of use so far: no trend can be told from it.")
    weights = _weights(arms, used, periods.days)
    slopes = [_line(arm, used, weights) for arm in arms]
    found = difference(slopes[0], slopes[1], 1 - alpha)
    words = _sentence(found.effect, found.p_value, days, alpha)
    return Novelty(days, found.effect, found.ci_low, found.ci_high, found.p_value, words)


def _day(arms: list[PeriodPart], period: int, days: int, alpha: float) -> NoveltyDay:
    n_users = (arms[0].n_users[period], arms[1].n_users[period])
    if min(n_users) < FEWEST_USERS:
        return NoveltyDay(period * days, None, None, None, *n_users)
    control, treatment = (_line(arm, [period], np.ones(1)) for arm in arms)
    found = difference(control, treatment, 1 - alpha)
    return NoveltyDay(period * days, found.effect, found.ci_low, found.ci_high, *n_users)


def _weights(arms: list[PeriodPart], used: list[int], days: int) -> Numbers:
    """What each used period's effect counts in the slope, so that slope = weights · effects, a day."""
    totals = np.array([[arm.totals[k] for k in used] for arm in arms])
    weight = totals.prod(axis=0) / totals.sum(axis=0)
    at = (np.array(used) + 0.5) * days
    centered = at - np.average(at, weights=weight)
    slope: Numbers = weight * centered / (weight * centered**2).sum()
    return slope


def _line(arm: PeriodPart, used: list[int], weights: Numbers) -> Estimate:
    """A weighted sum of one arm's ratios over periods, with its variance over users."""
    value = sum(weight * (arm.ratios[k] or 0.0) for k, weight in zip(used, weights.tolist(), strict=True))
    scale = weights / np.array([arm.totals[k] for k in used])
    spread = float(scale @ np.array(arm.residuals)[np.ix_(used, used)] @ scale)
    n = _n_behind(arm, used, scale)
    return Estimate(value, spread * n / (n - 1) if n > 1 else None, n)


def _n_behind(arm: PeriodPart, used: list[int], scale: Numbers) -> int:
    """How many users a weighted sum rests on: in one period those who did something in it."""
    if len(used) == 1:
        return arm.n_users[used[0]]
    parts = scale**2 * np.diag(np.array(arm.residuals))[used]
    scatter = float((parts**2 / (np.array([arm.n_users[k] for k in used]) - 1)).sum())
    return min(arm.n, 1 + round(float(parts.sum()) ** 2 / scatter)) if scatter > 0 else arm.n


def _sentence(slope: float | None, p_value: float | None, days: tuple[NoveltyDay, ...], alpha: float) -> str:
    if slope is None or p_value is None:
        return "Users do not differ enough to tell a trend."
    said = f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
    if p_value > alpha:
        return f"No sign that the effect changes as users get used to it (slope test over {len(days)} periods, {said})."
    first = next((day.effect for day in days if day.effect is not None), slope)
    way = "wears off" if first * slope < 0 else "grows"
    return f"The effect {way} as users get used to it (slope test over {len(days)} periods, {said})."
