"""The simulated rows of `simulated_rows` as events in a store, for everything that reads them from there."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from organism.records import EventKind, event_id
from organism.store.events import append_events

SERVED_FROM = datetime(2026, 9, 7, 8)


def serve(events: Any, rows: pd.DataFrame, *, outcomes: bool = True, at: datetime = SERVED_FROM) -> None:
    """Write each row as an interaction with its answer, a named rating where it has one, and its outcome."""
    late: list[dict[str, Any]] = []
    for number, row in enumerate(rows.to_dict("records")):
        moment = at + timedelta(minutes=number)
        identity = events.draft(
            row["user_key"],
            moment,
            variant_id=row["variant"],
            experiment_id=row["experiment_id"],
            region=row["region"],
            business_key=row["interaction_id"],
            cost_usd=row["cost_usd"],
            latency_ms=row["latency_ms"],
            output_tokens=int(row["output_tokens"]),
        )
        if not math.isnan(row["retained_char_rate"]):
            kept = round(100 * row["retained_char_rate"])
            events.answer(
                identity,
                "edit" if row["accepted"] else "reject",
                at=moment,
                retained_chars=kept,
                final_chars=max(1, round(kept / row["written_share"])),
            )
        if not math.isnan(row["answer.quality"]):
            told = {"value": row["answer.quality"], "name": "quality", "actor_key": "reviewer"}
            events.answer(identity, "rating", at=moment, final_text=None, retained_chars=None, final_chars=None, **told)
        if outcomes:
            late.append(_outcome(events.loop_id, row, moment + timedelta(minutes=40)))
    events.write()
    events.store.write(_append(late), "outcomes")


def _outcome(loop_id: str, row: dict[str, Any], at: datetime) -> dict[str, Any]:
    key = str(row["interaction_id"])
    return {
        "outcome_id": event_id(at, "test", f"signed {key}"),
        "loop_id": loop_id,
        "business_key": key,
        "name": "signed",
        "value": row["outcome.signed"],
        "occurred_at": at,
        "attribution_window_s": 3600,
        "created_at": at,
        "source": "test",
        "external_id": f"signed {key}",
    }


def _append(rows: list[dict[str, Any]]) -> Callable[[Any], None]:
    return lambda cursor: append_events(cursor, EventKind.OUTCOMES, rows)
