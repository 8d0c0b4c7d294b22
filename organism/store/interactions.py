"""Interactions: what a user asked, what a model answered, what it cost."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from organism.store.database import Cursor, Store

VARIANT = "coalesce(variant_id, 'unknown')"
"""The name of a row's variant, in SQL: that of an interaction which names none too."""
SCHEMA = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("loop_id", pa.string()),
        ("session_id", pa.string()),
        ("user_key", pa.string()),
        ("variant_id", pa.string()),
        ("experiment_id", pa.string()),
        ("model_version_id", pa.string()),
        ("occurred_at", pa.timestamp("us")),
        ("created_at", pa.timestamp("us")),
        ("prompt", pa.string()),
        ("output", pa.string()),
        ("input_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("latency_ms", pa.float64()),
        ("ttft_ms", pa.float64()),
        ("cost_usd", pa.float64()),
        ("error", pa.string()),
        ("finish_reason", pa.string()),
        ("business_key", pa.string()),
        ("consent", pa.bool_()),
        ("region", pa.string()),
        ("is_synthetic", pa.bool_()),
        ("source", pa.string()),
        ("external_id", pa.string()),
        ("config_hash", pa.string()),
        ("attributes", pa.string()),
    ]
)


class DraftRef(NamedTuple):
    """How a feedback names its interaction: by our id, or by its source and external id.

    `anywhere` lets another source answer, where exactly one has this external id: for senders that
    named no source for the interaction.
    """

    interaction_id: str | None
    source: str | None
    external_id: str | None
    anywhere: bool = False


class Draft(NamedTuple):
    """An interaction's id and what the model wrote, None when it wrote nothing."""

    interaction_id: str
    output: str | None


def find_drafts(cursor: Cursor, refs: Sequence[DraftRef]) -> dict[DraftRef, Draft]:
    """The drafts that these references name; one to an unknown or ambiguous interaction is not among the keys."""
    by_id = [ref for ref in refs if ref.interaction_id]
    by_name = [ref for ref in refs if not ref.interaction_id]
    found = _find(cursor, by_id, "known.interaction_id = asked.interaction_id::UUID") | _find(
        cursor, by_name, "known.source = asked.source AND known.external_id = asked.external_id"
    )
    rest = [ref for ref in by_name if ref.anywhere and ref not in found]
    return found | _find(cursor, rest, "known.external_id = asked.external_id")


def read_interactions(store: Store, loop_id: str, *, limit: int = 200) -> pd.DataFrame:
    """The latest interactions of a loop, newest first, every column of the table."""
    return store.frame(
        "SELECT * REPLACE (interaction_id::VARCHAR AS interaction_id) FROM interactions "
        "WHERE loop_id = ? ORDER BY occurred_at DESC LIMIT ?",
        [loop_id, limit],
    )


def count_interactions(store: Store, loop_id: str | None = None) -> int:
    """How many interactions a loop has, or all loops together."""
    return store.rows("SELECT count(*) FROM interactions WHERE loop_id = coalesce(?, loop_id)", [loop_id])[0][0]


def read_drafts(store: Store, loop_id: str, interaction_ids: Sequence[str]) -> pd.DataFrame:
    """What was asked and what was written, for these interactions of the loop; unknown ids have no row.

    Columns: interaction_id, variant, user_key, prompt, output, prompt_chars, is_synthetic.
    """
    return store.frame(
        f"""
        SELECT interaction_id::VARCHAR AS interaction_id, {VARIANT} AS variant, user_key, prompt,
            output, length(prompt) AS prompt_chars, coalesce(is_synthetic, false) AS is_synthetic
        FROM interactions WHERE loop_id = ? AND interaction_id IN (SELECT try_cast(unnest(?) AS UUID))
        """,
        [loop_id, list(interaction_ids)],
    )


def read_prompt_lengths(store: Store, loop_id: str, interaction_ids: Sequence[str]) -> pd.DataFrame:
    """How long each of these prompts is, in characters: columns interaction_id, prompt_chars (None without a text)."""
    return store.frame(
        "SELECT interaction_id::VARCHAR AS interaction_id, length(prompt) AS prompt_chars FROM interactions "
        "WHERE loop_id = ? AND interaction_id IN (SELECT unnest(?)::UUID)",
        [loop_id, list(interaction_ids)],
    )


def read_variants(store: Store, loop_id: str) -> list[str]:
    """The names of the loop's variants."""
    found = store.rows(f"SELECT DISTINCT {VARIANT} FROM interactions WHERE loop_id = ? ORDER BY 1", [loop_id])
    return [variant for (variant,) in found]


def read_regions(store: Store, loop_id: str, limit: int | None = None) -> list[str]:
    """The regions of the loop's interactions by name: all, or the `limit` busiest."""
    found = store.rows(
        "SELECT region FROM interactions WHERE loop_id = ? AND region IS NOT NULL AND region <> '' "
        "GROUP BY region ORDER BY count(*) DESC, region",
        [loop_id],
    )
    return sorted(region for (region,) in found[:limit])


def _find(cursor: Cursor, refs: Sequence[DraftRef], match: str) -> dict[DraftRef, Draft]:
    if not refs:
        return {}
    asked = pa.table(
        {
            "position": pa.array(range(len(refs)), pa.int64()),
            **{
                name: pa.array([getattr(ref, name) for ref in refs], pa.string())
                for name in ("interaction_id", "source", "external_id")
            },
        }
    )
    cursor.register("asked", asked)
    found = cursor.execute(
        "SELECT asked.position, known.interaction_id::VARCHAR, known.output "
        f"FROM interactions known JOIN asked ON {match} QUALIFY count(*) OVER (PARTITION BY asked.position) = 1"
    ).fetchall()
    cursor.unregister("asked")
    return {refs[position]: Draft(interaction_id, output) for position, interaction_id, output in found}
