"""Thousands of comparisons at once: the tests of `compare`, on arrays of sums instead of one pair of moments.

For self-tests and simulations, where a Python call a comparison would cost minutes. The formulas are those of
`compare.ratio_of_sums` and `compare.difference`; a test holds the two together.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

Array = npt.NDArray[np.float64]


class Sums(NamedTuple):
    """Plain sums over an arm's units, arrays of one shape: n, num, den, num², num·den, den².

    Take a fixed ratio times den off num beforehand where values are large (effects and variances stay the same):
    sums of squares lose digits at an offset.
    """

    n: Array
    num: Array
    den: Array
    num_num: Array
    num_den: Array
    den_den: Array

    def minus(self, other: "Sums") -> "Sums":
        """What is left of these units without the others."""
        return Sums(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class Contrasts(NamedTuple):
    """Treatment minus control, its standard error and Welch's degrees of freedom; NaN where the sums cannot say."""

    effect: Array
    error: Array
    degrees: Array


def contrasts(control: Sums, treatment: Sums) -> Contrasts:
    """The differences of two ratios of sums with the delta method's error (Deng et al. 2018)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        (a, var_a), (b, var_b) = _ratio(control), _ratio(treatment)
        whole = var_a + var_b
        error = np.sqrt(np.where(whole > 0, whole, np.nan))
        degrees = whole**2 / (var_a**2 / (control.n - 1) + var_b**2 / (treatment.n - 1))
    return Contrasts(b - a, error, degrees)


def _ratio(arm: Sums) -> tuple[Array, Array]:
    """Σ num ÷ Σ den and Var(num − R·den) / (n · mean(den)²), over n − 1; NaN with fewer than two units."""
    ratio = np.where(arm.den > 0, arm.num / arm.den, np.nan)
    spread = arm.num_num - 2 * ratio * arm.num_den + ratio**2 * arm.den_den
    return ratio, np.where(arm.n > 1, np.maximum(spread, 0.0) * arm.n / (arm.n - 1) / arm.den**2, np.nan)


def p_values(found: Contrasts, *, use_t: bool = True) -> Array:
    """Two-sided p of each by Welch's t, or by z; NaN where it cannot be said."""
    z = np.abs(found.effect) / found.error
    return np.asarray(2 * (stdtr(found.degrees, -z) if use_t else ndtr(-z)), dtype=float)


def widening(degrees: Array, alpha: float) -> Array:
    """How much wider t's interval is than z's at these degrees: what an always-valid interval grows by."""
    probability = 1 - alpha / 2
    return np.asarray(stdtrit(degrees, probability) / ndtri(probability), dtype=float)
