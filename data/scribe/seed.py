"""Fill an empty workspace with the shipped history and pilot, through the same rooms that strangers' events take.

All times move by a whole number of weeks, so that the last week of the history is the most recent complete one.
Everything in it is simulated, and the rows say so.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from data.scribe import seed_pilot, seed_turn, seed_vote
from data.scribe.first_turn import FROZEN_AT
from data.scribe.safety import put_safety_cases
from data.scribe.seed_turn import BASE, TUNED, Turn
from data.scribe.weeks import FIRST_MONDAY, N_WEEKS, WEEK
from organism.config import DEMO_LOOP, ROOT, Workspace
from organism.errors import InputError
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.database import Store
from organism.store.interactions import count_interactions
from organism.store.loops import describe_loop, ensure_loop, loop_ids

INTERACTIONS = EventKind.INTERACTIONS
HISTORY = ROOT / "data" / "scribe" / "history"
PILOT = ROOT / "data" / "scribe" / "pilot"
POOL = ROOT / "data" / "scribe" / "pool"
BRIEF = "scribe-brief"
PILOT_STARTS = FIRST_MONDAY + (N_WEEKS - 2) * WEEK
POOL_SAMPLED_AT = FIRST_MONDAY + N_WEEKS * WEEK - timedelta(days=1)
FILES = {
    INTERACTIONS: "interactions.parquet",
    EventKind.FEEDBACK: "feedback.parquet",
    EventKind.OUTCOMES: "outcomes.parquet",
}
Rows = list[dict[str, Any]]

JOB_TO_BE_DONE = "Draft the note of a visit from its transcript, the way the physician would have written it"
UNIT_OF_VALUE = "A note that the physician signs within the hour"


class Seeded(NamedTuple):
    """What went in; all zero when the workspace was not empty."""

    n_interactions: int
    n_feedback: int
    n_outcomes: int


def seed_demo(store: Store, workspace: Workspace, *, now: datetime, folder: Path = HISTORY) -> Seeded:
    """Load the history into an empty workspace; one that holds a loop already is left as it is.

    Raises InputError when a file of the history is missing or does not fit.
    """
    if loop_ids(store) or count_interactions(store):
        return Seeded(0, 0, 0)
    turn = Turn(_read_json(folder / "turn.json"), _read_json(folder / "measured.json"), weeks_to(now))
    rows = {kind: moved(_read_rows(folder / name), turn.shift) for kind, name in FILES.items()}
    loop_id = ensure_loop(store, DEMO_LOOP, FIRST_MONDAY + turn.shift)
    describe_loop(store, loop_id, job_to_be_done=JOB_TO_BE_DONE, unit_of_value=UNIT_OF_VALUE)
    base_id = seed_turn.put_base_on_duty(store, loop_id, turn)
    before, after = _split(rows, FROZEN_AT + turn.shift)
    versions = {BASE: base_id}
    _ingest(store, before, versions, None, now)
    tuned_id = seed_turn.train(store, workspace, loop_id, base_id, turn)
    versions[TUNED] = tuned_id
    experiment_id = seed_turn.start_experiment(store, loop_id, base_id, tuned_id, turn)
    _ingest(store, after, versions, experiment_id, now)
    seed_turn.ship(store, loop_id, experiment_id, tuned_id, turn)
    seed_vote.put_vote(store, loop_id, turn, rows[INTERACTIONS])
    pilot = _read_pilot(turn.shift)
    _ingest(store, pilot, {BRIEF: tuned_id}, None, now)
    put_safety_cases(store, loop_id, FIRST_MONDAY + turn.shift)
    seed_pilot.define_vendor_score(store, loop_id, PILOT_STARTS + turn.shift)
    seed_pilot.put_choices(store, loop_id, moved(_read_rows(PILOT / "choices.parquet"), turn.shift))
    seed_pilot.put_pool(store, loop_id, _read_rows(POOL / "drafts.parquet"), POOL_SAMPLED_AT + turn.shift)
    return Seeded(*(len(rows[kind]) + len(pilot[kind]) for kind in FILES))


def _read_pilot(shift: timedelta) -> dict[EventKind, Rows]:
    """The pilot's events, with the reviewers' ratings among the feedback."""
    rows = {kind: moved(_read_rows(PILOT / name), shift) for kind, name in FILES.items()}
    ratings = moved(_read_rows(PILOT / "reviews.parquet"), shift)
    return {**rows, EventKind.FEEDBACK: [*rows[EventKind.FEEDBACK], *ratings]}


def weeks_to(now: datetime) -> timedelta:
    """How far to move, in whole weeks, for the last week of the history to be the last complete one before `now`."""
    this_monday = datetime(now.year, now.month, now.day) - timedelta(days=now.weekday())
    return WEEK * ((this_monday - (FIRST_MONDAY + N_WEEKS * WEEK)) // WEEK)


def moved(rows: Rows, by: timedelta) -> Rows:
    """The same rows at another time."""
    return [{**row, "occurred_at": row["occurred_at"] + by} for row in rows]


def _split(rows: dict[EventKind, Rows], at: datetime) -> tuple[dict[EventKind, Rows], dict[EventKind, Rows]]:
    """What had happened before this time, and what came after."""
    before = {kind: [row for row in of_kind if row["occurred_at"] < at] for kind, of_kind in rows.items()}
    after = {kind: [row for row in of_kind if row["occurred_at"] >= at] for kind, of_kind in rows.items()}
    return before, after


def _ingest(
    store: Store,
    rows: dict[EventKind, Rows],
    versions: Mapping[str, str],
    experiment_id: str | None,
    now: datetime,
) -> None:
    """Take the rows in, interactions first; the history's names for versions and experiment become ids."""
    for kind, of_kind in rows.items():
        sent = [_with_ids(row, versions, experiment_id) for row in of_kind] if kind is INTERACTIONS else of_kind
        done = ingest(store, kind, sent, now=now).result()
        if done.quarantined:
            raise InputError(
                f"{done.quarantined} {kind} of the shipped history do not fit: {done.reasons[0]}. "
                "Get the project's data folder anew, or start with --no-demo."
            )


def _with_ids(row: dict[str, Any], versions: Mapping[str, str], experiment_id: str | None) -> dict[str, Any]:
    return {
        **seed_pilot.with_vendor_score(row),
        "model_version_id": versions[row["variant_id"]],
        "experiment_id": experiment_id if row["experiment_id"] else None,
    }


def _read_rows(file: Path) -> Rows:
    _require(file)
    rows: Rows = pq.read_table(file).to_pylist()
    return rows


def _read_json(file: Path) -> dict[str, Any]:
    _require(file)
    value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return value


def _require(file: Path) -> None:
    if not file.is_file():
        raise InputError(
            f"{file} is missing; the demo needs the shipped history. Make it with "
            "`python -m data.scribe.history --out data/scribe/history`, or start with --no-demo."
        )
