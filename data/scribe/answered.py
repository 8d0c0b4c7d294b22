"""The answered drafts of the history and the pilot, with what reviewers and the product manager look at."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from data.scribe.weeks import Ledger
from organism.measures.acceptance import measure
from organism.measures.facts import right_facts
from organism.records import FactCheck, FeedbackKind


class AnsweredDraft(NamedTuple):
    """A draft that was shown and answered.

    `written_share` and `facts_right` read it against a second draw of the same physician's note; `signals` are those of
    the default design, None where the note that was signed is not known.
    """

    source: str
    external_id: str
    variant: str
    occurred_at: datetime
    written_share: float
    facts_right: float
    signals: dict[str, float | None]


def answered_drafts(history: Mapping[str, pd.DataFrame], pilot: Ledger, until: datetime) -> list[AnsweredDraft]:
    """Those from before `until`, the history's first, each by its place in time."""
    told = _answers(history["feedback"].to_dict("records")) | _answers(pilot.feedback)
    rows = [*history["interactions"].to_dict("records"), *pilot.interactions]
    return [
        _answered(row, told[row["source"], row["external_id"]])
        for row in rows
        if row["occurred_at"] < until and (row["source"], row["external_id"]) in told
    ]


def _answers(feedback: Iterable[Mapping[Any, Any]]) -> dict[tuple[str, str], Mapping[Any, Any]]:
    return {(row["interaction_source"], row["interaction_external_id"]): row for row in feedback}


def _answered(row: Mapping[Any, Any], answer: Mapping[Any, Any]) -> AnsweredDraft:
    found = row["attributes"]
    attributes = json.loads(found) if isinstance(found, str) else found
    checks = [FactCheck(fact["kind"], tuple(fact["any_of"])) for fact in attributes["facts"]]
    read = measure(row["output"], attributes["second_final"])
    rejected = answer["kind"] == FeedbackKind.REJECT
    retained = 0.0 if rejected else None
    if not rejected and isinstance(answer["final_text"], str):
        kept = measure(row["output"], answer["final_text"])
        retained = kept.retained_chars / kept.draft_chars
    return AnsweredDraft(
        source=row["source"],
        external_id=row["external_id"],
        variant=row["variant_id"],
        occurred_at=row["occurred_at"],
        written_share=read.retained_chars / read.final_chars,
        facts_right=sum(right_facts(row["output"], checks)) / len(checks),
        signals={
            "accepted": float(not rejected),
            "cost_usd": row["cost_usd"],
            "latency_ms": row["latency_ms"],
            "retained_char_rate": retained,
        },
    )
