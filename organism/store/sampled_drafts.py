"""Drafts that were sampled for the same prompts without anybody's seeing them: what best-of-n chooses from."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from organism.errors import InputError
from organism.store.database import Cursor, Store

COLUMNS = pa.schema(
    [
        ("loop_id", pa.string()),
        ("prompt_key", pa.string()),
        ("draft_number", pa.int32()),
        ("stop_at", pa.float64()),
        ("user_key", pa.string()),
        ("variant_id", pa.string()),
        ("prompt", pa.string()),
        ("output", pa.string()),
        ("accepted", pa.float64()),
        ("output_tokens", pa.float64()),
        ("latency_ms", pa.float64()),
        ("ttft_ms", pa.float64()),
        ("cost_usd", pa.float64()),
        ("draft_chars", pa.int32()),
        ("retained_chars", pa.int32()),
        ("final_chars", pa.int32()),
        ("n_facts", pa.int32()),
        ("n_facts_right", pa.int32()),
        ("is_synthetic", pa.bool_()),
    ]
)
_NEEDED = ("loop_id", "prompt_key", "draft_number", "stop_at", "prompt", "is_synthetic")
_KEY = "loop_id, prompt_key, draft_number, stop_at"


def append_sampled_drafts(store: Store, rows: Sequence[Mapping[str, Any]], now: datetime) -> int:
    """Keep sampled drafts, whole (stop_at 1) and beginnings, as one transaction; returns how many were new.

    A row is a mapping of the table's columns; what is not measured is left out. A draft that is there already
    (same prompt_key, draft_number and stop_at) stays as it is. Raises InputError when a row lacks what names it.
    """
    for row in rows:
        if absent := [name for name in _NEEDED if row.get(name) is None]:
            raise InputError(f"a sampled draft lacks {', '.join(absent)}; each row needs: {', '.join(_NEEDED)}")
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=COLUMNS)

    def work(cursor: Cursor) -> int:
        cursor.register("incoming_drafts", table)
        try:
            (n_new,) = cursor.execute(
                f"INSERT INTO sampled_drafts BY NAME SELECT DISTINCT ON ({_KEY}) *, ?::TIMESTAMP AS created_at "
                f"FROM incoming_drafts ANTI JOIN sampled_drafts USING ({_KEY})",
                [now],
            ).fetchall()[0]
        finally:
            cursor.unregister("incoming_drafts")
        return int(n_new)

    kept: int = store.write(work, "sampled_drafts")
    return kept


def read_sampled_drafts(store: Store, loop_id: str, *, texts: bool = False) -> pd.DataFrame:
    """The loop's sampled drafts, every column of the table but loop_id and, unless asked for, the texts.

    Of each prompt the whole drafts come first, by number, then their beginnings, the longest first.
    """
    left_out = "loop_id" if texts else "loop_id, prompt, output"
    return store.frame(
        f"SELECT * EXCLUDE ({left_out}) FROM sampled_drafts WHERE loop_id = ? "
        "ORDER BY prompt_key, stop_at DESC, draft_number",
        [loop_id],
    )
