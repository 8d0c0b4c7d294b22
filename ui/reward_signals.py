"""What the reward can be made of: each signal's share, what it drives, and how much of the data it covers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.digest.design_files import to_link
from organism.digest.flow import signal_moments
from organism.digest.rewards import component_shares
from organism.digest.signals_flow import define_signal, remove_signal
from organism.errors import OrganismError
from organism.records import Moments
from organism.store.signals import known_signals
from ui import cards, runtime
from ui.reward_wins import Desk, score
from ui.words import literal, sentence

ALWAYS_THERE = "error"
VARIANTS_SHOWN = 4
FIXED = ("signal", "share", "drives", "covered")


def signals(desk: Desk) -> None:
    """The view: one table of signals, then a form to define another."""
    known = runtime.read(known_signals, desk.loop.loop_id)
    names = tuple(sorted(name for name, info in known.items() if info.removed_at is None))
    counted = runtime.read(signal_moments, desk.loop.loop_id, (*names, ALWAYS_THERE))
    frame = _table(desk, names, counted)
    percent: dict[str, Any] = {"format": "%.0f%%"}
    bars: dict[str, Any] = percent | {"max_value": 100.0, "width": 74}
    columns = st.column_config
    st.dataframe(
        frame,
        hide_index=True,
        height="content",
        placeholder="",
        column_config={
            "signal": columns.TextColumn("Signal", pinned=True, width=190),
            "share": columns.ProgressColumn("Weight", help="Its share of all weights.", **bars),
            "drives": columns.NumberColumn(
                "Drives",
                width=62,
                help="Share of the differences in reward between users that comes from this signal. Far above its "
                "weight: it decides more than you gave it. Negative: it works against the rest.",
                **percent,
            ),
            "covered": columns.ProgressColumn("Covered", help="Drafts on which this signal is known.", **bars),
        }
        | {
            name: columns.NumberColumn(name, width=78, help=f"Covered, of the drafts of {name}.", **percent)
            for name in map(str, frame)
            if name not in FIXED
        },
        alt="Signals with their share of the draft's reward and how much of the data each covers",
    )
    if (cards.PAGES / "reward_check.py").exists():
        st.page_link(
            cards.page_file("reward_check"),
            label="Does this reward predict the outcome?",
            icon=":material/fact_check:",
            query_params={"draft": to_link(desk.draft)},
        )
    if not cards.presenting():
        _define(desk, known)


def _table(desk: Desk, names: tuple[str, ...], counted: Mapping[str, Any]) -> pd.DataFrame:
    """One row a signal, those of the draft first; coverage overall and by variant, None where there are no drafts."""
    weights = {spec.signal: spec.weight for spec in desk.draft.signals}
    total = sum(weights.values())
    drives: dict[str, float] = {}
    with cards.polite("No reward"):
        drives = component_shares(score(desk.loop.loop_id, desk.draft).moments, desk.draft)
    drafts = {variant: _count(found) for variant, found in counted[ALWAYS_THERE].items()}
    shown = sorted(sorted(drafts, key=lambda name: -drafts[name])[:VARIANTS_SHOWN])
    rows = [
        {
            "signal": name,
            "share": _percent(weights.get(name), total),
            "drives": _percent(drives.get(name), 1.0),
            "covered": _percent(sum(map(_count, counted[name].values())), sum(drafts.values())),
        }
        | {variant: _percent(_count(counted[name].get(variant)), drafts[variant]) for variant in shown}
        for name in sorted(names, key=lambda name: (name not in weights, name))
    ]
    return pd.DataFrame(rows)


def _count(found: Moments | None) -> float:
    """On how many drafts the signal is known: the second column's sum over users."""
    return found.n * found.mean[1] if found and found.n else 0.0


def _percent(part: float | None, whole: float) -> float | None:
    return 100 * part / whole if whole and part is not None else None


def _define(desk: Desk, known: Mapping[str, Any]) -> None:
    """A form for a signal in SQL, and one to take such a signal away; both refuse with a sentence."""
    own = sorted(name for name, info in known.items() if str(info.kind) == "sql" and info.removed_at is None)
    with st.expander("Define a signal with SQL", icon=":material/function:"):
        with st.form("define_signal", border=False):
            name = st.text_input("Name of the signal", placeholder="short_note", required=True)
            expression = st.text_area(
                "Expression",
                placeholder="CASE WHEN length(interaction.output) < 200 THEN 1 ELSE 0 END",
                help="One number per draft. Columns of the nouns as interaction.x and feedback.x; built-in signals by "
                "their names. It can neither write nor read files.",
                required=True,
            )
            note = st.text_input("What it tells", placeholder="1 when the note is under 200 characters")
            who = st.text_input("Your name", key="signal_author")
            if st.form_submit_button("Define", icon=":material/add:"):
                with cards.polite("Not defined"):
                    define_signal(
                        runtime.store(), desk.loop.loop_id, name, expression, note=note, author=who, now=utcnow()
                    )
                    st.session_state["saved"] = f"{name} is a signal now: add it to the draft on the left."
                    st.rerun()
        for name in own:
            left, right = st.columns([4, 1], vertical_alignment="center")
            left.markdown(f"**{literal(name)}**  \n`{known[name].expression}`  \n{literal(known[name].note or '')}")
            right.button("Remove", key=f"remove_{name}", on_click=_remove, args=(desk.loop.loop_id, name))


def _remove(loop_id: str, name: str) -> None:
    try:
        remove_signal(runtime.store(), loop_id, name, now=utcnow())
    except OrganismError as error:
        st.session_state["draft_problem"] = sentence(str(error))
    else:
        st.session_state["saved"] = f"{name} was removed; designs that name it say so."
