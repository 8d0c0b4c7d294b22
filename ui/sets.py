"""How a training set's parts are shown: composition, what was dropped, what leaked, single rows."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from organism.digest.composition import Composition
from organism.digest.set_reading import FrozenSet
from organism.digest.training_settings import Basis, least_in_words
from organism.measures.acceptance import retained_runs
from organism.records import DatasetKind
from ui import cards, runtime, set_charts
from ui.words import counted, literal, note, percent


def composition(header: FrozenSet, parts: Composition) -> None:
    """Who and what the rows come from."""
    tables = [
        (parts.variants, "variant", "By variant", "{share} of the rows come from {top}."),
        (parts.answers, "answer", "By kind of answer", "{share} of the drafts were answered with: {top}."),
    ]
    if len(parts.labels):
        tables.append((parts.labels, "label", "By label", "{share} of the rows are {top}."))
    if len(parts.regions) > 1:
        tables.append((parts.regions, "region", "By region", "{share} of the rows come from {top}."))
    for place, table in zip(st.columns(len(tables), gap="small"), tables, strict=True):
        with place.container(border=True, height="stretch"):
            _sides(header, *table)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, height="stretch"):
        st.header("By user", anchor=False)
        most = parts.users.iloc[0]
        takeaway = (
            f"{counted(len(parts.users), 'user')}; the busiest has {int(most['n_rows']):,} of "
            f"{int(parts.users['n_rows'].sum()):,} rows."
        )
        about = (header.dataset_id,)
        cards.chart(
            runtime.figure(set_charts.users, parts.users, about=about), takeaway, parts.users, "training_set_users"
        )
    with right.container(border=True, height="stretch"):
        st.header("By reward" if header.basis is Basis.REWARD else "By reward of the draft", anchor=False)
        _rewards(header, parts.rewards, parts.mean_reward)


def _rewards(header: FrozenSet, rewards: pd.DataFrame, mean: float | None) -> None:
    if header.basis is Basis.VOTE:
        st.caption("Blind votes carry no reward.")
        return
    if mean is None:
        st.caption("No row's reward is known: the set was frozen before rewards were kept, or the design gives none.")
        return
    total = rewards[["train", "heldout"]].sum(axis=1)
    of = "chosen drafts" if header.kind is DatasetKind.PREFERENCE else "drafts"
    if header.basis is Basis.EXPERT:
        of = "answered drafts"
    takeaway = f"The {of} of {int(total.sum()):,} rows earned {mean:.3f} on average."
    figure = runtime.figure(set_charts.reward_spread, rewards, about=(header.dataset_id,))
    cards.chart(figure, takeaway, rewards, "training_set_rewards")


def _sides(header: FrozenSet, rows: pd.DataFrame, column: str, title: str, takeaway: str) -> None:
    totals = rows[["train", "heldout"]].sum(axis=1)
    said = takeaway.format(top=rows[column].iloc[0], share=percent(totals.iloc[0] / totals.sum(), 0))
    st.header(title, anchor=False)
    figure = runtime.figure(set_charts.sides, rows, column, about=(header.dataset_id,))
    cards.chart(figure, said, rows, f"training_set_{column}")


def drops(header: FrozenSet) -> None:
    """Why candidates became no row."""
    if least := least_in_words(header.least_reward, (header.settings or {}).get("min_reward")):
        st.caption(least)
    table = pd.DataFrame({"reason": list(header.dropped), "drafts": list(header.dropped.values())})
    table = table.sort_values("drafts", ascending=False, kind="stable", ignore_index=True)
    if table.empty:
        st.caption("Every draft that was looked at became a row.")
        return
    takeaway = (
        f"{counted(int(table['drafts'].sum()), 'draft')} left out, most for: {table['reason'].iloc[0]} "
        f"({int(table['drafts'].iloc[0]):,})."
    )
    figure = runtime.figure(set_charts.reasons, table, about=(header.dataset_id,))
    cards.chart(figure, takeaway, table, "training_set_dropped")


def leaks(leakage: dict[str, Any] | None) -> None:
    """How many training prompts nearly repeated a held-out one, and some of them."""
    if leakage is None:
        st.caption("Near duplicates were not looked for when this set was frozen.")
        return
    st.caption(
        f"{counted(leakage['n_compared'], 'training prompt')} compared with the held-out ones: "
        f"**{counted(leakage['n_leaking'], 'row')} dropped** for sharing at least "
        f"{percent(leakage['threshold'], 0)} of runs of five words (Jaccard). No prompt stands on both sides."
    )
    for number, pair in enumerate(leakage["examples"], 1):
        with st.expander(f"{number}. {percent(pair['similarity'], 0)} shared"):
            left, right = st.columns(2)
            _text(left, "Dropped from training", pair["train_prompt"], [], "orange")
            _text(right, "Held out", pair["heldout_prompt"], [], "gray")


def example(header: FrozenSet, row: pd.Series, *, is_synthetic: bool) -> None:
    """One row: prompt and completion, or chosen and rejected with what differs marked."""
    if header.kind is DatasetKind.PREFERENCE:
        left, right = st.columns(2, gap="small")
        kept = retained_runs(row["rejected"], row["chosen"])
        added = _between([(run.in_final, run.in_final + run.size) for run in kept], len(row["chosen"]))
        lost = _between([(run.in_draft, run.in_draft + run.size) for run in kept], len(row["rejected"]))
        _text(left, f"Chosen{_earned(row['reward'], header)}", row["chosen"], added, "green")
        _text(right, f"Rejected{_earned(row['rejected_reward'], header)}", row["rejected"], lost, "red")
    else:
        title = {True: "Desirable", False: "Undesirable"}.get(row["label"], "Completion")
        color = "red" if row["label"] is False else "green"
        _text(st.container(), f"{title}{_earned(row['reward'], header)}", row["completion"], [], color)
    with st.expander("Prompt", icon=":material/forum:"):
        st.markdown(note(row["prompt"], [], "gray"))
    ids = [("interaction", "interaction_id"), ("feedback", "feedback_id")]
    if row["rejected_interaction_id"] and row["rejected_interaction_id"] != row["interaction_id"]:
        ids += [("rejected interaction", "rejected_interaction_id"), ("its feedback", "rejected_feedback_id")]
    known = [f"{name} `{row[column]}`" for name, column in ids if isinstance(row[column], str)]
    who = "simulated user" if is_synthetic else "user"
    earned = header.basis is Basis.EXPERT and not pd.isna(row["reward"])
    draft = f" The draft that was answered earned {row['reward']:.3f} (draft_reward)." if earned else ""
    st.caption(f"From {who} {literal(row['user_key'])}: {', '.join(known)}.{literal(draft)}")
    if isinstance(row["origin"], str):
        st.caption(_voted(json.loads(row["origin"])))


def _voted(origin: Mapping[str, Any]) -> str:
    """Which ballot's votes made this pair."""
    whose = " by simulated people" if origin["is_synthetic"] else ""
    return (
        f"Chosen in a blind vote{whose}, {origin['n_for']} to {origin['n_against']}: ballot `{origin['ballot_id']}`, "
        f"item {origin['item_number']}."
    )


def _earned(reward: Any, header: FrozenSet) -> str:
    """The reward of the draft; the text of an expert has none of its own."""
    return "" if pd.isna(reward) or header.basis is Basis.EXPERT else f", reward {reward:.3f}"


def _text(place: Any, title: str, text: str, runs: list[tuple[int, int]], color: str) -> None:
    with place.container(border=True, height="stretch"):
        st.subheader(title, anchor=False)
        st.markdown(note(text, runs, color) or "*Nothing.*")


def _between(runs: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """The stretches that the runs leave over."""
    edges = [0, *(edge for run in runs for edge in run), length]
    return [pair for pair in zip(edges[::2], edges[1::2], strict=True) if pair[0] < pair[1]]
