"""Plans of experiments: their versions, and drafts that become experiments."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from organism.errors import DesignError, InputError
from organism.records import Variant
from organism.store.database import Cursor, Store
from organism.store.experiments import PLANNED, RUNNING, refuse_twin
from organism.store.layers import refuse_overlap


class PlanVersion(NamedTuple):
    """One version of a plan as it was kept: plain data, who wrote it, why, and when."""

    version: int
    plan: dict[str, Any]
    actor: str
    why: str
    created_at: datetime


def read_plan_versions(store: Store, experiment_id: str) -> list[PlanVersion]:
    """All versions of an experiment's plan, the first one first."""
    found = store.rows(
        "SELECT version, plan::VARCHAR, actor, why, created_at FROM plans WHERE experiment_id = ? ORDER BY version",
        [experiment_id],
    )
    return [PlanVersion(version, json.loads(plan), *rest) for version, plan, *rest in found]


def append_plan_version(
    store: Store, experiment_id: str, plan: Mapping[str, Any], *, actor: str, why: str, now: datetime
) -> int:
    """Keep the next version of a running experiment's plan; returns its number. Raises DesignError unless it runs."""

    def work(cursor: Cursor) -> int:
        status = _status(cursor, experiment_id)
        if status != RUNNING:
            raise DesignError(f"this experiment is {status}, not running; only the plan of a running one has versions")
        found = cursor.execute("SELECT max(version) FROM plans WHERE experiment_id = ?", [experiment_id]).fetchall()
        version = int(found[0][0]) + 1
        cursor.execute(
            "INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?)",
            [experiment_id, version, json.dumps(dict(plan)), actor, why, now],
        )
        return version

    kept: int = store.write(work, "experiments")
    return kept


def rewrite_draft(
    store: Store,
    experiment_id: str,
    row: Mapping[str, Any],
    variants: Sequence[Variant],
    plan: Mapping[str, Any],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Put a draft anew in place of itself (`row`: columns of experiments). Raises DesignError once it has started."""

    def work(cursor: Cursor) -> None:
        _refuse_started(cursor, experiment_id)
        full = {**row, "targeting": json.dumps(row.get("targeting") or {})}
        setting = ", ".join(f"{column} = ?" for column in full)
        cursor.execute(f"UPDATE experiments SET {setting} WHERE experiment_id = ?", [*full.values(), experiment_id])
        cursor.execute("DELETE FROM variants WHERE experiment_id = ?", [experiment_id])
        cursor.executemany(
            "INSERT INTO variants VALUES (?, ?, ?, ?, ?, ?)",
            [
                [experiment_id, position, one.name, one.share, one.model_version_id, one.prompt]
                for position, one in enumerate(variants)
            ],
        )
        cursor.execute(
            "UPDATE plans SET plan = ?, actor = ?, created_at = ? WHERE experiment_id = ?",
            [json.dumps(dict(plan)), actor, now, experiment_id],
        )

    store.write(work, "experiments")


def start_draft(
    store: Store,
    experiment_id: str,
    variants: Sequence[Variant],
    plan: Mapping[str, Any],
    *,
    actor: str,
    why: str,
    now: datetime,
) -> None:
    """Freeze the draft's plan as its version 1 and let the experiment run from now; `why` stands beside it.

    Raises DesignError when it has started, or when one of the same variants is running.
    """

    def work(cursor: Cursor) -> None:
        _refuse_started(cursor, experiment_id)
        ((loop_id, *slot),) = cursor.execute(
            "SELECT loop_id, layer, layer_low, layer_high FROM experiments WHERE experiment_id = ?", [experiment_id]
        ).fetchall()
        refuse_twin(cursor, {"loop_id": loop_id}, variants)
        refuse_overlap(cursor, loop_id, experiment_id, *slot)
        cursor.execute(
            "UPDATE experiments SET status = ?, started_at = ? WHERE experiment_id = ?", [RUNNING, now, experiment_id]
        )
        cursor.execute(
            "UPDATE plans SET plan = ?, actor = ?, why = ?, created_at = ? WHERE experiment_id = ?",
            [json.dumps(dict(plan)), actor, why, now, experiment_id],
        )

    store.write(work, "experiments")


def delete_draft(store: Store, experiment_id: str) -> None:
    """Take a draft away with its variants and its plan. Raises DesignError once it has started."""

    def work(cursor: Cursor) -> None:
        _refuse_started(cursor, experiment_id)
        for table in ("variants", "plans", "experiments"):
            cursor.execute(f"DELETE FROM {table} WHERE experiment_id = ?", [experiment_id])

    store.write(work, "experiments")


def _refuse_started(cursor: Cursor, experiment_id: str) -> None:
    if (status := _status(cursor, experiment_id)) != PLANNED:
        raise DesignError(
            f"this experiment is {status} already, so its plan is frozen; a running one takes changes as new versions "
            "(organism experiment change)"
        )


def _status(cursor: Cursor, experiment_id: str) -> str:
    found = cursor.execute("SELECT status FROM experiments WHERE experiment_id = ?", [experiment_id]).fetchall()
    if not found:
        raise InputError(f"no experiment has the id {experiment_id!r}; organism experiment list shows those there are")
    return str(found[0][0])
