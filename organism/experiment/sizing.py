"""How many users and days a plan asks for, from the loop's own traffic and variances. Pure.

A user's value of a metric is known the better the longer an experiment runs, and a loop runs out of new users: so
users and variances are taken from the loop's last 7, 14, 28 and 56 days, as an experiment of that length would have
seen them, and beyond from the longest of these with the new users that still come.
"""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from organism.experiment.plan import Guard, Plan
from organism.records import Moments, Variant
from organism.stats.compare import ratio_of_sums
from organism.stats.cuped import adjust
from organism.stats.power import power_of, users_needed
from organism.stats.sequential import critical_value

SPANS = (7, 14, 28, 56)
CURVE_WEEKS = (1, 2, 4, 8)
LONGEST_DAYS = 364
SHORTEST_DAYS = 7
FEW_USERS = 10
RATES = frozenset({"retained_char_rate", "written_share", "accepted", "reward", "error"})
WORTH_SAYING = 0.02


class Spread(NamedTuple):
    """One metric over the users of a span: its value, the variance of one user's (linearized) value, the users that
    it comes from, and the share of the variance that the covariates take out (None: nothing before the span).
    """

    mean: float
    variance: float
    n_users: int
    reduction: float | None


class Span(NamedTuple):
    """What the loop's last `days` held: by metric its spread, and how many users had a value of it."""

    days: int
    n_users: int
    spreads: Mapping[str, Spread]
    known: Mapping[str, int]


class Traffic(NamedTuple):
    """The loop's past as sizing needs it. `share` of its users can be in the experiment (layer, holdout).

    `measured_on` is the variant that the variances come from, None for all; spans are the shortest first.
    """

    spans: tuple[Span, ...]
    users_per_week: float
    new_users_per_week: float
    interactions_per_week: float
    history_days: float
    measured_on: str | None = None
    share: float = 1.0


class MetricSize(NamedTuple):
    """What one metric of the plan asks for: users with a known value, and days until they were there.

    `effect` is the least gain (primary) or the margin (guardrail) in the metric's unit. The sequential figures are for
    watching all along. None: not reached within a year, or not computable, which `note` says.
    """

    metric: str
    role: str
    mean: float | None
    deviation: float | None
    effect: float | None
    variance_reduction: float | None
    n_users: int | None
    days: int | None
    n_users_sequential: int | None
    days_sequential: int | None
    note: str


class Reach(NamedTuple):
    """The smallest effect that a metric's test sees with the plan's power after so many weeks."""

    metric: str
    weeks: int
    n_users: int
    effect: float
    relative: float | None
    effect_sequential: float | None


class Advice(NamedTuple):
    """One change that would help, with what it would then ask for."""

    words: str
    n_users: int | None
    days: int | None


class Sizing(NamedTuple):
    """What a plan asks of this loop: `n_users` in all with a known value of the first primary metric.

    `is_reached` is None where nothing can be computed. `alpha_each` is what one comparison is tested at.
    """

    n_users: int | None
    days: int | None
    n_users_sequential: int | None
    days_sequential: int | None
    is_reached: bool | None
    sentence: str
    advice: tuple[Advice, ...]
    metrics: tuple[MetricSize, ...]
    curve: tuple[Reach, ...]
    alpha_each: float
    adjustment: str
    users_per_week: float
    new_users_per_week: float
    interactions_per_week: float
    history_days: float
    measured_on: str | None


class _Ask(NamedTuple):
    """One metric's question: the effect to be seen, at which two-sided alpha, between arms of these shares."""

    metric: str
    effect: float
    alpha: float
    power: float
    shares: tuple[float, ...]
    with_covariates: bool


def spread_of(users: Moments) -> Spread | None:
    """The spread of a ratio of sums over users who have it: columns num, den, then each covariate's num and den.

    One user's value is linearized by the delta method (Deng et al. 2018). The reduction is CUPED's, corrected for the
    users and covariates it was found with (Ezekiel 1930), so that a few users do not promise too much. None where
    fewer than two users tell a variance.
    """
    found = ratio_of_sums(users)
    if found is None or found.variance is None:
        return None
    n_covariates = len(users.mean) // 2 - 1
    reduction = adjust([users], 2, ratio_covariates=n_covariates).variance_reduction if n_covariates else None
    if reduction is not None and found.n > n_covariates + 1:
        reduction = max(1 - (1 - reduction) * (found.n - 1) / (found.n - n_covariates - 1), 0.0)
    return Spread(found.value, found.variance * found.n, found.n, reduction)


def users_at(traffic: Traffic, metric: str, days: float) -> float:
    """How many users with a known value of the metric an experiment would have after so many days."""
    known = [(0.0, 0.0), *((float(span.days), float(span.known.get(metric, 0))) for span in traffic.spans)]
    last_days, last = known[-1]
    if days <= last_days:
        at = float(np.interp(days, [day for day, _ in known], [n for _, n in known]))
    else:
        share_known = last / max(traffic.spans[-1].n_users, 1) if traffic.spans else 0.0
        at = last + traffic.new_users_per_week * share_known * (days - last_days) / 7
    return at * traffic.share


def variance_at(traffic: Traffic, metric: str, days: float, *, with_covariates: bool) -> float | None:
    """The variance of one user's value after so many days; None where the metric was never seen."""
    found = [(span.days, span.spreads[metric]) for span in traffic.spans if metric in span.spreads]
    if not found:
        return None
    at = float(np.interp(days, [day for day, _ in found], [spread.variance for _, spread in found]))
    return at * (1 - (reduction_of(traffic, metric) or 0.0)) if with_covariates else at


def reduction_of(traffic: Traffic, metric: str) -> float | None:
    """What covariates take out of the variance: of the longest span that has enough from before it."""
    found = [span.spreads[metric].reduction for span in traffic.spans if metric in span.spreads]
    return next((reduction for reduction in reversed(found) if reduction is not None), None)


def size(plan: Plan, variants: Sequence[Variant], traffic: Traffic) -> Sizing:
    """What the plan asks for with these variants (the control first)."""
    shares = tuple(variant.share for variant in variants)
    metrics = tuple(_sizes(plan, shares, traffic))
    first = metrics[0]
    n_tests = len(plan.primary) * (len(shares) - 1)
    is_known = first.n_users is not None
    return Sizing(
        n_users=first.n_users,
        days=first.days,
        n_users_sequential=first.n_users_sequential,
        days_sequential=first.days_sequential,
        is_reached=first.days is not None if is_known else None,
        sentence=_sentence(plan, first, traffic),
        advice=tuple(_advice(plan, variants, traffic)) if is_known else (),
        metrics=metrics,
        curve=tuple(_curve(plan, shares, traffic)),
        alpha_each=plan.alpha / n_tests,
        adjustment=_adjustment(plan, n_tests, len(shares) - 1),
        users_per_week=traffic.users_per_week * traffic.share,
        new_users_per_week=traffic.new_users_per_week * traffic.share,
        interactions_per_week=traffic.interactions_per_week * traffic.share,
        history_days=traffic.history_days,
        measured_on=traffic.measured_on,
    )


def _sizes(plan: Plan, shares: tuple[float, ...], traffic: Traffic) -> list[MetricSize]:
    tests = len(plan.primary) * (len(shares) - 1)
    found = []
    for metric in plan.primary:
        effect = plan.minimum_effect if metric == plan.primary[0] else None
        found.append(_size_of(plan, metric, "primary", effect, plan.alpha / tests, shares, traffic))
    for guard in plan.guardrails:  # one-sided at alpha: two-sided at twice that
        margin = _margin(guard, traffic)
        found.append(_size_of(plan, guard.metric, "guardrail", margin, 2 * plan.alpha, shares, traffic))
    return found + [
        _size_of(plan, metric, "watched", None, plan.alpha, shares, traffic)
        for metric in plan.watched
        if metric not in plan.primary
    ]


def _margin(guard: Guard, traffic: Traffic) -> float | None:
    spread = _latest(traffic, guard.metric)
    if not guard.is_relative:
        return guard.margin
    return guard.margin * abs(spread.mean) if spread else None


def _size_of(
    plan: Plan,
    metric: str,
    role: str,
    effect: float | None,
    alpha: float,
    shares: tuple[float, ...],
    traffic: Traffic,
) -> MetricSize:
    spread, reduction = _latest(traffic, metric), reduction_of(traffic, metric)
    if spread is None:
        return MetricSize(metric, role, None, None, effect, None, None, None, None, None, _unseen(traffic, metric))
    told = (metric, role, spread.mean, spread.variance**0.5, effect, reduction)
    if not effect or not spread.variance:
        note = "" if spread.variance else "every user has the same value, so no number of users can be told"
        return MetricSize(*told, None, None, None, None, note)
    ask = _Ask(metric, effect, alpha, plan.power, shares, bool(plan.covariates))
    fixed, watched = (_need(ask, traffic, plan, sequential=sequential) for sequential in (False, True))
    note = f"rough: from {spread.n_users} users only" if spread.n_users < FEW_USERS else ""
    return MetricSize(*told, *fixed, *watched, note)


def _unseen(traffic: Traffic, metric: str) -> str:
    if not traffic.spans:
        return "this loop has no interactions of the last eight weeks"
    return f"no two users have a value of {metric} in the last {traffic.spans[-1].days} days"


def _latest(traffic: Traffic, metric: str) -> Spread | None:
    return next((span.spreads[metric] for span in reversed(traffic.spans) if metric in span.spreads), None)


def _need(ask: _Ask, traffic: Traffic, plan: Plan, *, sequential: bool) -> tuple[int | None, int | None]:
    """Users in all and days until the traffic brings them; days None when it does not within a year."""
    least = ceil(max(plan.min_users_per_arm / share for share in ask.shares))
    for days in range(SHORTEST_DAYS, LONGEST_DAYS + 1):
        n_users = users_at(traffic, ask.metric, days)
        if n_users >= least and _power(ask, n_users, traffic, days, sequential=sequential) >= ask.power:
            return max(_users(ask, traffic, days, sequential=sequential) or 0, least), days
    needed = _users(ask, traffic, LONGEST_DAYS, sequential=sequential)
    return (None if needed is None else max(needed, least)), None


def _users(ask: _Ask, traffic: Traffic, days: float, *, sequential: bool) -> int | None:
    """Users in all that every comparison of a treatment with the control needs, at the variance of that day."""
    variance = variance_at(traffic, ask.metric, days, with_covariates=ask.with_covariates)
    if not variance:
        return None
    control, *treatments = ask.shares
    needed = users_needed_sequential if sequential else users_needed
    found = []
    for share in treatments:
        of_pair = needed(
            ask.effect, variance, variance, share=share / (control + share), alpha=ask.alpha, power=ask.power
        )
        found.append(None if of_pair is None else ceil(of_pair / (control + share)))
    return max((n for n in found if n is not None), default=None)


def _power(ask: _Ask, n_users: float, traffic: Traffic, days: float, *, sequential: bool) -> float:
    """The least power over the comparisons with the control."""
    variance = variance_at(traffic, ask.metric, days, with_covariates=ask.with_covariates)
    if not variance:
        return 0.0
    control, *treatments = ask.shares
    power = power_of_sequential if sequential else power_of
    return min(
        power(
            ask.effect,
            n_users * (control + share),
            variance,
            variance,
            share=share / (control + share),
            alpha=ask.alpha,
        )
        if n_users * (control + share) > 2
        else 0.0
        for share in treatments
    )


def power_of_sequential(
    effect: float, n_users: float, variance_control: float, variance_treatment: float, *, share: float, alpha: float
) -> float:
    """A floor of the chance that the always-valid interval has excluded 0 by n users: that it does so at n."""
    error = sqrt(variance_control / (n_users * (1 - share)) + variance_treatment / (n_users * share))
    return float(ndtr(abs(effect) / error - critical_value(n_users, alpha=alpha)))


def users_needed_sequential(
    effect: float,
    variance_control: float,
    variance_treatment: float,
    *,
    share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Users in all for that power under watching; None when the effect is 0."""
    if not effect:
        return None
    low, high = 2.0, 4.0

    def reached(n: float) -> bool:
        spread = (variance_control, variance_treatment)
        return power_of_sequential(effect, n, *spread, share=share, alpha=alpha) >= power

    while not reached(high):
        low, high = high, high * 2
    while high - low > 0.1:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return ceil(high)


def _curve(plan: Plan, shares: tuple[float, ...], traffic: Traffic) -> list[Reach]:
    tests = len(plan.primary) * (len(shares) - 1)
    found = []
    for metric in plan.primary:
        spread = _latest(traffic, metric)
        for weeks in CURVE_WEEKS if spread and spread.variance else ():
            ask = _Ask(metric, 0.0, plan.alpha / tests, plan.power, shares, bool(plan.covariates))
            n_users = users_at(traffic, metric, 7 * weeks)
            fixed, watched = (_smallest(ask, n_users, traffic, 7 * weeks, sequential=kind) for kind in (False, True))
            if fixed is not None and spread:
                relative = fixed / abs(spread.mean) if spread.mean else None
                found.append(Reach(metric, weeks, int(n_users), fixed, relative, watched))
    return found


def _smallest(ask: _Ask, n_users: float, traffic: Traffic, days: float, *, sequential: bool) -> float | None:
    """The smallest effect with the asked power; None with too few users to test anything."""
    low, high = 0.0, (variance_at(traffic, ask.metric, days, with_covariates=False) or 0.0) ** 0.5 * 1e-3

    def reached(effect: float) -> bool:
        return _power(ask._replace(effect=effect), n_users, traffic, days, sequential=sequential) >= ask.power

    for _ in range(40):
        if reached(high):
            break
        low, high = high, high * 2
    else:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def amount(metric: str, value: float) -> str:
    """An effect as it is said: points for a rate, else three digits in the metric's own unit."""
    return f"{100 * value:.3g} points of {metric}" if metric in RATES else f"{value:.3g} of {metric}"


def _sentence(plan: Plan, first: MetricSize, traffic: Traffic) -> str:
    if first.n_users is None:
        return f"Nothing can be computed yet: {first.note or 'the metric has no variance'}."
    what = f"{amount(first.metric, plan.minimum_effect)} with {plan.power:.0%} power"
    crowd = f"{traffic.users_per_week * traffic.share:,.0f} users a week"
    if first.days is None:
        new = traffic.new_users_per_week * traffic.share
        there = users_at(traffic, first.metric, LONGEST_DAYS)
        return (
            f"You will not get there: {crowd}, about {new:,.0f} of them new, make {there:,.0f} users with a known "
            f"answer within a year, and to see {what} takes {first.n_users:,}."
        )
    watched = (
        f" Watched all along by its always-valid interval: {first.n_users_sequential:,} users, "
        f"{first.days_sequential} days."
        if first.n_users_sequential and first.days_sequential
        else " Watched all along by its always-valid interval, it may not settle within a year."
    )
    return f"{first.n_users:,} users and {first.days} days show {what}; you have {crowd}.{watched}"


def _adjustment(plan: Plan, n_tests: int, n_treatments: int) -> str:
    if n_tests == 1:
        return f"One primary metric and one treatment: tested at alpha {plan.alpha:g}, nothing to adjust."
    return (
        f"Holm over {n_tests} comparisons ({len(plan.primary)} primary, {n_treatments} treatments): the first has to "
        f"pass alpha {plan.alpha:g} / {n_tests} = {plan.alpha / n_tests:.3g}, and the plan is sized for that."
    )


def _advice(plan: Plan, variants: Sequence[Variant], traffic: Traffic) -> list[Advice]:
    """What would help, each with what it would ask for; nothing that would not."""
    shares = tuple(variant.share for variant in variants)
    now, metric = _first(plan, shares, traffic), plan.primary[0]
    found = []
    reduction = reduction_of(traffic, metric) or 0.0
    if not plan.covariates and reduction >= WORTH_SAYING:
        words = f"Adjust for {metric} of before the experiment (CUPED): it takes {reduction:.0%} of the variance out"
        found.append((words, _first(plan, shares, traffic, with_covariates=True)))
    if max(shares) - min(shares) > 0.02:
        even = tuple(1 / len(shares) for _ in shares)
        found.append(("Give all variants the same share", _first(plan, even, traffic)))
    if len(shares) > 2:
        kept = tuple(share / sum(shares[:-1]) for share in shares[:-1])
        found.append((f"One variant less (without {variants[-1].name})", _first(plan, kept, traffic)))
    if len(plan.primary) > 1:
        alone = Plan(**{**_fields(plan), "primary": plan.primary[:1]})
        found.append((f"One primary metric only ({metric})", _first(alone, shares, traffic)))
    helps = [Advice(words, *told) for words, told in found if (told[0] or 0) < (now[0] or 0)]
    reach = [one for one in _curve(plan, shares, traffic) if one.metric == metric]
    if reach and reach[-1].effect > plan.minimum_effect:
        far = reach[-1]
        words = f"Ask for a bigger effect: {amount(metric, far.effect)} is seen within {far.weeks} weeks"
        helps.append(Advice(words, far.n_users, 7 * far.weeks))
    return helps


def _first(
    plan: Plan, shares: tuple[float, ...], traffic: Traffic, *, with_covariates: bool | None = None
) -> tuple[int | None, int | None]:
    """Users and days for the first primary metric, read once at the end."""
    tests = len(plan.primary) * (len(shares) - 1)
    adjusts = bool(plan.covariates) if with_covariates is None else with_covariates
    ask = _Ask(plan.primary[0], plan.minimum_effect, plan.alpha / tests, plan.power, shares, adjusts)
    return _need(ask, traffic, plan, sequential=False)


def _fields(plan: Plan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
