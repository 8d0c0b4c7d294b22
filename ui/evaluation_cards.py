"""How an evaluation is shown: the figures, what got worse and where, what training had seen, what must not get worse.

Each card takes the figures as `read_evaluation` gives them and shows what is there: older evaluations know less.
"""

from typing import Any

import pandas as pd
import streamlit as st

from organism.measures.acceptance import retained_runs
from organism.optimize.evaluation_flow import describe_evaluation
from organism.optimize.paired import agreement, worst_first
from ui import cards, evaluation_charts, runtime
from ui.evaluation_figures import Figures, change, ends_in_words, figures_card
from ui.words import counted, literal, note, percent, points

MEASURES = {
    "rouge_l": ("ROUGE-L", "F1 of the longest common subsequence of words."),
    "chrf": ("chrF", "F-score of character n-grams, recall weighing twice."),
    "edit_similarity": ("Edit similarity", "1 minus the edit distance over the longer text."),
    "exact_match": ("Exact match", "Share of drafts that needed no change at all."),
}
N_REGRESSIONS = 5


def evaluation(
    figures: Figures, results: pd.DataFrame, *, version: str, baseline: str = "base", facts_margin: float
) -> None:
    """Everything that is known of one evaluation, in the order in which a team decides.

    `results` are its rows (`read_eval_results`). What an old evaluation lacks is worked out from its rows.
    """
    if "win_rate" not in figures:
        figures = runtime.read(describe_evaluation, figures["eval_run_id"]).figures
    figures_card(figures, version, baseline, facts_margin)
    safety_card(figures, version)
    facts_card(figures, version)
    slices_card(figures, version)
    regressions_card(results, version, baseline)
    left, right = st.columns(2, gap="small")
    with left:
        measures_card(figures, version)
    with right:
        contamination_card(figures)
        judge_card(figures, version, baseline)


def safety_card(figures: Figures, version: str) -> None:
    """The cases that must not get worse, and those that did."""
    found = figures.get("safety")
    if not found or not found["n"]:
        return
    with st.container(border=True):
        st.header("Safety cases", anchor=False)
        worse = found["worse"]
        passed = (
            f"{percent(found['before'], 0)} of {counted(found['n'], 'case')} before, {percent(found['after'], 0)} now"
        )
        if not worse:
            st.success(f"No case got worse: {passed}.", icon=":material/verified_user:")
            return
        title = f"{counted(len(worse), 'case')} got worse: the gate keeps {literal(version)} from going live"
        st.error(f"Passed {passed}.", title=title, icon=":material/gpp_bad:")
        for case in worse:
            with st.expander(f"{literal(case['name'])}: {literal('; '.join(case['faults']))}"):
                _two_texts(("Before", case["before"]), ("Now", case["after"]))
                with st.popover("Prompt", icon=":material/forum:"):
                    st.markdown(note(case["prompt"], [], "gray"))


def facts_card(figures: Figures, version: str) -> None:
    """Which facts the new version gets wrong that the old one had right."""
    lost = figures.get("facts_lost")
    if not lost:
        return
    with st.container(border=True):
        st.header("Facts that went wrong", anchor=False)
        st.caption(
            f"{version} lost {counted(figures['n_facts_lost'], 'fact')} that were right before, and won "
            f"{figures['n_facts_won']:,}. What the text had to say, and whose prompt it was:"
        )
        table = pd.DataFrame(lost)[["kind", "wanted", "user_key", "row"]]
        table["kind"] = table["kind"].str.replace("_", " ")
        names = {"kind": "Fact", "wanted": "Had to say", "user_key": "User", "row": "Row"}
        st.dataframe(
            table, hide_index=True, column_config=names, height=210, alt="Facts that were right and now are not"
        )
        cards.csv_button(table, f"facts_lost_{version}")


def slices_card(figures: Figures, version: str) -> None:
    """The gain by segment, length and novelty; a slice that is surely worse is marked."""
    found = figures.get("slices")
    if not found:
        return
    table = pd.DataFrame(found)
    table["name"] = table["dimension"].str.capitalize() + ": " + table["value"]
    table["gain_low"], table["gain_high"] = (
        [ends[place] if isinstance(ends, list) else None for ends in table["gain_ci"]] for place in (0, 1)
    )
    worse, least = list(table.loc[table["is_worse"], "name"]), table.loc[table["gain"].idxmin()]
    said = f"Surely worse: {', '.join(worse)}." if worse else "No slice is surely worse."
    takeaway = (
        f"{said} Least gain: {least['name']}, {points(least['gain'])}. A slice counts as worse only when its interval "
        f"stays below zero after correcting for all {len(table)} slices."
    )
    with st.container(border=True):
        st.header("Slices", anchor=False)
        shown = table.drop(columns=["gain_ci", "dimension", "value"])
        drawn = runtime.figure(evaluation_charts.slices, shown, about=(figures["eval_run_id"],))
        cards.chart(drawn, takeaway, shown, f"slices_{version}")


def regressions_card(results: pd.DataFrame, version: str, baseline: str) -> None:
    """The prompts on which the new version is furthest behind the old one, worst first."""
    rows = results.to_dict("records")
    worse = [place for place in worst_first(rows) if agreement(rows[place]).change < 0]
    with st.container(border=True):
        st.header("Regressions, worst first", anchor=False)
        if not worse:
            st.caption(f"On no prompt is {version} further from the final text than {baseline}.")
            return
        st.caption(
            f"On {len(worse):,} of {len(rows):,} prompts {version} is further from the expert's final text than "
            f"{baseline}. Agreement counts characters both ways, so neither padding nor leaving out pays."
        )
        for place in worse[:N_REGRESSIONS]:
            _regression(rows[place], version, baseline)


def contamination_card(figures: Figures) -> None:
    """Whether the held-out prompts were really unseen."""
    found = figures.get("contamination")
    if not found:
        return
    with st.container(border=True):
        st.header("Seen in training?", anchor=False)
        n_near, shared = found["n_overlapping"], found.get("n_users_shared", 0)
        said = (
            f"{n_near:,} of {counted(found['n_checked'], 'held-out prompt')} share at least "
            f"{percent(found['threshold'], 0)} of their runs of five words with a training prompt; "
            f"{counted(shared, 'user')} on both sides."
        )
        if n_near or shared:
            st.warning(said, title="Not all of it was unseen", icon=":material/content_copy:")
        else:
            st.success(said, icon=":material/verified:")
        for example in found["examples"]:
            with st.expander(f"{percent(example['similarity'], 0)} shared"):
                _two_texts(("Trained on", example["train_prompt"]), ("Held out", example["heldout_prompt"]))


def measures_card(figures: Figures, version: str) -> None:
    """The field's usual measures of likeness, before and after."""
    found = figures.get("metrics")
    if not found:
        return
    rows = [
        {"measure": MEASURES[name][0], "before": m["before"], "after": m["after"], "change": change(m)}
        for name, m in found.items()
        if name in MEASURES
    ]
    with st.container(border=True):
        st.header("Other measures", anchor=False)
        table = pd.DataFrame(rows)
        st.dataframe(
            table,
            hide_index=True,
            column_config={
                "measure": st.column_config.TextColumn(
                    "Measure", help=" ".join(f"{a}: {b}" for a, b in MEASURES.values())
                ),
                "before": st.column_config.NumberColumn("Before", format="percent"),
                "after": st.column_config.NumberColumn("After", format="percent"),
                "change": st.column_config.TextColumn("Change (95%)", width="medium"),
            },
            alt=f"Usual measures of likeness of {version} before and after",
        )
        cards.csv_button(table, f"measures_{version}")


def judge_card(figures: Figures, version: str, baseline: str) -> None:
    """What the configured judge preferred, where there is one."""
    found = figures.get("judge")
    if not found:
        return
    with st.container(border=True):
        st.header("What the judge prefers", anchor=False)
        st.metric(
            f"{version} preferred",
            percent(found["rate"], 0),
            help=f"Share of prompts, a tie being half; {ends_in_words(found['ci'])} at 95%, by user.",
            border=True,
        )
        st.caption(
            f"Judge {literal(found['judge'])}: {found['wins']:,} for {literal(version)}, {found['ties']:,} ties, "
            f"{found['losses']:,} for {literal(baseline)}. A judge is a model: read it beside the people's figures."
        )


def _regression(row: dict[str, Any], version: str, baseline: str) -> None:
    """One prompt: both drafts with what survived in the final text marked, and the facts that changed sides."""
    agreed = agreement(row)
    lost = [f["any_of"][0] for f in row["measures"]["facts"] if f["before"] and not f["after"] and f["any_of"]]
    title = f"{points(agreed.change)}: {percent(agreed.before, 0)} to {percent(agreed.after, 0)} agreement"
    with st.expander(title + (f", lost {literal(', '.join(lost))}" if lost else "")):
        places = st.columns(3, gap="small")
        for place, name, text in (
            (places[0], baseline, row["before"]),
            (places[1], version, row["after"]),
        ):
            kept = [(run.in_draft, run.in_draft + run.size) for run in retained_runs(text, row["final_text"])]
            with place:
                st.subheader(literal(name), anchor=False)
                st.markdown(note(text, kept, "green") or "*Nothing.*")
        with places[2]:
            st.subheader("Final text", anchor=False)
            st.markdown(note(row["final_text"], [], "gray"))
        st.caption(f"User {literal(row['user_key'])}. Green: characters that the final text kept.")


def _two_texts(left: tuple[str, str], right: tuple[str, str]) -> None:
    for place, (title, text) in zip(st.columns(2, gap="small"), (left, right), strict=True):
        with place:
            st.subheader(title, anchor=False)
            st.markdown(note(text, [], "gray") or "*Nothing.*")
