"""Plan an experiment: what should get better, for whom, and how many users and days it takes to know."""

import streamlit as st

from organism.config import utcnow
from organism.experiment.plan import plan_of
from organism.experiment.plan_flow import (
    change_plan,
    check_proposal,
    drop_plan,
    plan_changes,
    plan_experiment,
    proposal_of,
    revise_plan,
    start_planned,
)
from organism.store.experiments import PLANNED, read_experiment, read_experiments
from ui import cards, planning, planning_sizes, planning_versions, runtime
from ui.words import code, literal

NEW = "new"

cards.head(
    "Plan an experiment",
    "What should get better, for whom, and how many users and days it takes to know, from this loop's own traffic.",
    "edit_calendar",
)
loop = runtime.chosen_loop()
if loop is None:
    cards.empty(
        "Nothing to plan with",
        "A plan is sized by a loop's own traffic. Bring interactions in first: a file, or events from your product.",
        "edit_calendar",
        page="sources",
        action="Open Sources",
    )
    st.stop()

# Which plan: the address says it. A new one is what is there without a word.
found = runtime.read(read_experiments, loop.loop_id)
open_ones = found[found["ended_at"].isna()] if len(found) else found
names = {NEW: "A new experiment"} | {
    row.experiment_id: f"{'Draft' if row.status == PLANNED else 'Running'}: {row.name}"
    for row in open_ones.itertuples()
}
asked = st.query_params.get("plan") or NEW
if asked not in names:
    st.warning(f"There is no open plan {code(asked)} in this loop.", title="Unknown link", icon=":material/link_off:")
    asked = NEW


def go() -> None:
    st.session_state.pop("plan_said", None)
    if st.session_state["plan_pick"] == NEW:
        st.query_params.pop("plan", None)
    else:
        st.query_params["plan"] = st.session_state["plan_pick"]


if len(names) > 1:
    st.session_state["plan_pick"] = asked
    st.selectbox("Plan", list(names), key="plan_pick", format_func=names.__getitem__, on_change=go, width=420)
if said := st.session_state.pop("plan_said", None):
    st.success(literal(said), icon=":material/check_circle:")

experiment = None if asked == NEW else runtime.read(read_experiment, asked)
if experiment is not None and experiment.status != PLANNED:
    planning_versions.running(experiment, runtime.read(plan_changes, asked))
    left, right = st.columns([1, 1], gap="small")
    with left.container(border=True):
        st.header("Change the plan", anchor=False)
        fields, who, why = planning_versions.change_form(plan_of(experiment.plan), loop.loop_id)
        if fields is not None:
            with cards.polite("Not changed"):
                made = change_plan(runtime.store(), asked, fields, actor=who, why=why, now=utcnow())
                st.session_state["plan_said"] = f"Version {made.version}: {'; '.join(made.words)}"
                st.rerun()
    with right.container(border=True), cards.polite("Not sized"):
        proposal = proposal_of(experiment)
        planning_sizes.sizing(planning_sizes.asked_of_loop(loop.loop_id, proposal), proposal.plan, (asked,))
    st.stop()

left, right = st.columns([1, 1], gap="small")
proposal = None
with left.container(border=True):
    st.header("What is compared", anchor=False)
    with cards.polite("Not a plan yet"):
        proposal = planning.form(loop, proposal_of(experiment) if experiment else None, f"plan_{asked}")
with right.container(border=True):
    with cards.polite("Not a plan yet"):
        if proposal is None:
            st.caption("What it asks for is said here, once the form can be read.")
        else:
            full = runtime.read(check_proposal, loop.loop_id, proposal)
            planning_sizes.sizing(planning_sizes.asked_of_loop(loop.loop_id, full), full.plan, (full,))
    who = st.text_input("Your name", key="plan_who", placeholder="Stands beside the plan")
    with st.container(horizontal=True):
        wants_start = st.button(
            "Start the experiment", type="primary", icon=":material/play_arrow:", disabled=proposal is None,
            help="Freezes the plan. From now on users are assigned, and every change is a new version that shows.",
        )  # fmt: skip
        wants_draft = st.button("Keep the draft", icon=":material/save:", disabled=proposal is None)
        wants_drop = experiment is not None and st.button("Drop the draft", icon=":material/delete:", type="tertiary")

with cards.polite("Not done"):
    if wants_drop:
        st.session_state["plan_said"] = f"The draft {drop_plan(runtime.store(), asked)} is gone."
        st.query_params.pop("plan", None)
        st.rerun()
    if proposal is not None and (wants_draft or wants_start):
        store, now = runtime.store(), utcnow()
        if experiment is None:
            kept = plan_experiment(store, loop.loop_id, proposal, actor=who, is_synthetic=loop.is_synthetic, now=now)
        else:
            kept = revise_plan(store, asked, proposal, actor=who, now=now)
        if wants_start:
            start_planned(store, kept.experiment_id, actor=who, now=now)
            st.switch_page(cards.page_file("experiments"), query_params={"exp": kept.experiment_id})
        st.session_state["plan_said"] = f"The draft {kept.name} is kept. Its address is in this page's link."
        st.query_params["plan"] = kept.experiment_id
        st.rerun()
