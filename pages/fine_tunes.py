"""Fine-tunes: start a run as easily as a chart, watch it, try several side by side, and make the best one live."""

import streamlit as st

from ui import cards, recipes, run_views, runtime, tracks
from ui.runs import queue_settings, refusal
from ui.words import counted

VIEWS = {"Runs": run_views.runs, "Tracks": tracks.tracks, "Versions": run_views.versions}

cards.head(
    "Fine-tunes",
    "Say what should get better, and a small adapter learns it. Each run is a process of its own: close the tab, it "
    "goes on.",
    "model_training",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing to learn from yet",
        "A fine-tune learns from drafts that people corrected, took or rejected. Send interactions and feedback first.",
        "model_training",
        page="sources",
        action="Open Sources",
    )
    st.stop()


def go_to_view() -> None:
    """Put the picked view into the address."""
    st.query_params["view"] = st.session_state["fine_tunes_view"]


def desk(loop: runtime.Loop) -> None:
    """What can be started, and the form that was asked for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("New fine-tune", type="primary", icon=":material/add:", shortcut="n", key="new_run_button"):
            recipes.ask(recipes.NEW)
        if st.button("Try several side by side", icon=":material/alt_route:", key="new_tracks_button"):
            recipes.ask(tracks.TRACKS)
        queue_settings()
        n_runs, n_sets = run_views.counts(loop)
        st.caption(f"{counted(n_runs, 'run')} so far, {counted(n_sets, 'training set')} frozen.")
        if loop.is_synthetic:
            cards.simulated_badge()
    refusal()
    if st.session_state.get(recipes.FORM) == tracks.TRACKS:
        tracks.new_tracks(loop)
    else:
        recipes.opened_form(loop)


if cards.presenting():
    if loop.is_synthetic:
        cards.simulated_badge()
else:
    desk(loop)
asked = st.query_params.get("view", "Tracks" if "sweep" in st.query_params else "Runs")
st.session_state["fine_tunes_view"] = asked if asked in VIEWS else "Runs"
view = st.segmented_control(
    "View", list(VIEWS), required=True, key="fine_tunes_view", on_change=go_to_view, label_visibility="collapsed"
)
VIEWS[view or "Runs"](loop)
cards.present_button()
