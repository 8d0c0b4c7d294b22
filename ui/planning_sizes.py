"""What a plan asks of its loop: the sentence first, then users and days, the curve, and what would help."""

from typing import Any

import pandas as pd
import streamlit as st

from organism.experiment.plan import Plan
from organism.experiment.sizing import Sizing, amount, size
from organism.experiment.sizing_flow import Proposal, past_of, read_loop_traffic
from organism.measures.metric_names import label_of
from ui import cards, planning_charts, runtime
from ui.words import counted, literal

READING = "Reading what the users of this loop did in the last eight weeks. Later changes are arithmetic only."
ROLES = {"primary": "Primary", "guardrail": "Guardrail", "watched": "Watched"}


def asked_of_loop(loop_id: str, proposal: Proposal) -> Sizing:
    """What the proposal asks for; the loop's past is read once, so that a turn of a knob is arithmetic only.

    At a million interactions that first reading takes over two seconds, so it says what it does, and for how long.
    """
    with st.spinner(READING, show_time=True):
        traffic = runtime.read(read_loop_traffic, loop_id, past_of(proposal), runtime.now())
    return size(proposal.plan, proposal.variants, traffic)


def sizing(found: Sizing, plan: Plan, about: tuple[Any, ...]) -> None:
    """What the plan asks for: the sentence, the figures, the curve, what would help."""
    _banner(found)
    with st.grid(2, min_column_width=150):
        st.metric(
            "Users needed", f"{found.n_users:,}" if found.n_users else None, border=True, height="stretch",
            help="In all variants together, with a known value of the first primary metric, for one read at the end.",
        )  # fmt: skip
        st.metric(
            "Days", f"{found.days}" if found.days else None, border=True, height="stretch",
            help="Until this loop's traffic has brought them, a week at least; a dash: not within a year.",
        )  # fmt: skip
        st.metric(
            "Users, if watched", f"{found.n_users_sequential:,}" if found.n_users_sequential else None, border=True,
            height="stretch", help="For the always-valid interval, which may be looked at every day.",
        )  # fmt: skip
        st.metric(
            "Users a week", f"{found.users_per_week:,.0f}", f"{found.new_users_per_week:,.0f} of them new",
            delta_color="off", delta_arrow="off", border=True, height="stretch",
            help=f"Of this loop, over the last {_span(found.history_days)}, as far as this plan takes them.",
        )  # fmt: skip
    _curve(found, plan, about)
    for one in found.advice:
        size = f"{one.n_users:,} users" if one.n_users else "users unknown"
        days = f"{one.days} days" if one.days else "not within a year"
        st.markdown(f":material/lightbulb: {literal(one.words)}: {size}, {days}.")
    for warning in found.warnings:
        st.caption(f":material/info: {literal(warning)}")
    _table(found)
    source = f"users of {found.measured_on}" if found.measured_on else "all users"
    st.caption(literal(f"{found.adjustment} Variances are those of {source} in this loop, by user."))


def _span(history_days: float) -> str:
    days = max(round(min(history_days, 56)), 1)
    return "day" if days == 1 else f"{days} days"


def _banner(found: Sizing) -> None:
    open_guards = found.is_reached and bool(found.stays_open)
    tone, icon, words = {
        True: ("green", "check_circle", "You will get there"),
        False: ("orange", "hourglass_disabled", "You will not get there"),
        None: ("gray", "help", "Cannot be computed yet"),
    }[found.is_reached]
    if open_guards:
        tone, icon, words = "orange", "hourglass_disabled", "A guardrail would stay open"
    st.header(f":{tone}[{words}]", icon=f":material/{icon}:", anchor=False)
    st.markdown(f"**{literal(found.sentence.removeprefix('You will not get there: '))}**")


def _curve(found: Sizing, plan: Plan, about: tuple[Any, ...]) -> None:
    metric = plan.primary[0]
    rows = pd.DataFrame([one._asdict() for one in found.curve if one.metric == metric])
    if rows.empty:
        return
    last = rows.iloc[-1]
    cards.chart(
        runtime.figure(planning_charts.curve, rows, metric, plan.minimum_effect, about=about),
        f"After {counted(int(last['weeks']), 'week')} and {last['n_users']:,} users the test sees "
        f"{amount(metric, last['effect'])} with {plan.power:.0%} power.",
        rows,
        "smallest_effect_by_week",
    )


def _table(found: Sizing) -> None:
    rows = [
        {
            "Metric": label_of(one.metric),
            "Role": ROLES[one.role],
            "Gain or margin": one.effect,
            "Users": one.n_users,
            "Days": one.days,
            "Mean": one.mean,
            "Spread by user": one.deviation,
            "CUPED takes": None if one.variance_reduction is None else 100 * one.variance_reduction,
        }
        for one in found.metrics
    ]
    column = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        alt="What each metric of the plan asks for",
        column_config={
            "Mean": column(format="%.4g", help="Ratio of sums over the users it is measured on."),
            "Spread by user": column(format="%.3g", help="Standard deviation of one user's (linearized) value."),
            "Gain or margin": column(format="%.3g", help="Least gain worth shipping, or the margin, in its own unit."),
            "Users": column(help="Users in all with a known value, for one read at the end."),
            "Days": column(help="Until they are there; empty: not within a year."),
            "CUPED takes": column(format="%.0f%%", help="Share of the variance that the past explains."),
        },
    )
