"""How much longer: users and days at this loop's real rate, the power now, and whether a gain can still show. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from typing import NamedTuple

from scipy.special import ndtri

from organism.experiment.analysis import LAST_LOOK, Reading, Settings, gain_sign
from organism.experiment.evidence import Evidence
from organism.experiment.scorecard import Guardrail
from organism.stats.power import conditional_power, more_users_needed, power_with_more
from organism.stats.sequential import critical_value

WEEK = timedelta(days=7)


class Horizon(NamedTuple):
    """What is still to come. `users_per_day` is of the last seven days, or of all if fewer; None before any."""

    more_users: int | None
    users_per_day: float | None
    days_left: float | None
    power_now: float | None
    conditional_power: float | None
    fraction: float | None


def read_horizon(evidence: Evidence, settings: Settings, headline: Reading) -> Horizon:
    """How far the experiment is from its planned users, or, without a plan, from seeing the smallest gain it is for."""
    plan, n_comparisons = settings.plan, len(settings.plan.primary) * len(settings.treatments)
    tuning = None if settings.is_fixed else settings.tuning(headline.variant)
    power = power_with_more(
        plan.minimum_effect, headline.error, headline.n, alpha=plan.alpha, n_comparisons=n_comparisons, tuning=tuning
    )
    more = _more_users(settings, headline, n_comparisons)
    rate = users_per_day(evidence)
    fraction = min(settings.n_exposed / settings.n_planned, 1.0) if settings.n_planned else None
    chance = _conditional(settings, headline, gain_sign(evidence, headline.metric), fraction)
    return Horizon(more, rate, more / rate if more and rate else None, power, chance, fraction)


def _more_users(settings: Settings, headline: Reading, n_comparisons: int) -> int | None:
    """Users beyond those so far; None where they are in, or cannot be counted yet."""
    plan, found = settings.plan, headline.comparison
    least = sum(max(plan.min_users_per_arm - n, 0) for n in (found.n_control, found.n_treatment))
    if settings.n_planned is not None:
        wanted: float | None = settings.n_planned - settings.n_exposed
    else:
        wanted = more_users_needed(
            plan.minimum_effect,
            headline.error,
            headline.n,
            power=plan.power,
            alpha=plan.alpha,
            n_comparisons=n_comparisons,
            tuning=settings.tuning(headline.variant),
        )
        if wanted is not None and headline.n:
            wanted *= settings.n_exposed / headline.n
    more = max(ceil(wanted - 1e-6) if wanted is not None else 0, least)
    return more if more > 0 else None


def users_to_settle(guardrails: Sequence[Guardrail], settings: Settings) -> int | None:
    """Users beyond those so far until every open guardrail holds, if each stays as it is; None where one never would.

    Intervals narrow as 1 / √n: n · (reach / room)², reach the distance to the one-sided limit, room that to the margin.
    """
    wanted = []
    for one in guardrails:
        if one.worse is None or one.worse_at_most is None or one.limit is None or one.worse >= one.limit:
            return None
        wanted.append(_users_to_hold(one, (one.worse_at_most - one.worse) / (one.limit - one.worse), settings))
    return max(ceil(max(wanted) - settings.n_exposed), 1) if wanted else None


def _users_to_hold(one: Guardrail, times: float, settings: Settings) -> float:
    """Users in all until its reach is `times` smaller; far beyond the planned size the limit is a sequence's, wider."""
    n = settings.n_exposed * times**2
    if not settings.is_fixed or settings.n_planned is None or n <= LAST_LOOK * settings.n_planned:
        return n
    alpha, tuning, share = settings.plan.alpha, settings.tuning(one.variant), settings.pair_share[one.variant]
    for _ in range(3):  # the sequence's critical value hardly moves with n
        wider = critical_value(n * share, alpha=alpha, tuning=tuning, one_sided=True) / float(ndtri(1 - alpha))
        n = settings.n_exposed * (times * wider) ** 2
    return n


def _conditional(settings: Settings, headline: Reading, sign: int, fraction: float | None) -> float | None:
    """The chance that the planned users will show a gain, if the smallest one worth shipping for is really there."""
    effect = headline.comparison.effect
    if fraction is None or not 0 < fraction < 1 or effect is None or settings.is_adaptive:
        return None
    plan = settings.plan
    level = plan.alpha / (len(plan.primary) * len(settings.treatments))
    return conditional_power(sign * effect, headline.error, fraction, assumed=plan.minimum_effect, alpha=level)


def users_per_day(evidence: Evidence) -> float | None:
    """New users a day in the seven days before now (or the end), or since the start; None before anybody came."""
    looks = evidence.sums.looks
    if not looks:
        return None
    end = evidence.ended_at or evidence.read_at
    start = evidence.started_at or looks[0].day
    span = max(min(WEEK, end - start), timedelta(days=1))
    before = [look for look in looks if look.day + timedelta(days=1) <= end - span]
    came = sum(looks[-1].n_users.values()) - (sum(before[-1].n_users.values()) if before else 0)
    return came / (span / timedelta(days=1))
