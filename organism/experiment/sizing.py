"""How many users and days a plan asks for, from the loop's own traffic and variances. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, floor
from typing import NamedTuple

from organism.experiment.past import FEW_USERS, Traffic, latest, reduction_of, users_at, variance_at
from organism.experiment.plan import Guard, Plan
from organism.measures.metric_names import SHARES, name_of, phrase_of
from organism.records import Variant
from organism.stats.power import Design, detectable_effect, power_at, sample_size

CURVE_WEEKS = (1, 2, 4, 8)
LONGEST_DAYS = 364
SHORTEST_DAYS = 7
SHORT_HISTORY_DAYS = 14
WORTH_SAYING = 0.02


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

    `is_reached` is of that metric, None where nothing can be computed. `stays_open` names the guardrails that the
    traffic of a year does not settle: the experiment cannot ship with them. `alpha_each` is what one comparison is
    tested at.
    """

    n_users: int | None
    days: int | None
    n_users_sequential: int | None
    days_sequential: int | None
    is_reached: bool | None
    stays_open: tuple[str, ...]
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
    warnings: tuple[str, ...]


class _Question(NamedTuple):
    """One metric's test, but for its variance, which depends on how long the experiment runs."""

    metric: str
    effect: float
    alpha: float
    power: float
    shares: tuple[float, ...]
    n_metrics: int
    adjusts: bool

    def design(self, traffic: Traffic, days: float, tuning: float | None) -> Design | None:
        """The test at that day's variance; None where the variance is unknown or 0."""
        variance = variance_at(traffic, self.metric, days)
        if not variance:
            return None
        return Design(
            variance=variance,
            reduction=(reduction_of(traffic, self.metric) or 0.0) if self.adjusts else 0.0,
            shares=self.shares,
            n_metrics=self.n_metrics,
            alpha=self.alpha,
            power=self.power,
            tuning=tuning,
        )


def size(plan: Plan, variants: Sequence[Variant], traffic: Traffic) -> Sizing:
    """What the plan asks for with these variants (the control first)."""
    shares = tuple(variant.share for variant in variants)
    metrics = tuple(_sizes(plan, shares, traffic))
    first = metrics[0]
    n_tests = len(plan.primary) * (len(shares) - 1)
    is_known, is_anybody = first.n_users is not None, not traffic.nobody
    still_open = [one for one in metrics if _stays_open(one)]
    return Sizing(
        n_users=first.n_users,
        days=first.days,
        n_users_sequential=first.n_users_sequential,
        days_sequential=first.days_sequential,
        is_reached=first.days is not None if is_known and is_anybody else None,
        stays_open=tuple(one.metric for one in still_open) if is_anybody else (),
        sentence=_sentence(plan, metrics, traffic),
        advice=tuple(_advice(plan, variants, traffic)) if is_known and is_anybody else (),
        metrics=metrics,
        curve=tuple(_curve(plan, shares, traffic)),
        alpha_each=plan.alpha / n_tests,
        adjustment=_adjustment(plan, n_tests, len(shares) - 1),
        users_per_week=traffic.users_per_week * traffic.share,
        new_users_per_week=traffic.new_users_per_week * traffic.share,
        interactions_per_week=traffic.interactions_per_week * traffic.share,
        history_days=traffic.history_days,
        measured_on=traffic.measured_on,
        warnings=tuple(_warnings(metrics, traffic)),
    )


def _warnings(metrics: Sequence[MetricSize], traffic: Traffic) -> list[str]:
    found: list[str] = []
    if not traffic.spans:
        return found
    if traffic.history_days < SHORT_HISTORY_DAYS:
        found.append(
            f"The loop is {traffic.history_days:.0f} days old, so every user counts as new: how many still come after "
            "that is a guess."
        )
    for one in metrics:
        if one.role != "watched" and one.note:
            found.append(f"{name_of(one.metric)}: {one.note}.")
    return found


def _sizes(plan: Plan, shares: tuple[float, ...], traffic: Traffic) -> list[MetricSize]:
    tuning = _tuning(plan, shares, traffic)
    found = [
        _size_of(_asked(plan, shares, metric, 0.0 if place else plan.minimum_effect), "primary", traffic, plan, tuning)
        for place, metric in enumerate(plan.primary)
    ]
    for guard in plan.guardrails:
        found.append(_size_of(_guarded(plan, shares, guard, traffic), "guardrail", traffic, plan, tuning))
    others = [metric for metric in plan.watched if metric not in plan.primary]
    return found + [_size_of(_asked(plan, shares, name, 0.0), "watched", traffic, plan, tuning) for name in others]


def _tuning(plan: Plan, shares: tuple[float, ...], traffic: Traffic) -> float | None:
    """Where the always-valid interval is tightest: at the planned size, counting the control and one treatment.

    None where no size can be told.
    """
    asked = _asked(plan, shares, plan.primary[0], plan.minimum_effect)
    n_users = plan.n_users or _need(asked, traffic, plan, None)[0]
    return None if n_users is None else n_users * (shares[0] + min(shares[1:]))


def _asked(plan: Plan, shares: tuple[float, ...], metric: str, effect: float) -> _Question:
    return _Question(metric, effect, plan.alpha, plan.power, shares, len(plan.primary), bool(plan.covariates))


def _guarded(plan: Plan, shares: tuple[float, ...], guard: Guard, traffic: Traffic) -> _Question:
    """A guardrail is tested on one side at alpha: as two sides at twice that. The plan's covariates adjust it too."""
    margin, adjusts = _margin(guard, traffic) or 0.0, bool(plan.covariates)
    return _Question(guard.metric, margin, min(2 * plan.alpha, 0.49), plan.power, shares, 1, adjusts)


def _margin(guard: Guard, traffic: Traffic) -> float | None:
    spread = latest(traffic, guard.metric)
    if not guard.is_relative:
        return guard.margin
    return guard.margin * abs(spread.mean) if spread else None


def _size_of(asked: _Question, role: str, traffic: Traffic, plan: Plan, tuning: float | None) -> MetricSize:
    metric, effect = asked.metric, asked.effect or None
    spread = latest(traffic, metric)
    if spread is None:
        return MetricSize(metric, role, None, None, effect, None, None, None, None, None, _unseen(traffic, metric))
    told = (metric, role, spread.mean, spread.variance**0.5, effect, reduction_of(traffic, metric))
    if not spread.variance:
        return MetricSize(
            *told, None, None, None, None, f"every user has the same {phrase_of(metric)}, so no number can be told"
        )
    if effect is None:
        return MetricSize(*told, None, None, None, None, "")
    fixed = _need(asked, traffic, plan, None)
    watched = (None, None) if tuning is None else _need(asked, traffic, plan, tuning)
    note = f"rough: from {spread.n_users} users only" if spread.n_users < FEW_USERS else ""
    return MetricSize(*told, *fixed, *watched, note)


def _unseen(traffic: Traffic, metric: str) -> str:
    if not traffic.spans:
        return "this loop has no interactions of the last eight weeks"
    days = traffic.spans[-1].days
    return f"no two users have a value of {phrase_of(metric)} in the last {'day' if days == 1 else f'{days} days'}"


def _need(asked: _Question, traffic: Traffic, plan: Plan, tuning: float | None) -> tuple[int | None, int | None]:
    """Users in all, and days until the traffic brings them; days None when it does not within a year.

    Power is only asked on the days of the knots; between them users and variances are straight lines.
    """
    least = ceil(max(plan.min_users_per_arm / share for share in asked.shares))

    def enough(days: int) -> bool:
        n_users = floor(users_at(traffic, asked.metric, days) + 1e-9)
        design = asked.design(traffic, days, tuning)
        return design is not None and n_users >= least and power_at(design, asked.effect, n_users) >= asked.power

    days = next((day for day in _some_days() if enough(day)), None)
    if days is not None:
        days = next(day for day in range(max(days - _STEP + 1, SHORTEST_DAYS), days + 1) if enough(day))
    design = asked.design(traffic, days or LONGEST_DAYS, tuning)
    needed = sample_size(design, asked.effect) if design else None
    return (None if needed is None else max(ceil(needed), least)), days


_STEP = 7


def _some_days() -> range:
    return range(SHORTEST_DAYS, LONGEST_DAYS + 1, _STEP)


def _curve(plan: Plan, shares: tuple[float, ...], traffic: Traffic) -> list[Reach]:
    tuning, found = _tuning(plan, shares, traffic), []
    for metric in plan.primary:
        asked, spread = _asked(plan, shares, metric, plan.minimum_effect), latest(traffic, metric)
        for days in (7 * weeks for weeks in CURVE_WEEKS if spread):
            n_users = users_at(traffic, metric, days)
            fixed = _detectable(asked.design(traffic, days, None), n_users)
            watched = _detectable(asked.design(traffic, days, tuning), n_users) if tuning else None
            if fixed is not None and spread:
                relative = fixed / abs(spread.mean) if spread.mean else None
                found.append(Reach(metric, days // 7, int(n_users), fixed, relative, watched))
    return found


def _detectable(design: Design | None, n_users: float) -> float | None:
    return detectable_effect(design, n_users) if design else None


def amount(metric: str, value: float) -> str:
    """An effect as it is said: points for a share, milliseconds, dollars, else three digits in its own unit."""
    signal = metric.partition(".p")[0]
    if metric in SHARES:
        return f"{100 * value:.3g} point{'' if f'{100 * value:.3g}' == '1' else 's'} of {phrase_of(metric)}"
    unit = " ms" if signal.endswith("_ms") else " USD" if signal.endswith("_usd") else ""
    return f"{value:.3g}{unit} of {phrase_of(metric)}"


def _stays_open(one: MetricSize) -> bool:
    """Whether a guardrail's margin asks for more users than come within a year."""
    return one.role == "guardrail" and bool(one.n_users and one.effect) and one.days is None


def _sentence(plan: Plan, metrics: Sequence[MetricSize], traffic: Traffic) -> str:
    """What the first primary metric asks for, and which guardrails keep the experiment from shipping all the same."""
    if traffic.nobody:
        return f"Nothing can be computed yet: {traffic.nobody}."
    first, guards = metrics[0], [one for one in metrics if one.role == "guardrail"]
    said, still_open = _of_primary(plan, first, traffic), [one for one in guards if _stays_open(one)]
    if first.n_users is None:
        return said
    if still_open:
        asked = _and(
            f"on {phrase_of(one.metric)} (its margin of {_bare(one)} takes {one.n_users:,} users)" for one in still_open
        )
        names = f"the guardrail{'s' if len(still_open) > 1 else ''} {asked} would stay open within a year"
        if first.days is None:
            return f"{said} And {names}."
        return f"The primary metric gets there, but {names}, and an open guardrail keeps it from shipping. {said}"
    late = [one for one in guards if one.days and first.days and one.days > first.days]
    slow = _and(f"on {phrase_of(one.metric)} takes {one.n_users:,} users and {one.days} days" for one in late)
    return f"{said} It ships only once the guardrails settle too: the one {slow}." if late else said


def _bare(one: MetricSize) -> str:
    """The gain or margin where the metric was just named."""
    return amount(one.metric, one.effect or 0.0).removesuffix(f" of {phrase_of(one.metric)}")


def _and(parts: Iterable[str]) -> str:
    *most, last = [*parts] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _of_primary(plan: Plan, first: MetricSize, traffic: Traffic) -> str:
    if first.n_users is None:
        return f"Nothing can be computed yet: {first.note or 'the metric has no variance'}."
    what = f"{amount(first.metric, plan.minimum_effect)} with {plan.power:.0%} power"
    new = traffic.new_users_per_week * traffic.share
    crowd = f"{traffic.users_per_week * traffic.share:,.0f} users a week"
    of_them = f"{f'about {new:,.0f}' if new >= 1 else 'hardly any'} of them new"
    if first.days is None:
        there = users_at(traffic, first.metric, LONGEST_DAYS)
        return (
            f"You will not get there: {crowd}, {of_them}, make "
            f"{there:,.0f} users with a known answer within a year; to see {what} takes {first.n_users:,}."
        )
    watched = (
        f" Watched all along by its always-valid interval: {first.n_users_sequential:,} users, "
        f"{first.days_sequential} days."
        if first.n_users_sequential and first.days_sequential
        else " Watched all along by its always-valid interval, it may not settle within a year."
    )
    return f"{first.n_users:,} users and {first.days} days show {what}; you have {crowd}, {of_them}.{watched}"


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
        words = (
            f"Adjust for {phrase_of(metric)} of before the experiment (CUPED): it takes {reduction:.0%} of the variance"
        )
        found.append((words, _first(plan, shares, traffic, adjusts=True)))
    if max(shares) - min(shares) > 0.02:
        even = tuple(1 / len(shares) for _ in shares)
        found.append(("Give all variants the same share", _first(plan, even, traffic)))
    if len(shares) > 2:
        kept = tuple(share / sum(shares[:-1]) for share in shares[:-1])
        found.append((f"One variant less (without {variants[-1].name})", _first(plan, kept, traffic)))
    if len(plan.primary) > 1:
        alone = replace(plan, primary=plan.primary[:1])
        found.append((f"One primary metric only ({phrase_of(metric)})", _first(alone, shares, traffic)))
    helps = [Advice(words, *told) for words, told in found if (told[0] or 0) < (now[0] or 0)]
    reach = [one for one in _curve(plan, shares, traffic) if one.metric == metric]
    if reach and reach[-1].effect > plan.minimum_effect:
        far = reach[-1]
        words = f"Ask for a bigger effect: {amount(metric, far.effect)} is seen within {far.weeks} weeks"
        helps.append(Advice(words, far.n_users, 7 * far.weeks))
    return helps + [told for guard in plan.guardrails if (told := _wider(plan, shares, guard, traffic))]


def _wider(plan: Plan, shares: tuple[float, ...], guard: Guard, traffic: Traffic) -> Advice | None:
    """The margin that eight weeks of traffic can hold, for a guardrail that would stay open; None where none helps."""
    asked, spread = _guarded(plan, shares, guard, traffic), latest(traffic, guard.metric)
    if spread is None or not _stays_open(_size_of(asked, "guardrail", traffic, plan, None)):
        return None
    days = 7 * CURVE_WEEKS[-1]
    n_users = users_at(traffic, guard.metric, days)
    margin = _detectable(asked.design(traffic, days, None), n_users)
    if margin is None or margin <= asked.effect:
        return None
    times = f", {margin / abs(spread.mean):.0%} of the control's value" if guard.is_relative and spread.mean else ""
    words = f"Widen the margin of the guardrail to {amount(guard.metric, margin)}{times}, or only watch it"
    return Advice(words, int(n_users), days)


def _first(
    plan: Plan, shares: tuple[float, ...], traffic: Traffic, *, adjusts: bool | None = None
) -> tuple[int | None, int | None]:
    """Users and days for the first primary metric, read once at the end."""
    asked = _asked(plan, shares, plan.primary[0], plan.minimum_effect)
    return _need(asked if adjusts is None else asked._replace(adjusts=adjusts), traffic, plan, None)
