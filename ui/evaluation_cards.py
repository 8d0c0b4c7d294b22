"""How an evaluation is shown: the figures, what got worse and where, what training had seen, what must not get worse.

Each card takes the figures as `read_evaluation` gives them and shows what is there: older evaluations know less.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from organism.measures.acceptance import retained_runs
from organism.optimize.paired import agreement, worst_first
from ui import cards, charts, runtime
from ui.words import between, counted, literal, note, percent, points

Figures = Mapping[str, Any]
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

    `results` are its rows (`read_eval_results`).
    """
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


def figures_card(figures: Figures, version: str, baseline: str, facts_margin: float) -> None:
    """Before and after on held-out users: the figures, then the picture between its floor and its ceiling."""
    st.caption(
        f"Both models drafted {figures['n_rows']:,} prompts of {counted(figures['n_users'], 'user')} whom training "
        "never saw. Intervals at 95%, resampled by user."
    )
    with st.grid(4, min_column_width=175):
        _shares(figures, facts_margin)
        _win_rate(figures, baseline)
        _amount("Draft length", figures, "chars", "{:,.0f}", f"Characters a draft. Experts write {_length(figures)}.")
        _amount("Tokens a draft", figures, "tokens", "{:,.0f}", "What the price follows.", less_is_better=True)
        _amount(
            "Latency",
            figures,
            "latency_ms",
            "{:,.0f} ms",
            f"Median of {figures.get('n_timed', 0)} drafts written one at a time on the machine of the evaluation.",
            less_is_better=True,
        )
        _amount(
            "Perplexity",
            figures,
            "perplexity",
            "{:.2f}",
            "Between how many tokens the model hesitates on the experts' final texts; lower is surer.",
            less_is_better=True,
        )
    table = _levels(figures)
    about = (figures["eval_run_id"],)
    levels = (figures.get("floor"), figures.get("ceiling"))
    drawn = runtime.figure(charts.before_and_after, table, *levels, about=about)
    cards.chart(drawn, _takeaway(figures, version, baseline), table, f"evaluation_{version}")


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
    table["verdict"] = ["Worse" if is_worse else "" for is_worse in table["is_worse"]]
    worse = list(table.loc[table["is_worse"], "name"])
    with st.container(border=True):
        st.header("Slices", anchor=False)
        st.caption(
            "Change of retained characters in parts of the held-out rows. A slice is marked as worse only when its "
            f"interval stays below zero after correcting for all {len(table)} slices."
        )
        shown = table[["name", "n_rows", "before", "after", "gain", "gain_low", "gain_high", "facts_after", "verdict"]]
        st.dataframe(
            shown,
            hide_index=True,
            column_config={
                "name": st.column_config.TextColumn("Slice", width="large"),
                "n_rows": st.column_config.NumberColumn("Rows"),
                "before": st.column_config.NumberColumn("Before", format="percent"),
                "after": st.column_config.NumberColumn("After", format="percent"),
                "gain": st.column_config.NumberColumn("Change", format="percent"),
                "gain_low": st.column_config.NumberColumn("From", format="percent", help="Lower end of the interval."),
                "gain_high": st.column_config.NumberColumn("To", format="percent", help="Upper end of the interval."),
                "facts_after": st.column_config.NumberColumn("Facts", format="percent", help="Facts right now."),
                "verdict": st.column_config.TextColumn("Surely worse", help="After Bonferroni's correction."),
            },
            alt=f"Change by slice of {version}; surely worse: {', '.join(worse) or 'none'}",
        )
        cards.csv_button(shown, f"slices_{version}")


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
        {"measure": MEASURES[name][0], "before": m["before"], "after": m["after"], "change": _change(m)}
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
            help=f"Share of prompts, a tie being half; {_ends(found['ci'])} at 95%, by user.",
            border=True,
        )
        st.caption(
            f"Judge {literal(found['judge'])}: {found['wins']:,} for {literal(version)}, {found['ties']:,} ties, "
            f"{found['losses']:,} for {literal(baseline)}. A judge is a model: read it beside the people's figures."
        )


def _shares(figures: Figures, facts_margin: float) -> None:
    for label, stem, ends, about in (
        ("Retained characters", "", "gain_ci", "How much of what the model wrote survived."),
        (
            "Written share",
            "written_share_",
            "written_share_gain_ci",
            "How much of what the expert needed the model wrote. Short drafts cannot game this one.",
        ),
        (
            "Facts right",
            "facts_",
            "facts_gain_ci",
            f"Facts copied exactly. Not promoted: a loss of more than {100 * facts_margin:.0f} points, or a sure one.",
        ),
    ):
        before, after = figures[f"{stem}before"], figures[f"{stem}after"]
        gain = None if before is None or after is None else after - before
        spread = figures.get(ends)
        said = f" Change {points(spread[0])} to {points(spread[1])}." if spread else ""
        flat = gain is not None and abs(gain) < 0.0005
        cards.vital(
            label, percent(after), about + said, delta=0 if flat else points(gain), than=f"from {percent(before, 0)}"
        )


def _win_rate(figures: Figures, baseline: str) -> None:
    found = figures.get("win_rate")
    if not found:
        return
    about = (
        f"Share of prompts whose draft is nearer to the final text than the one of {baseline}; a tie counts half. "
        f"{_ends(found['ci'])} at 95%."
    )
    said = f"{found['wins']:,} won, {found['losses']:,} lost"
    st.metric(
        "Win rate",
        percent(found["rate"], 0),
        said,
        delta_color="off",
        delta_arrow="off",
        help=about,
        border=True,
        height="stretch",
    )


def _amount(
    label: str, figures: Figures, stem: str, form: str, about: str, *, less_is_better: bool | None = None
) -> None:
    """One quantity before and after; nothing where it was not measured."""
    before, after = figures.get(f"{stem}_before"), figures.get(f"{stem}_after")
    if before is None or after is None:
        return
    change = form.format(abs(after - before))
    is_flat = change == form.format(0)
    st.metric(
        label,
        form.format(after),
        0 if is_flat else f"{'-' if after < before else '+'}{change}",
        delta_color="inverse" if less_is_better else "off",
        help=about,
        border=True,
        height="stretch",
        delta_description=f"from {form.format(before)}",
    )


def _length(figures: Figures) -> str:
    return f"{figures['chars_final']:,.0f}"


def _takeaway(figures: Figures, version: str, baseline: str) -> str:
    ceiling = figures.get("ceiling")
    end = f", a second text of the same expert {percent(ceiling, 0)}." if ceiling else "."
    return (
        f"{version} keeps {percent(figures['after'], 0)} of what it writes, "
        f"{baseline} {percent(figures['before'], 0)}; "
        f"unrelated texts share {percent(figures['floor'], 0) or 'an unknown part'}{end}"
    )


def _levels(figures: Figures) -> pd.DataFrame:
    """The shares of the dumbbell chart: name, before, after, gain in words."""
    kinds = figures.get("facts_by_kind", {})
    rows = [
        ("Retained characters", figures["before"], figures["after"], figures["gain_ci"]),
        ("Written share", *(figures[f"written_share_{name}"] for name in ("before", "after", "gain_ci"))),
        ("All facts", *(figures[f"facts_{name}"] for name in ("before", "after", "gain_ci"))),
        *((f"Facts: {kind.replace('_', ' ')}", f["before"], f["after"], f["gain_ci"]) for kind, f in kinds.items()),
    ]
    return pd.DataFrame(
        [
            {
                "name": name,
                "before": before,
                "after": after,
                "gain": _change({"before": before, "after": after, "gain_ci": ends}),
            }
            for name, before, after, ends in rows
            if before is not None and after is not None
        ],
        columns=["name", "before", "after", "gain"],
    )


def _change(figure: Mapping[str, Any]) -> str:
    """+4.2 pt (+3.0 to +5.4)"""
    ends = figure["gain_ci"]
    spread = f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else ""
    return f"{points(figure['after'] - figure['before'])}{spread}"


def _ends(ends: Sequence[float] | None) -> str:
    """An interval of a share in words."""
    low, high = ends or (None, None)
    return between(low, high, lambda share: percent(share, 0))


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
