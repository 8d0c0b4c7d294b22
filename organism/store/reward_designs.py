"""Reward designs: saved ones never change; a new recipe is the next version."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from organism.records import Constraint, RewardDesign, SignalSpec
from organism.store.database import Cursor, Store


class Saved(NamedTuple):
    """One saved version; `parent_id` is the recipe that was live before it."""

    version: int
    design: RewardDesign
    parent_id: str | None
    created_at: datetime


def read_saved(store: Store, loop_id: str) -> list[Saved]:
    """All saved versions, newest first."""
    found = store.rows(
        "SELECT version, name, spec, note, author, parent_id, created_at FROM reward_designs WHERE loop_id = ? "
        "ORDER BY version DESC",
        [loop_id],
    )
    return [
        Saved(version, _design(name, spec, note, author), parent_id, created_at)
        for version, name, spec, note, author, parent_id, created_at in found
    ]


def read_design(store: Store, loop_id: str, version: int | None = None) -> RewardDesign | None:
    """One version of the loop's design, the newest without a number; None when there is none."""
    found = store.rows(
        "SELECT name, spec, note, author FROM reward_designs WHERE loop_id = $1 AND version = coalesce($2, "
        "(SELECT max(version) FROM reward_designs WHERE loop_id = $1))",
        [loop_id, version],
    )
    return _design(*found[0]) if found else None


def append_design(store: Store, loop_id: str, design: RewardDesign, now: datetime) -> tuple[int, bool]:
    """Keep the design as the next version; returns (version, is_new). The live recipe again is no new version."""

    def work(cursor: Cursor) -> tuple[int, bool]:
        live = cursor.execute(
            "SELECT version, reward_design_id FROM reward_designs WHERE loop_id = ? ORDER BY version DESC LIMIT 1",
            [loop_id],
        ).fetchall()
        version, live_id = live[0] if live else (0, None)
        if live_id == design.id:
            return version, False
        cursor.execute(
            "INSERT INTO reward_designs BY NAME SELECT ? AS reward_design_id, ? AS loop_id, ? AS name, ? AS version, "
            "? AS parent_id, ?::JSON AS spec, ? AS author, ? AS note, ?::TIMESTAMP AS created_at",
            [
                design.id,
                loop_id,
                design.name,
                version + 1,
                live_id,
                json.dumps(design.spec()),
                design.author,
                design.note,
                now,
            ],
        )
        return version + 1, True

    kept: tuple[int, bool] = store.write(work, "reward_designs")
    return kept


def _design(name: str, spec: Any, note: str | None, author: str | None) -> RewardDesign:
    found = json.loads(spec)
    return RewardDesign(
        name=name,
        signals=tuple(SignalSpec(**signal) for signal in found["signals"]),
        constraints=tuple(Constraint(**guardrail) for guardrail in found.get("constraints", ())),
        note=note or "",
        author=author or "",
    )
