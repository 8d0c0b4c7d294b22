"""How the loop's vital signs, weeks and cycles are shown on the home page."""

from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from organism.observe.flow import Need
from organism.observe.metabolism import Vitals
from ui import cards
from ui.words import between, counted, literal, percent, points, span

ICONS = {"sources": "nutrition", "experiments": "science", "fine_tunes": "model_training", "reward": "balance"}
STEPS = (
    ("Signals come in", "first_signal_at", "frozen_at"),
    ("Training", "run_started_at", "trained_at"),
    ("Experiment", "experiment_started_at", "decided_at"),
    ("Live", "live_at", None),
)


def five_vitals(vitals: Vitals, weeks: pd.DataFrame) -> None:
    """The five figures that say whether the loop lives; the course of the weeks where there is one."""
    weighed = weeks.assign(kept=weeks["retained_char_rate"] * weeks["n_interactions"])
    by_week = weighed.groupby("week", sort=True)[["kept", "n_interactions"]].sum()
    change = between(vitals.retained_change_low, vitals.retained_change_high, points)
    cards.vital(
        "Retained characters",
        percent(vitals.retained_this_week),
        "Of what the model wrote in the last 7 days, how much is still in the final texts, rejected drafts as 0. "
        f"The change against the 7 days before lies between {change}.",
        delta=points(vitals.retained_change),
        than="vs last week",
        trend=list(by_week["kept"] / by_week["n_interactions"]),
    )
    cards.vital(
        "Drafts answered",
        percent(vitals.usable_signal_share),
        f"Usable signal share: of {counted(vitals.n_settled, 'draft')} older than 7 days, how many somebody accepted, "
        "edited or rejected. The line shows answers a week.",
        trend=list(by_week["n_interactions"].astype(float)),
    )
    cards.vital(
        "Time to an answer",
        _seconds(vitals.feedback_p50_s),
        f"From a draft to the first answer: half come sooner, nine of ten within {_seconds(vitals.feedback_p90_s)}.",
    )
    cards.vital(
        "Signal to ship",
        _days(vitals.signal_to_ship_p50_days),
        f"From an answer to the first live version trained on it, the middle of "
        f"{counted(vitals.n_shipped_signals, 'answer')}; 85% within {_days(vitals.signal_to_ship_p85_days)}. Still "
        f"waiting: {vitals.n_open_signals:,}, the oldest for {_days(vitals.oldest_open_signal_days)}.",
    )
    failed = percent(vitals.failed_cycle_share, 0)
    cards.vital(
        "Lift per cycle",
        points(vitals.lift_per_cycle),
        f"Mean gain of {counted(vitals.n_cycles, 'decided cycle')} against its concurrent control, 95% "
        f"{between(vitals.lift_low, vitals.lift_high, points)}. {vitals.cycles_per_30_days} in the last 30 days; "
        f"{failed or 'none yet'} did not ship.",
    )


def need_line(need: Need, number: int) -> None:
    """One thing that waits for a person, with the way to where it is done."""
    with st.container(key=f"need_{number}", gap="xxsmall"):
        st.markdown(f"**{literal(need.title)}**")
        st.caption(literal(need.detail))
        st.page_link(
            cards.page_file(need.page), label=need.action, icon=f":material/{ICONS.get(need.page, 'arrow_forward')}:"
        )


def cycle_name(cycle: Mapping[Hashable, Any]) -> str:
    """The version that a cycle made; until there is one, the training set that it learns from."""
    return str(cycle["dataset"] if pd.isna(cycle["version"]) else cycle["version"])


def cycle_bars(cycles: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The cycles as bars: lane, stage, started_at, ended_at, is_open, note. A step too short to be seen is widened."""
    rows = []
    for cycle in cycles.to_dict("records"):
        lane = cycle_name(cycle)
        for stage, begins, ends in STEPS:
            started = cycle[begins]
            if pd.isna(started):
                continue
            is_open = ends is None or pd.isna(cycle[ends])
            ended = now if is_open else cycle[ends]
            length = span(ended - started)
            rows.append((lane, stage, started, ended, is_open, f"{length} so far" if is_open else length))
    bars = pd.DataFrame(rows, columns=["lane", "stage", "started_at", "ended_at", "is_open", "note"])
    if bars.empty:
        return bars
    least = max((bars["ended_at"].max() - bars["started_at"].min()) * 0.012, timedelta(minutes=1))
    return bars.assign(
        ended_at=bars["ended_at"].where(bars["ended_at"] - bars["started_at"] > least, bars["started_at"] + least)
    )


def links(flow: pd.DataFrame) -> tuple[list[str], list[tuple[int, int, float, str]]]:
    """Labels with their counts and links by index, as `charts.flow` takes them."""
    names = list(dict.fromkeys([*flow["source"], *flow["target"]]))
    place = {name: number for number, name in enumerate(names)}
    came = flow.groupby("target")["n"].sum()
    went = flow.groupby("source")["n"].sum()
    labels = [f"{name} {int(came.get(name, went.get(name, 0))):,}" for name in names]
    return labels, [(place[row.source], place[row.target], float(row.n), row.tone) for row in flow.itertuples()]


def _seconds(seconds: float | None) -> str | None:
    return None if seconds is None or pd.isna(seconds) else span(timedelta(seconds=seconds))


def _days(days: float | None) -> str | None:
    return None if days is None or pd.isna(days) else span(timedelta(days=days))
