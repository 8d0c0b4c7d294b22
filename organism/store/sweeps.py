"""Sweeps: which runs were started side by side, by what plan, and what each of them measured."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import DesignError, InputError
from organism.store.database import Cursor, Store


class Sweep(NamedTuple):
    """One sweep. `plan` is its plan as plain data, `tracks` what was started or refused, a dict each."""

    sweep_id: str
    loop_id: str
    name: str
    plan: dict[str, Any]
    tracks: list[dict[str, Any]]
    created_at: datetime


def append_sweep(store: Store, sweep: Sweep) -> None:
    """Keep a sweep; raises DesignError when the loop has one of this name."""

    def work(cursor: Cursor) -> None:
        taken = cursor.execute("SELECT 1 FROM sweeps WHERE loop_id = ? AND name = ?", [sweep.loop_id, sweep.name])
        if taken.fetchall():
            raise DesignError(f"this loop already has tracks named '{sweep.name}'; choose another name")
        cursor.execute(
            "INSERT INTO sweeps (sweep_id, loop_id, name, plan, created_at) VALUES (?, ?, ?, ?, ?)",
            [sweep.sweep_id, sweep.loop_id, sweep.name, _plan(sweep.plan, sweep.tracks), sweep.created_at],
        )

    store.write(work, "sweeps")


def note_tracks(store: Store, sweep_id: str, plan: Mapping[str, Any], tracks: Sequence[Mapping[str, Any]]) -> None:
    """Write down which run each track became, or why it was not started."""
    store.execute("UPDATE sweeps SET plan = ? WHERE sweep_id = ?", [_plan(plan, tracks), sweep_id], "sweeps")


def remove_sweep(store: Store, sweep_id: str) -> None:
    """Take back a sweep of which no track could be started."""
    store.execute("DELETE FROM sweeps WHERE sweep_id = ?", [sweep_id], "sweeps")


def read_sweep(store: Store, sweep_id: str) -> Sweep:
    """One sweep; raises InputError when there is none with this id."""
    rows = store.rows(
        "SELECT sweep_id, loop_id, name, plan::VARCHAR, created_at FROM sweeps WHERE sweep_id = ?", [sweep_id]
    )
    if not rows:
        raise InputError(f"no tracks have the id {sweep_id!r}; `organism tracks list` lists those there are")
    found, loop_id, name, plan, created_at = rows[0]
    kept = json.loads(plan)
    return Sweep(found, loop_id, name, kept["plan"], kept["tracks"], created_at)


def read_sweeps(store: Store, loop_id: str) -> pd.DataFrame:
    """The sweeps of a loop, newest first: sweep_id, name, created_at, n_runs, n_done, n_active, n_refused."""
    return store.frame(
        """
        SELECT s.sweep_id, s.name, s.created_at, count(r.run_id) AS n_runs,
            count(*) FILTER (r.status = 'done') AS n_done,
            count(*) FILTER (r.status IN ('queued', 'running', 'evaluating')) AS n_active,
            len(list_filter(from_json(any_value(s.plan)->'tracks', '[{"run_id": "VARCHAR"}]'),
                lambda track: track.run_id IS NULL)) AS n_refused
        FROM sweeps s LEFT JOIN training_runs r USING (sweep_id)
        WHERE s.loop_id = ? GROUP BY ALL ORDER BY s.created_at DESC, s.sweep_id DESC
        """,
        [loop_id],
    )


def read_sweep_runs(store: Store, sweep_id: str) -> pd.DataFrame:
    """The runs of a sweep in the order of their start, each with its version and the figures it was measured with.

    Columns: run_id, status, message, seconds, cost_usd, model_version_id, version (its name), eval_run_id, summary
    (a dict; None before the run was evaluated).
    """
    frame = store.frame(
        """
        SELECT r.run_id, r.status, r.message, r.seconds, r.cost_usd, r.model_version_id, v.name AS version,
            e.eval_run_id, e.summary::VARCHAR AS summary
        FROM training_runs r
        LEFT JOIN model_versions v USING (model_version_id)
        LEFT JOIN (
            SELECT run_id, arg_min(eval_run_id, created_at) AS eval_run_id, arg_min(summary, created_at) AS summary
            FROM eval_runs GROUP BY run_id
        ) e ON e.run_id = r.run_id
        WHERE r.sweep_id = ? ORDER BY r.created_at, r.run_id
        """,
        [sweep_id],
    )
    summaries = [json.loads(text) if isinstance(text, str) else None for text in frame["summary"]]
    return frame.assign(summary=pd.Series(summaries, index=frame.index, dtype=object))


def read_sweep_rows(store: Store, eval_run_ids: Sequence[str]) -> pd.DataFrame:
    """Every held-out row of these evaluations: eval_run_id, row_number, user_key, measures (a dict)."""
    frame = store.frame(
        "SELECT eval_run_id, row_number, user_key, measures::VARCHAR AS measures FROM eval_results "
        "WHERE eval_run_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY eval_run_id, row_number",
        [list(eval_run_ids)],
    )
    return frame.assign(measures=[json.loads(measures) for measures in frame["measures"]])


def _plan(plan: Mapping[str, Any], tracks: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"plan": dict(plan), "tracks": [dict(track) for track in tracks]})
