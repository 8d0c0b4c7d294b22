"""Two views of the fine-tunes page: the runs with the open one in full, and the versions that they made."""

from typing import Any

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.deploy.flow import (
    FACTS_MARGIN,
    facts_objection,
    promote,
    read_alias_events,
    read_versions,
    rollback,
)
from organism.optimize.flow import LOCAL, read_eval_results, read_evaluation, read_runs
from organism.records import Role, RunStatus
from organism.store.datasets import read_datasets
from organism.store.reward_designs import read_saved
from organism.tracks import send_to_experiment
from ui import cards, evaluation_cards, exports, runtime
from ui.run_figures import judge_card, live_figures, log, training_set_card
from ui.runs import is_alive, run_line, title_of
from ui.words import literal, sentence

SHOWN = 5


def counts(loop: runtime.Loop) -> tuple[int, int]:
    """How many runs there were, and how many sets are frozen."""
    return len(runtime.read_with_runs(read_runs, loop.loop_id)), len(runtime.read(read_datasets, loop.loop_id))


def runs(loop: runtime.Loop) -> None:
    """Every run in a line, and the open one in full."""
    found = runtime.read_with_runs(read_runs, loop.loop_id)
    if found.empty:
        _no_runs()
        return
    asked = st.query_params.get("run")
    if asked is not None and asked not in set(found["run_id"]):
        st.warning(f"There is no run {literal(asked)} here. Showing the latest.", title="Unknown link")
        asked = None
    was_alive = is_alive(found)

    @st.fragment(run_every="1s" if was_alive else None)
    def board(asked: str | None, address: str | None) -> None:
        """The lines and the figures of the open run; redrawn every second while one is alive."""
        now = runtime.read_with_runs(read_runs, loop.loop_id)
        if is_alive(now) != was_alive or st.query_params.get("run") != address:
            st.rerun()
        chosen = asked or _busiest(now)
        _lines(now, chosen)
        run = now.set_index("run_id", drop=False).loc[chosen]
        with st.container(border=True):
            how = "How it goes" if run["status"] in runtime.ALIVE else "How it went"
            st.header(f"{how}: {literal(title_of(run))}", anchor=False)
            st.caption(_lineage(run, now, loop.loop_id))
            with cards.polite("No figures"):
                live_figures(run)
            log(chosen)

    board(asked, st.query_params.get("run"))
    run = found.set_index("run_id", drop=False).loc[asked or _busiest(found)]
    datasets = runtime.read(read_datasets, loop.loop_id)
    learned = datasets[datasets["dataset_id"] == run["dataset_id"]]
    if len(learned):
        training_set_card(learned.iloc[0])
    made = runtime.read(read_versions, loop.loop_id)
    made = made[made["run_id"] == run["run_id"]]
    if len(made):
        outcome(loop, made.iloc[0])


def _busiest(found: pd.DataFrame) -> str:
    """The run to look at when nobody named one: that at work, else the newest."""
    at_work = found[found["status"].isin(runtime.ALIVE) & (found["status"] != RunStatus.QUEUED)]
    return str((at_work if len(at_work) else found)["run_id"].iloc[0])


def _lineage(run: pd.Series, found: pd.DataFrame, loop_id: str) -> str:
    """Where a run comes from: its set, its design, the run that it was cloned from, and where it trains."""
    said = [f"Learns from {literal(str(run['dataset_name']))}"] if pd.notna(run["dataset_name"]) else []
    if pd.notna(run["reward_design_id"]):
        names = {kept.design.id: f"version {kept.version}" for kept in runtime.read(read_saved, loop_id)}
        said.append(f"under the reward design {names.get(run['reward_design_id'], run['reward_design_id'][:8])}")
    parents = found[found["run_id"] == run["parent_run_id"]]
    if len(parents):
        said.append(f"cloned from {literal(title_of(parents.iloc[0]))}")
    if run["place"] != LOCAL:
        said.append(f"on {literal(str(run['place']))}")
    return f"{', '.join(said) or 'Its training set is gone'}."


def _no_runs() -> None:
    cards.empty(
        "No runs",
        "Nothing has been tuned yet. Start with New fine-tune: a quick look takes about a minute on two cores; "
        "the base stays as it is, and every version can be rolled back.",
        "model_training",
    )


def _lines(found: pd.DataFrame, chosen: str) -> None:
    queued = list(found.loc[found["status"] == RunStatus.QUEUED, "run_id"])[::-1]
    places = {run_id: place for place, run_id in enumerate(queued, 1)}
    is_shown = found.index < SHOWN
    is_shown |= found["status"].isin(runtime.ALIVE) | (found["run_id"] == chosen)
    for _, run in found[is_shown].iterrows():
        run_line(run, is_open=run["run_id"] == chosen, place=places.get(run["run_id"]))
    if len(older := found[~is_shown]):
        with st.expander(f"{len(older)} older runs"):
            for _, run in older.iterrows():
                run_line(run, is_open=False)


def outcome(loop: runtime.Loop, version: pd.Series) -> None:
    """What came of a run: is it better, and what to do with it."""
    name, figures = str(version["name"]), runtime.read(read_evaluation, version["model_version_id"])
    is_judge = version["role"] == Role.JUDGE
    with st.container(border=True):
        title = f"Does it judge as people do? {name}" if is_judge else f"Did it get better? {name} against its base"
        st.header(literal(title), anchor=False)
        if figures is None:
            st.caption("This version has not been evaluated.")
        elif is_judge:
            judge_card(figures, name)
        elif objection := facts_objection(name, figures, FACTS_MARGIN):
            st.warning(literal(sentence(objection)), title="Not promotable", icon=":material/gpp_bad:")
        if not is_judge:
            _next_steps(loop, version)
        with st.container(horizontal=True, vertical_alignment="center"):
            exports.card(version)
            exports.export(version)
    if figures is not None and not is_judge:
        results = runtime.read(read_eval_results, version["model_version_id"])
        evaluation_cards.evaluation(figures, results, version=name, facts_margin=FACTS_MARGIN)


def _next_steps(loop: runtime.Loop, version: pd.Series) -> None:
    """Experiment, promotion, reading its drafts."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Start an experiment", type="primary", icon=":material/science:", key="start_experiment"):
            with cards.polite("Not started"):
                started = send_to_experiment(runtime.store(), loop.loop_id, version["run_id"], utcnow(), force=True)
                st.switch_page(cards.page_file("experiments"), query_params={"exp": started})
        if not version["is_live"] and st.button("Promote to live", icon=":material/publish:", key="promote"):
            with cards.polite("Not promoted"):
                promote(
                    runtime.store(), loop.loop_id, version["model_version_id"], actor="page",
                    reason="Promoted from the fine-tunes page", now=utcnow(),
                )  # fmt: skip
                st.rerun()
        st.page_link(
            cards.page_file("before_after"),
            label="Read its drafts",
            icon=":material/compare:",
            query_params={"version": version["name"]},
        )


def versions(loop: runtime.Loop) -> None:
    """Every version with its figures, and which one was live when."""
    found = runtime.read(read_versions, loop.loop_id)
    if found.empty:
        _no_runs()
        return
    shown = found[["name", "role", "is_live", "before", "after", "facts_before", "facts_after", "created_at"]]
    st.dataframe(
        shown,
        hide_index=True,
        column_config=_VERSION_COLUMNS,
        placeholder="",
        alt="Model versions of this loop with their held-out figures",
    )
    cards.csv_button(shown, "versions")
    _live_history(loop)


_VERSION_COLUMNS: dict[str, Any] = {
    "name": "Version",
    "role": st.column_config.TextColumn("Role", help="A writer drafts for people; a judge grades drafts."),
    "is_live": st.column_config.CheckboxColumn("Live", help="The version that new drafts come from."),
    "before": st.column_config.NumberColumn("Base keeps", format="percent"),
    "after": st.column_config.ProgressColumn("Keeps", format="percent", max_value=1.0, help="Retained characters."),
    "facts_before": st.column_config.NumberColumn("Base facts", format="percent"),
    "facts_after": st.column_config.NumberColumn("Facts", format="percent"),
    "created_at": st.column_config.DatetimeColumn("Made (UTC)", format="MMM D, HH:mm"),
}


def _live_history(loop: runtime.Loop) -> None:
    events = runtime.read(read_alias_events, loop.loop_id)
    if events.empty:
        return
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
        placeholder="",
        alt="History of the live alias, the newest first",
    )
    if events["previous"].notna().any() and st.button(
        "Roll back to the one before", icon=":material/undo:", key="roll_back"
    ):
        with cards.polite("Not rolled back"):
            rollback(
                runtime.store(), loop.loop_id, actor="page", reason="Rolled back from the fine-tunes page", now=utcnow()
            )
            st.rerun()
