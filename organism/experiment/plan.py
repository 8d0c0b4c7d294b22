"""What was agreed before the first user: metrics, guardrails, error rates, users. Frozen when the experiment starts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from organism.errors import DesignError
from organism.measures.metric_names import name_of

PRIMARY = "retained_char_rate"
MOST_USERS = 10**10
MOST_NAMES = 20
"""Metrics of one role, covariates or segments that a plan may name: sums grow with the square of them."""


class Guard(NamedTuple):
    """A metric that may not get worse by `margin`: a share of the control's value when `is_relative`, else in its own
    unit.
    """

    metric: str
    margin: float
    is_relative: bool = True


GUARDS = (Guard("written_share", 0.02, False), Guard("latency_ms", 0.5), Guard("cost_usd", 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Metrics by their names; a reward design's mean is the metric `reward`.

    `minimum_effect` is the smallest gain in the first primary metric, in its own unit, worth shipping for (0.05 of
    retained characters is 5 points). `n_users` are the users in all that the design asks for, None where nobody has
    computed it. `covariates` are signals whose value before the experiment takes noise out (CUPED); `segments` are
    names that users are grouped by. `reward_design_id` fixes what `reward` means; None is the live design at the start.
    """

    primary: tuple[str, ...] = (PRIMARY,)
    guardrails: tuple[Guard, ...] = GUARDS
    watched: tuple[str, ...] = ("accepted", "output_tokens")
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ("region",)
    reward_design_id: str | None = None
    minimum_effect: float = 0.05
    alpha: float = 0.05
    power: float = 0.8
    min_users_per_arm: int = 10
    n_users: int | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {**asdict(self), "guardrails": [guard._asdict() for guard in self.guardrails]}


def plan_of(plain: Mapping[str, Any]) -> Plan:
    """The plan in a stored experiment; what it does not say is as the default."""
    known = {name: plain[name] for name in Plan.__dataclass_fields__ if name in plain}
    for name in ("primary", "watched", "covariates", "segments"):
        if name in known:
            known[name] = tuple(known[name])
    if "guardrails" in known:
        known["guardrails"] = tuple(
            Guard(**one) if isinstance(one, Mapping) else Guard(*one) for one in known["guardrails"]
        )
    elif "written_share_margin" in plain:  # as plans were kept before guardrails had names
        known["guardrails"] = (
            Guard("written_share", plain["written_share_margin"], False),
            Guard("latency_ms", plain["latency_margin"]),
            Guard("cost_usd", plain["cost_margin"]),
        )
    return Plan(**known)


def plan_from(said: Mapping[str, Any]) -> Plan:
    """A new plan from the fields that somebody gave: a usual guardrail that was made a primary metric is none."""
    plan = plan_of(said)
    if "guardrails" in said:
        return plan
    return replace(plan, guardrails=tuple(guard for guard in plan.guardrails if guard.metric not in plan.primary))


def check_plan(plan: Plan) -> None:
    """Raise DesignError when no experiment could follow the plan."""
    if not plan.primary:
        raise DesignError("the plan names no primary metric; name at least one, such as retained_char_rate")
    if not 0 < plan.minimum_effect < float("inf") or not 0 < plan.alpha < 0.5 or not 0.5 <= plan.power < 1:
        raise DesignError(
            f"found minimum effect {plan.minimum_effect}, alpha {plan.alpha}, power {plan.power}; wanted a minimum "
            "effect above 0, alpha between 0 and 0.5, power from 0.5 to below 1"
        )
    for guard in plan.guardrails:
        if not 0 < guard.margin < float("inf"):
            raise DesignError(f"guardrail {guard.metric} has the margin {guard.margin}; give one above 0")
    named = {
        "primary metric": plan.primary,
        "guardrail": tuple(one.metric for one in plan.guardrails),
        "watched signal": plan.watched,
        "covariate": plan.covariates,
        "segment": plan.segments,
    }
    for what, names in named.items():
        if twice := [name for name in names if names.count(name) > 1]:
            raise DesignError(f"{twice[0]} is named twice as a {what}; name it once")
        if len(names) > MOST_NAMES:
            raise DesignError(f"found {len(names)} names, each a {what}; name at most {MOST_NAMES}")
    if plan.min_users_per_arm < 2 or (plan.n_users is not None and plan.n_users < 4):
        raise DesignError("at least 2 users an arm are needed, 4 in all; ask for more")
    if max(plan.min_users_per_arm, plan.n_users or 0) > MOST_USERS:
        raise DesignError(f"a plan asks for at most {MOST_USERS:,} users; ask for fewer")


class Difference(NamedTuple):
    """What changed between two versions of a plan, in words. A `telling` one could bend a verdict after a look."""

    field: str
    words: str
    is_telling: bool


FREE = frozenset({"guardrails", "segments", "watched", "n_users"})
"""What a running experiment's plan may change without suspicion; everything else is flagged as changed after start.

Fewer planned users are flagged too: the read at the end would come when somebody liked what they saw.
"""
_NAMES = {
    "primary": "primary metrics",
    "watched": "signals to watch",
    "covariates": "covariates",
    "segments": "segments",
    "reward_design_id": "reward design",
    "minimum_effect": "minimum effect",
    "alpha": "alpha",
    "power": "power",
    "min_users_per_arm": "least users an arm",
    "n_users": "planned users",
}


def differences(before: Plan, after: Plan) -> list[Difference]:
    """What changed from one version of a plan to the next, a sentence part each; empty when nothing did."""
    found = [
        Difference(
            field,
            f"{name}: {_said(field, getattr(before, field))} → {_said(field, getattr(after, field))}",
            field not in FREE or (field == "n_users" and _is_less(after.n_users, before.n_users)),
        )
        for field, name in _NAMES.items()
        if getattr(before, field) != getattr(after, field)
    ]
    return found + [Difference("guardrails", words, False) for words in _guard_words(before, after)]


def margin_words(guard: Guard) -> str:
    """How much worse is still tolerated: 50% of the control's value, or 0.02 in the metric's own unit."""
    return f"{guard.margin:.3g} × the control's value" if guard.is_relative else f"{guard.margin:g} in its own unit"


def _guard_words(before: Plan, after: Plan) -> list[str]:
    old, new = ({guard.metric: guard for guard in plan.guardrails} for plan in (before, after))
    gone = [name for name in old if name not in new]
    found = [f"guardrail {name_of(name)} taken away (margin {margin_words(old[name])})" for name in gone]
    found += [f"guardrail {name_of(name)} added, margin {margin_words(new[name])}" for name in new if name not in old]
    return found + [
        f"margin of {name_of(name)}: {margin_words(old[name])} → {margin_words(new[name])}"
        for name in new
        if name in old and old[name] != new[name]
    ]


def _is_less(after: int | None, before: int | None) -> bool:
    """A read at the end that comes earlier than was planned."""
    return before is not None and after is not None and after < before


def _said(field: str, value: object) -> str:
    if isinstance(value, tuple):
        names = map(name_of, value) if field in ("primary", "watched", "covariates") else map(str, value)
        return ", ".join(names) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
