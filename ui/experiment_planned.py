"""An experiment that is planned and has not started: what it asks for, its terms, and the button that freezes them."""

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.errors import OrganismError
from organism.experiment.plan_flow import proposal_of, size_plan, start_planned
from organism.store.experiments import Experiment
from ui import cards, runtime
from ui.experiment_details import agreed
from ui.experiment_record import take_away
from ui.experiment_views import about, status
from ui.planning_sizes import READING
from ui.words import counted, literal, sentence


def planned(experiment: Experiment) -> None:
    """The whole page of a draft."""
    with st.container(border=True, key="verdict", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.header("Planned, not started", icon=":material/event_upcoming:", anchor=False, width="stretch")
            status(experiment)
        st.markdown(f"**{literal(_ask(experiment))}**")
        st.caption(about(experiment))
    left, right = st.columns([1, 1], gap="small")
    with left.container(border=True, height="stretch"):
        st.header("Variants", anchor=False)
        st.dataframe(
            variants_table(experiment),
            hide_index=True,
            placeholder="",
            alt="The planned variants with their shares",
            column_config={"Share": st.column_config.NumberColumn(format="percent")},
        )
    with right.container(border=True, height="stretch"):
        st.header("Plan", anchor=False)
        agreed(experiment.plan)
        st.page_link(
            cards.page_file("plan_experiment"),
            label="Change the plan, or see what it asks for",
            icon=":material/edit_note:",
            query_params={"plan": experiment.experiment_id},
        )
    if not cards.presenting():
        start(experiment)
        take_away(experiment)


def _ask(experiment: Experiment) -> str:
    """What the plan asks of this loop's traffic, or why that cannot be said."""
    try:
        proposal = proposal_of(experiment)
        with st.spinner(READING, show_time=True):
            return runtime.read(size_plan, experiment.loop_id, proposal, now=runtime.now()).sentence
    except OrganismError as error:
        return sentence(str(error))


def variants_table(experiment: Experiment) -> pd.DataFrame:
    """Each variant: its role, its share, and what serves it."""
    rows = [
        (
            one.name,
            "Control" if one.name == experiment.control else "Treatment",
            one.share,
            "a version of this loop" if one.model_version_id else "the product itself",
            one.prompt,
        )
        for one in experiment.variants
    ]
    made = pd.DataFrame(rows, columns=["Variant", "Role", "Share", "Served by", "Prompt"])
    return made.dropna(axis="columns", how="all")


def start(experiment: Experiment) -> None:
    """The button that freezes the plan."""
    n = len(experiment.variants)
    with st.container(border=True):
        st.header("Start", anchor=False)
        st.caption(
            "From the first user on the plan stands; a later change is a new version and shows. Each user is given "
            f"one of {counted(n, 'variant')} and keeps it."
        )
        with st.form("start_planned", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            who = st.text_input("Your name", required=True, width=260)
            asked = st.form_submit_button("Start the experiment", type="primary", icon=":material/play_arrow:")
        if asked:
            with cards.polite("Not started"):
                start_planned(runtime.store(), experiment.experiment_id, actor=who, now=utcnow())
                st.rerun()
