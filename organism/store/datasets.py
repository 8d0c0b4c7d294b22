"""Training sets: frozen rows, each with the interaction and the feedback it came from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from organism.store.database import Cursor, Store

_ROWS = pa.schema(
    [
        ("row_number", pa.int32()),
        ("split", pa.string()),
        ("interaction_id", pa.string()),
        ("feedback_id", pa.string()),
        ("user_key", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("facts", pa.string()),
    ]
)


def read_candidates(store: Store, loop_id: str) -> pd.DataFrame:
    """Every answered interaction, newest answer first, without its texts.

    Columns: interaction_id, feedback_id, user_key, consent, has_final, prompt_hash, answered_at. Of several
    answers the last that was not superseded counts. has_final says whether a text that a person stood
    behind is known: the final text, or the draft as it was accepted.
    """
    return store.frame(
        """
        WITH asked AS (
            SELECT interaction_id, coalesce(consent, false) AS consent, hash(trim(prompt)) AS prompt_hash,
                coalesce(trim(prompt), '') <> '' AS has_prompt, coalesce(trim(output), '') <> '' AS has_output
            FROM interactions WHERE loop_id = $1
        ), said AS (
            SELECT feedback_id, kind, occurred_at AS answered_at, trim(final_text) <> '' AS has_text
            FROM feedback_events
        ), taken AS (SELECT interaction_id, feedback_id, user_key FROM signals WHERE loop_id = $1)
        SELECT t.interaction_id::VARCHAR AS interaction_id, t.feedback_id::VARCHAR AS feedback_id, t.user_key,
            a.consent, a.has_prompt AND coalesce(f.has_text, f.kind = 'accept' AND a.has_output) AS has_final,
            a.prompt_hash, f.answered_at
        FROM taken t JOIN said f USING (feedback_id) JOIN asked a ON a.interaction_id = t.interaction_id
        ORDER BY f.answered_at DESC, t.interaction_id
        """,
        [loop_id],
    )


def read_texts(store: Store, feedback_ids: Sequence[str]) -> pd.DataFrame:
    """The texts of these answers: columns feedback_id, prompt, completion, facts (JSON text, None without)."""
    with store.cursor() as cursor:
        cursor.register("wanted", pa.table({"id": pa.array(feedback_ids, pa.string())}))
        return cursor.execute("""
            SELECT f.feedback_id::VARCHAR AS feedback_id, i.prompt,
                coalesce(f.final_text, i.output) AS completion, (i.attributes->'facts')::VARCHAR AS facts
            FROM wanted w JOIN feedback_events f ON f.feedback_id = w.id::UUID
            JOIN interactions i ON i.interaction_id = f.interaction_id
        """).df()


def find_dataset(store: Store, loop_id: str, content_hash: str) -> str | None:
    """The id of the loop's dataset with these very rows, or None."""
    found = store.rows(
        "SELECT dataset_id FROM datasets WHERE loop_id = ? AND content_hash = ? ORDER BY created_at LIMIT 1",
        [loop_id, content_hash],
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
    """The loop's datasets, newest first, every column of the table; `dropped` is JSON text."""
    return store.frame(
        "SELECT * REPLACE (dropped::VARCHAR AS dropped) FROM datasets WHERE loop_id = ? ORDER BY created_at DESC",
        [loop_id],
    )


def read_dataset_rows(store: Store, dataset_id: str, split: str | None = None) -> pd.DataFrame:
    """The frozen rows of a dataset in order, of one split ('train' or 'heldout') or of both.

    Columns: row_number, split, interaction_id, feedback_id, user_key, prompt, completion, facts (a list of
    {kind, any_of}, empty without), second_final (the same expert's second draw, where the sender gave one).
    """
    found = store.frame(
        """
        SELECT d.row_number, d.split, d.interaction_id::VARCHAR AS interaction_id,
            d.feedback_id::VARCHAR AS feedback_id, d.user_key, d.prompt, d.completion,
            d.facts::VARCHAR AS facts, i.attributes->>'second_final' AS second_final
        FROM dataset_rows d LEFT JOIN interactions i ON i.interaction_id = d.interaction_id
        WHERE d.dataset_id = $1 AND d.split = coalesce($2, d.split) ORDER BY d.row_number
        """,
        [dataset_id, split],
    )
    found["facts"] = [json.loads(facts) if isinstance(facts, str) else [] for facts in found["facts"]]
    second = [text if isinstance(text, str) else None for text in found["second_final"]]
    found["second_final"] = pd.Series(second, index=found.index, dtype=object)
    return found
