"""How a training run and its evaluation are shown: one line a run, one card an evaluation."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from organism.records import RunStatus
from ui import cards, charts, runtime
from ui.words import literal, percent, points

RESUMABLE = (RunStatus.INTERRUPTED, RunStatus.STOPPED, RunStatus.FAILED)


def is_alive(runs: pd.DataFrame) -> bool:
    """True when any of the runs waits, trains or is being judged."""
    return bool(runs["status"].isin(runtime.ALIVE).any())


def run_line(run: pd.Series, *, is_open: bool, stop: Callable[..., None], resume: Callable[..., None]) -> None:
    """One run: what it is, how far it is, and what can be done with it."""
    status, run_id = RunStatus(run["status"]), run["run_id"]
    with st.container(border=True, key=f"run_{run_id}"):
        left, middle, right = st.columns([2.2, 3, 1.5], vertical_alignment="center")
        with left:
            st.markdown(f"**{literal(_title(run))}**")
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                cards.run_badge(status)
                st.caption(charts.at(run["created_at"]), help=f"Run {run_id}, times in UTC.")
        with middle:
            if status in runtime.ALIVE:
                st.progress(_share(run), text=_live_words(run))
            else:
                st.caption(_about(run))
        with right.container(horizontal=True, horizontal_alignment="right"):
            if status in runtime.ALIVE:
                st.button("Stop", icon=":material/stop_circle:", key=f"stop_{run_id}", on_click=stop, args=(run_id,))
            elif status in RESUMABLE:
                st.button("Resume", icon=":material/resume:", key=f"resume_{run_id}", on_click=resume, args=(run_id,))
            if is_open:
                st.badge("Open", color="gray")
            else:
                st.button("Open", type="tertiary", key=f"open_{run_id}", on_click=_open, args=(run_id,))


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


def evaluation_card(figures: dict[str, Any], version: str, facts_margin: float) -> None:
    """Before and after on held-out users: five figures, then the picture with its floor and ceiling."""
    st.caption(
        f"Both models drafted {figures['n_rows']:,} visits of {figures['n_users']} users whom training never saw. "
        "Intervals at 95%, resampled by user."
    )
    with st.grid(5, min_column_width=165):
        _judged(
            "Retained characters", figures, "before", "after", "gain_ci", "How much of what the model wrote survived."
        )
        _judged(
            "Written share",
            figures,
            "written_share_before",
            "written_share_after",
            "written_share_gain_ci",
            "How much of what the expert needed the model wrote. Short drafts cannot game this one.",
        )
        _judged(
            "Facts right",
            figures,
            "facts_before",
            "facts_after",
            "facts_gain_ci",
            f"Facts copied exactly. A version that loses more than {100 * facts_margin:.0f} points is not promoted.",
        )
        _plain(
            "Draft length",
            figures,
            "chars",
            "{:,.0f}",
            f"Characters a draft, on average. The experts write {figures['chars_final']:,.0f}.",
        )
        _plain(
            "Tokens a second", figures, "tokens_per_second", "{:,.0f}", "Speed of writing on this machine, in batches."
        )
    table = _table(figures)
    takeaway = (
        f"{version} keeps {percent(figures['after'], 0)} of what it writes, the base {percent(figures['before'], 0)}; "
        f"unrelated notes share {percent(figures['floor'], 0) or 'an unknown part'}"
        + (f", a second note of the same expert {percent(figures['ceiling'], 0)}." if figures.get("ceiling") else ".")
    )
    levels = (figures.get("floor"), figures.get("ceiling"))
    about = (figures["eval_run_id"],)
    cards.chart(
        runtime.figure(charts.before_and_after, table, *levels, about=about), takeaway, table, f"evaluation_{version}"
    )


def _judged(label: str, figures: dict[str, Any], before: str, after: str, interval: str, about: str) -> None:
    first, last, ends = figures[before], figures[after], figures[interval]
    gain = None if first is None or last is None else last - first
    spread = f" Change {points(ends[0])} to {points(ends[1])}." if ends else ""
    flat = gain is not None and abs(gain) < 0.0005
    cards.vital(
        label, percent(last), about + spread, delta=0 if flat else points(gain), than=f"from {percent(first, 0)}"
    )


def _plain(label: str, figures: dict[str, Any], stem: str, form: str, about: str) -> None:
    first, last = figures[f"{stem}_before"], figures[f"{stem}_after"]
    st.metric(
        label,
        form.format(last),
        f"{last - first:+,.0f}" if round(last - first) else 0,
        delta_color="off",
        help=about,
        border=True,
        height="stretch",
        delta_description=f"from {form.format(first)}",
    )


def _table(figures: dict[str, Any]) -> pd.DataFrame:
    rows = [
        ("Retained characters", figures["before"], figures["after"], figures["gain_ci"]),
        (
            "Written share",
            figures["written_share_before"],
            figures["written_share_after"],
            figures["written_share_gain_ci"],
        ),
        ("All facts", figures["facts_before"], figures["facts_after"], figures["facts_gain_ci"]),
    ]
    rows += [
        (f"Facts: {kind.replace('_', ' ')}", facts["before"], facts["after"], facts["gain_ci"])
        for kind, facts in figures.get("facts_by_kind", {}).items()
    ]
    return pd.DataFrame(
        [
            {"name": name, "before": before, "after": after, "gain": _gain(before, after, ends)}
            for name, before, after, ends in rows
            if before is not None and after is not None
        ],
        columns=["name", "before", "after", "gain"],
    )


def _gain(before: float, after: float, ends: list[float] | None) -> str:
    spread = f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else ""
    return f"{points(after - before)}{spread}"


def _title(run: pd.Series) -> str:
    return str(run["version_name"] if pd.notna(run["version_name"]) else run["dataset_name"])


def _about(run: pd.Series) -> str:
    config = json.loads(run["config"])
    n_train = f"{int(run['n_train']):,} notes, " if pd.notna(run["n_train"]) else ""
    message = f" {literal(run['message'])}" if run["message"] else ""
    return f"{n_train}{config['epochs']} passes, rank {config['lora_r']}.{message}"


def _share(run: pd.Series) -> float:
    if pd.isna(run["step"]) or pd.isna(run["total_steps"]) or not run["total_steps"]:
        return 0.0
    return min(float(run["step"] / run["total_steps"]), 1.0)


def _live_words(run: pd.Series) -> str:
    """How far a living run is, in a line."""
    if pd.isna(run["total_steps"]):
        return literal(run["message"] or "Waiting for its turn")
    words = [f"Step {int(run['step'])} of {int(run['total_steps'])}"]
    if pd.notna(run["loss"]):
        words.append(f"loss {run['loss']:.3f}")
    if pd.notna(run["tokens_per_second"]):
        words.append(f"{run['tokens_per_second']:,.0f} tokens/s")
    return ", ".join(words) + (f". {literal(run['message'])}" if run["message"] else "")


def _open(run_id: str) -> None:
    st.query_params["run"] = run_id
