"""How many users a test needs, how many days that takes, and how likely it is to see an effect.

A design's variance is that of one user's value: of the value itself for a mean, of num - R den over the mean of den
for a ratio of sums (its linearization), p (1 - p) for a rate; a covariate leaves variance x (1 - reduction) of it.

Proportions follow the score test: the critical distance from the variance of the pooled rate, the spread of the
estimate from the two rates (R's power.prop.test, statsmodels' samplesize_proportions_2indep_onetail; 14,751 users an
arm for 10% against 11%), where arcsines say 14,745 and the control's variance in both arms 14,128. As there, a size
asks for the power on the effect's own side, while a power counts both (they differ by 1e-6 at a power of 0.8).
Means count both sides, by the noncentral t, as statsmodels' TTestIndPower does.

A sequential design replaces z by the confidence sequence's critical value at its tuning,
c(n) = sqrt(2 (x + 1)/x log(sqrt(x + 1)/alpha)) with x = n rho^2, so the users grow by ((c + z_power)/(z + z_power))^2:
at alpha 0.05, power 0.8 and n = tuning c is 3.04 and they grow 1.91 times. That counts a rejection at the last look
only. The sequence also rejects earlier: simulated with 30 equal looks (bench/false_alarms.py) the power is 85% where
80% was planned, and the experiment stops at 1.15 times the fixed test's users on average.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from scipy.special import nctdtr, ndtr, ndtri, stdtrit

from organism.stats.sequential import TUNING, critical_value

# No experiment has more users than this; a search that gets here says None.
MOST_USERS = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A planned test, in what decides its power.

    `variance` is of one user's value under control (`variance_treatment` where treatment's differs), or `rate` is
    control's rate, for a proportion. `reduction` is the part of the variance that covariates explain. `shares` are of
    the traffic that enters, control first; power is that of the smallest treatment. alpha is split over treatments
    and `n_metrics` primary metrics (Bonferroni: Holm is never worse). `tuning` makes the design sequential.
    """

    variance: float | None = None
    variance_treatment: float | None = None
    rate: float | None = None
    reduction: float = 0.0
    shares: tuple[float, ...] = (0.5, 0.5)
    n_metrics: int = 1
    alpha: float = 0.05
    power: float = 0.8
    tuning: float | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.variance is None):
            raise ValueError("a design takes either the variance of one user's value or, for a proportion, its rate")
        if self.rate is not None and not 0 < self.rate < 1:
            raise ValueError(f"a rate must lie between 0 and 1 to plan with; found {self.rate:g}")
        if self.variance is not None and not self.variance > 0:
            raise ValueError(f"a variance must be above 0 to plan with; found {self.variance:g}")
        if not 0 <= self.reduction < 1:
            raise ValueError(f"a variance reduction lies between 0 and 1; found {self.reduction:g}")
        if len(self.shares) < 2 or min(self.shares) <= 0 or sum(self.shares) > 1 + 1e-9:
            raise ValueError(f"shares are above 0, two or more, and sum to 1 at most; found {list(self.shares)}")
        if not 0 < self.alpha < 0.5 or not self.alpha < self.power < 1:
            raise ValueError(f"wanted 0 < alpha < power < 1; found alpha {self.alpha:g} and power {self.power:g}")

    @property
    def level(self) -> float:
        """What each of the comparisons may spend of alpha."""
        return self.alpha / (len(self.shares) - 1) / self.n_metrics


def power_at(design: Design, effect: float, n_users: float) -> float:
    """The chance that the design sees this absolute effect with n users in all arms, on either side of 0."""
    shift, limit = _signal(design, effect, n_users)
    if design.rate is None and design.tuning is None:
        return _power_of_t(shift, n_users * sum(_pair(design)) - 2, design.level)
    return float(ndtr(shift - limit) + ndtr(-shift - limit))


def sample_size(design: Design, effect: float) -> float | None:
    """The users in all arms at which the design's power is reached; a ceiling gives whole users.

    None where no number is enough. ValueError where a rate plus the effect is no rate.
    """
    if design.rate is not None and not 0 < design.rate + effect < 1:
        raise ValueError(f"a rate of {design.rate:g} cannot change by {effect:g}: it would leave 0 to 1")
    if not effect:
        return None
    return _smallest(lambda n: _enough(design, effect, n), 2.0 / min(_pair(design)))


def detectable_effect(design: Design, n_users: float) -> float | None:
    """The smallest absolute effect (upward, for a rate) that n users in all arms see with the design's power.

    None with fewer than two users an arm, or where not even a rate of 1 would be seen.
    """
    if n_users * min(design.shares) < 2:
        return None
    if design.rate is None:
        return _smallest(lambda effect: _enough(design, effect, n_users), 1e-9 * sqrt(design.variance or 1.0))
    low, high = 0.0, (1 - design.rate) * (1 - 1e-9)
    if not _enough(design, high, n_users):
        return None
    return _bisect(lambda effect: _enough(design, effect, n_users), low, high)


def sequential_inflation(design: Design, effect: float) -> float | None:
    """How many times the users of the fixed-horizon test a sequential one at the design's tuning needs."""
    fields = {name: getattr(design, name) for name in Design.__slots__}
    fixed = sample_size(Design(**{**fields, "tuning": None}), effect)
    watched = sample_size(Design(**{**fields, "tuning": design.tuning or TUNING}), effect)
    return watched / fixed if watched is not None and fixed else None


def days_needed(n_users: float, users_by_day: Sequence[float]) -> int | None:
    """Days until n distinct users have entered; `users_by_day` is how many have after 1, 2, … days of real traffic.

    Beyond what was seen it goes on as over the last seven days (or all, if fewer). None where nobody new comes.
    """
    reached = next((day for day, users in enumerate(users_by_day, start=1) if users >= n_users), None)
    if reached is not None or not users_by_day:
        return reached
    back = min(7, len(users_by_day))
    before = users_by_day[-back - 1] if len(users_by_day) > back else 0.0
    rate = (users_by_day[-1] - before) / back
    return len(users_by_day) + ceil((n_users - users_by_day[-1]) / rate) if rate > 0 else None


def conditional_power(
    effect: float | None,
    standard_error: float | None,
    fraction: float,
    *,
    assumed: float | None = None,
    alpha: float = 0.05,
    critical: float | None = None,
) -> float | None:
    """The chance to end significant, given what was seen at this fraction of the planned users (0 to 1).

    The B-value of Lan and Wittes (1988): B = z sqrt(t) so far, and the rest adds a normal with mean theta (1 - t) and
    variance 1 - t. theta follows the effect that is `assumed` (the plan's), or the current trend where it is None.
    `critical` is the final test's critical value: z at alpha / 2 unless given (for a sequence: critical_value(n)).
    At the end (t = 1) it is 1 or 0.
    """
    if effect is None or standard_error is None or not standard_error > 0 or not 0 < fraction <= 1:
        return None
    limit = float(ndtri(1 - alpha / 2)) if critical is None else critical
    b = effect / standard_error * sqrt(fraction)
    drift = (effect if assumed is None else assumed) / (standard_error * sqrt(fraction))
    middle, spread = b + drift * (1 - fraction), sqrt(1 - fraction)
    if not spread:
        return float(abs(middle) >= limit)
    return float(ndtr((middle - limit) / spread) + ndtr((-middle - limit) / spread))


def power_with_more(
    effect: float,
    standard_error: float | None,
    n_users: int,
    growth: float = 0.0,
    *,
    alpha: float = 0.05,
    n_comparisons: int = 1,
    tuning: float | None = None,
) -> float | None:
    """The power for a true effect once there are (1 + growth) times the users, from the standard error seen so far.

    GrowthBook's mid-experiment power: it takes only the spread from the data, not where the estimate stands, so it is
    not a conditional power. At growth 0 it is the power now.
    """
    if standard_error is None or not standard_error > 0 or n_users < 2:
        return None
    n, level, signal = n_users * (1 + growth), alpha / n_comparisons, abs(effect) / standard_error * sqrt(1 + growth)
    limit = float(ndtri(1 - level / 2)) if tuning is None else critical_value(n, alpha=level, tuning=tuning)
    return float(ndtr(signal - limit) + ndtr(-signal - limit))


def more_users_needed(
    effect: float,
    standard_error: float | None,
    n_users: int,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    n_comparisons: int = 1,
    tuning: float | None = None,
) -> float | None:
    """Users beyond the present ones until this true effect is seen with this power: 0 if already, None if never."""

    def reached(n: float) -> bool:
        growth = n / n_users - 1
        found = power_with_more(
            effect, standard_error, n_users, growth, alpha=alpha, n_comparisons=n_comparisons, tuning=tuning
        )
        return found is not None and found >= power

    if not effect or standard_error is None or not standard_error > 0 or n_users < 2:
        return None
    enough = _smallest(reached, float(n_users))
    return None if enough is None else enough - n_users


def _pair(design: Design) -> tuple[float, float]:
    """The shares of control and of the treatment that gets the least."""
    return design.shares[0], min(design.shares[1:])


def _signal(design: Design, effect: float, n_users: float) -> tuple[float, float]:
    """The effect, and the distance from 0 at which it counts as seen, in standard errors of its estimate."""
    share_c, share_t = _pair(design)
    n_c, n_t, left = n_users * share_c, n_users * share_t, 1 - design.reduction
    if design.tuning is None:
        limit = float(ndtri(1 - design.level / 2))
    else:
        limit = critical_value(n_c + n_t, alpha=design.alpha, tuning=design.tuning, level=design.level)
    if design.rate is None:
        var_c = design.variance or 0.0
        var_t = var_c if design.variance_treatment is None else design.variance_treatment
        return abs(effect) / sqrt(left * (var_c / n_c + var_t / n_t)), limit
    treated = design.rate + effect
    pooled = (n_c * design.rate + n_t * treated) / (n_c + n_t)
    error = sqrt(left * (design.rate * (1 - design.rate) / n_c + treated * (1 - treated) / n_t))
    return abs(effect) / error, limit * sqrt(left * pooled * (1 - pooled) * (1 / n_c + 1 / n_t)) / error


def _enough(design: Design, effect: float, n_users: float) -> bool:
    """Is the design's power reached? For a rate only on the effect's own side (see the module's first words)."""
    if design.rate is None:
        return power_at(design, effect, n_users) >= design.power
    shift, limit = _signal(design, effect, n_users)
    return float(ndtr(shift - limit)) >= design.power


def _power_of_t(shift: float, degrees: float, alpha: float) -> float:
    """The power of a two-sided t-test for an effect that is `shift` standard errors large."""
    q = float(stdtrit(degrees, 1 - alpha / 2))
    # scipy gives nan where a tail underflows (a shift above 10 or so): it is 0 there.
    short, opposite = np.nan_to_num(nctdtr(degrees, shift, [q, -q]))
    return float(1 - short + opposite)


def _smallest(reached: Callable[[float], bool], least: float) -> float | None:
    """The smallest value from `least` on that reaches it; None beyond MOST_USERS."""
    if reached(least):
        return least
    low, high = least, least * 2
    while not reached(high):
        low, high = high, high * 2
        if high > MOST_USERS:
            return None
    return _bisect(reached, low, high)


def _bisect(reached: Callable[[float], bool], low: float, high: float) -> float:
    """Where it begins to be reached, to twelve digits."""
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
