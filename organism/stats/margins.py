"""Margins: is treatment not worse than control by more than we said we would bear, or as good as the same?

One-sided Welch tests against a margin that was fixed before the data; the bound and the p-value come from one
statistic, so that p <= alpha exactly when the bound lies inside the margin.
"""

from math import copysign, sqrt
from typing import NamedTuple

from organism.stats.compare import (
    Estimate,
    OneSided,
    above_margin,
    below_margin,
    chance_below,
    critical_value,
    fieller,
    standard_error,
)


class NonInferiority(NamedTuple):
    """Whether treatment is surely not worse by the margin; p is for "it is".

    `effect` and `bound` (the worst effect that the data do not exclude) are in the metric's unit, or shares of the
    control's size for a relative margin.
    """

    effect: float
    bound: float
    p_value: float
    margin: float
    holds: bool


class Equivalence(NamedTuple):
    """Whether the effect surely lies between two margins: the interval at 1 − 2α, and p for "it does not"."""

    effect: float
    ci_low: float
    ci_high: float
    p_value: float
    low: float
    high: float
    holds: bool


def non_inferior(
    control: Estimate | None,
    treatment: Estimate | None,
    margin: float,
    *,
    better: int,
    is_relative: bool = False,
    alpha: float = 0.05,
    use_t: bool = True,
) -> NonInferiority | None:
    """Is treatment surely less than `margin` worse? `better` is +1 where more is better, −1 where less is.

    A relative margin is a share of the size of the control's value, which is not taken for known: the test is of
    T − (1 ± margin)·C (Fieller 1954). None where the data cannot say. Raises ValueError for a margin of 0 or less.
    """
    if not margin > 0 or better not in (-1, 1):
        raise ValueError(f"found margin {margin} and better {better}; wanted a margin above 0, and +1 or -1")
    if is_relative:
        found = _relative(control, treatment, margin, better, alpha, use_t)
    elif better < 0:
        found = below_margin(control, treatment, margin, 1 - alpha, use_t=use_t)
    else:
        found = above_margin(control, treatment, -margin, 1 - alpha, use_t=use_t)
    return NonInferiority(*found, margin, found.p_value <= alpha) if found else None


def equivalent(
    control: Estimate | None,
    treatment: Estimate | None,
    low: float,
    high: float,
    *,
    alpha: float = 0.05,
    use_t: bool = True,
) -> Equivalence | None:
    """Does the effect surely lie between `low` and `high`? Two one-sided tests (Schuirmann 1987); None as above."""
    if not low < high:
        raise ValueError(f"found margins {low} and {high}; wanted the lower one first")
    above = above_margin(control, treatment, low, 1 - alpha, use_t=use_t)
    below = below_margin(control, treatment, high, 1 - alpha, use_t=use_t)
    if above is None or below is None:
        return None
    p_value = max(above.p_value, below.p_value)
    return Equivalence(above.effect, above.bound, below.bound, p_value, low, high, p_value <= alpha)


def _relative(
    control: Estimate | None, treatment: Estimate | None, margin: float, better: int, alpha: float, use_t: bool
) -> OneSided | None:
    """The test of (T − C)/|C| against the margin; None too where the control's own interval holds 0."""
    found = standard_error(control, treatment)
    if control is None or treatment is None or found is None:
        return None
    degrees = found[1] if use_t else None
    estimate, low, high = fieller(control, treatment, critical_value(1 - alpha, degrees))
    bound = high if better < 0 else low
    if estimate is None or bound is None:
        return None
    ratio = 1 - better * copysign(margin, control.value)
    variance = (treatment.variance or 0.0) + ratio**2 * (control.variance or 0.0)
    if variance <= 0:
        return None
    statistic = better * (treatment.value - ratio * control.value) / sqrt(variance)
    return OneSided(estimate, bound, chance_below(-statistic, degrees))
