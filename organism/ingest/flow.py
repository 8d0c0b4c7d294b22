"""Take strangers' rows in: check them, keep the good ones once, the bad ones in quarantine."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from organism.errors import InputError
from organism.ingest.batches import Batch, make_batch, unknown_interaction, with_draft
from organism.ingest.memory import Memory, Seen, fingerprint, memory_of
from organism.ingest.schemas import Rejected, Row, check_json, check_rows
from organism.records import EventKind
from organism.store.database import Cursor, Store
from organism.store.events import EVENT_TABLES, append_events, find_known
from organism.store.interactions import Draft, DraftRef, find_drafts
from organism.store.loops import ensure_loop
from organism.store.quarantine import (
    Quarantined,
    append_quarantine,
    mark_mended,
    quarantined,
    quarantined_row,
    waiting_rows,
)


class Ingested(NamedTuple):
    """What became of the rows of one request.

    `ids` stand in the order of the rows, None for a quarantined one; `reasons` say why, row by row.
    """

    accepted: int
    duplicates: int
    quarantined: int
    ids: list[str | None]
    reasons: list[str]


def ingest(
    store: Store,
    kind: EventKind,
    rows: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
    loop: str | None = None,
    source: str | None = None,
) -> Future[Ingested]:
    """Take rows in; the future resolves when they are durable. Sending a row twice is sending it once.

    `loop` and `source` stand in for rows that name none.
    """
    return ingest_checked(store, kind, check_rows(kind, rows), loop=loop, source=source, now=now)


def ingest_json(
    store: Store, kind: EventKind, body: bytes, *, now: datetime, loop: str | None = None, source: str | None = None
) -> Future[Ingested]:
    """The same for the bytes of a JSON object or array; raises InputError when they are not that."""
    return ingest_checked(store, kind, check_json(kind, body), loop=loop, source=source, now=now)


def ingest_checked(
    store: Store,
    kind: EventKind,
    rows: Sequence[Row | Rejected],
    *,
    now: datetime,
    loop: str | None = None,
    source: str | None = None,
    first_row: int = 1,
) -> Future[Ingested]:
    """The same for rows that were typed or rejected already; reasons count rows from `first_row`."""
    batch = _prepare(store, kind, rows, loop=loop, source=source, now=now)
    return _submit(store, batch._replace(first_row=first_row))


def retry_quarantined(
    store: Store, quarantine_id: str, patch: Mapping[str, Any] | None = None, *, now: datetime
) -> Ingested:
    """Send a quarantined row again with the patch over it; when it goes in, it is marked as mended.

    A patch value of None takes the field out. Raises InputError for an unknown or mended row.
    """
    kept = quarantined_row(store, quarantine_id)
    if kept.mended_at is not None:
        raise InputError(f"row {quarantine_id} went in at {kept.mended_at:%Y-%m-%d %H:%M}; there is nothing to retry.")
    return _retry(store, kept, patch or {}, now).result()


def retry_waiting(store: Store, *, now: datetime, limit: int = 1000) -> Ingested:
    """Send waiting rows again as they are: what a late interaction mended goes in, the rest stays."""
    tried = [_retry(store, kept, {}, now) for kept in waiting_rows(store, limit)]
    return total([done.result() for done in tried])


def _retry(store: Store, kept: Quarantined, patch: Mapping[str, Any], now: datetime) -> Future[Ingested]:
    row = {name: value for name, value in {**kept.row, **patch}.items() if value is not None}
    batch = _prepare(store, kept.kind, check_rows(kept.kind, [row]), loop=None, source=kept.source, now=now)
    return _submit(store, batch._replace(mends=kept.quarantine_id))


def total(parts: Sequence[Ingested]) -> Ingested:
    """Several results as one."""
    return Ingested(
        sum(part.accepted for part in parts),
        sum(part.duplicates for part in parts),
        sum(part.quarantined for part in parts),
        [identity for part in parts for identity in part.ids],
        [reason for part in parts for reason in part.reasons],
    )


def _prepare(
    store: Store,
    kind: EventKind,
    rows: Sequence[Row | Rejected],
    *,
    loop: str | None,
    source: str | None,
    now: datetime,
) -> Batch:
    """All that can be done before the writer's turn: loops, ids, and the drafts that are already here."""
    defaults = {name: value for name, value in (("loop", loop), ("source", source)) if value}
    memory = memory_of(store)

    def loop_id_of(name: str) -> str:
        if name not in memory.loops:
            memory.loops[name] = ensure_loop(store, name, now)
        return memory.loops[name]

    batch = make_batch(kind, rows, defaults=defaults, loop_id_of=loop_id_of, now=now)
    if kind is EventKind.FEEDBACK:
        batch = _with_recent_drafts(memory, batch)
        if any(event.ref for event in batch.events):
            with store.cursor() as cursor:
                batch = _with_stored_drafts(cursor, batch)
    return batch


def _with_recent_drafts(memory: Memory, batch: Batch) -> Batch:
    refs = {event.ref for event in batch.events if event.ref}
    return _with_drafts(batch, {ref: draft for ref in refs if (draft := memory.draft(ref))})


def _with_stored_drafts(cursor: Cursor, batch: Batch) -> Batch:
    return _with_drafts(batch, find_drafts(cursor, list({event.ref for event in batch.events if event.ref})))


def _with_drafts(batch: Batch, drafts: Mapping[DraftRef, Draft]) -> Batch:
    """The batch with its feedback tied to these interactions; an event that is tied keeps no reference."""
    events = [
        event._replace(columns=with_draft(event.columns, drafts[event.ref]), ref=None)
        if event.ref and event.ref in drafts
        else event
        for event in batch.events
    ]
    return batch._replace(events=events)


class _Handed(NamedTuple):
    """What the writer gets: all batches of one store share its memory."""

    memory: Memory
    batch: Batch


def _submit(store: Store, batch: Batch) -> Future[Ingested]:
    tables = {EVENT_TABLES[batch.kind].name} if batch.events else set()
    if batch.rejected or batch.mends or any(event.ref for event in batch.events):
        tables.add("quarantine")
    memory = memory_of(store)
    done = store.submit_shared(_write, _Handed(memory, batch), *sorted(tables))
    if batch.kind is EventKind.INTERACTIONS:
        done.add_done_callback(partial(_remember, memory, batch))
    return done


def _remember(memory: Memory, batch: Batch, done: Future[Ingested]) -> None:
    """Keep the drafts of a batch that is now durable, so that its feedback needs no query."""
    if done.exception() is None and not done.result().duplicates:
        for event in batch.events:
            columns = event.columns
            draft = Draft(columns["interaction_id"], columns.get("output"))
            memory.keep_draft(columns["source"], columns["external_id"], draft)


def _write(cursor: Cursor, handed: list[_Handed]) -> list[Ingested]:
    """The writer's part, for all batches that wait: interactions before the feedback that may name them."""
    memory, batches = handed[0].memory, [one.batch for one in handed]
    written: dict[int, Ingested] = {}
    for kind in EventKind:
        if of_kind := [n for n, batch in enumerate(batches) if batch.kind is kind]:
            seen = memory.seen(cursor, kind)
            written.update(zip(of_kind, _write_kind(cursor, kind, seen, [batches[n] for n in of_kind]), strict=True))
    return [written[n] for n in range(len(batches))]


def _write_kind(cursor: Cursor, kind: EventKind, seen: Seen, batches: list[Batch]) -> list[Ingested]:
    batches = [_resolved(cursor, batch) for batch in batches]
    inserted = _insert_new(cursor, kind, seen, [event.columns for batch in batches for event in batch.events])
    append_quarantine(
        cursor,
        [
            quarantined(kind, bad.row.get("source"), bad.reason, bad.row, batch.now)
            for batch in batches
            if batch.mends is None
            for bad in batch.rejected.values()
        ],
    )
    for batch in batches:
        if batch.mends and not batch.rejected:
            mark_mended(cursor, [batch.mends], batch.now)
    outcomes = iter(inserted)
    return [_ingested(batch, [next(outcomes) for _ in batch.events]) for batch in batches]


def _resolved(cursor: Cursor, batch: Batch) -> Batch:
    """Look once more for drafts that came after the batch was prepared; reject what still has none."""
    if not any(event.ref for event in batch.events):
        return batch
    batch = _with_stored_drafts(cursor, batch)
    late = {event.position: unknown_interaction(event) for event in batch.events if event.ref}
    return batch._replace(events=[event for event in batch.events if not event.ref], rejected=batch.rejected | late)


class _Landed(NamedTuple):
    identity: str
    is_new: bool


def _insert_new(cursor: Cursor, kind: EventKind, seen: Seen, rows: list[Row]) -> list[_Landed]:
    """Insert each row that neither the table nor an earlier row of the group has; says which were new."""
    prints = [fingerprint(row) for row in rows]
    known = _known(cursor, kind, rows, seen.maybe(prints))
    id_column = EVENT_TABLES[kind].id_column
    fresh: dict[tuple[str, str], Row] = {}
    landed: list[_Landed] = []
    for position, row in enumerate(rows):
        first = fresh.setdefault((row["source"], row["external_id"]), row) if position not in known else row
        is_new = first is row and position not in known
        landed.append(_Landed(known.get(position) or first[id_column], is_new))
    append_events(cursor, kind, list(fresh.values()))
    seen.add(prints)
    return landed


def _known(cursor: Cursor, kind: EventKind, rows: list[Row], maybe: list[bool]) -> dict[int, str]:
    """Ids of the rows that the table has, by position, asked only for those that may be there."""
    asked = [position for position, held in enumerate(maybe) if held]
    found = find_known(cursor, kind, [rows[position] for position in asked])
    return {asked[n]: identity for n, identity in found.items()}


def _ingested(batch: Batch, landed: Sequence[_Landed]) -> Ingested:
    ids: list[str | None] = [None] * batch.n_sent
    for event, (identity, _) in zip(batch.events, landed, strict=True):
        ids[event.position] = identity
    accepted = sum(is_new for _, is_new in landed)
    reasons = [
        f"row {position + batch.first_row}: {bad.reason}" if batch.n_sent > 1 else bad.reason
        for position, bad in sorted(batch.rejected.items())
    ]
    return Ingested(accepted, len(landed) - accepted, len(batch.rejected), ids, reasons)
