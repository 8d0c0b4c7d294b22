"""Asymptotic confidence sequences: an interval and a p-value that may be read after every user.

A fixed interval covers the truth with 95% at one planned look; a confidence sequence covers it at all looks at once,
so an experiment may be watched and stopped at will. Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences" (arXiv 2103.06476v7), in the parametrisation
of GrowthBook: the variance is that of the effect times n, n the users of both arms, and rho is set so that the
sequence is tightest when n is `tuning`.
"""

from enum import StrEnum
from math import exp, expm1, inf, isfinite, log, sqrt
from typing import NamedTuple

from scipy.special import ndtri, stdtrit

# GrowthBook's default: the number of users of both arms at which the sequence is tightest.
TUNING = 5000.0
# Beyond this exponent the p-value is 0 in floating point.
EXPONENT = 700.0


class Alternative(StrEnum):
    """Which one-sided claim is tested: the effect is above the margin, or below it."""

    GREATER = "greater"
    LESS = "less"


class Sequence(NamedTuple):
    """The always-valid interval of an effect and its p against "no effect"; all None where the data cannot say."""

    low: float | None
    high: float | None
    p_value: float | None


class OneSidedSequence(NamedTuple):
    """The always-valid bound (lower for `greater`, upper for `less`) and p against "not beyond the margin"."""

    bound: float | None
    p_value: float | None


def rho(tuning: float = TUNING, alpha: float = 0.05, *, one_sided: bool = False) -> float:
    """The mixture's width that makes the sequence tightest at `tuning` users (arXiv 2103.06476v7, eq. 161).

    A one-sided sequence takes it at 2 alpha, as GrowthBook does.
    """
    _check(alpha, tuning)
    level = 2 * alpha if one_sided else alpha
    return sqrt((-2 * log(level) + log(-2 * log(level) + 1)) / tuning)


def critical_value(
    n: float, *, alpha: float = 0.05, tuning: float = TUNING, level: float | None = None, one_sided: bool = False
) -> float:
    """The half-width in standard errors after n users: what 1.96 is to a fixed 95% interval.

    Two-sided (eq. 9): sqrt(2 (x + 1)/x log(sqrt(x + 1)/level)) with x = n rho^2; one-sided (eq. 134):
    sqrt(2 (x + 1)/x log(1 + sqrt(x + 1)/(2 level))). `alpha` sets rho; `level` (alpha, unless a correction for
    several tests asks for less) is what is spent.
    """
    x = n * rho(tuning, alpha, one_sided=one_sided) ** 2
    level = alpha if level is None else level
    odds = log(1 + sqrt(x + 1) / (2 * level)) if one_sided else log(sqrt(x + 1) / level)
    return sqrt(2 * (x + 1) / x * odds)


def confidence_sequence(
    effect: float | None,
    standard_error: float | None,
    n: float,
    *,
    alpha: float = 0.05,
    tuning: float = TUNING,
    degrees: float | None = None,
) -> Sequence:
    """The two-sided sequence for an effect with its standard error after n users of both arms.

    p = sqrt(x + 1) exp(-z^2 x / (2 (x + 1))), at most 1 (eq. 155), with z = effect / standard error: the same
    boundary solved for the level, so p <= alpha exactly when the interval excludes 0. With `degrees` (Welch's) the
    standard error grows by t/z at alpha, so that the sequence is never narrower than the fixed t interval.
    """
    _check(alpha, tuning)
    if effect is None or not _usable(effect, standard_error, n):
        return Sequence(None, None, None)
    error = _widened(standard_error, 1 - alpha / 2, degrees)
    reach = critical_value(n, alpha=alpha, tuning=tuning) * error
    x = n * rho(tuning, alpha) ** 2
    p = sqrt(x + 1) * exp(-((effect / error) ** 2) * x / (2 * (x + 1)))
    return Sequence(effect - reach, effect + reach, min(p, 1.0))


def one_sided_sequence(
    effect: float | None,
    standard_error: float | None,
    n: float,
    *,
    margin: float = 0.0,
    alternative: Alternative = Alternative.GREATER,
    alpha: float = 0.05,
    tuning: float = TUNING,
    degrees: float | None = None,
) -> OneSidedSequence:
    """The one-sided sequence for a guardrail or a non-inferiority test, and p that the effect is not beyond `margin`.

    `greater` gives a lower bound, `less` an upper one. With z = (effect - margin) / standard error on the side that
    is claimed, p = sqrt(x + 1) / (2 (exp(z^2 x / (2 (x + 1))) - 1)), at most 1: the boundary of eq. 134 solved for the
    level, so p <= alpha exactly when the bound is beyond the margin.
    """
    _check(alpha, tuning)
    if effect is None or not _usable(effect, standard_error, n):
        return OneSidedSequence(None, None)
    sign = 1 if alternative == Alternative.GREATER else -1
    error = _widened(standard_error, 1 - alpha, degrees)
    reach = critical_value(n, alpha=alpha, tuning=tuning, one_sided=True) * error
    x = n * rho(tuning, alpha, one_sided=True) ** 2
    z = sign * (effect - margin) / error
    exponent = min(z * z * x / (2 * (x + 1)), EXPONENT)
    p = sqrt(x + 1) / (2 * expm1(exponent)) if z > 0 and exponent else inf
    return OneSidedSequence(effect - sign * reach, min(p, 1.0))


def _widened(standard_error: float | None, probability: float, degrees: float | None) -> float:
    error = float(standard_error or 0.0)
    return error if degrees is None else error * float(stdtrit(degrees, probability) / ndtri(probability))


def _usable(effect: float, standard_error: float | None, n: float) -> bool:
    return standard_error is not None and standard_error > 0 and n > 1 and isfinite(effect) and isfinite(standard_error)


def _check(alpha: float, tuning: float) -> None:
    if not 0 < alpha < 0.5 or not tuning > 0:
        raise ValueError(f"alpha must lie between 0 and 0.5 and tuning above 0; found {alpha:g} and {tuning:g}")
