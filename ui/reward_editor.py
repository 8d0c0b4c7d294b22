"""Signals, anchors, missing values and guardrails of the draft, as two small tables to edit."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from organism.digest.designs import check_design
from organism.digest.presets import HIGH, LOW, anchors
from organism.errors import InputError, OrganismError
from organism.records import Constraint, RewardDesign, SignalSpec
from organism.store.signals import read_quantiles
from ui import runtime
from ui.reward_draft import close_when_started, refuse, start_from

WIDTH = 620
SPEC, BOUND = ("signal", "weight", "worst", "best", "missing"), ("signal", "at_least", "at_most")
Row = Mapping[str, Any]
Anchors = Callable[[str], tuple[float, float]]


@st.dialog("Signals and anchors", width=WIDTH + 60)
def editor(draft: RewardDesign, live: RewardDesign, known: Mapping[str, Any], loop_id: str) -> None:
    """Edit the draft as a whole; it changes when Apply is pressed, and only when it can give a reward.

    `known` maps each signal to what is known of it. A new line without anchors gets the data's.
    """
    turn = st.session_state.get("draft_round", 0)
    keys = {"specs": f"specs_{turn}_{draft.id}", "bounds": f"bounds_{turn}_{draft.id}"}
    tables = {
        "specs": [spec._asdict() for spec in draft.signals],
        "bounds": [guardrail._asdict() for guardrail in draft.constraints],
    }

    def apply() -> None:
        try:
            rows = {name: edited(tables[name], st.session_state[key]) for name, key in keys.items()}
            design = _made(draft, rows, suggested(loop_id))
            check_design(design, known)
        except OrganismError as error:
            refuse(error)
        else:
            start_from(design, live)

    with st.form(f"editor_{turn}", border=False):
        st.caption(
            "A value is worth 0 at worst, 1 at best, and in proportion between. Where missing is empty, drafts without "
            "the signal are left out. Add a signal in the last line; tick a line to delete it."
        )
        st.data_editor(
            pd.DataFrame(tables["specs"], columns=list(SPEC)),
            key=keys["specs"],
            num_rows="dynamic",
            hide_index=True,
            width=WIDTH,
            placeholder="left out",
            column_config=_spec_columns(known, draft),
            alt="Signals of the draft with weight, anchors and what a missing one counts as",
        )
        st.caption("Guardrails: a variant whose mean is out of these bounds may not win, whatever its reward.")
        st.data_editor(
            pd.DataFrame(tables["bounds"], columns=list(BOUND)).astype({"at_least": float, "at_most": float}),
            key=keys["bounds"],
            num_rows="dynamic",
            hide_index=True,
            width=WIDTH,
            placeholder="no bound",
            column_config=_bound_columns(known, draft),
            alt="Guardrails of the draft",
        )
        st.form_submit_button("Apply", icon=":material/check:", type="primary", on_click=apply)
    close_when_started()


def suggested(loop_id: str) -> Anchors:
    """Worst and best of a signal from the loop's own 5th and 95th percentiles."""

    def suggest(signal: str) -> tuple[float, float]:
        found = runtime.read(read_quantiles, loop_id, (signal,), (LOW, HIGH))
        low, high = (float(value) for value in found.sort_values("probability")["value"])
        return anchors(signal, (low, high))

    return suggest


def edited(rows: Sequence[Row], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows after what a person did in the table: `edited_rows`, `deleted_rows` and `added_rows` of its state."""
    changed = [dict(row) | dict(state["edited_rows"].get(place, {})) for place, row in enumerate(rows)]
    gone = set(state["deleted_rows"])
    kept = [row for place, row in enumerate(changed) if place not in gone]
    return kept + [dict(row) for row in state["added_rows"] if any(value is not None for value in row.values())]


def specs(rows: Sequence[Row], suggest: Anchors) -> tuple[SignalSpec, ...]:
    """The table's lines as signals; a line without a weight weighs 0.1, one without anchors gets the data's."""
    return tuple(_spec(row, suggest) for row in rows)


def bounds(rows: Sequence[Row]) -> tuple[Constraint, ...]:
    """The table's lines as guardrails."""
    return tuple(Constraint(_signal(row, "guardrail"), row.get("at_least"), row.get("at_most")) for row in rows)


def _made(draft: RewardDesign, rows: Mapping[str, Sequence[Row]], suggest: Anchors) -> RewardDesign:
    """The draft with the two tables' lines."""
    return replace(draft, signals=specs(rows["specs"], suggest), constraints=bounds(rows["bounds"]))


def _spec(row: Row, suggest: Anchors) -> SignalSpec:
    signal, weight = _signal(row, "signal"), row.get("weight")
    worst, best = row.get("worst"), row.get("best")
    if worst is None or best is None:
        low, high = suggest(signal)
        worst, best = low if worst is None else worst, high if best is None else best
    return SignalSpec(signal, 0.1 if weight is None else float(weight), float(worst), float(best), row.get("missing"))


def _signal(row: Row, what: str) -> str:
    if not (name := row.get("signal")):
        raise InputError(f"a line of the {what}s names no signal; pick one in its first column, or delete the line")
    return str(name)


def _spec_columns(known: Mapping[str, Any], draft: RewardDesign) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "signal": st.column_config.SelectboxColumn(
            "Signal", options=_options(known, [s.signal for s in draft.signals]), width=160, required=True
        ),
        "weight": number("Weight", min_value=0.0, format="%.2f", width=70, help="0 or more; only shares count."),
        "worst": number("Worst", format="%g", width=80, help="The value that is worth 0."),
        "best": number("Best", format="%g", width=80, help="The value that is worth 1."),
        "missing": number(
            "Missing", min_value=0.0, max_value=1.0, format="%g", width=80, help="Utility when absent; empty: left out."
        ),
    }


def _bound_columns(known: Mapping[str, Any], draft: RewardDesign) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "signal": st.column_config.SelectboxColumn(
            "Signal", options=_options(known, [c.signal for c in draft.constraints]), width=160, required=True
        ),
        "at_least": number("At least", format="%g", width=90),
        "at_most": number("At most", format="%g", width=90),
    }


def _options(known: Mapping[str, Any], used: Collection[str]) -> list[str]:
    """What can be picked: every signal that is measured, and what the draft names already."""
    return sorted({*(name for name, info in known.items() if info.removed_at is None), *used})
