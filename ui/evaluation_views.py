"""Views of the evaluations page: all evaluations and the open one, two versions compared, the safety cases."""

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.deploy.flow import FACTS_MARGIN, facts_objection, live_version
from organism.optimize.evaluation_flow import (
    compare_versions,
    describe_evaluation,
    evaluate_by_name,
    read_evaluations,
)
from organism.optimize.flow import read_runs
from organism.optimize.safety_flow import add_safety_cases, read_safety_cases, remove_safety_case
from organism.records import Recipe, Role, RunStatus
from organism.store.datasets import read_datasets
from organism.store.evaluations import read_evaluation
from organism.store.model_versions import read_versions
from ui import cards, evaluation_cards, evaluation_charts, runtime
from ui.words import counted, literal, points, sentence

Loop = runtime.Loop
ITS_BASE, SAME_ROWS, NO_JUDGE = "Its base", "Those of its last evaluation", "No judge"


def writers(loop: Loop) -> list[str]:
    """The names of the versions that write, the newest first."""
    found = runtime.read(read_versions, loop.loop_id)
    return [str(name) for name in found.loc[found["role"] == Role.WRITER, "name"]]


def evaluations(loop: Loop) -> None:
    """What is being measured now, every evaluation over time, and the open one in full."""
    at_work(loop)
    found = runtime.read(read_evaluations, loop.loop_id)
    asked = st.query_params.get("evaluation")
    if asked is not None and asked not in set(found["eval_run_id"]):
        st.warning(f"There is no evaluation {literal(asked)} here. Showing the latest.", title="Unknown link")
        asked = None
    written = found[found["role"] != Role.JUDGE].reset_index(drop=True)
    if not cards.presenting():
        _over_time(loop, written)
        _table(written)
    if chosen := asked or (None if written.empty else str(written["eval_run_id"].iloc[0])):
        opened(chosen)


def at_work(loop: Loop) -> None:
    """Evaluations that wait or run, redrawn every second while there are any."""
    if _living(loop).empty:
        return

    @st.fragment(run_every="1s")
    def board() -> None:
        now = _living(loop)
        if now.empty:
            st.rerun()
        for run in now.itertuples():
            with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"run_{run.run_id}"):
                cards.run_badge(RunStatus(run.status))
                st.markdown(literal("Waiting for its turn" if pd.isna(run.message) else str(run.message)))

    board()


def _living(loop: Loop) -> pd.DataFrame:
    runs = runtime.read_with_runs(read_runs, loop.loop_id)
    return runs[(runs["recipe"] == Recipe.EVALUATE) & runs["status"].isin(runtime.ALIVE)]


def _over_time(loop: Loop, found: pd.DataFrame) -> None:
    known = found.dropna(subset=["gain"])
    if len(known) < 2:
        st.caption("The comparison over time starts with the second evaluation.")
        return
    live = live_version(runtime.store(), loop.loop_id)
    newest, best = known.iloc[0], known.loc[known["gain"].idxmax()]
    takeaway = (
        f"The newest, {newest['version']} against {newest['baseline']}, changed retained characters by "
        f"{points(newest['gain'])}; the best of {counted(len(known), 'evaluation')} was {best['version']} with "
        f"{points(best['gain'])}. Rows and rivals differ: read the table."
    )
    with st.container(border=True):
        st.header("Over time", anchor=False)
        drawn = runtime.figure(evaluation_charts.over_time, known, live.name if live else None, about=(loop.loop_id,))
        cards.chart(drawn, takeaway, known, "evaluations")


def _table(found: pd.DataFrame) -> None:
    columns = (
        "version baseline created_at n_rows before after gain facts_before facts_after win_rate tokens_before "
        "tokens_after n_overlapping n_safety_worse eval_run_id"
    ).split()
    picked = st.dataframe(
        found[columns],
        key="evaluations_table",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "version": "Version",
            "baseline": st.column_config.TextColumn("Against", help="The version that it was measured against."),
            "created_at": st.column_config.DatetimeColumn("At (UTC)", format="MMM D, HH:mm"),
            "n_rows": st.column_config.NumberColumn("Rows", help="Held-out rows that both models drafted."),
            "before": st.column_config.NumberColumn("Kept before", format="percent"),
            "after": st.column_config.NumberColumn("Kept after", format="percent", help="Retained characters."),
            "gain": st.column_config.NumberColumn("Gain", format="percent"),
            "facts_before": st.column_config.NumberColumn("Facts before", format="percent"),
            "facts_after": st.column_config.NumberColumn("Facts after", format="percent"),
            "win_rate": st.column_config.NumberColumn("Win rate", format="percent", help="A tie counts half."),
            "tokens_before": st.column_config.NumberColumn("Tokens before", format="%.0f"),
            "tokens_after": st.column_config.NumberColumn("Tokens after", format="%.0f"),
            "n_overlapping": st.column_config.NumberColumn("Seen", help="Held-out prompts near to a training prompt."),
            "n_safety_worse": st.column_config.NumberColumn("Unsafe", help="Safety cases that got worse."),
            "eval_run_id": None,
        },
        alt="Evaluations of this loop, the newest first; select a row to open it",
    )
    cards.csv_button(found[columns], "evaluations_table")
    if rows := picked["selection"]["rows"]:
        st.query_params["evaluation"] = str(found["eval_run_id"].iloc[rows[0]])


def opened(eval_run_id: str) -> None:
    """One evaluation in full, with what the gate says."""
    found = runtime.read(describe_evaluation, eval_run_id)
    version, baseline = (str(found.header[name] or "a version that is gone") for name in ("version", "baseline"))
    st.header(f"Did it get better? {literal(version)} against {literal(baseline)}", anchor=False)
    counts = runtime.read(read_evaluation, found.header["model_version_id"]) or {}
    objection = facts_objection(version, found.figures, FACTS_MARGIN)
    if objection and counts.get("eval_run_id") == eval_run_id:
        st.warning(literal(sentence(objection)), title="Not promotable", icon=":material/gpp_bad:")
    evaluation_cards.evaluation(
        found.figures, found.results, version=version, baseline=baseline, facts_margin=FACTS_MARGIN
    )


def comparison(loop: Loop) -> None:
    """Two versions on the rows that both have drafted, without running a model."""
    names = writers(loop)
    if len(names) < 2:
        st.caption("A comparison needs two versions that write. Fine-tune one first.")
        return
    left, right = st.columns(2)
    version = left.selectbox("Version", names, key="compare_version", bind="query-params")
    others = [name for name in names if name != version]
    against = right.selectbox("Against", others, index=len(others) - 1, key="compare_against")
    with cards.polite("Not comparable yet"):
        found = runtime.read(compare_versions, loop.loop_id, str(version), str(against))
        st.caption("Their latest drafts of the same held-out rows, whatever they were measured against at the time.")
        evaluation_cards.evaluation(
            found.figures,
            found.results,
            version=found.version,
            baseline=found.against,
            facts_margin=FACTS_MARGIN,
        )


def safety(loop: Loop) -> None:
    """The cases that every evaluation runs, and a form for one more."""
    found = runtime.read(read_safety_cases, loop.loop_id)
    st.caption(
        "Every evaluation asks both models these prompts. A version that fails a case which its base passes does not "
        "go live, whatever its other figures."
    )
    if found.empty:
        st.caption("No case is in use. Start with what must never go wrong: an allergy, a dose, a refusal.")
    else:
        _cases(loop, found)
    with st.expander("One more case", icon=":material/add_moderator:", expanded=found.empty):
        _new_case(loop)


def _new_case(loop: Loop) -> None:
    with st.form("safety_case", clear_on_submit=True, border=False):
        name = st.text_input("Name", help="What goes wrong when it fails.")
        prompt = st.text_area("Prompt")
        must = st.text_area("Must say", help="One line each; wordings of which one is enough are split by |.")
        banned = st.text_area("Must not say", help="One line each.")
        if st.form_submit_button("Take into use", icon=":material/add_moderator:"):
            line = {
                "name": name,
                "prompt": prompt,
                "must_say": [[part.strip() for part in group.split("|")] for group in _lines(must)],
                "must_not_say": _lines(banned),
            }
            with cards.polite("Not taken into use"):
                add_safety_cases(runtime.store(), loop.loop_id, [line], now=utcnow())
                st.rerun()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _cases(loop: Loop, found: pd.DataFrame) -> None:
    shown = pd.DataFrame(
        {
            "name": found["name"],
            "must_say": ["; ".join(" or ".join(group) for group in groups) for groups in found["must_say"]],
            "must_not_say": ["; ".join(words) for words in found["must_not_say"]],
            "prompt": found["prompt"],
        }
    )
    picked = st.dataframe(
        shown,
        key="safety_table",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "name": st.column_config.TextColumn("Case", width="medium"),
            "must_say": st.column_config.TextColumn("Must say", width="medium"),
            "must_not_say": st.column_config.TextColumn("Must not say", width="medium"),
            "prompt": st.column_config.TextColumn("Prompt", width="large"),
        },
        alt=f"{counted(len(found), 'safety case')} in use",
    )
    chosen = [str(found["case_id"].iloc[row]) for row in picked["selection"]["rows"]]
    if chosen and st.button(f"Take {counted(len(chosen), 'case')} out of use", icon=":material/remove_moderator:"):
        with cards.polite("Not removed"):
            for case_id in chosen:
                remove_safety_case(runtime.store(), loop.loop_id, case_id, utcnow())
            st.rerun()


@st.dialog("Evaluate a version", icon=":material/fact_check:", position="right")
def new_evaluation(loop: Loop) -> None:
    """Which version against which, on whose rows."""
    versions = runtime.read(read_versions, loop.loop_id)
    names = writers(loop)
    judges = [str(name) for name in versions.loc[versions["role"] == Role.JUDGE, "name"]]
    sets = runtime.read(read_datasets, loop.loop_id)
    usable = sets[(sets["kind"] == "sft") & (sets["n_heldout"] > 0)].set_index("dataset_id")
    with st.form("new_evaluation", border=False):
        version = st.selectbox("Version", names, help="Both models draft the same held-out prompts.")
        against = st.selectbox("Against", [ITS_BASE, *names], help="Usually its base, or the version that is live.")
        rows = st.selectbox(
            "Held-out rows",
            [SAME_ROWS, *usable.index],
            format_func=lambda key: key if key == SAME_ROWS else _set_title(usable.loc[key]),
            help="Only sets of the kind sft carry the texts that experts stood behind.",
        )
        limit = st.select_slider(
            "How many of them", [30, 60, 120, 300, "All"], "All", help="Fewer are quicker and say less."
        )
        judge = st.selectbox(
            "Judge", [NO_JUDGE, *judges], accept_new_options=True, help="A judge version, or http://HOST/v1#MODEL."
        )
        asked = st.form_submit_button("Start", type="primary", icon=":material/play_arrow:", width="stretch")
    if asked:
        with cards.polite("Not started"):
            evaluate_by_name(
                runtime.store(),
                runtime.place(),
                loop.loop_id,
                str(version),
                against=None if against == ITS_BASE else str(against),
                dataset_id=None if rows == SAME_ROWS else str(rows),
                judge=None if judge == NO_JUDGE else judge,
                max_rows=limit if isinstance(limit, int) else None,
                now=utcnow(),
            )
            st.rerun()


def _set_title(row: pd.Series) -> str:
    return f"{row['name']}, {int(row['n_heldout'])} held out"
