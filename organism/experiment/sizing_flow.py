"""Size a plan: read the loop's last eight weeks for its metrics, and say what it asks for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import DesignError, InputError
from organism.experiment.layers import check_range
from organism.experiment.past import SPANS, Span, Traffic, spread_of, spread_of_quantile
from organism.experiment.plan import Plan
from organism.experiment.sizing import Sizing, size
from organism.experiment.targeting import in_words, is_targeted
from organism.experiment.thompson import Policy
from organism.measures.metric_names import quantile_of
from organism.records import RewardDesign, Variant
from organism.store import loop_past
from organism.store.database import Store
from organism.store.experiment_tables import PRE_PERIOD
from organism.store.holdouts import read_holdout
from organism.store.reward_designs import read_saved
from organism.store.signals import known_signals

WEEKS = 8
STARTED = "As it was started"
ENOUGH_USERS = 10
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An experiment as somebody wants it; the first variant is the control. Without a layer it is for every user."""

    name: str = ""
    hypothesis: str = ""
    variants: tuple[Variant, ...]
    plan: Plan = field(default_factory=Plan)
    policy: str = Policy.HASH.value
    layer: str | None = None
    layer_low: float | None = None
    layer_high: float | None = None
    targeting: Mapping[str, Any] = field(default_factory=dict)


class Sized(NamedTuple):
    """A plan with its size, and the words that are kept beside it: where the size comes from, or why there is none."""

    plan: Plan
    why: str


def metric_names(store: Store, loop_id: str) -> list[str]:
    """Every metric that a plan of this loop can name, but for quantiles (any signal with .p95 or the like)."""
    known = [name for name, info in known_signals(store, loop_id).items() if info.removed_at is None]
    return [*(["reward"] if read_saved(store, loop_id) else []), *known]


def check_metrics(store: Store, loop_id: str, plan: Plan) -> None:
    """Raise DesignError, with what there is, for a metric, covariate or reward design that the loop does not have."""
    known = metric_names(store, loop_id)
    asked = [*plan.primary, *(guard.metric for guard in plan.guardrails), *plan.watched, *plan.covariates]
    for metric in asked:
        parts = quantile_of(metric)
        if metric not in known and not (parts and parts[0] in known and parts[0] != "reward"):
            hint = "save a reward design first, or use" if metric == "reward" else "use"
            raise DesignError(
                f"no metric of this loop is called {metric!r}; {hint} one of {', '.join(known)}, or a quantile such as "
                "latency_ms.p95"
            )
    if quantiles := [metric for metric in plan.covariates if metric not in known]:
        raise DesignError(f"{quantiles[0]} is a quantile, which is no covariate; name the signal itself")
    if plan.reward_design_id and plan.reward_design_id not in [one.design.id for one in read_saved(store, loop_id)]:
        raise DesignError(f"no saved reward design has the id {plan.reward_design_id!r}; leave it out for the live one")


def size_plan(store: Store, loop_id: str, proposal: Proposal, now: datetime) -> Sizing:
    """Users and days that the proposal asks for, from the loop's last eight weeks."""
    return size(proposal.plan, proposal.variants, read_loop_traffic(store, loop_id, proposal, now))


def past_of(proposal: Proposal) -> Proposal:
    """The proposal without what its loop's past does not depend on, so that one reading serves many sizes."""
    usual, plan = Plan(), proposal.plan
    guards = tuple(guard._replace(margin=1.0, is_relative=True) for guard in plan.guardrails)
    kept = replace(
        plan, guardrails=guards, segments=(), minimum_effect=usual.minimum_effect, alpha=usual.alpha, power=usual.power
    )
    return replace(proposal, name="", hypothesis="", plan=kept)


def sized(store: Store, loop_id: str, plan: Plan, variants: Sequence[Variant], now: datetime) -> Sized:
    """The plan with the users that this loop's variances ask for, and where the number comes from.

    A number that the plan names stands. One that this loop does not reach within a year stays out: no read at the end
    would ever come, and the always-valid interval would be tuned to users who never do. Only the primary metrics are
    read, since the first of them sets the size.
    """
    if plan.n_users is not None:
        return Sized(plan, STARTED)
    decides = replace(plan, guardrails=(), watched=(), segments=())
    try:
        check_metrics(store, loop_id, decides)
    except DesignError as unknown:
        return Sized(plan, f"{STARTED}, without a size: {unknown}")
    return with_size(plan, size_plan(store, loop_id, Proposal(variants=tuple(variants), plan=decides), now))


def with_size(plan: Plan, found: Sizing) -> Sized:
    """The plan with the size that was found for it, unless it names its own or the loop does not get there."""
    if plan.n_users is not None:
        return Sized(plan, STARTED)
    if found.n_users is None or not found.is_reached:
        return Sized(plan, f"{STARTED}, without a size. {found.sentence}")
    return Sized(replace(plan, n_users=found.n_users), f"{STARTED}. {found.sentence}")


def read_loop_traffic(store: Store, loop_id: str, proposal: Proposal, now: datetime) -> Traffic:
    """The loop's last eight weeks as sizing needs them, for the metrics of this plan.

    Counted back from the last interaction. Variances are those of the control's own users where it served enough of
    them, else of all.
    """
    past = loop_past.read_past(store, loop_id)
    if past.first_at is None or past.last_at is None:
        return Traffic((), 0.0, 0.0, 0.0, 0.0)
    until = min(now, past.last_at)
    history = max((until - past.first_at) / timedelta(days=1), 0.0)
    spans = [days for days in SPANS if days <= history + 1] or [max(int(history) + 1, 1)]
    control = _measured_on(store, loop_id, proposal, until, spans[-1])
    found = _spans(store, loop_id, proposal.plan, until, spans, control)
    weekly = loop_past.read_weekly_traffic(store, loop_id, until, WEEKS)
    weeks = min(max(history / 7, 1.0), WEEKS)
    audience = _targeted(store, loop_id, proposal.targeting)
    return Traffic(
        found,
        float(weekly["n_users"].sum()) / weeks,
        _newcomers(weekly, until, weeks),
        float(weekly["n_interactions"].sum()) / weeks,
        history,
        control,
        audience.share * _share_of_users(store, loop_id, proposal),
        audience.nobody,
    )


def _measured_on(store: Store, loop_id: str, proposal: Proposal, until: datetime, days: int) -> str | None:
    served = loop_past.read_users_by_variant(store, loop_id, since=until - timedelta(days=days), until=until)
    control = proposal.variants[0].name
    return control if served.get(control, 0) >= ENOUGH_USERS else None


def _spans(
    store: Store, loop_id: str, plan: Plan, until: datetime, spans: Sequence[int], control: str | None
) -> tuple[Span, ...]:
    metrics = [*plan.primary, *(guard.metric for guard in plan.guardrails), *plan.watched]
    signal_of = {metric: parts[0] for metric in metrics if (parts := quantile_of(metric))}
    asked = {metric: list(plan.covariates or [metric]) for metric in metrics if metric not in signal_of}
    asked |= {signal: [] for signal in signal_of.values() if signal not in asked}
    design = _design(store, loop_id, plan)
    found = loop_past.read_span_moments(
        store, loop_id, asked, until=until, spans=spans, before=PRE_PERIOD.days, design=design, variant=control
    )
    quantiles = {
        metric: loop_past.read_span_quantiles(store, loop_id, metric, until=until, spans=spans, variant=control)
        for metric in signal_of
    }
    made = []
    for days in spans:
        told = {metric: spread_of(found.moments[days, metric]) for metric in asked if (days, metric) in found.moments}
        told |= {metric: spread_of_quantile(parts[days]) for metric, parts in quantiles.items() if days in parts}
        known = {metric: found.known.get((days, metric), 0) for metric in asked}
        known |= {metric: known[signal] for metric, signal in signal_of.items() if signal in known}
        spreads = {metric: spread for metric, spread in told.items() if spread}
        made.append(Span(days, found.n_users.get(days, 0), spreads, known))
    return tuple(made)


def _design(store: Store, loop_id: str, plan: Plan) -> RewardDesign | None:
    saved = [kept.design for kept in read_saved(store, loop_id)]
    return next((design for design in saved if design.id == plan.reward_design_id), saved[0] if saved else None)


def _newcomers(weekly: pd.DataFrame, until: datetime, weeks: float) -> float:
    """Users a week who were never seen before: over the later half of the history, four weeks at most.

    In the first weeks of a loop everybody is new, so they say nothing about who still comes.
    """
    recent = min(max(int(weeks) // 2, 1), WEEKS // 2)
    since = until - timedelta(weeks=recent)
    return float(weekly.loc[weekly["week"] >= since, "n_new_users"].sum()) / recent


def _share_of_users(store: Store, loop_id: str, proposal: Proposal) -> float:
    """The part of the loop's users that the experiment may take by its layer and the holdout."""
    place = check_range(proposal.layer, proposal.layer_low, proposal.layer_high)
    held = read_holdout(store, loop_id)
    return (place.high - place.low if place else 1.0) * (1 - held.share if held else 1.0)


class _Audience(NamedTuple):
    """The share of users whom the targeting means, and why it is nobody at all."""

    share: float
    nobody: str = ""


def _targeted(store: Store, loop_id: str, rules: Mapping[str, Any]) -> _Audience:
    """The share of the loop's users, as they were last seen, who meet the rules; 1 without rules."""
    found = loop_past.read_user_attributes(store, loop_id) if rules else []
    total = sum(n for _, n in found)
    if not total:
        return _Audience(1.0)
    share = sum(n for attributes, n in found if _meets(rules, attributes)) / total
    return _Audience(
        share, "" if share else _why_nobody(rules, {name for attributes, _ in found for name in attributes})
    )


def _why_nobody(rules: Mapping[str, Any], known: Collection[str]) -> str:
    if unheard := [name for name in rules if name not in known]:
        names = ", ".join(sorted(known)[:MOST_SHOWN]) or "none yet"
        return (
            f"the targeting asks for {unheard[0]!r}, which no user of this loop was last seen with; attributes that "
            f"are known: {names}. Send it with the interactions, or target another"
        )
    return f"no user of this loop was last seen with what the targeting asks ({in_words(rules)})"


def _meets(rules: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    try:
        return is_targeted(rules, attributes)
    except InputError:  # a text where the rules want a number: this user is not meant
        return False
