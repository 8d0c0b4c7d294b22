"""Two arms compared: one statistic gives the effect, its interval and its p-value, so that they never disagree.

The unit is the user. A per-request metric is a ratio of per-user sums with the delta method's variance
(Deng et al. 2018, "Applying the delta method in metric analytics"), which is right when users differ in
how much they use the product; a test over requests is not.
"""

from math import sqrt
from typing import NamedTuple

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from organism.records import Interval, Moments


class Estimate(NamedTuple):
    """One arm's value, the variance of that value, and the number of users behind it.

    `variance` is None where the users cannot tell it (fewer than two).
    """

    value: float
    variance: float | None
    n: int


class Comparison(NamedTuple):
    """Treatment minus control. None wherever the data cannot say; never 0 or 1 in its place.

    `relative` is the effect over the size of the control's value, with Fieller's interval.
    """

    effect: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    n_control: int
    n_treatment: int
    mean_control: float | None
    mean_treatment: float | None


class OneSided(NamedTuple):
    """How sure it is that the effect stays below a margin: its upper bound, and p for "it does not"."""

    effect: float
    upper: float
    p_value: float


def mean_of(users: Moments, column: int = 0) -> Estimate | None:
    """The mean of one column over users; None without users."""
    if not users.n:
        return None
    variance = users.cross[column][column] / (users.n - 1) / users.n if users.n > 1 else None
    return Estimate(users.mean[column], variance, users.n)


def ratio_of_sums(users: Moments, num: int = 0, den: int = 1) -> Estimate | None:
    """Σ num ÷ Σ den over users, with the delta method's variance; None where Σ den is 0 or there are no users.

    Var(R) = Var(num − R·den) / (n · mean(den)²), variances over users with n − 1.
    """
    if not users.n or not users.mean[den]:
        return None
    ratio = users.mean[num] / users.mean[den]
    if users.n < 2:
        return Estimate(ratio, None, users.n)
    c = users.cross
    spread = max(c[num][num] - 2 * ratio * c[num][den] + ratio**2 * c[den][den], 0.0)
    return Estimate(ratio, spread / (users.n - 1) / users.n / users.mean[den] ** 2, users.n)


def interval(arm: Estimate | None, level: float = 0.95, *, use_t: bool = True) -> Interval:
    """One arm's value with its interval: t with n − 1 degrees, or normal."""
    if arm is None or not arm.variance:
        return Interval(arm.value if arm else None, None, None)
    reach = _quantile((1 + level) / 2, arm.n - 1 if use_t else None) * sqrt(arm.variance)
    return Interval(arm.value, arm.value - reach, arm.value + reach)


def difference(
    control: Estimate | None, treatment: Estimate | None, level: float = 0.95, *, use_t: bool = True
) -> Comparison:
    """Treatment minus control for independent arms: Welch's t (or z), its interval and its two-sided p."""
    found = _standard_error(control, treatment)
    if control is None or treatment is None or found is None:
        return _without_interval(control, treatment)
    error, degrees = found[0], found[1] if use_t else None
    effect = treatment.value - control.value
    q = _quantile((1 + level) / 2, degrees)
    relative, low, high = fieller(control, treatment, q)
    return Comparison(
        effect=effect,
        ci_low=effect - q * error,
        ci_high=effect + q * error,
        p_value=2 * _below(-abs(effect) / error, degrees),
        relative=relative,
        relative_low=low,
        relative_high=high,
        n_control=control.n,
        n_treatment=treatment.n,
        mean_control=control.value,
        mean_treatment=treatment.value,
    )


def below_margin(
    control: Estimate | None, treatment: Estimate | None, margin: float = 0.0, level: float = 0.95
) -> OneSided | None:
    """Is treatment − control surely below `margin`? One-sided Welch; None where the data cannot say."""
    found = _standard_error(control, treatment)
    if control is None or treatment is None or found is None:
        return None
    error, degrees = found
    effect = treatment.value - control.value
    return OneSided(effect, effect + _quantile(level, degrees) * error, _below((effect - margin) / error, degrees))


def fieller(control: Estimate, treatment: Estimate, q: float) -> Interval:
    """The effect relative to |control| with Fieller's interval (1954), for a critical value q.

    It excludes 0 exactly when `effect ± q·se` does. Limits are None when the control's own interval
    holds 0: then no bounded set of ratios can be stated.
    """
    c, t = control.value, treatment.value
    var_c, var_t = control.variance or 0.0, treatment.variance or 0.0
    if not c:
        return Interval(None, None, None)
    relative = (t - c) / abs(c)
    a = c * c - q * q * var_c
    if a <= 0:
        return Interval(relative, None, None)
    root = q * sqrt(max(var_t * a + var_c * t * t, 0.0))
    ends = sorted((side - a) / a * (1 if c > 0 else -1) for side in (c * t - root, c * t + root))
    return Interval(relative, *ends)


def _standard_error(control: Estimate | None, treatment: Estimate | None) -> tuple[float, float] | None:
    """The standard error of the difference and Welch–Satterthwaite's degrees of freedom."""
    if control is None or treatment is None or control.variance is None or treatment.variance is None:
        return None
    variance = control.variance + treatment.variance
    if variance <= 0:
        return None
    shares = (control.variance / variance) ** 2 / (control.n - 1) + (treatment.variance / variance) ** 2 / (
        treatment.n - 1
    )
    return sqrt(variance), 1 / shares


def _without_interval(control: Estimate | None, treatment: Estimate | None) -> Comparison:
    effect = treatment.value - control.value if control and treatment else None
    return Comparison(
        effect=effect,
        ci_low=None,
        ci_high=None,
        p_value=None,
        relative=effect / abs(control.value) if effect is not None and control and control.value else None,
        relative_low=None,
        relative_high=None,
        n_control=control.n if control else 0,
        n_treatment=treatment.n if treatment else 0,
        mean_control=control.value if control else None,
        mean_treatment=treatment.value if treatment else None,
    )


def _quantile(probability: float, degrees: float | None) -> float:
    return float(ndtri(probability) if degrees is None else stdtrit(degrees, probability))


def _below(statistic: float, degrees: float | None) -> float:
    return float(ndtr(statistic) if degrees is None else stdtr(degrees, statistic))
