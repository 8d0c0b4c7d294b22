"""Two arms compared: one statistic gives the effect, its interval and its p-value, so that they never disagree.

The unit is the user. A per-request metric is a ratio of per-user sums with the delta method's variance
(Deng et al. 2018, "Applying the delta method in metric analytics"), which is right when users differ in
how much they use the product; a test over requests is not.
"""

from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from organism.records import Interval, Moments
from organism.stats.moments import combine

# A difference of sums below this part of them is what rounding left of 0.
ROUNDING = 1e-14
# A standard deviation below this part of the mean is what rounding left of a constant.
CONSTANT = 1e-15


class Estimate(NamedTuple):
    """One arm's value, the variance of that value, and the number of users behind it.

    `variance` is None where the users cannot tell it (fewer than two).
    """

    value: float
    variance: float | None
    n: int


class Overlap(NamedTuple):
    """The users that both arms have seen: their number, their part of each arm's variance, and the covariance.

    Without shared users all are 0, and the arms are independent.
    """

    n: int
    control: float
    treatment: float
    covariance: float


APART = Overlap(0, 0.0, 0.0, 0.0)


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
    """How sure it is that the effect lies on one side of a margin: its bound there, and p for "it does not"."""

    effect: float
    bound: float
    p_value: float


def mean_of(users: Moments, column: int = 0) -> Estimate | None:
    """The mean of one column over users; None without users, or where a value is infinite.

    Its variance is None too where the values are too large to be squared (from about 1e154).
    """
    if not users.n or not isfinite(users.mean[column]):
        return None
    if users.n < 2:
        return Estimate(users.mean[column], None, users.n)
    spread = users.cross[column][column]
    if not isfinite(spread):
        return Estimate(users.mean[column], None, users.n)
    is_constant = sqrt(max(spread, 0.0) / users.n) <= CONSTANT * abs(users.mean[column])
    return Estimate(users.mean[column], 0.0 if is_constant else spread / (users.n - 1) / users.n, users.n)


def ratio_of_sums(users: Moments, num: int = 0, den: int = 1) -> Estimate | None:
    """Σ num ÷ Σ den over users, with the delta method's variance; None where Σ den is not above 0, or without users.

    Var(R) = Var(num − R·den) / (n · mean(den)²), variances over users with n − 1. An infinite value gives None too,
    and sums too large to be squared give no variance.
    """
    if not users.n or not users.mean[den] > 0 or not isfinite(users.mean[num]) or not isfinite(users.mean[den]):
        return None
    ratio = users.mean[num] / users.mean[den]
    if users.n < 2:
        return Estimate(ratio, None, users.n)
    c = users.cross
    whole = c[num][num] + ratio * ratio * c[den][den]
    spread = whole - 2 * ratio * c[num][den]
    if not isfinite(spread):
        return Estimate(ratio, None, users.n)
    spread = _unless_rounding(spread, whole)
    return Estimate(ratio, spread / (users.n - 1) / users.n / users.mean[den] / users.mean[den], users.n)


def overlap_of_ratios(both: Moments, control: Moments, treatment: Moments) -> Overlap:
    """What users seen under both arms share of two ratios of sums (each arm's columns: num, den).

    `both` holds their four columns: control's num and den, then treatment's. The residual of user i in an arm is
    e = num - R*den; the arm's variance is c^2 * sum(e^2) and the covariance c_a*c_b * sum(e_a*e_b), with
    c = sqrt(n / (n - 1)) / (n * mean(den)): the cluster-robust variance (Liang and Zeger 1986) of the delta method's
    linearization (Deng et al. 2018, eq. 4), with the users as clusters. So the whole,
    Var_a + Var_b - 2 Cov = sum over users of (c_a*e_a - c_b*e_b)^2, is never negative.
    """
    if both.n == 0 or min(control.n, treatment.n) < 2 or not control.mean[1] or not treatment.mean[1]:
        return Overlap(both.n, 0.0, 0.0, 0.0)
    rows = np.zeros((2, 4))
    for arm, users in enumerate((control, treatment)):
        scale = sqrt(users.n / (users.n - 1)) / (users.n * users.mean[1])
        rows[arm, 2 * arm : 2 * arm + 2] = scale, -scale * users.mean[0] / users.mean[1]
    residuals = combine(both, rows)
    products = np.array(residuals.cross) + both.n * np.outer(residuals.mean, residuals.mean)
    return Overlap(both.n, float(products[0, 0]), float(products[1, 1]), float(products[0, 1]))


def interval(arm: Estimate | None, level: float = 0.95, *, use_t: bool = True) -> Interval:
    """One arm's value with its interval: t with n − 1 degrees, or normal."""
    if arm is None or not arm.variance or not isfinite(arm.variance):
        return Interval(arm.value if arm else None, None, None)
    reach = critical_value((1 + level) / 2, arm.n - 1 if use_t else None) * sqrt(arm.variance)
    return Interval(arm.value, arm.value - reach, arm.value + reach)


def difference(
    control: Estimate | None,
    treatment: Estimate | None,
    level: float = 0.95,
    *,
    use_t: bool = True,
    overlap: Overlap = APART,
) -> Comparison:
    """Treatment minus control: Welch's t (or z), its interval and its two-sided p.

    For independent arms; with an `overlap`, for arms that have users in common.
    """
    found = standard_error(control, treatment, overlap)
    if control is None or treatment is None or found is None:
        return _without_interval(control, treatment)
    error, degrees = found[0], found[1] if use_t else None
    effect = treatment.value - control.value
    q = critical_value((1 + level) / 2, degrees)
    relative, low, high = fieller(control, treatment, q, overlap.covariance)
    return Comparison(
        effect=effect,
        ci_low=effect - q * error,
        ci_high=effect + q * error,
        p_value=2 * chance_below(-abs(effect) / error, degrees),
        relative=relative,
        relative_low=low,
        relative_high=high,
        n_control=control.n,
        n_treatment=treatment.n,
        mean_control=control.value,
        mean_treatment=treatment.value,
    )


def below_margin(
    control: Estimate | None,
    treatment: Estimate | None,
    margin: float = 0.0,
    level: float = 0.95,
    *,
    use_t: bool = True,
) -> OneSided | None:
    """Is treatment − control surely below `margin`? One-sided Welch (or z); None where the data cannot say."""
    found = standard_error(control, treatment)
    if control is None or treatment is None or found is None:
        return None
    error, degrees = found[0], found[1] if use_t else None
    effect = treatment.value - control.value
    bound = effect + critical_value(level, degrees) * error
    return OneSided(effect, bound, chance_below((effect - margin) / error, degrees))


def above_margin(
    control: Estimate | None,
    treatment: Estimate | None,
    margin: float = 0.0,
    level: float = 0.95,
    *,
    use_t: bool = True,
) -> OneSided | None:
    """Is treatment − control surely above `margin`? The mirror image of `below_margin`; `bound` is the lower one."""
    found = below_margin(treatment, control, -margin, level, use_t=use_t)
    return OneSided(-found.effect, -found.bound, found.p_value) if found else None


def fieller(control: Estimate, treatment: Estimate, q: float, covariance: float = 0.0) -> Interval:
    """The effect relative to |control| with Fieller's interval (1954), for a critical value q.

    It excludes 0 exactly when `effect ± q·se` does. Limits are None when the control's own interval
    holds 0: then no bounded set of ratios can be stated.
    """
    c, t = control.value, treatment.value
    if not c:
        return Interval(None, None, None)
    relative = (t - c) / abs(c)
    # In units of the control's value, so that no square of it is ever too large or too small.
    times, shared = t / c, covariance / c / c
    var_c, var_t = (control.variance or 0.0) / c / c, (treatment.variance or 0.0) / c / c
    a = 1 - q * q * var_c
    if a <= 0:
        return Interval(relative, None, None)
    middle = times - q * q * shared
    root = q * sqrt(max(var_t * a + var_c * times * times - 2 * times * shared + q * q * shared * shared, 0.0))
    if not isfinite(root):
        return Interval(relative, None, None)
    ends = sorted((side - a) / a * (1 if c > 0 else -1) for side in (middle - root, middle + root))
    return Interval(relative, *ends)


def standard_error(
    control: Estimate | None, treatment: Estimate | None, overlap: Overlap = APART
) -> tuple[float, float] | None:
    """The standard error of the difference and Satterthwaite's degrees of freedom (1946).

    The variance has three independent parts: users of control only, of treatment only, and of both. Each brings
    its users, less their share of the one degree that an arm's value costs. Without shared users that is Welch's
    formula; where every user is seen under both it is the paired test's n - 1.
    """
    if control is None or treatment is None or control.variance is None or treatment.variance is None:
        return None
    parts = _variance_parts(control, control.variance, treatment, treatment.variance, overlap)
    variance = sum(part for part, _ in parts)
    if not isfinite(variance) or variance <= 0:
        return None
    return sqrt(variance), 1 / sum((part / variance) ** 2 / degrees for part, degrees in parts if part)


def _variance_parts(
    control: Estimate, var_c: float, treatment: Estimate, var_t: float, overlap: Overlap
) -> list[tuple[float, float]]:
    """Variance and degrees of freedom of the users of control only, of treatment only, and of both."""
    if not overlap.n:
        return [(var_c, control.n - 1), (var_t, treatment.n - 1)]
    kept_c, kept_t = (control.n - 1) / control.n, (treatment.n - 1) / treatment.n
    own_c, own_t = control.n - overlap.n, treatment.n - overlap.n
    # An arm whose variance was rounding has none to share.
    of_c, of_t = min(overlap.control, var_c), min(overlap.treatment, var_t)
    of_both = of_c + of_t - 2 * (overlap.covariance if of_c and of_t else 0.0)
    return [
        (_unless_rounding(var_c - of_c, var_c) if own_c else 0.0, own_c * kept_c),
        (_unless_rounding(var_t - of_t, var_t) if own_t else 0.0, own_t * kept_t),
        (_unless_rounding(of_both, of_c + of_t), overlap.n * sqrt(kept_c * kept_t)),
    ]


def _unless_rounding(part: float, whole: float) -> float:
    """The part, or 0 where it is only what rounding left of a subtraction from the whole."""
    return part if part > ROUNDING * whole else 0.0


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


def critical_value(probability: float, degrees: float | None) -> float:
    """The quantile of Student's t with those degrees of freedom, or of the normal for None."""
    return float(ndtri(probability) if degrees is None else stdtrit(degrees, probability))


def chance_below(statistic: float, degrees: float | None) -> float:
    """The chance that Student's t (or the normal, for None) falls below the statistic."""
    return float(ndtr(statistic) if degrees is None else stdtr(degrees, statistic))
