"""How an experiment's figures are shown: arms, guardrails, each measure in its own unit and as a relative change."""

import pandas as pd
import streamlit as st

from organism.experiment.analysis import Guardrail, GuardrailState, MetricRow
from organism.experiment.rules import Scorecard
from ui.words import percent, points

GUARDRAILS = {
    GuardrailState.HOLDS: ("green", "check_circle", "holds"),
    GuardrailState.BROKEN: ("red", "cancel", "broken"),
    GuardrailState.OPEN: ("orange", "hourglass_top", "not settled"),
    GuardrailState.UNMEASURED: ("gray", "help", "not measured"),
}
PER_1000 = "cost_usd"
SHARES = ("retained_char_rate", "written_share", "accepted")


def arm(version: str, mean: float | None, n_users: int, role: str) -> None:
    """One arm's retained characters, under its version's name."""
    st.metric(
        version,
        percent(mean),
        f"{role}, {n_users} users",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"Retained characters of the {role.lower()}: how much of what it wrote its users kept.",
    )


def guardrail_line(guardrail: Guardrail) -> None:
    """A guardrail's state in a badge and its margin in words."""
    color, icon, word = GUARDRAILS[guardrail.state]
    margin = f"{guardrail.margin:.0%} of the control" if guardrail.is_relative else points(guardrail.margin)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(word.capitalize(), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
        st.markdown(guardrail.label, width="stretch")
        st.caption(f"margin {margin}" + ("" if guardrail.p_value is None else f", p {p_words(guardrail.p_value)}"))


def metric_table(card: Scorecard) -> pd.DataFrame:
    """Each measure of both arms, the difference with its interval, and p, as words."""
    return pd.DataFrame(
        [
            {
                "Measure": "Cost of 1,000 drafts, USD" if row.metric == PER_1000 else row.label,
                card.control: _value(row, row.comparison.mean_control),
                card.treatment: _value(row, row.comparison.mean_treatment),
                "Difference": _change(row, row.comparison.effect),
                "95% interval": _interval(row),
                "p": None if row.comparison.p_value is None else p_words(row.comparison.p_value),
                "Better is": {1: "more", -1: "less"}.get(row.better, "either"),
            }
            for row in card.metrics
        ]
    )


def relative_table(card: Scorecard) -> pd.DataFrame:
    """Each measure's relative change: name, effect, low, high, better."""
    return pd.DataFrame(
        [
            (
                row.label.partition(",")[0],
                row.comparison.relative,
                row.comparison.relative_low,
                row.comparison.relative_high,
                row.better,
            )
            for row in card.metrics
        ],
        columns=["name", "effect", "low", "high", "better"],
    ).astype({"effect": float, "low": float, "high": float})


def p_words(p: float | None) -> str:
    """A p-value as people read it."""
    if p is None:
        return "unknown"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def unit_line(card: Scorecard) -> str:
    """The right p beside the one that a test over single drafts would claim, struck through."""
    right, wrong = card.p_value, card.request_level.p_value
    return f"By user, p = {right:.2g}. ~~By single draft, p = {wrong:.2g}.~~" if right and wrong else ""


def _value(row: MetricRow, value: float | None) -> str | None:
    if value is None or row.metric in SHARES:
        return percent(value)
    return _plain(row, value)


def _change(row: MetricRow, value: float | None) -> str | None:
    if value is None or row.metric in SHARES:
        return points(value)
    return ("+" if value > 0 else "") + _plain(row, value)


def _plain(row: MetricRow, value: float) -> str:
    scaled = value * 1000 if row.metric == PER_1000 else value
    return f"{scaled:,.0f}" if abs(scaled) >= 10 else f"{scaled:.3g}"


def _interval(row: MetricRow) -> str | None:
    low, high = row.comparison.ci_low, row.comparison.ci_high
    if low is None or high is None:
        return None
    return f"{_change(row, low)} to {_change(row, high)}"
