"""The figures of one run: how it goes while it learns, what it learned from, what its judge agrees with, its log."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.optimize.flow import log_tail, read_progress, run_cost
from ui import cards, charts, run_charts, runtime
from ui.words import between, counted, percent, points, span

TREND_STEPS = 60


def live_figures(run: pd.Series) -> None:
    """The figures of one run as they stand, with their course; what it never told is left out."""
    progress = read_progress(runtime.place(), run["run_id"])
    with st.grid("auto", min_column_width=165):
        for label, value, about, trend in _figures(run, progress):
            cards.vital(label, value, about, trend=trend)
    told = run_charts.courses(progress) if len(progress) > 1 else {}
    if not told:
        st.caption(_before_the_curve(run))
        return
    shown = st.segmented_control(
        "Figure", list(told), default=next(iter(told)), required=True, key=f"figure_{run['run_id']}",
        label_visibility="collapsed",
    )  # fmt: skip
    name = shown if shown in told else next(iter(told))
    frame = told[name]
    figure = runtime.figure(run_charts.course, frame, name, about=(run["run_id"], name, len(frame)))
    cards.chart(figure, run_charts.takeaway(name, frame), frame, f"{name.lower().replace(' ', '_')}_{run['run_id']}")


def log(run_id: str) -> None:
    """The end of what the run's process printed."""
    with st.expander("Log", icon=":material/terminal:"):
        lines = log_tail(runtime.place(), run_id)
        if lines:
            st.code("\n".join(lines), language=None, height=260)
        else:
            st.caption("The process has printed nothing.")


def training_set_card(dataset: pd.Series) -> None:
    """What a run learns from: how many answers train, how many judge, and why the others were left out."""
    dropped = {reason: n for reason, n in json.loads(dataset["dropped"]).items() if n}
    parts = {"Training": int(dataset["n_train"]), "Held out": int(dataset["n_heldout"])} | dropped
    table = pd.DataFrame({"part": list(parts), "answers": list(parts.values())})
    with st.container(border=True):
        st.header("What it learns from", anchor=False)
        cards.chart(
            runtime.figure(charts.shares, table, about=(dataset["dataset_id"],)),
            f"{dataset['name']}: {parts['Training']:,} texts of {dataset['n_users_train']} users to learn from, "
            f"{parts['Held out']:,} of {dataset['n_users_heldout']} others to judge by; "
            f"{sum(dropped.values()):,} answers were left out. Frozen as {dataset['content_hash'][:12]}.",
            table,
            f"training_set_{dataset['dataset_id']}",
        )


def judge_card(figures: Mapping[str, Any], version: str) -> None:
    """What a judge agrees with: people's choices on held-out pairs, beside what length alone would say."""
    found = figures.get("judge_agreement")
    if not found or not found["n"]:
        st.caption("Nothing says yet how often this judge agrees with people.")
        return
    low, high = found["ci"] or (None, None)
    over = found["over_length_ci"] or (None, None)
    with st.grid(3, min_column_width=175):
        cards.vital(
            "Agrees with people",
            percent(found["agreement"], 0),
            f"Share of held-out pairs where {version} prefers what the person preferred; a tie counts half. "
            f"{between(low, high, lambda share: percent(share, 0))} at 95%, by user.",
        )
        cards.vital(
            "Length alone would",
            percent(found["length_alone"], 0),
            "How often simply preferring the longer text (or the shorter) agrees with the same people.",
        )
        cards.vital(
            "Above length",
            points(found["over_length"]),
            f"What the judge adds to that. {between(over[0], over[1], points)} at 95%, by user.",
        )
    st.caption(
        f"Measured on {counted(found['n'], 'pair')} of {counted(found['n_users'], 'user')} whom training never saw. "
        "A judge grades drafts; it never goes live."
    )


def in_words(seconds: Any) -> str | None:
    """So many seconds as a person says them; None where nobody knows."""
    return None if seconds is None or pd.isna(seconds) else span(timedelta(seconds=float(seconds)))


def _figures(run: pd.Series, progress: pd.DataFrame) -> list[tuple[str, str, str, list[float]]]:
    """Label, value, help and course of each figure that is known."""
    alive = run["status"] in runtime.ALIVE
    seconds = _seconds(run, alive)
    cost = run["cost_usd"] if pd.notna(run["cost_usd"]) else run_cost(runtime.place(), seconds)
    last = progress.tail(TREND_STEPS)
    known = [
        ("Loss", _said(run["loss"], ".3f"), "Training loss of the last step.", _course(last, "loss")),
        ("Reward", _said(run["reward"], ".3f"), "What drafts earned at the last step, by the reward design.", []),
        (
            "Learning rate",
            _said(run["learning_rate"], ".1e"),
            "Step size now; it falls toward the end.",
            _course(last, "learning_rate"),
        ),
        (
            "Tokens a second",
            _said(run["tokens_per_second"], ",.0f"),
            "Prompt and target tokens gone through a second.",
            _course(last, "tokens_per_second"),
        ),
        (
            "Memory",
            _said(run["memory_mb"], ",.0f", " MB"),
            "What the training process holds.",
            _course(last, "memory_mb"),
        ),
        ("Time left", in_words(run["seconds_left"]) if alive else None, "Of the training; the evaluation follows.", []),
        ("Time so far" if alive else "Time", in_words(seconds), "At work, over all attempts.", []),
        ("Cost so far" if alive else "Cost", _said(cost, ",.4f", before="$"), "At the stated price an hour.", []),
    ]
    return [(label, value, about, trend) for label, value, about, trend in known if value is not None]


def _seconds(run: pd.Series, alive: bool) -> float | None:
    if pd.notna(run["seconds"]):
        return float(run["seconds"])
    if pd.isna(run["started_at"]):
        return None
    end = run["finished_at"] if pd.notna(run["finished_at"]) else utcnow() if alive else None
    return None if end is None else (end - run["started_at"]).total_seconds()


def _course(progress: pd.DataFrame, column: str) -> list[float]:
    return list(progress[column].dropna())


def _said(value: Any, form: str, after: str = "", *, before: str = "") -> str | None:
    return None if value is None or pd.isna(value) else f"{before}{value:{form}}{after}"


def _before_the_curve(run: pd.Series) -> str:
    if run["status"] in runtime.ALIVE:
        return "The curves start with the second step."
    return "This run ended before its second step, so there is no curve. Its log says why."
