"""Quarantine: rows that could not go in, kept as they came with the reason. Nothing here is ever deleted."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from organism.errors import InputError
from organism.records import EventKind, content_hash
from organism.store.database import Cursor, Store

SCHEMA = pa.schema(
    [
        ("quarantine_id", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("row", pa.string()),
        ("created_at", pa.timestamp("us")),
    ]
)


class Quarantined(NamedTuple):
    """One kept row: what was sent, why it could not go in, and when it was mended (None while it waits)."""

    quarantine_id: str
    kind: EventKind
    source: str | None
    reason: str
    row: dict[str, Any]
    created_at: datetime
    mended_at: datetime | None


def quarantined(kind: EventKind, source: str | None, reason: str, row: dict[str, Any], now: datetime) -> Quarantined:
    """A row for quarantine; the same row of the same source always gets the same id."""
    identity = content_hash({"kind": kind, "source": source, "row": row})[:32]
    return Quarantined(identity, kind, source, reason, row, now, None)


def append_quarantine(cursor: Cursor, rows: Sequence[Quarantined]) -> None:
    """Keep the rows; one that is already here stays as it was."""
    if not rows:
        return
    table = pa.Table.from_pylist([{**row._asdict(), "row": json.dumps(row.row)} for row in rows], schema=SCHEMA)
    cursor.register("incoming", table)
    cursor.execute("INSERT INTO quarantine BY NAME SELECT * FROM incoming ON CONFLICT DO NOTHING")
    cursor.unregister("incoming")


def mark_mended(cursor: Cursor, quarantine_ids: Sequence[str], now: datetime) -> None:
    """Say that these rows went in after all."""
    cursor.execute(
        "UPDATE quarantine SET mended_at = ? WHERE quarantine_id IN (SELECT unnest(?::VARCHAR[]))",
        [now, list(quarantine_ids)],
    )


def read_quarantine(store: Store, *, open_only: bool = True, limit: int = 500) -> pd.DataFrame:
    """Kept rows, newest first: quarantine_id, kind, source, reason, row (JSON text), created_at, mended_at."""
    return store.frame(
        "SELECT quarantine_id, kind, source, reason, row::VARCHAR AS row, created_at, mended_at FROM quarantine "
        "WHERE mended_at IS NULL OR NOT ? ORDER BY created_at DESC, quarantine_id LIMIT ?",
        [open_only, limit],
    )


def quarantined_row(store: Store, quarantine_id: str) -> Quarantined:
    """One kept row; raises InputError when no row has this id."""
    found = _read(store, "quarantine_id = ?", [quarantine_id])
    if not found:
        raise InputError(f"no quarantined row has the id {quarantine_id!r}; list them with GET /v1/quarantine.")
    return found[0]


def waiting_rows(store: Store, limit: int) -> list[Quarantined]:
    """The rows that wait to be mended, the oldest first."""
    return _read(store, "mended_at IS NULL ORDER BY created_at LIMIT ?", [limit])


def _read(store: Store, which: str, params: list[Any]) -> list[Quarantined]:
    found = store.rows(
        "SELECT quarantine_id, kind, source, reason, row::VARCHAR, created_at, mended_at FROM quarantine "
        f"WHERE {which}",
        params,
    )
    return [
        Quarantined(identity, EventKind(kind), source, reason, json.loads(row), created_at, mended_at)
        for identity, kind, source, reason, row, created_at, mended_at in found
    ]


def count_waiting(store: Store) -> int:
    """How many rows wait to be mended."""
    return store.rows("SELECT count(*) FROM quarantine WHERE mended_at IS NULL")[0][0]
