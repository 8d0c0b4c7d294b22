"""Choices: which of two things a person found better, one row a choice, never changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from organism.store.database import Cursor, Store

_COLUMNS = pa.schema(
    [
        ("choice_id", pa.string()),
        ("loop_id", pa.string()),
        ("kind", pa.string()),
        ("left_id", pa.string()),
        ("right_id", pa.string()),
        ("chosen", pa.string()),
        ("actor", pa.string()),
        ("is_synthetic", pa.bool_()),
        ("created_at", pa.timestamp("us")),
    ]
)


class Choice(NamedTuple):
    """One choice. `kind` says what the two ids name: 'drafts' interactions, 'variants' variants by their name.

    `chosen` is 'left', 'right' or 'skip' (seen, and no answer); the fits leave skips out.
    """

    choice_id: str
    loop_id: str
    kind: str
    left_id: str
    right_id: str
    chosen: str
    actor: str
    is_synthetic: bool
    created_at: datetime


def append_choices(store: Store, choices: Sequence[Choice]) -> int:
    """Write choices durably, as one transaction; one whose id is there already stays. Returns how many were sent."""
    table = pa.Table.from_pylist([choice._asdict() for choice in choices], schema=_COLUMNS)

    def work(cursor: Cursor) -> None:
        cursor.register("incoming_choices", table)
        cursor.execute("INSERT INTO choices BY NAME SELECT * FROM incoming_choices ON CONFLICT DO NOTHING")
        cursor.unregister("incoming_choices")

    store.write(work, "choices")
    return len(choices)


def read_choices(store: Store, loop_id: str, kind: str | None = None) -> pd.DataFrame:
    """The loop's choices, oldest first, of one kind or of all; every column of the table but loop_id."""
    return store.frame(
        "SELECT choice_id, kind, left_id, right_id, chosen, actor, is_synthetic, created_at FROM choices "
        "WHERE loop_id = $1 AND kind = coalesce($2, kind) ORDER BY created_at, choice_id",
        [loop_id, kind],
    )


def read_voters(store: Store, loop_id: str) -> pd.DataFrame:
    """Who chose how often, the busiest first.

    Columns: actor, is_synthetic, n_choices (without skips), n_skipped, last_at.
    """
    return store.frame(
        "SELECT actor, bool_or(is_synthetic) AS is_synthetic, count(*) FILTER (chosen <> 'skip') AS n_choices, "
        "count(*) FILTER (chosen = 'skip') AS n_skipped, max(created_at) AS last_at "
        "FROM choices WHERE loop_id = ? GROUP BY actor ORDER BY n_choices DESC, actor",
        [loop_id],
    )
