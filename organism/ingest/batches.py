"""From typed rows to rows of the store: who sent them, when, under which id, and what was retained."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from organism.ingest.schemas import FIELDS, MAX_TEXT, Rejected, Row, naive_utc, plain
from organism.measures.acceptance import measure
from organism.records import EventKind, FeedbackKind, event_id
from organism.store.interactions import Draft, DraftRef

OLDEST = datetime(2000, 1, 1)
CLOCK_SLACK = timedelta(days=1)
_ANSWERS = {FeedbackKind.ACCEPT, FeedbackKind.EDIT, FeedbackKind.REJECT}


class Event(NamedTuple):
    """One row on its way in: its place in the batch, its columns, and the interaction it still looks for."""

    position: int
    columns: Row
    ref: DraftRef | None


class Batch(NamedTuple):
    """What one sender sent at once, ready for the writer: events, and the rows that cannot go in."""

    kind: EventKind
    n_sent: int
    events: list[Event]
    rejected: dict[int, Rejected]
    now: datetime
    mends: str | None = None
    first_row: int = 1


def make_batch(
    kind: EventKind,
    rows: Sequence[Row | Rejected],
    *,
    defaults: Mapping[str, Any],
    loop_id_of: Callable[[str], str],
    now: datetime,
) -> Batch:
    """Complete every row with the request's defaults; those that still lack what is needed are rejected."""
    events: list[Event] = []
    rejected: dict[int, Rejected] = {}
    for position, row in enumerate(rows):
        made = row if isinstance(row, Rejected) else _event(kind, position, row, defaults, loop_id_of, now)
        if isinstance(made, Rejected):
            rejected[position] = Rejected(made.reason, made.row | _unsaid(made.row, defaults))
        else:
            events.append(made)
    return Batch(kind, len(rows), events, rejected, now)


def with_draft(columns: Row, draft: Draft) -> Row:
    """A feedback's columns with its interaction and, for an answer to the draft, what was retained of it.

    A rejected draft retains nothing. Without a final text the rest is missing, not 0.
    """
    columns = {**columns, "interaction_id": draft.interaction_id}
    if columns["kind"] not in _ANSWERS or draft.output is None:
        return columns
    final = columns.get("final_text")
    seen = measure(draft.output, final) if final is not None else None
    columns["draft_chars"] = len(draft.output)
    columns["retained_chars"] = seen.retained_chars if seen else None
    columns["final_chars"] = seen.final_chars if seen else None
    if columns["kind"] == FeedbackKind.REJECT:
        columns["retained_chars"] = 0
    return columns


def unknown_interaction(event: Event) -> Rejected:
    """The rejection of a feedback that came before its interaction."""
    ref = event.ref
    named = (
        f"interaction_id {ref.interaction_id}"
        if ref and ref.interaction_id
        else f"external_id {ref and ref.external_id!r} from source {ref and ref.source!r}"
    )
    return Rejected(f"no interaction with {named} is here; send it, then retry this row", _as_sent(event))


_SENT = set(FIELDS[EventKind.FEEDBACK])


def _as_sent(event: Event) -> Row:
    return plain({name: value for name, value in event.columns.items() if name in _SENT and value is not None})


def _unsaid(row: Row, defaults: Mapping[str, Any]) -> Row:
    return {name: value for name, value in defaults.items() if row.get(name) is None}


def _event(
    kind: EventKind,
    position: int,
    row: Row,
    defaults: Mapping[str, Any],
    loop_id_of: Callable[[str], str],
    now: datetime,
) -> Event | Rejected:
    """The row itself becomes the event: it was made for this batch alone."""
    row.update(_unsaid(row, defaults))
    if reason := _lacks(kind, row, now):
        return Rejected(reason, plain(row))
    if kind is EventKind.INTERACTIONS and (attributes := row.get("attributes")):
        try:
            row["attributes"] = json.dumps(attributes, allow_nan=False)
        except ValueError:
            return Rejected("attributes holds NaN or infinity; JSON has no such numbers", plain(row))
        if len(row["attributes"]) > MAX_TEXT:
            return Rejected(f"attributes is larger than {MAX_TEXT:,} characters; send less", plain(row))
    at = row.get("occurred_at")
    row["occurred_at"] = happened = now if at is None else naive_utc(at)
    row["created_at"] = now
    row[_ID[kind]] = event_id(happened, row["source"], row["external_id"])
    if kind is EventKind.FEEDBACK:
        return _feedback(position, row)
    row["loop_id"] = loop_id_of(row["loop"])
    if kind is EventKind.INTERACTIONS:
        row["is_synthetic"] = bool(row.get("is_synthetic"))
    return Event(position, row, None)


_ID = {
    EventKind.INTERACTIONS: "interaction_id",
    EventKind.FEEDBACK: "feedback_id",
    EventKind.OUTCOMES: "outcome_id",
}


def _feedback(position: int, columns: Row) -> Event:
    given = columns.get("interaction_id")
    if given is not None:
        ref = DraftRef(str(given), None, None)
    else:
        source = columns.get("interaction_source") or columns["source"]
        ref = DraftRef(None, source, columns["interaction_external_id"], not columns.get("interaction_source"))
    superseded = columns.get("supersedes_id")
    columns["supersedes_id"] = None if superseded is None else str(superseded)
    columns["actor_kind"] = columns.get("actor_kind") or "human"
    return Event(position, columns, ref)


def _lacks(kind: EventKind, row: Row, now: datetime) -> str | None:
    """What stands between this row and the store, as a sentence."""
    if not row.get("source"):
        return "source is missing; name the system that sent the row, in the row or for the whole request"
    if kind is not EventKind.FEEDBACK and not row.get("loop"):
        return "loop is missing; name the loop that the row belongs to, in the row or for the whole request"
    at = row.get("occurred_at")
    if at is not None and not OLDEST <= naive_utc(at) <= now + CLOCK_SLACK:
        return f"occurred_at is {at.isoformat()}; wanted a time between 2000-01-01 and tomorrow"
    return _feedback_lacks(row) if kind is EventKind.FEEDBACK else None


def _feedback_lacks(row: Row) -> str | None:
    if row.get("interaction_id") is None and not row.get("interaction_external_id"):
        return "the interaction is not named; give interaction_id, or interaction_external_id of the same source"
    if row["kind"] == FeedbackKind.RATING and row.get("value") is None:
        return "a rating came without value; give the rating as a number"
    if row["kind"] == FeedbackKind.COMMENT and not row.get("comment"):
        return "a comment came without comment; give its text"
    return None
