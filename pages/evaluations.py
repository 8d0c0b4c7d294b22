"""Evaluations: any version against any other on held-out rows, over time; what must not get worse."""

import streamlit as st

from organism.store.model_versions import read_versions
from ui import cards, evaluation_views, runtime

VIEWS = {
    "Evaluations": evaluation_views.evaluations,
    "Compare two versions": evaluation_views.comparison,
    "Safety cases": evaluation_views.safety,
}

cards.head(
    "Evaluations",
    "Is a version better than another, where is it worse, and does it still say what it must? On prompts of people "
    "whom training never saw.",
    "fact_check",
)
loop = runtime.chosen_loop()
if loop is None or runtime.read(read_versions, loop.loop_id).empty:
    cards.empty(
        "Nothing to evaluate yet",
        "An evaluation compares two versions of a model on held-out prompts. Fine-tune one first.",
        "fact_check",
        page="fine_tunes",
        action="Open Fine-tunes",
    )
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    if not cards.presenting() and st.button(
        "Evaluate a version", type="primary", icon=":material/fact_check:", key="new_evaluation_button"
    ):
        evaluation_views.new_evaluation(loop)
    if loop.is_synthetic:
        cards.simulated_badge()
    cards.present_button()
if cards.presenting():
    evaluation_views.evaluations(loop)
    st.stop()
view = st.segmented_control(
    "View", list(VIEWS), default="Evaluations", required=True, key="view", bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
VIEWS[view or "Evaluations"](loop)
