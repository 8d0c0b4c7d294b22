"""Training runs: what was asked, where it stands, what came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import InputError
from organism.records import RunStatus
from organism.store.database import Cursor, Store

ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.EVALUATING)
CLUSTER = "ray:"
CHANGING = (
    "status message step total_steps loss tokens_per_second learning_rate reward memory_mb seconds_left seconds "
    "cost_usd place pid pid_started_at started_at finished_at model_version_id"
).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One run as the store knows it; its files are in the workspace's folder runs/RUN_ID."""

    run_id: str
    loop_id: str
    dataset_id: str
    reward_design_id: str | None
    recipe: str
    config: dict[str, Any]
    status: RunStatus
    created_at: datetime
    message: str | None = None
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    pid: int | None = None
    pid_started_at: float | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    model_version_id: str | None = None
    name: str | None = None
    preset: str | None = None
    eval_dataset_id: str | None = None
    parent_run_id: str | None = None
    sweep_id: str | None = None
    place: str = "local"
    learning_rate: float | None = None
    reward: float | None = None
    memory_mb: float | None = None
    seconds_left: float | None = None
    seconds: float | None = None
    cost_usd: float | None = None

    @property
    def is_here(self) -> bool:
        """Whether it takes this machine's time, rather than a cluster's."""
        return not self.place.startswith(CLUSTER)


COLUMNS = ", ".join(field.name for field in fields(TrainingRun))


def insert_run(cursor: Cursor, run: TrainingRun) -> None:
    """Add a run, inside the writer's transaction."""
    values = [getattr(run, field.name) for field in fields(TrainingRun)]
    values[5] = json.dumps(run.config)
    cursor.execute(f"INSERT INTO training_runs ({COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)


def change_run(cursor: Cursor, run_id: str, changes: Mapping[str, Any]) -> None:
    """Set some of the changing columns of a run, inside the writer's transaction."""
    if unknown := sorted(set(changes) - set(CHANGING)):
        raise ValueError(f"{unknown} of a run never change; those that do: {CHANGING}")
    assignments = ", ".join(f"{column} = ?" for column in changes)
    cursor.execute(f"UPDATE training_runs SET {assignments} WHERE run_id = ?", [*changes.values(), run_id])


def update_run(store: Store, run_id: str, changes: Mapping[str, Any]) -> None:
    """The same as one durable write; only the version of training_runs moves, so nobody else's charts are redrawn."""
    store.write(lambda cursor: change_run(cursor, run_id, changes), "training_runs")


def read_run(store: Store, run_id: str) -> TrainingRun:
    """One run; raises InputError when there is none with this id."""
    rows = store.rows(f"SELECT {COLUMNS} FROM training_runs WHERE run_id = ?", [run_id])
    if not rows:
        raise InputError(f"no run has the id {run_id!r}; `organism runs` lists those there are")
    return _run(rows[0])


def find_run(store: Store, loop_id: str, ref: str) -> TrainingRun:
    """The run that a person means: by its id, its name, or an unmistakable beginning or end of its id.

    Raises InputError when none, or more than one, is meant.
    """
    known = store.rows("SELECT run_id, name FROM training_runs WHERE loop_id = ?", [loop_id])
    found = [run_id for run_id, name in known if ref in (run_id, name)] or [
        run_id for run_id, _ in known if ref and (run_id.startswith(ref) or run_id.endswith(ref))
    ]
    if len(found) == 1:
        return read_run(store, found[0])
    if found:
        raise InputError(f"{ref!r} is the beginning or end of {len(found)} runs' ids; give more of it")
    raise InputError(f"no run has the id or name {ref[:60]!r}; `organism runs` lists those there are")


def read_done_runs(store: Store, recipe: str, n: int) -> list[TrainingRun]:
    """The last finished runs of a recipe on this machine whose time is known, the newest first."""
    sql = (
        f"SELECT {COLUMNS} FROM training_runs WHERE recipe = ? AND status = 'done' AND seconds > 0 "
        "AND NOT starts_with(place, ?) ORDER BY finished_at DESC, run_id DESC LIMIT ?"
    )
    return [_run(row) for row in store.rows(sql, [recipe, CLUSTER, n])]


def sample_texts(store: Store, loop_id: str, n: int = 50) -> list[tuple[str, str]]:
    """Prompt and draft of the loop's latest interactions that have both."""
    sql = (
        "SELECT prompt, output FROM interactions WHERE loop_id = ? AND prompt IS NOT NULL AND output IS NOT NULL "
        "ORDER BY occurred_at DESC, interaction_id DESC LIMIT ?"
    )
    return [(prompt, output) for prompt, output in store.rows(sql, [loop_id, n])]


def read_active_runs(store: Store) -> list[TrainingRun]:
    """Every run that is queued, running or evaluating, the oldest first."""
    sql = f"SELECT {COLUMNS} FROM training_runs WHERE status IN (?, ?, ?) ORDER BY created_at, run_id"
    return [_run(row) for row in store.rows(sql, [str(status) for status in ACTIVE])]


def find_twin(cursor: Cursor, run: TrainingRun) -> str | None:
    """The id of an active run with the same rows, settings and reward design, if there is one."""
    found = cursor.execute(
        """
        SELECT r.run_id, r.config::VARCHAR FROM training_runs r
        JOIN datasets d USING (dataset_id)
        WHERE r.loop_id = ? AND r.run_id <> ? AND r.recipe = ? AND r.status IN ('queued', 'running', 'evaluating')
            AND d.content_hash = (SELECT content_hash FROM datasets WHERE dataset_id = ?)
            AND r.reward_design_id IS NOT DISTINCT FROM ?
        """,
        [run.loop_id, run.run_id, run.recipe, run.dataset_id, run.reward_design_id],
    ).fetchall()
    return next((run_id for run_id, config in found if json.loads(config) == run.config), None)


def find_named(cursor: Cursor, loop_id: str, name: str) -> str | None:
    """The id of the loop's run of this name, whatever became of it."""
    found = cursor.execute("SELECT run_id FROM training_runs WHERE loop_id = ? AND name = ?", [loop_id, name])
    rows = found.fetchall()
    return str(rows[0][0]) if rows else None


def status_of(cursor: Cursor, run_id: str) -> RunStatus | None:
    """Where the run stands, as seen inside the writer's transaction; None when there is none with this id."""
    found = cursor.execute("SELECT status FROM training_runs WHERE run_id = ?", [run_id]).fetchall()
    return RunStatus(found[0][0]) if found else None


def claim_run(cursor: Cursor, run_id: str, now: datetime, cap: int = 1) -> bool:
    """Take a queued run to start it; False when `cap` others are at work on this machine, or somebody else took it.

    A run on a cluster takes nothing of this machine, and waits for nobody here.
    """
    claimed = cursor.execute(
        """
        UPDATE training_runs SET status = 'running', message = 'Starting', started_at = ?, pid = NULL
        WHERE run_id = ? AND status = 'queued' AND (starts_with(place, ?) OR ? > (
            SELECT count(*) FROM training_runs
            WHERE status IN ('running', 'evaluating') AND NOT starts_with(place, ?)
        ))
        RETURNING run_id
        """,
        [now, run_id, CLUSTER, cap, CLUSTER],
    ).fetchall()
    return bool(claimed)


def read_runs(store: Store, loop_id: str) -> pd.DataFrame:
    """The runs of a loop, the newest first: the columns of TrainingRun, dataset_name, n_train, version_name.

    config is an object of settings.
    """
    found = store.frame(
        """
        SELECT r.*, d.name AS dataset_name, d.n_train, v.name AS version_name
        FROM training_runs r
        LEFT JOIN datasets d USING (dataset_id)
        LEFT JOIN model_versions v USING (model_version_id)
        WHERE r.loop_id = ? ORDER BY r.created_at DESC, r.run_id DESC
        """,
        [loop_id],
    )
    return found.assign(config=found["config"].map(json.loads))


class DatasetHeader(NamedTuple):
    """What a run notes of the training set that it learns from."""

    loop_id: str
    name: str
    content_hash: str
    kind: str


def read_dataset_header(store: Store, dataset_id: str) -> DatasetHeader:
    """The training set's loop, name, hash and kind; raises InputError when there is none with this id."""
    rows = store.rows("SELECT loop_id, name, content_hash, kind FROM datasets WHERE dataset_id = ?", [dataset_id])
    if not rows:
        raise InputError(f"no training set has the id {dataset_id!r}; build one first")
    return DatasetHeader(*rows[0])


def _run(row: tuple[Any, ...]) -> TrainingRun:
    values = dict(zip((field.name for field in fields(TrainingRun)), row, strict=True))
    return TrainingRun(**{**values, "config": json.loads(values["config"]), "status": RunStatus(values["status"])})
