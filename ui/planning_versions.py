"""The plan of an experiment that runs: as it stands, what was changed since the start, and the form that changes it."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from organism.experiment.plan import Guard, Plan, margin_words, plan_of
from organism.experiment.plan_flow import PlanChange, metric_names
from organism.experiment.sizing import amount
from organism.measures.metric_names import name_of
from organism.store.experiments import Experiment
from ui import cards, charts, planning, runtime
from ui.words import literal


def running(experiment: Experiment, changes: Sequence[PlanChange]) -> None:
    """The plan in words, and each later version with who, when and why; what could bend a verdict is marked."""
    plan = plan_of(experiment.plan)
    with st.container(border=True):
        st.header(literal(experiment.name), anchor=False)
        frozen = charts.at(experiment.started_at or experiment.created_at)
        people = " Users are simulated." if experiment.is_synthetic else ""
        st.caption(literal(f"Version {experiment.plan_version} of its plan; frozen {frozen} UTC.{people}"))
        st.markdown("\n".join(f"- {literal(line)}" for line in in_words(plan)))
        for one in changes:
            st.markdown(
                f"**Version {one.version}**, {literal(one.actor)}, {charts.at(one.changed_at)} UTC: {literal(one.why)}"
            )
            for words in one.words:
                is_flagged = words in one.flagged
                st.markdown(f"{':material/flag: ' if is_flagged else ''}{literal(words)}")
        st.page_link(
            cards.page_file("experiments"),
            label="Open the experiment",
            icon=":material/science:",
            query_params={"exp": experiment.experiment_id},
        )


def in_words(plan: Plan) -> list[str]:
    """A plan as short lines."""
    size = f"{plan.n_users:,} users" if plan.n_users else "no size, since nothing could be computed"
    lines = [
        f"Decides: {', '.join(map(name_of, plan.primary))}, least gain {amount(plan.primary[0], plan.minimum_effect)}",
        f"Planned for {size}, alpha {plan.alpha:g}, power {plan.power:.0%}",
    ]
    lines += [
        f"Guardrail: {name_of(guard.metric)} not worse by more than {margin_words(guard)}" for guard in plan.guardrails
    ]
    if plan.watched:
        lines.append(f"Watched: {', '.join(map(name_of, plan.watched))}")
    if plan.covariates:
        lines.append(f"Adjusted for the past of {', '.join(map(name_of, plan.covariates))}")
    return lines


def change_form(plan: Plan, loop_id: str) -> tuple[dict[str, Any] | None, str, str]:
    """Fields that were changed (None until asked), who, and why."""
    known = [*runtime.read(metric_names, loop_id), *planning.QUANTILES]
    with st.form("change_plan", border=False):
        margins = {
            guard.metric: st.number_input(
                f"Margin of {literal(name_of(guard.metric))}", 0.0, value=guard.margin, format="%.4g",
                help=f"Now {margin_words(guard)}.",
            )
            for guard in plan.guardrails
        }  # fmt: skip
        n_users = st.number_input("Planned users", 4, value=plan.n_users, help="When the read at the end is due.")
        watched = st.multiselect("Watch", [*known, *plan.watched], plan.watched, format_func=name_of)
        segments = st.multiselect("Segments", ["region", *plan.segments], plan.segments, accept_new_options=True)
        with st.expander("What could bend the verdict", icon=":material/flag:"):
            st.caption("It is allowed, and it is flagged on the experiment's page: changed after start.")
            primary = st.multiselect("Primary metrics", [*known, *plan.primary], plan.primary, format_func=name_of)
            least = st.number_input("Least gain, in its own unit", 0.0, value=plan.minimum_effect, format="%.4g")
        who = st.text_input("Your name", required=True)
        why = st.text_input("In one sentence, why?", required=True)
        is_asked = st.form_submit_button("Change the plan", icon=":material/edit:", type="primary")
    guards = tuple(Guard(guard.metric, margins[guard.metric], guard.is_relative) for guard in plan.guardrails)
    fields = {
        "guardrails": guards, "n_users": None if n_users is None else int(n_users), "watched": tuple(watched),
        "segments": tuple(segments), "primary": tuple(primary), "minimum_effect": least,
    }  # fmt: skip
    changed = {name: value for name, value in fields.items() if value != getattr(plan, name)}
    return (changed if is_asked else None), who, why
