"""Shares of users who did something: an interval of one, and of the difference and the ratio of two, by the score.

The score interval holds every difference that the score test does not reject, so that p and the interval are one
statistic, and it stays inside [−1, 1] and honest for small counts where Wald's does not. Miettinen and Nurminen
(1985, "Comparative analysis of two rates").
"""

from math import acos, copysign, cos, exp, expm1, inf, lgamma, log, pi, sqrt
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from organism.records import Interval, Moments
from organism.stats.compare import Comparison, Estimate, mean_of

# Fisher's two-sided p sums the tables no likelier than the one found; equal ones differ by rounding.
AS_LIKELY = 1 + 1e-7
# Where a score has no spread it is infinite; the search for a limit wants numbers.
FAR = 1e9
# The search for the limits of a ratio ends here (in logarithms): no number of users tells such ratios apart.
FARTHEST = 60.0


class Count(NamedTuple):
    """So many of n users."""

    successes: float
    n: int

    @property
    def share(self) -> float:
        """Successes ÷ n."""
        return self.successes / self.n


def count_of(users: Moments, column: int = 0) -> Count | None:
    """The count behind a column of zeros and ones; None without users, or where other values are in it.

    A column holds zeros and ones only if the sum of its squares is its sum; that is what moments can tell.
    """
    found = mean_of(users, column)
    if found is None or not 0 <= found.value <= 1:
        return None
    expected = users.n * found.value * (1 - found.value)
    if abs(users.cross[column][column] - expected) > 1e-9 * users.n:
        return None
    return Count(found.value * users.n, users.n)


def share_of(count: Count) -> Estimate:
    """The share with the binomial variance p(1 − p)/n, for `difference` (with use_t=False: the unpooled z)."""
    return Estimate(count.share, count.share * (1 - count.share) / count.n, count.n)


def wilson(count: Count, level: float = 0.95) -> Interval:
    """The score interval of one share (Wilson 1927); it never leaves [0, 1] and has a width at 0 successes too."""
    z2 = _z(level) ** 2
    p, n = count.share, count.n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    reach = sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(p, max(middle - reach, 0.0), min(middle + reach, 1.0))


def pooled_p(control: Count, treatment: Count) -> float | None:
    """The two-sided p of the z-test with the pooled share, which is Pearson's chi-square without correction."""
    pooled = (control.successes + treatment.successes) / (control.n + treatment.n)
    variance = pooled * (1 - pooled) * (1 / control.n + 1 / treatment.n)
    return float(2 * ndtr(-abs(treatment.share - control.share) / sqrt(variance))) if variance > 0 else None


def exact_p(control: Count, treatment: Count) -> float | None:
    """Fisher's exact two-sided p, for whole counts too small for a score; None where nobody or everybody did it."""
    a, n, m = round(control.successes), control.n, treatment.n
    successes = a + round(treatment.successes)
    if successes in (0, n + m):
        return None
    whole = _log_choose(n + m, successes)

    def likelihood(k: int) -> float:
        return exp(_log_choose(n, k) + _log_choose(m, successes - k) - whole)

    tables = [likelihood(k) for k in range(max(0, successes - m), min(n, successes) + 1)]
    return min(sum(one for one in tables if one <= likelihood(a) * AS_LIKELY), 1.0)


def score_difference(control: Count | None, treatment: Count | None, level: float = 0.95) -> Comparison:
    """Treatment's share minus control's with the score interval and p; relative by the score interval of the ratio.

    At no effect both intervals have the same statistic, so that they exclude 0 together. None where an arm has no
    users, or where nobody or everybody in both arms did it; the ratio has no limits where control has no success.
    Raises ValueError for more successes than users, or fewer than none.
    """
    for arm in (control, treatment):
        if arm and not 0 <= arm.successes <= arm.n:
            raise ValueError(f"found {arm.successes:g} successes of {arm.n} users; wanted from 0 to {arm.n}")
    control = control if control and control.n else None
    treatment = treatment if treatment and treatment.n else None
    found = Comparison(
        effect=None,
        ci_low=None,
        ci_high=None,
        p_value=None,
        relative=None,
        relative_low=None,
        relative_high=None,
        n_control=control.n if control else 0,
        n_treatment=treatment.n if treatment else 0,
        mean_control=control.share if control else None,
        mean_treatment=treatment.share if treatment else None,
    )
    if control is None or treatment is None:
        return found
    effect = treatment.share - control.share
    found = found._replace(effect=effect, relative=effect / control.share if control.successes else None)
    if control.successes + treatment.successes in (0, control.n + treatment.n):
        return found
    low, high = _difference_limits(control, treatment, _z(level))
    relative_low, relative_high = _ratio_limits(control, treatment, _z(level))
    return found._replace(
        ci_low=low,
        ci_high=high,
        p_value=float(2 * ndtr(-abs(_score(control, treatment)))),
        relative_low=relative_low,
        relative_high=relative_high,
    )


def _score(control: Count, treatment: Count, *, delta: float = 0.0, ratio: float = 1.0) -> float:
    """How many standard errors the arms lie from treatment = ratio · control + delta, the errors being those of the
    likeliest shares for which it holds; infinite where these leave no spread.
    """
    n, m = control.n, treatment.n
    distance = treatment.share - ratio * control.share - delta
    share = _at_ratio(control, treatment, ratio) if ratio != 1 else _at_difference(control, treatment, delta)
    other = min(max(ratio * share + delta, 0.0), 1.0)
    variance = other * (1 - other) / m + ratio**2 * share * (1 - share) / n
    variance *= (n + m) / (n + m - 1)
    if variance > 0:
        return distance / sqrt(variance)
    return 0.0 if abs(distance) < 1e-12 else copysign(inf, distance)


def _at_difference(control: Count, treatment: Count, delta: float) -> float:
    """Control's likeliest share if treatment's is delta above: the middle root of the cubic (the paper's appendix)."""
    whole, done = control.n + treatment.n, control.successes + treatment.successes
    c2 = (treatment.n + 2 * control.n) * delta - whole - done
    c1 = (control.n * delta - whole - 2 * control.successes) * delta + done
    c0 = control.successes * delta * (1 - delta)
    third = c2 / (3 * whole)
    q = third**3 - c1 * c2 / (6 * whole**2) + c0 / (2 * whole)
    p = copysign(sqrt(max(third**2 - c1 / (3 * whole), 0.0)), q)
    angle = (pi + acos(min(max(q / p**3, -1.0), 1.0))) / 3 if p else pi / 2
    return min(max(2 * p * cos(angle) - third, 0.0, -delta), 1.0, 1 - delta)


def _at_ratio(control: Count, treatment: Count, ratio: float) -> float:
    """Control's likeliest share if treatment's is `ratio` times it: the smaller root of a quadratic."""
    a = (control.n + treatment.n) * ratio
    b = (control.successes + treatment.n) * ratio + treatment.successes + control.n
    c = control.successes + treatment.successes
    return 2 * c / (b + sqrt(max(b * b - 4 * a * c, 0.0)))


def _difference_limits(control: Count, treatment: Count, z: float) -> tuple[float, float]:
    """The lowest and highest differences that the score test does not reject."""
    found = treatment.share - control.share

    def excess(delta: float, sign: float) -> float:
        return min(max(sign * _score(control, treatment, delta=delta) - z, -FAR), FAR)

    low = brentq(excess, -1.0, found, args=(1.0,), xtol=1e-15) if excess(-1.0, 1.0) > 0 else -1.0
    high = brentq(excess, found, 1.0, args=(-1.0,), xtol=1e-15) if excess(1.0, -1.0) > 0 else 1.0
    return float(low), float(high)


def _ratio_limits(control: Count, treatment: Count, z: float) -> tuple[float | None, float | None]:
    """The lowest and highest treatment ÷ control that the score test does not reject, less 1."""
    if not control.successes:
        return None, None
    start = max(treatment.share, 0.5 / treatment.n) / control.share

    def excess(log_ratio: float, sign: float) -> float:
        return min(max(sign * _score(control, treatment, ratio=exp(log_ratio)) - z, -FAR), FAR)

    def edge(sign: float) -> float | None:
        inner = log(start)
        while excess(inner, sign) >= 0:
            inner += sign
        outer = inner - sign
        while excess(outer, sign) < 0:
            inner, outer = outer, outer - sign
            if abs(outer) > FARTHEST:
                return None
        return expm1(brentq(excess, inner, outer, args=(sign,), xtol=1e-15))

    return edge(1.0) if treatment.successes else -1.0, edge(-1.0)


def _z(level: float) -> float:
    return float(ndtri((1 + level) / 2))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
