"""Evaluations: the figures of one version against its base on held-out rows, and the drafts behind them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from organism.store.database import Cursor, Store

RESULTS = pa.schema(
    [
        ("eval_run_id", pa.string()),
        ("row_number", pa.int32()),
        ("user_key", pa.string()),
        ("prompt", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("final_text", pa.string()),
        ("measures", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRun:
    """One comparison of a version with a baseline. The summary's keys are those of `optimize.evaluation.summarize`."""

    eval_run_id: str
    loop_id: str
    run_id: str | None
    model_version_id: str
    baseline_version_id: str
    dataset_id: str | None
    summary: dict[str, Any]
    created_at: datetime


def insert_evaluation(cursor: Cursor, evaluation: EvalRun, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add an evaluation with its rows (user_key, prompt, before, after, final_text, measures), in the writer."""
    summary = evaluation.summary
    cursor.execute(
        "INSERT INTO eval_runs (eval_run_id, loop_id, run_id, model_version_id, baseline_version_id, dataset_id, "
        "n_users, n_rows, summary, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            evaluation.eval_run_id,
            evaluation.loop_id,
            evaluation.run_id,
            evaluation.model_version_id,
            evaluation.baseline_version_id,
            evaluation.dataset_id,
            summary["n_users"],
            summary["n_rows"],
            json.dumps(summary),
            evaluation.created_at,
        ],
    )
    results = [_result(evaluation.eval_run_id, place, row) for place, row in enumerate(rows)]
    cursor.register("incoming_results", pa.Table.from_pylist(results, schema=RESULTS))
    cursor.execute("INSERT INTO eval_results BY NAME SELECT * FROM incoming_results")
    cursor.unregister("incoming_results")


def read_evaluation(store: Store, model_version_id: str) -> dict[str, Any] | None:
    """The figures of the version's latest evaluation, with eval_run_id; None when it has none."""
    rows = store.rows(
        "SELECT eval_run_id, summary FROM eval_runs WHERE model_version_id = ? "
        "ORDER BY created_at DESC, rowid DESC LIMIT 1",
        [model_version_id],
    )
    return {**json.loads(rows[0][1]), "eval_run_id": rows[0][0]} if rows else None


def read_run_evaluation(store: Store, run_id: str) -> dict[str, Any] | None:
    """The figures of the evaluation that this run ended with, with eval_run_id; None when it has none."""
    rows = store.rows(
        "SELECT eval_run_id, summary FROM eval_runs WHERE run_id = ? ORDER BY created_at LIMIT 1", [run_id]
    )
    return {**json.loads(rows[0][1]), "eval_run_id": rows[0][0]} if rows else None


def read_eval_results(store: Store, model_version_id: str) -> pd.DataFrame:
    """The drafts of the version's latest evaluation: row_number, user_key, prompt, before, after, final_text, measures.

    measures is a dict: chars_before, retained_before, tokens_before, the same for after, final_chars,
    and facts, a list of {kind, any_of, before, after}.
    """
    frame = store.frame(
        """
        SELECT row_number, user_key, prompt, before, after, final_text, measures FROM eval_results
        WHERE eval_run_id = (SELECT arg_max(eval_run_id, (created_at, rowid)) FROM eval_runs WHERE model_version_id = ?)
        ORDER BY row_number
        """,
        [model_version_id],
    )
    return frame.assign(measures=[json.loads(measures) for measures in frame["measures"]])


def _result(eval_run_id: str, place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("user_key", "prompt", "before", "after", "final_text")}
    return {"eval_run_id": eval_run_id, "row_number": place, **kept, "measures": json.dumps(row["measures"])}
