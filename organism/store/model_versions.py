"""Model versions and the aliases that point at them. An alias moves by adding an event, so going back is one more."""

import re
from dataclasses import fields
from datetime import datetime

import pandas as pd

from organism.errors import InputError
from organism.records import ModelVersion, Role, new_id
from organism.store.database import Cursor, Store

COLUMNS = ", ".join(field.name for field in fields(ModelVersion))
BASE = "base"


def insert_version(cursor: Cursor, version: ModelVersion) -> None:
    """Add a version, inside the writer's transaction; a name is given once in a loop."""
    values = [getattr(version, field.name) for field in fields(ModelVersion)]
    cursor.execute(f"INSERT INTO model_versions ({COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)


def ensure_base(cursor: Cursor, loop_id: str, base_path: str, now: datetime) -> str:
    """The id of the version that is this base alone, made on first sight under the name `base` or `base-2`, …"""
    found = cursor.execute(
        "SELECT model_version_id FROM model_versions WHERE loop_id = ? AND base_path = ? AND adapter_path IS NULL",
        [loop_id, base_path],
    ).fetchall()
    if found:
        return str(found[0][0])
    taken = _names(cursor, loop_id)
    name = BASE if BASE not in taken else next_name(cursor, loop_id, BASE)
    version = ModelVersion(
        model_version_id=new_id(now),
        loop_id=loop_id,
        name=name,
        base_path=base_path,
        adapter_path=None,
        run_id=None,
        dataset_id=None,
        reward_design_id=None,
        created_at=now,
    )
    insert_version(cursor, version)
    return version.model_version_id


def next_name(cursor: Cursor, loop_id: str, stem: str) -> str:
    """The name STEM-N with the first number after all that were given."""
    given = [re.fullmatch(rf"{re.escape(stem)}-(\d+)", name) for name in _names(cursor, loop_id)]
    return f"{stem}-{max((int(match[1]) for match in given if match), default=0) + 1}"


def read_version(store: Store, model_version_id: str) -> ModelVersion:
    """One version; raises InputError when there is none with this id."""
    rows = store.rows(f"SELECT {COLUMNS} FROM model_versions WHERE model_version_id = ?", [model_version_id])
    if not rows:
        raise InputError(f"no model version has the id {model_version_id!r}; `organism models` lists those there are")
    values = dict(zip((field.name for field in fields(ModelVersion)), rows[0], strict=True))
    return ModelVersion(**{**values, "role": Role(values["role"])})


def read_base_names(store: Store, loop_id: str) -> list[str]:
    """The names of the versions that are a base alone; interactions carry a version's name as their variant."""
    rows = store.rows(
        "SELECT name FROM model_versions WHERE loop_id = ? AND adapter_path IS NULL ORDER BY name", [loop_id]
    )
    return [str(name) for (name,) in rows]


def version_by_name(store: Store, loop_id: str, name: str) -> ModelVersion:
    """The version with this name in the loop; raises InputError with the known names when there is none."""
    known = dict(store.rows("SELECT name, model_version_id FROM model_versions WHERE loop_id = ?", [loop_id]))
    if name not in known:
        listed = ", ".join(sorted(known)) or "none yet"
        raise InputError(f"no model version is named {name!r} in this loop; known versions: {listed}")
    return read_version(store, known[name])


def read_versions(store: Store, loop_id: str) -> pd.DataFrame:
    """The versions of a loop, the newest first: the columns of ModelVersion, is_live, and before, after, facts_before
    and facts_after of the evaluation that counts: the latest against a base if there is one (None without any).
    """
    return store.frame(
        """
        WITH live AS (
            SELECT arg_max(model_version_id, (created_at, rowid)) AS id
            FROM alias_events WHERE loop_id = $1 AND alias = 'live'
        ), latest AS (
            SELECT e.model_version_id, arg_max(e.summary, (b.adapter_path IS NULL, e.created_at)) AS summary
            FROM eval_runs e LEFT JOIN model_versions b ON b.model_version_id = e.baseline_version_id
            WHERE e.loop_id = $1 GROUP BY e.model_version_id
        )
        SELECT v.*, coalesce(v.model_version_id = (SELECT id FROM live), false) AS is_live,
            (e.summary->>'before')::DOUBLE AS before, (e.summary->>'after')::DOUBLE AS after,
            (e.summary->>'facts_before')::DOUBLE AS facts_before, (e.summary->>'facts_after')::DOUBLE AS facts_after
        FROM model_versions v LEFT JOIN latest e USING (model_version_id)
        WHERE v.loop_id = $1 ORDER BY v.created_at DESC, v.name DESC
        """,
        [loop_id],
    )


def insert_alias_event(
    cursor: Cursor, loop_id: str, alias: str, model_version_id: str, *, actor: str, reason: str, now: datetime
) -> str | None:
    """Point the alias at a version from now on; returns the version it pointed at before, None at the first time."""
    previous_id = alias_target(cursor, loop_id, alias)
    cursor.execute(
        "INSERT INTO alias_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [new_id(now), loop_id, alias, model_version_id, previous_id, actor, reason, now],
    )
    return previous_id


def alias_target(cursor: Cursor, loop_id: str, alias: str) -> str | None:
    """The id of the version that the alias points at now; None when it was never set."""
    rows = cursor.execute(
        "SELECT model_version_id FROM alias_events WHERE loop_id = ? AND alias = ? "
        "ORDER BY created_at DESC, rowid DESC LIMIT 1",
        [loop_id, alias],
    ).fetchall()
    return rows[0][0] if rows else None


def alias_trail(cursor: Cursor, loop_id: str, alias: str) -> list[str]:
    """The version ids that the alias pointed at, the latest first."""
    rows = cursor.execute(
        "SELECT model_version_id FROM alias_events WHERE loop_id = ? AND alias = ? "
        "ORDER BY created_at DESC, rowid DESC",
        [loop_id, alias],
    ).fetchall()
    return [model_version_id for (model_version_id,) in rows]


def read_alias_events(store: Store, loop_id: str, alias: str = "live") -> pd.DataFrame:
    """The alias's history, the newest first: created_at, version, previous (names), actor, reason."""
    return store.frame(
        """
        SELECT a.created_at, v.name AS version, p.name AS previous, a.actor, a.reason, a.model_version_id
        FROM alias_events a
        JOIN model_versions v ON v.model_version_id = a.model_version_id
        LEFT JOIN model_versions p ON p.model_version_id = a.previous_id
        WHERE a.loop_id = ? AND a.alias = ? ORDER BY a.created_at DESC, a.rowid DESC
        """,
        [loop_id, alias],
    )


def _names(cursor: Cursor, loop_id: str) -> set[str]:
    rows = cursor.execute("SELECT name FROM model_versions WHERE loop_id = ?", [loop_id]).fetchall()
    return {name for (name,) in rows}
