"""Fine-tunes: what a run learns from, how it goes, what came of it, and which version is live."""

from dataclasses import replace

import streamlit as st

from organism.config import utcnow
from organism.deploy.flow import (
    FACTS_MARGIN,
    facts_objection,
    live_version,
    promote,
    read_alias_events,
    read_version,
    read_versions,
    rollback,
    version_by_name,
)
from organism.digest.flow import live_design
from organism.digest.training_set_flow import build_training_set
from organism.errors import OrganismError
from organism.loop import start_test
from organism.optimize.flow import (
    SftConfig,
    read_evaluation,
    read_progress,
    read_runs,
    resume_run,
    start_run,
    stop_run,
)
from organism.store.datasets import read_datasets
from ui import cards, charts, runtime
from ui.runs import evaluation_card, is_alive, run_line, training_set_card
from ui.words import counted, literal, sentence

cards.head(
    "Fine-tunes",
    "Train a small adapter on what experts finally wrote. Each run is a process of its own: close the tab, it goes on.",
    "model_training",
)
loop = runtime.chosen_loop()
if loop is None:
    cards.empty(
        "Nothing to learn from yet",
        "A fine-tune learns from drafts that experts corrected. Send interactions and feedback first.",
        "model_training",
        page="sources",
        action="Open Sources",
    )
    st.stop()

store, place = runtime.store(), runtime.place()


@st.dialog("New fine-tune", icon=":material/model_training:", position="right")
def new_run(loop_id: str) -> None:
    """The few knobs of a run, each with its reason."""
    usual = SftConfig()
    with st.form("new_run", border=False):
        rows = st.slider(
            "Expert notes to learn from",
            20,
            1000,
            400,
            20,
            help="The latest corrected drafts of users who consented. The same users are always held out.",
        )
        epochs = st.slider("Passes over them", 1, 8, usual.epochs, help="More passes learn more, then by heart.")
        rank = st.select_slider(
            "Capacity (LoRA rank)",
            [4, 8, 16, 32, 64],
            usual.lora_r,
            help="How much the adapter can change. 16 suits this base.",
        )
        rate = st.select_slider(
            "Learning rate",
            [1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
            usual.learning_rate,
            format_func=lambda value: f"{value:g}",
            help="Step size. Small models like the shipped one take larger steps than a model of a billion.",
        )
        replay = st.slider(
            "Share of replayed base drafts",
            0.0,
            0.5,
            usual.replay_share,
            0.05,
            help="Mixing in what the base writes well keeps its facts while it learns a style.",
        )
        st.caption("The split, the settings and the rows are frozen with the run, so it can be repeated.")
        asked = st.form_submit_button("Start", type="primary", icon=":material/play_arrow:", width="stretch")
    if asked:
        config = replace(
            usual, epochs=epochs, lora_r=rank, lora_alpha=2 * rank, learning_rate=rate, replay_share=replay
        )
        with cards.polite("Not started"), st.spinner("Freezing a training set ..."):
            dataset = build_training_set(store, loop_id, max_rows=rows, now=utcnow())
            design = live_design(store, loop_id)
            st.query_params["run"] = start_run(
                store, place, loop_id, dataset.dataset_id, config, design=design, now=utcnow()
            )
            st.rerun()


def stop(run_id: str) -> None:
    try:
        stop_run(store, place, run_id)
    except OrganismError as error:
        st.session_state["refused"] = str(error)


def resume(run_id: str) -> None:
    try:
        resume_run(store, place, run_id, now=utcnow())
    except OrganismError as error:
        st.session_state["refused"] = str(error)


runs = runtime.read_with_runs(read_runs, loop.loop_id)
with st.container(horizontal=True, vertical_alignment="center"):
    if st.button("New fine-tune", type="primary", icon=":material/add:", shortcut="n", key="new_run_button"):
        new_run(loop.loop_id)
    datasets = runtime.read(read_datasets, loop.loop_id)
    st.caption(
        "No training set yet."
        if datasets.empty
        else f"{counted(len(datasets), 'training set')} frozen, {counted(len(runs), 'run')} so far."
    )
if refused := st.session_state.pop("refused", None):
    st.error(literal(sentence(refused)), title="Not done", icon=":material/error:")

asked_run = address = st.query_params.get("run")
if asked_run is not None and asked_run not in set(runs["run_id"]):
    st.warning(f"There is no run {literal(asked_run)} here. Showing the latest.", title="Unknown link")
    asked_run = None
was_alive = is_alive(runs)


@st.fragment(run_every="1s" if was_alive else None)
def board(loop_id: str, asked_run: str | None) -> None:
    """All runs and the loss of the open one; redrawn every second while one is alive."""
    runs = runtime.read_with_runs(read_runs, loop_id)
    if is_alive(runs) != was_alive or st.query_params.get("run") != address:
        st.rerun()
    if runs.empty:
        cards.empty(
            "No runs",
            "Nothing has been tuned yet. The usual settings take two to four minutes on two cores; "
            "the base stays as it is, and every version can be rolled back.",
            "model_training",
        )
        return
    chosen = asked_run or str(runs["run_id"].iloc[0])
    for _, run in runs.head(4).iterrows():
        run_line(run, is_open=run["run_id"] == chosen, stop=stop, resume=resume)
    if len(runs) > 4:
        with st.expander(f"{len(runs) - 4} older runs"):
            for _, run in runs.iloc[4:].iterrows():
                run_line(run, is_open=run["run_id"] == chosen, stop=stop, resume=resume)
    curve = read_progress(place, chosen)
    with st.container(border=True):
        st.header("Loss", anchor=False)
        if len(curve) < 2:
            st.caption("The curve starts with the second step.")
            return
        takeaway = f"Loss went from {curve['loss'].iloc[0]:.2f} to {curve['loss'].iloc[-1]:.2f} in {len(curve)} steps."
        cards.chart(runtime.figure(charts.loss, curve, about=(chosen, len(curve))), takeaway, curve, f"loss_{chosen}")


board(loop.loop_id, asked_run)

shown = asked_run or (str(runs["run_id"].iloc[0]) if len(runs) else None)
if shown:
    learned = datasets[datasets["dataset_id"] == runs.set_index("run_id").loc[shown, "dataset_id"]]
    if len(learned):
        training_set_card(learned.iloc[0])
versions = runtime.read(read_versions, loop.loop_id)
made = versions[versions["run_id"] == shown] if shown else versions.iloc[:0]
if len(made):
    version = made.iloc[0]
    figures = runtime.read(read_evaluation, version["model_version_id"])
    with st.container(border=True):
        st.header(f"Did it get better? {version['name']} against its base", anchor=False)
        if figures is None:
            st.caption("This version has not been evaluated.")
        else:
            evaluation_card(figures, version["name"], FACTS_MARGIN)
            if objection := facts_objection(version["name"], figures, FACTS_MARGIN):
                st.warning(literal(sentence(objection)), title="Not promotable", icon=":material/gpp_bad:")
        with st.container(horizontal=True):
            if st.button("Start an experiment", type="primary", icon=":material/science:", key="start_experiment"):
                with cards.polite("Not started"):
                    live = live_version(store, loop.loop_id)
                    treatment = read_version(store, version["model_version_id"])
                    is_rival = live is not None and live.model_version_id != treatment.model_version_id
                    control = live if is_rival else version_by_name(store, loop.loop_id, "base")
                    started = start_test(store, loop.loop_id, control, treatment, now=utcnow())
                    st.switch_page(cards.page_file("experiments"), query_params={"exp": started})
            if not version["is_live"] and st.button("Promote to live", icon=":material/publish:", key="promote"):
                with cards.polite("Not promoted"):
                    promote(
                        store,
                        loop.loop_id,
                        version["model_version_id"],
                        actor="page",
                        reason="Promoted from the fine-tunes page",
                        now=utcnow(),
                    )
                    st.rerun()
            st.page_link(
                cards.page_file("before_after"),
                label="Read its drafts",
                icon=":material/compare:",
                query_params={"version": version["name"]},
            )

if len(versions):
    st.header("Versions", anchor=False)
    st.dataframe(
        versions[["name", "is_live", "before", "after", "facts_before", "facts_after", "created_at"]],
        hide_index=True,
        column_config={
            "name": "Version",
            "is_live": st.column_config.CheckboxColumn("Live", help="The version that new drafts come from."),
            "before": st.column_config.NumberColumn("Base keeps", format="percent"),
            "after": st.column_config.ProgressColumn(
                "Keeps", format="percent", max_value=1.0, help="Retained characters."
            ),
            "facts_before": st.column_config.NumberColumn("Base facts", format="percent"),
            "facts_after": st.column_config.NumberColumn("Facts", format="percent"),
            "created_at": st.column_config.DatetimeColumn("Made (UTC)", format="MMM D, HH:mm"),
        },
        alt="Model versions of this loop with their held-out figures",
    )
    events = runtime.read(read_alias_events, loop.loop_id)
    if len(events):
        st.header("What was live when", anchor=False)
        st.dataframe(
            events[["created_at", "version", "previous", "actor", "reason"]],
            hide_index=True,
            column_config={
                "created_at": st.column_config.DatetimeColumn("From (UTC)", format="MMM D, HH:mm"),
                "version": "Live",
                "previous": "Before",
                "actor": "By",
                "reason": st.column_config.TextColumn("Why", width="large"),
            },
            alt="History of the live alias, the newest first",
        )
        if events["previous"].notna().any() and st.button(
            "Roll back to the one before", icon=":material/undo:", key="roll_back"
        ):
            with cards.polite("Not rolled back"):
                rollback(store, loop.loop_id, actor="page", reason="Rolled back from the fine-tunes page", now=utcnow())
                st.rerun()
