"""Training sets: frozen rows, each with the interaction and the feedback it came from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from organism.store.database import Cursor, Store
from organism.store.segments import segments_of

_ROWS = pa.schema(
    [
        ("row_number", pa.int32()),
        ("split", pa.string()),
        ("interaction_id", pa.string()),
        ("feedback_id", pa.string()),
        ("user_key", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("label", pa.bool_()),
        ("facts", pa.string()),
        ("reward", pa.float64()),
        ("rejected_interaction_id", pa.string()),
        ("rejected_feedback_id", pa.string()),
        ("rejected_reward", pa.float64()),
        ("origin", pa.string()),
    ]
)


def find_dataset(
    store: Store, loop_id: str, content_hash: str, *, settings: Mapping[str, Any] | None = None
) -> str | None:
    """The id of the loop's dataset with these very rows (and these settings, where they are given), or None."""
    found = store.rows(
        "SELECT dataset_id FROM datasets WHERE loop_id = $1 AND content_hash = $2 "
        "AND ($3::VARCHAR IS NULL OR settings::VARCHAR = $3) ORDER BY created_at LIMIT 1",
        [loop_id, content_hash, None if settings is None else json.dumps(settings)],
    )
    return found[0][0] if found else None


def append_dataset(store: Store, header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Freeze a dataset: its header (the columns of `datasets`) and its rows, in one transaction."""
    columns = list(header)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=_ROWS)

    def work(cursor: Cursor) -> None:
        cursor.execute(
            f"INSERT INTO datasets ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            [json.dumps(value) if isinstance(value, dict) else value for value in header.values()],
        )
        cursor.register("incoming", table)
        cursor.execute(
            "INSERT INTO dataset_rows BY NAME SELECT ? AS dataset_id, * FROM incoming", [header["dataset_id"]]
        )
        cursor.unregister("incoming")

    store.write(work, "datasets")


def read_datasets(store: Store, loop_id: str) -> pd.DataFrame:
    """The loop's datasets, newest first, every column of the table; dropped, settings and leakage are JSON text.

    settings and leakage are None for sets that were frozen before there was a choice.
    """
    return store.frame(
        """
        SELECT * REPLACE (dropped::VARCHAR AS dropped, settings::VARCHAR AS settings, leakage::VARCHAR AS leakage)
        FROM datasets WHERE loop_id = ? ORDER BY created_at DESC
        """,
        [loop_id],
    )


def read_dataset_rows(store: Store, dataset_id: str, split: str | None = None) -> pd.DataFrame:
    """The frozen rows of a dataset in order, of one split ('train' or 'heldout') or of both.

    Columns: row_number, split, interaction_id, feedback_id, user_key, prompt, completion, chosen, rejected, label,
    reward, rejected_interaction_id, rejected_feedback_id, rejected_reward (each None or NaN where the kind has none),
    facts (a list of {kind, any_of}, empty without), origin (JSON text of the ballot and the votes behind a row by vote,
    None otherwise), second_final (the same expert's second draw, where the sender gave one),
    segments (a dict of what the sender says of the user, see `segments_of`).
    """
    found = store.frame(
        """
        SELECT d.row_number, d.split, d.interaction_id::VARCHAR AS interaction_id,
            d.feedback_id::VARCHAR AS feedback_id, d.user_key, d.prompt, d.completion, d.chosen, d.rejected, d.label,
            d.reward, d.rejected_interaction_id::VARCHAR AS rejected_interaction_id,
            d.rejected_feedback_id::VARCHAR AS rejected_feedback_id, d.rejected_reward,
            d.origin, d.facts::VARCHAR AS facts, i.attributes->>'second_final' AS second_final,
            i.region, i.attributes::VARCHAR AS attributes
        FROM dataset_rows d LEFT JOIN interactions i ON i.interaction_id = d.interaction_id
        WHERE d.dataset_id = $1 AND d.split = coalesce($2, d.split) ORDER BY d.row_number
        """,
        [dataset_id, split],
    )
    found["facts"] = [json.loads(facts) if isinstance(facts, str) else [] for facts in found["facts"]]
    for column in ("completion", "chosen", "rejected", "origin", "second_final"):
        texts = [text if isinstance(text, str) else None for text in found[column]]
        found[column] = pd.Series(texts, index=found.index, dtype=object)
    found["label"] = pd.Series([None if pd.isna(x) else bool(x) for x in found["label"]], found.index, dtype=object)
    sent = zip(found.pop("region"), found.pop("attributes"), strict=True)
    found["segments"] = pd.Series([segments_of(*pair) for pair in sent], index=found.index, dtype=object)
    return found


def read_dataset_origins(store: Store, dataset_id: str) -> pd.DataFrame:
    """Where each row of a dataset came from, in order, without its texts.

    Columns: split, user_key, variant, region, answer (None where nobody answered), label, reward, rejected_reward,
    answered_at (the draft's time where nobody answered).
    """
    return store.frame(
        """
        SELECT d.split, d.user_key, coalesce(i.variant_id, 'unknown') AS variant, i.region, f.kind AS answer, d.label,
            d.reward, d.rejected_reward, coalesce(f.occurred_at, i.occurred_at) AS answered_at
        FROM dataset_rows d LEFT JOIN interactions i ON i.interaction_id = d.interaction_id
        LEFT JOIN feedback_events f ON f.feedback_id = d.feedback_id
        WHERE d.dataset_id = ? ORDER BY d.row_number
        """,
        [dataset_id],
    )


def read_synthetic_share(store: Store, dataset_id: str) -> float | None:
    """The share of a dataset's rows whose draft was simulated; None when no row's draft is known."""
    [(share,)] = store.rows(
        "SELECT avg(i.is_synthetic::INTEGER) FROM dataset_rows d "
        "JOIN interactions i ON i.interaction_id = d.interaction_id WHERE d.dataset_id = ?",
        [dataset_id],
    )
    return None if share is None else float(share)
