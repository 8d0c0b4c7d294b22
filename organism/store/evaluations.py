"""Evaluations: the figures of one version against its base on held-out rows, and the drafts behind them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from organism.errors import InputError
from organism.store.database import Cursor, Store
from organism.store.segments import segments_of

RESULTS = pa.schema(
    [
        ("eval_run_id", pa.string()),
        ("row_number", pa.int32()),
        ("interaction_id", pa.string()),
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
    """One comparison of a version with a baseline. The summary's keys are those of `optimize.figures.summarize` and
    what the worker adds; `settings` is how it was asked for.
    """

    eval_run_id: str
    loop_id: str
    run_id: str | None
    model_version_id: str
    baseline_version_id: str
    dataset_id: str | None
    summary: dict[str, Any]
    created_at: datetime
    name: str | None = None
    settings: dict[str, Any] | None = None


def insert_evaluation(cursor: Cursor, evaluation: EvalRun, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add an evaluation with its rows (user_key, prompt, before, after, final_text, measures), in the writer."""
    summary = evaluation.summary
    cursor.execute(
        "INSERT INTO eval_runs (eval_run_id, loop_id, run_id, model_version_id, baseline_version_id, dataset_id, "
        "n_users, n_rows, summary, created_at, name, settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            evaluation.name,
            None if evaluation.settings is None else json.dumps(evaluation.settings),
        ],
    )
    results = [_result(evaluation.eval_run_id, place, row) for place, row in enumerate(rows)]
    cursor.register("incoming_results", pa.Table.from_pylist(results, schema=RESULTS))
    cursor.execute("INSERT INTO eval_results BY NAME SELECT * FROM incoming_results")
    cursor.unregister("incoming_results")


_MEASURED = """
    SELECT e.eval_run_id FROM eval_runs e LEFT JOIN model_versions b ON b.model_version_id = e.baseline_version_id
    WHERE e.model_version_id = ?
    ORDER BY b.adapter_path IS NULL DESC,
        2 * e.n_rows >= max(e.n_rows) OVER (PARTITION BY b.adapter_path IS NULL) DESC,
        e.created_at DESC, e.rowid DESC LIMIT 1
"""
"""The evaluation that counts for a version: the latest against a base, else the latest against anything. One on fewer
than half the rows of the largest does not count: a handful of rows would otherwise wave a version through the gate.
"""


def read_evaluation(store: Store, model_version_id: str) -> dict[str, Any] | None:
    """The figures of the version's evaluation that counts (the latest against its base, else the latest), with
    eval_run_id; None when it has none.
    """
    rows = store.rows(
        f"SELECT eval_run_id, summary FROM eval_runs WHERE eval_run_id = ({_MEASURED})", [model_version_id]
    )
    return {**json.loads(rows[0][1]), "eval_run_id": rows[0][0]} if rows else None


def read_run_evaluation(store: Store, run_id: str) -> dict[str, Any] | None:
    """The figures of the evaluation that this run ended with, with eval_run_id; None when it has none."""
    rows = store.rows(
        "SELECT eval_run_id, summary FROM eval_runs WHERE run_id = ? ORDER BY created_at LIMIT 1", [run_id]
    )
    return {**json.loads(rows[0][1]), "eval_run_id": rows[0][0]} if rows else None


def read_eval_results(store: Store, model_version_id: str) -> pd.DataFrame:
    """The drafts of the evaluation that counts for the version, as `read_results` gives them."""
    rows = store.rows(_MEASURED, [model_version_id])
    return read_results(store, rows[0][0] if rows else "")


def read_results(store: Store, eval_run_id: str) -> pd.DataFrame:
    """The drafts of one evaluation: row_number, interaction_id (None for old ones), user_key, prompt, before, after,
    final_text, measures.

    measures is a dict: chars_before, retained_before, tokens_before, the same for after, final_chars, facts, a list
    of {kind, any_of, before, after}, and where they were taken loss_before, loss_after, loss_tokens and nearest.
    """
    frame = store.frame(
        """
        SELECT row_number, interaction_id, user_key, prompt, before, after, final_text, measures FROM eval_results
        WHERE eval_run_id = ? ORDER BY row_number
        """,
        [eval_run_id],
    )
    return frame.assign(measures=[json.loads(measures) for measures in frame["measures"]])


def read_header(store: Store, eval_run_id: str) -> dict[str, Any]:
    """One evaluation without its rows: the columns of eval_runs with summary and settings as data, version and
    baseline (names); InputError for an unknown id.
    """
    found = store.frame(
        f"SELECT {_COLUMNS} {_NAMED} WHERE e.eval_run_id = ?",
        [eval_run_id],
    )
    if found.empty:
        raise InputError(f"no evaluation has the id {eval_run_id!r}; `organism evaluations` lists those there are")
    row = found.iloc[0].to_dict()
    settings = json.loads(row["settings"]) if isinstance(row["settings"], str) else None
    return {**row, "created_at": found["created_at"][0].to_pydatetime()} | {
        "summary": json.loads(row["summary"]),
        "settings": settings,
    }


_COLUMNS = """e.eval_run_id, e.loop_id, e.run_id, e.name, e.model_version_id, e.baseline_version_id, e.dataset_id,
    v.name AS version, b.name AS baseline, v.role AS role, e.n_users, e.n_rows, e.settings::VARCHAR AS settings,
    e.summary::VARCHAR AS summary, e.created_at"""
_NAMED = """FROM eval_runs e
    LEFT JOIN model_versions v ON v.model_version_id = e.model_version_id
    LEFT JOIN model_versions b ON b.model_version_id = e.baseline_version_id"""
FIGURES = (
    "before after gain written_share_before written_share_after facts_before facts_after chars_before chars_after "
    "tokens_before tokens_after loss_before loss_after perplexity_before perplexity_after latency_ms_before "
    "latency_ms_after n_facts_lost n_facts_won floor ceiling"
).split()
INTERVALS = {
    "gain": "gain_ci",
    "written_share_gain": "written_share_gain_ci",
    "facts_gain": "facts_gain_ci",
    "tokens_gain": "tokens_gain_ci",
}


def read_evaluations(store: Store, loop_id: str) -> pd.DataFrame:
    """Every evaluation of a loop, the newest first, a row each with its figures.

    eval_run_id, run_id, name, version, baseline, role, model_version_id, baseline_version_id, dataset_id, n_users,
    n_rows, created_at; FIGURES; NAME_low and NAME_high of INTERVALS; win_rate, win_rate_low, win_rate_high;
    n_overlapping, n_checked; safety_n, safety_before, safety_after, n_safety_worse; judge, judge_rate. None or NaN
    where an evaluation does not say.
    """
    found = store.frame(
        f"SELECT {_COLUMNS} {_NAMED} WHERE e.loop_id = ? ORDER BY e.created_at DESC, e.rowid DESC", [loop_id]
    )
    flat = [flattened(json.loads(summary)) for summary in found["summary"]]
    columns = list(flattened({}))
    return found.drop(columns=["summary", "settings"]).join(pd.DataFrame(flat, columns=columns, index=found.index))


def flattened(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a summary in one row; None for those that it lacks."""
    win, safety, judge = (summary.get(name) or {} for name in ("win_rate", "safety", "judge"))
    seen = summary.get("contamination") or {}
    return {
        **{name: summary.get(name) for name in FIGURES},
        **{f"{name}_{end}": value for name, key in INTERVALS.items() for end, value in _ends(summary.get(key))},
        "win_rate": win.get("rate"),
        **{f"win_rate_{end}": value for end, value in _ends(win.get("ci"))},
        "n_overlapping": seen.get("n_overlapping"),
        "n_checked": seen.get("n_checked"),
        "safety_n": safety.get("n"),
        "safety_before": safety.get("before"),
        "safety_after": safety.get("after"),
        "n_safety_worse": len(safety["worse"]) if "worse" in safety else None,
        "judge": judge.get("judge"),
        "judge_rate": judge.get("rate"),
    }


def _ends(interval: Sequence[float] | None) -> list[tuple[str, float | None]]:
    low, high = interval or (None, None)
    return [("low", low), ("high", high)]


def read_drafts(store: Store, loop_id: str, model_version_id: str) -> pd.DataFrame:
    """What a version wrote in any evaluation of the loop, the latest draft of each held-out row. The rows of a judge's
    evaluation are no drafts: they are texts that people chose from.

    user_key, prompt, final_text, interaction_id, text, measures (JSON text), side (before or after), created_at.
    """
    return store.frame(
        """
        SELECT r.user_key, r.prompt, r.final_text, r.interaction_id, r.measures::VARCHAR AS measures, e.created_at,
            if(e.model_version_id = $2, 'after', 'before') AS side,
            if(e.model_version_id = $2, r.after, r.before) AS text
        FROM eval_results r JOIN eval_runs e USING (eval_run_id)
        LEFT JOIN model_versions v ON v.model_version_id = e.model_version_id
        WHERE e.loop_id = $1 AND (e.model_version_id = $2 OR e.baseline_version_id = $2)
            AND v.role IS DISTINCT FROM 'judge'
        QUALIFY row_number() OVER (
            PARTITION BY r.user_key, r.prompt, r.final_text ORDER BY e.created_at DESC, e.rowid DESC
        ) = 1
        ORDER BY r.user_key, r.prompt, r.final_text
        """,
        [loop_id, model_version_id],
    )


def read_segments(store: Store, eval_run_id: str) -> dict[int, dict[str, str]]:
    """Of each row of an evaluation, by its number, what its interaction says of its user (see `segments_of`).

    Rows of old evaluations find their interaction by prompt and user in the set that they came from.
    """
    rows = store.rows(
        """
        SELECT r.row_number, any_value(i.region), any_value(i.attributes::VARCHAR)
        FROM eval_results r JOIN eval_runs e USING (eval_run_id)
        LEFT JOIN dataset_rows d ON r.interaction_id IS NULL AND d.dataset_id = e.dataset_id
            AND d.split = 'heldout' AND d.prompt = r.prompt AND d.user_key = r.user_key
        JOIN interactions i ON i.interaction_id::VARCHAR = coalesce(r.interaction_id, d.interaction_id::VARCHAR)
        WHERE r.eval_run_id = ? GROUP BY r.row_number
        """,
        [eval_run_id],
    )
    return {number: segments_of(region, attributes) for number, region, attributes in rows}


def _result(eval_run_id: str, place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("user_key", "prompt", "before", "after", "final_text")}
    found = {"interaction_id": row.get("interaction_id") or None, "measures": json.dumps(row["measures"])}
    return {"eval_run_id": eval_run_id, "row_number": place, **kept, **found}
