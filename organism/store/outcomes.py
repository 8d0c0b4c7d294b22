"""Outcomes: what came of it later, tied by a business key."""

import pandas as pd
import pyarrow as pa

from organism.store.database import Store

SCHEMA = pa.schema(
    [
        ("outcome_id", pa.string()),
        ("loop_id", pa.string()),
        ("business_key", pa.string()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("occurred_at", pa.timestamp("us")),
        ("attribution_window_s", pa.int64()),
        ("created_at", pa.timestamp("us")),
        ("source", pa.string()),
        ("external_id", pa.string()),
    ]
)


def read_outcomes(store: Store, loop_id: str, *, limit: int = 200) -> pd.DataFrame:
    """The latest outcomes of a loop, newest first, every column of the table."""
    return store.frame(
        "SELECT * REPLACE (outcome_id::VARCHAR AS outcome_id) FROM outcomes "
        "WHERE loop_id = ? ORDER BY occurred_at DESC LIMIT ?",
        [loop_id, limit],
    )


def count_outcomes(store: Store) -> int:
    """How many outcomes the workspace has."""
    return store.rows("SELECT count(*) FROM outcomes")[0][0]
