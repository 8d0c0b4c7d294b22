"""What an experiment's figures are. Pure: per-user sums in, estimates out; `rules` turns them into a verdict."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from organism.experiment.plan import PRIMARY, Plan
from organism.experiment.scorecard import Guardrail as Guardrail
from organism.experiment.scorecard import GuardrailState as GuardrailState
from organism.experiment.scorecard import MetricRow as MetricRow
from organism.experiment.scorecard import RequestLevel as RequestLevel
from organism.records import Moments
from organism.stats.compare import Comparison, Estimate, below_margin, difference, ratio_of_sums
from organism.stats.moments import empty, moments
from organism.stats.power import users_needed
from organism.stats.srm import srm_p_value

CONTROL, TREATMENT = "control", "treatment"
ALPHA_SRM = 0.001
SHARE_IN_BOTH = 0.001


class Metric(NamedTuple):
    """A measure of an arm: a ratio of sums over users. `better` is +1 when more is better, −1 when less is, else 0."""

    name: str
    label: str
    better: int


METRICS = (
    Metric(PRIMARY, "Retained characters", 1),
    Metric("written_share", "Written share", 1),
    Metric("accepted", "Drafts used", 1),
    Metric("latency_ms", "Latency, ms", -1),
    Metric("cost_usd", "Cost, USD", -1),
    Metric("output_tokens", "Length, tokens", 0),
)


class Figures(NamedTuple):
    """Everything that the rules look at.

    Users who met both arms, or were served another arm than they were assigned, are counted in `n_in_both`
    and are in no other figure. `n_needed` is the users in all for the plan's power, None where unknown.
    """

    primary: Comparison
    metrics: tuple[MetricRow, ...]
    guardrails: tuple[Guardrail, ...]
    request_level: RequestLevel
    n_users: dict[str, int]
    n_interactions: int
    n_in_both: int
    srm_p_value: float
    n_needed: int | None


def figures(sums: pd.DataFrame, requests: Mapping[str, Moments], *, treatment_share: float, plan: Plan) -> Figures:
    """All figures of an experiment from per-user sums (the columns of `read_user_sums`)."""
    users, n_in_both = _clean(sums)
    counts = {arm: int((users["arm"] == arm).sum()) for arm in (CONTROL, TREATMENT)}
    arms = {metric.name: _arms(users, metric.name) for metric in METRICS}
    level = 1 - plan.alpha
    rows = tuple(MetricRow(*metric, difference(*arms[metric.name], level)) for metric in METRICS)
    primary = rows[0].comparison
    return Figures(
        primary=primary,
        metrics=rows,
        guardrails=_guardrails(arms, plan),
        request_level=_request_level(requests, arms[PRIMARY], level),
        n_users=counts,
        n_interactions=int(users["n_rows"].sum()),
        n_in_both=n_in_both,
        srm_p_value=srm_p_value([counts[CONTROL], counts[TREATMENT]], [1 - treatment_share, treatment_share]),
        n_needed=_n_needed(*arms[PRIMARY], treatment_share, plan),
    )


def track(daily: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The primary effect as it stood at the end of each day, from all users until then.

    Columns: day, effect, low, high, n_users, n_interactions. Each day's interval is for one look; it is no
    licence to stop when it first excludes 0.
    """
    users, _ = _clean(daily)
    rows = []
    for day in sorted(users["day"].unique()):
        until = users[users["day"] <= day]
        found = difference(*_arms(until.groupby(["user_key", "arm"], as_index=False).sum(numeric_only=True)), level)
        n_users = until["user_key"].nunique()
        rows.append((day, found.effect, found.ci_low, found.ci_high, n_users, int(until["n_rows"].sum())))
    made = pd.DataFrame(rows, columns=["day", "effect", "low", "high", "n_users", "n_interactions"])
    return made.astype({"day": "datetime64[us]", "effect": float, "low": float, "high": float, "n_users": int})


def _clean(sums: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows of users who met one arm only, the one they were assigned; and how many users did not."""
    strayed = sums["assigned"].notna() & (sums["assigned"] != sums["arm"])
    both = sums.groupby("user_key")["arm"].transform("nunique") > 1
    out = set(sums.loc[strayed | both, "user_key"])
    return sums[~sums["user_key"].isin(out)], len(out)


def _arms(users: pd.DataFrame, metric: str = PRIMARY) -> tuple[Estimate | None, Estimate | None]:
    control, treatment = (ratio_of_sums(_moments(users, metric, arm)) for arm in (CONTROL, TREATMENT))
    return control, treatment


def _moments(users: pd.DataFrame, metric: str, arm: str) -> Moments:
    """Over the arm's users who have the metric at all: silence is not a zero."""
    columns = [f"{metric}_num", f"{metric}_den"]
    heard = users.loc[(users["arm"] == arm) & (users[columns[1]] > 0), columns]
    return moments(heard.to_numpy(dtype=float)) if len(heard) else empty(2)


def _guardrails(arms: Mapping[str, tuple[Estimate | None, Estimate | None]], plan: Plan) -> tuple[Guardrail, ...]:
    labels = {metric.name: (metric.label, metric.better) for metric in METRICS}
    found = []
    for guard in plan.guardrails:
        (control, treatment), (label, better) = arms[guard.metric], labels[guard.metric]
        if guard.is_relative:
            control, margin = _scaled(control, 1 - better * guard.margin), 0.0
        else:
            margin = guard.margin
        worse, reference = (treatment, control) if better < 0 else (control, treatment)
        found.append(
            Guardrail(guard.metric, label, guard.margin, guard.is_relative, *_within(reference, worse, margin, plan))
        )
    return tuple(found)


def _scaled(arm: Estimate | None, factor: float) -> Estimate | None:
    """An arm's value times a constant: a margin in percent is tested without taking the control's value for known."""
    if arm is None:
        return None
    return Estimate(arm.value * factor, None if arm.variance is None else arm.variance * factor**2, arm.n)


def _within(
    reference: Estimate | None, other: Estimate | None, margin: float, plan: Plan
) -> tuple[GuardrailState, float | None]:
    """Whether `other` stays under reference + margin: surely, surely not, not yet known, or measured in neither arm."""
    if reference is None or other is None:
        return (GuardrailState.UNMEASURED if reference is other else GuardrailState.OPEN), None
    if reference.variance == 0 and other.variance == 0:
        holds = other.value - reference.value < margin
        return (GuardrailState.HOLDS if holds else GuardrailState.BROKEN), None
    below = below_margin(reference, other, margin, 1 - plan.alpha)
    above = below_margin(other, reference, -margin, 1 - plan.alpha)
    if below is None or above is None:
        return GuardrailState.OPEN, None
    if below.p_value <= plan.alpha:
        return GuardrailState.HOLDS, below.p_value
    return (GuardrailState.BROKEN if above.p_value <= plan.alpha else GuardrailState.OPEN), below.p_value


def _request_level(
    requests: Mapping[str, Moments], arms: tuple[Estimate | None, Estimate | None], level: float
) -> RequestLevel:
    naive = [ratio_of_sums(requests.get(arm, empty(2))) for arm in (CONTROL, TREATMENT)]
    found = difference(naive[0], naive[1], level)
    spreads = [_variance(arms), _variance(naive)]
    effect = spreads[0] / spreads[1] if spreads[0] and spreads[1] else None
    n = sum(part.n for part in requests.values())
    return RequestLevel(found.p_value, found.ci_low, found.ci_high, n, effect)


def _variance(arms: Sequence[Estimate | None]) -> float | None:
    known = [arm.variance for arm in arms if arm is not None and arm.variance is not None]
    return sum(known) if len(known) == 2 else None


def _n_needed(control: Estimate | None, treatment: Estimate | None, share: float, plan: Plan) -> int | None:
    if control is None or treatment is None or control.variance is None or treatment.variance is None:
        return None
    return users_needed(
        plan.minimum_effect,
        control.variance * control.n,
        treatment.variance * treatment.n,
        share=share,
        alpha=plan.alpha,
        power=plan.power,
    )
