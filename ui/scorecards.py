"""An experiment's figures as words and tables: each metric in its unit, arms, guardrails, segments, plan versions."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from organism.experiment.figures import COST, figures_of
from organism.experiment.figures import label_of as label_of
from organism.experiment.scorecard import Guardrail, GuardrailState, Scorecard
from organism.measures.metric_names import SHARES, name_of
from organism.records import Verdict
from ui.experiment_charts import Unit
from ui.words import between, counted

GUARDRAILS = {
    GuardrailState.HOLDS: ("green", "check_circle", "holds"),
    GuardrailState.BROKEN: ("red", "cancel", "broken"),
    GuardrailState.OPEN: ("orange", "hourglass_top", "not settled"),
    GuardrailState.UNMEASURED: ("gray", "help", "not measured"),
}
_SUFFIXES = {"latency_ms": " ms", "ttft_ms": " ms", "output_tokens": " tokens", "cost_usd": " USD"}


def change_unit(metric: str) -> Unit:
    """How a difference in this metric is written: points for a share, cost for a thousand drafts."""
    if metric in SHARES:
        return Unit(100.0, " pt")
    return Unit(1000.0 if metric == COST else 1.0, _SUFFIXES.get(metric.partition(".")[0], ""))


def level_unit(metric: str) -> Unit:
    """How a value of this metric is written."""
    return Unit(100.0, "%") if metric in SHARES else change_unit(metric)


def level(metric: str, value: float | None) -> str | None:
    """A value in its unit: 60.1%, 0.512, 430 ms; None stays None."""
    return _said(value, level_unit(metric), "", 1 if metric in SHARES else None)


def change(metric: str, value: float | None) -> str | None:
    """A difference in its unit with its sign: +4.2 pt, +0.0190, -12 ms."""
    return _said(value, change_unit(metric), "+", 1 if metric in SHARES else None)


def interval(metric: str, low: float | None, high: float | None) -> str:
    """An interval of a difference in words, the unit said once, or that it is unknown."""
    words = between(low, high, lambda value: change(metric, value))
    suffix = change_unit(metric).suffix
    return words.replace(suffix, "", 1) if suffix and words.count(suffix) == 2 else words


def _said(value: float | None, unit: Unit, sign: str, digits: int | None) -> str | None:
    if value is None or pd.isna(value):
        return None
    scaled = value * unit.factor
    return f"{scaled:{sign}{figures_of(abs(scaled)) if digits is None else f'z,.{digits}f'}}{unit.suffix}"


def p_words(p: float | None) -> str:
    """A p-value as people read it."""
    if p is None or pd.isna(p):
        return "unknown"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def treatments(card: Scorecard) -> list[str]:
    """The variants that are compared with the control, the headline's first."""
    names = [row.name for row in card.variants if not row.is_control]
    return [card.treatment, *(name for name in names if name != card.treatment)]


def rows_of(rows: Sequence[Any], variant: str) -> list[Any]:
    """The rows of one treatment; a row that names no variant is of the only one."""
    return [row for row in rows if row.variant in ("", variant)]


def n_served(card: Scorecard) -> int:
    """Users of all variants; it is them that a plan counts."""
    return sum(card.n_users.values())


def users_words(card: Scorecard) -> str:
    """How many users, of how many planned."""
    return f"{n_served(card):,} of {card.n_planned:,}" if card.n_planned else f"{n_served(card):,}"


def users_help(card: Scorecard) -> str:
    """Who is counted, how many of them have an answer, and how fast new ones come."""
    known = sum(row.n_known for row in card.variants)
    rate = f" New users come at {card.users_per_day:.2g} a day." if card.users_per_day else ""
    return (
        f"Users who met a variant, of those that the plan asks for; of {known:,} the {card.primary_label.lower()} is "
        f"known.{rate}"
    )


def time_left(card: Scorecard) -> str:
    """How much is missing, in users and days; what is known of it."""
    if card.n_planned is not None and n_served(card) >= card.n_planned:
        return "the planned users are in"
    if card.more_users:
        users = f"{counted(card.more_users, 'user')} to go"
        return users if card.days_left is None else f"{users}, {days_words(card.days_left)}"
    if card.n_planned is not None:
        return f"{card.n_planned - n_served(card):,} fewer than planned"
    return "not planned to a size"


def days_words(days: float) -> str:
    """So many days, or weeks where it is long."""
    if days < 1:
        return "under a day"
    return f"about {counted(round(days), 'day')}" if days < 21 else f"about {counted(round(days / 7), 'week')}"


def metric_table(card: Scorecard, variant: str) -> pd.DataFrame:
    """Each measure of the control and a treatment, the difference with both intervals, and p, as words."""
    return pd.DataFrame(
        [
            {
                "Measure": label_of(row),
                "In the plan": row.role.value,
                card.control: level(row.metric, row.comparison.mean_control),
                variant: level(row.metric, row.comparison.mean_treatment),
                "Difference": change(row.metric, row.comparison.effect),
                "95%, one look": interval(row.metric, row.comparison.ci_low, row.comparison.ci_high),
                "Always valid": interval(row.metric, row.sequence_low, row.sequence_high),
                "p, one look": p_words(row.comparison.p_value),
                "p, always": p_words(row.sequence_p),
                "Less noise (CUPED)": None if not row.variance_reduction else f"{row.variance_reduction:.0%}",
                "Users": row.comparison.n_control + row.comparison.n_treatment,
                "Note": row.note,
            }
            for row in rows_of(card.metrics, variant)
        ]
    )


def chance_words(card: Scorecard, variant: str) -> str:
    """The Bayesian reading of the first primary metric, with its prior; empty where it cannot be said."""
    row = next((row for row in rows_of(card.metrics, variant) if row.metric == card.primary), None)
    if row is None or row.chance_to_win is None or row.expected_loss is None:
        return ""
    lost = _said(abs(row.expected_loss), change_unit(row.metric), "", None)
    return (
        f"Read with a flat prior, {variant} is better than {card.control} in {label_of(row).lower()} with a chance of "
        f"{row.chance_to_win:.1%}, and shipping it has an expected loss of {lost}. No rule looks at this."
    )


def relative_table(card: Scorecard, variant: str) -> pd.DataFrame:
    """Each measure's relative change: name, effect, low, high, better."""
    return pd.DataFrame(
        [
            (
                label_of(row),
                row.comparison.relative,
                row.comparison.relative_low,
                row.comparison.relative_high,
                row.better,
            )
            for row in rows_of(card.metrics, variant)
        ],
        columns=["name", "effect", "low", "high", "better"],
    ).astype({"effect": float, "low": float, "high": float})


def guardrail_table(card: Scorecard, variant: str) -> pd.DataFrame:
    """How much of each margin a treatment uses: name, used, at_most, state; only those that can be measured."""
    rows = [
        (label_of(one), one.worse / one.limit, one.worse_at_most / one.limit, one.state.value)
        for one in rows_of(card.guardrails, variant)
        if one.limit and one.worse is not None and one.worse_at_most is not None
    ]
    return pd.DataFrame(rows, columns=["name", "used", "at_most", "state"])


def margin_words(guardrail: Guardrail) -> str:
    """What a guardrail allows, what was found, and with which p."""
    allowed = change(guardrail.metric, guardrail.margin)
    margin = f"{guardrail.margin:.0%} of the control" if guardrail.is_relative else str(allowed).lstrip("+")
    said = f"may get worse by {margin}"
    if guardrail.worse is not None:
        found = str(change(guardrail.metric, abs(guardrail.worse))).lstrip("+")
        word = "within the margin:" if guardrail.state is GuardrailState.HOLDS and guardrail.worse > 0 else "found"
        said += (
            f", {word} {found} {'worse' if guardrail.worse > 0 else 'better'}" if guardrail.worse else ", found equal"
        )
    return said + ("" if guardrail.p_value is None else f", p {p_words(guardrail.p_value)}")


def guardrails_held(card: Scorecard) -> tuple[str, str]:
    """How many of the headline's guardrails hold, and the state of the worst."""
    states = [one.state for one in rows_of(card.guardrails, card.treatment)]
    worst = next(
        (state for state in (GuardrailState.BROKEN, GuardrailState.OPEN, GuardrailState.UNMEASURED) if state in states),
        GuardrailState.HOLDS,
    )
    held = states.count(GuardrailState.HOLDS)
    return f"{held} of {len(states)} hold" if states else "None planned", (
        f"{states.count(worst)} {GUARDRAILS[worst][2]}" if worst is not GuardrailState.HOLDS else "all within margin"
    )


def segment_table(card: Scorecard, variant: str) -> pd.DataFrame:
    """The effect by segment for a treatment: segment, value, effect, low, high, n, p_adjusted, is_clear, note."""
    alpha = float((card.plan or {}).get("alpha", 0.05))
    return pd.DataFrame(
        [
            (
                row.segment.replace("_", " ").capitalize(),
                row.value,
                row.effect,
                row.low,
                row.high,
                row.n_control + row.n_treatment,
                row.p_value,
                row.p_adjusted,
                row.p_adjusted is not None and row.p_adjusted <= alpha,
                row.note,
            )
            for row in rows_of(card.segments, variant)
        ],
        columns=["segment", "value", "effect", "low", "high", "n", "p_value", "p_adjusted", "is_clear", "note"],
    ).astype({"effect": float, "low": float, "high": float})


def novelty_table(card: Scorecard) -> pd.DataFrame:
    """The effect by days since exposure: day, effect, low, high, n."""
    days = card.novelty.days if card.novelty else ()
    rows = [(one.day, one.effect, one.low, one.high, one.n_control + one.n_treatment) for one in days]
    made = pd.DataFrame(rows, columns=["day", "effect", "low", "high", "n"])
    return made.astype({"effect": float, "low": float, "high": float})


def variant_table(card: Scorecard) -> pd.DataFrame:
    """Each variant: name, share, n, n_known, mean, low, high, is_control, is_best."""
    rows = [
        (one.name, one.share, one.n_users, one.n_known, one.mean, one.low, one.high, one.is_control)
        for one in card.variants
    ]
    made = pd.DataFrame(rows, columns=["name", "share", "n", "n_known", "mean", "low", "high", "is_control"])
    return made.assign(is_best=made["name"] == card.treatment).astype({"mean": float, "low": float, "high": float})


def weight_table(card: Scorecard) -> pd.DataFrame:
    """Which weight of each signal flips the reward's finding, as a weight and as its part of all weight then.

    Columns: name, utility_effect, weight, share, zero_at, zero_share, unsure_at, unsure_share.
    """
    flips = card.weights_flip.flips if card.weights_flip else ()
    made = pd.DataFrame(
        [(one.signal, one.utility_effect, one.weight, one.zero_at, one.unsure_at) for one in flips],
        columns=["name", "utility_effect", "weight", "zero_at", "unsure_at"],
    ).astype({"utility_effect": float, "weight": float, "zero_at": float, "unsure_at": float})
    others = made["weight"].sum() - made["weight"]
    for weight, share in (("weight", "share"), ("zero_at", "zero_share"), ("unsure_at", "unsure_share")):
        made[share] = made[weight] / (made[weight] + others)
    return made


def unit_line(card: Scorecard) -> str:
    """The right p beside the one that a test over single drafts would claim, struck through."""
    right, wrong = card.fixed[2] if card.fixed[2] is not None else card.p_value, card.request_level.p_value
    if right is None or wrong is None:
        return ""
    return f"By user, p {p_words(right)}. ~~By single draft, p {p_words(wrong)}.~~"


def plan_lines(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """What was agreed, as pairs of a name and words; what was left open is not said."""
    guards = [_guard_words(one) for one in plan.get("guardrails", ())]
    said = {
        "Primary": _metrics(plan.get("primary")),
        "Guardrails": "; ".join(guards),
        "Watched": _metrics(plan.get("watched")),
        "Own past as covariate": _metrics(plan.get("covariates")),
        "Segments": _list(plan.get("segments")),
        "Worth shipping for": change(_first(plan.get("primary")), plan.get("minimum_effect")) or "",
        "Error rates": f"alpha {plan.get('alpha', 0.05):g}, power {plan.get('power', 0.8):.0%}",
        "Planned users": f"{plan['n_users']:,}" if plan.get("n_users") else "not planned to a size",
        "At least": f"{plan.get('min_users_per_arm', 0)} users a variant",
    }
    return [(name, words) for name, words in said.items() if words]


def _guard_words(guard: Any) -> str:
    """One guardrail of a stored plan, which keeps it as a mapping or as a list of its fields."""
    one = guard if isinstance(guard, dict) else dict(zip(("metric", "margin", "is_relative"), guard, strict=False))
    allowed = f"{one['margin']:.0%}" if one.get("is_relative", True) else change(one["metric"], one["margin"])
    return f"{name_of(one['metric'])} by {str(allowed).lstrip('+')}"


def _metrics(names: Any) -> str:
    return ", ".join(name_of(str(name)) for name in names or ())


def _list(names: Any) -> str:
    return ", ".join(str(name) for name in names or ())


def _first(names: Any) -> str:
    return str(next(iter(names or ("",))))


def short(sentence: str) -> str:
    """The first sentence of a verdict: what to do, without its figures."""
    head, dot, _ = sentence.partition(". ")
    return head + "." if dot else sentence


def reasons(sentence: str) -> str:
    """What follows the first sentence of a verdict: its figures."""
    return sentence.partition(". ")[2]


def is_read(card: Scorecard) -> bool:
    """False when the figures may not be read, since the split of users is not to be trusted."""
    return card.verdict is not Verdict.BLOCKED
