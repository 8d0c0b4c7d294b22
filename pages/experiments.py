"""Experiments: the verdict first, then the effect with its interval, what speaks against it, and the decision."""

import pandas as pd
import streamlit as st

from organism.errors import InputError
from organism.store.decisions import read_decisions
from organism.store.experiments import PLANNED, RUNNING, read_experiment, read_experiments
from ui import cards, experiment_reading, experiment_views, runtime, scorecards
from ui.experiment_decision import decision, fresh_visits
from ui.experiment_details import details
from ui.experiment_planned import planned
from ui.experiment_views import label
from ui.words import code


def head() -> None:
    """The page's own title; a slide has its verdict instead."""
    cards.head(
        "Experiments",
        "Is the new version really better? The verdict first, then what stands behind it; share it by its address.",
        "science",
    )


def follow(experiment_id: str) -> None:
    """Go to the loop of an experiment that a link names, where the link does not name the loop itself."""
    try:
        home = runtime.read(read_experiment, experiment_id).loop_id
    except InputError:
        return
    name = next((one.name for one in runtime.loops().values() if one.loop_id == home), None)
    if name is not None and home != (loop and loop.loop_id):
        st.query_params["loop"] = name
        st.rerun()


loop = runtime.chosen_loop()
if (linked := st.query_params.get("exp")) and "loop" not in st.query_params:
    follow(linked)
found = runtime.read(read_experiments, loop.loop_id) if loop else pd.DataFrame()
if loop is None or found.empty:
    head()
    cards.empty(
        "No experiment yet",
        "An experiment gives each user one of several variants and compares what they keep. Plan one, or start one "
        "from a fine-tune.",
        "science",
        page="plan_experiment",
        action="Plan an experiment",
    )
    st.page_link(cards.page_file("fine_tunes"), label="Open Fine-tunes", icon=":material/arrow_forward:")
    st.stop()

if not cards.presenting():
    head()
# Which experiment: the address says it, and always does, so that a link stays a link to this one.
ids = list(found["experiment_id"])
asked = st.query_params.get("exp") or None
if asked is not None and asked not in ids:
    st.warning(
        f"There is no experiment {code(asked)} in this loop. Showing the latest.",
        title="Unknown link",
        icon=":material/link_off:",
    )
chosen = str(asked if asked in ids else ids[0])


def go() -> None:
    """Put the picked experiment into the address."""
    st.query_params["exp"] = st.session_state["exp_pick"]


if not cards.presenting():
    names = {row.experiment_id: label(row) for row in found.itertuples(index=False)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state["exp_pick"] = chosen
        st.selectbox("Experiment", ids, format_func=names.__getitem__, key="exp_pick", on_change=go, width=420)
        cards.present_button()
        if st.button("Plan an experiment", icon=":material/add:", type="tertiary"):
            st.switch_page(cards.page_file("plan_experiment"))
if asked != chosen:
    st.query_params["exp"] = chosen

experiment = runtime.read(read_experiment, chosen)
if experiment.status == PLANNED:
    if cards.presenting():
        head()
    planned(experiment)
    if cards.presenting():
        cards.present_button()
    st.stop()
card = experiment_reading.scorecard(chosen)
decisions = runtime.read(read_decisions, chosen)
if cards.presenting():
    experiment_views.slide(card, experiment, decisions)
    cards.present_button()
    st.stop()
experiment_views.verdict(card, experiment, decisions)
experiment_views.headline(card, experiment)
if scorecards.is_read(card):
    experiment_views.board(card, experiment)
else:
    experiment_views.blocked(card)
is_served_here = experiment.status == RUNNING and experiment.is_synthetic
if is_served_here and card.effect is None:
    fresh_visits(experiment)
details(card, experiment)
decision(card, experiment, decisions)
if is_served_here and card.effect is not None:
    fresh_visits(experiment)
