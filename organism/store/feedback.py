"""Feedback: how people, models or code answered a draft."""

import pandas as pd
import pyarrow as pa

from organism.store.database import Store

SCHEMA = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("interaction_id", pa.string()),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("final_text", pa.string()),
        ("comment", pa.string()),
        ("draft_chars", pa.int32()),
        ("retained_chars", pa.int32()),
        ("final_chars", pa.int32()),
        ("actor_kind", pa.string()),
        ("actor_key", pa.string()),
        ("supersedes_id", pa.string()),
        ("occurred_at", pa.timestamp("us")),
        ("created_at", pa.timestamp("us")),
        ("source", pa.string()),
        ("external_id", pa.string()),
    ]
)


def read_feedback(store: Store, loop_id: str, *, limit: int = 200) -> pd.DataFrame:
    """The latest feedback on a loop's interactions, newest first, every column of the table."""
    return store.frame(
        "SELECT f.* REPLACE (f.feedback_id::VARCHAR AS feedback_id, f.interaction_id::VARCHAR AS interaction_id, "
        "f.supersedes_id::VARCHAR AS supersedes_id) FROM feedback_events f JOIN interactions i USING (interaction_id) "
        "WHERE i.loop_id = ? ORDER BY f.occurred_at DESC LIMIT ?",
        [loop_id, limit],
    )


def count_feedback(store: Store) -> int:
    """How many feedback events the workspace has."""
    return store.rows("SELECT count(*) FROM feedback_events")[0][0]
