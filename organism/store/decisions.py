"""What people decided about experiments, with the scorecard as it was seen."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import DesignError
from organism.records import Verdict
from organism.store.database import Cursor, Store
from organism.store.experiments import DECIDED, RUNNING

RECORD_SHA256 = "record_sha256"
"""Beside the scorecard's own entries: the hash of the record, kept apart from it."""
TREATMENT = "decided_treatment"
"""Beside them too: the treatment that the decision is about, since a person may choose another than the best."""


class KeptDecision(NamedTuple):
    """A decision with its record as it was written; record and hash are None where it is older than records."""

    decision_id: str
    experiment_id: str
    verdict: str
    rule: str
    note: str
    actor: str
    created_at: datetime
    record: str | None
    record_sha256: str | None


def append_decision(store: Store, decision: Mapping[str, Any], *, ends: bool) -> None:
    """Keep a decision (the columns of `decisions`); one that ends the experiment closes it too.

    Raises DesignError when the experiment was decided before.
    """
    experiment_id = decision["experiment_id"]

    def work(cursor: Cursor) -> None:
        ((status, ended_at),) = cursor.execute(
            "SELECT status, ended_at FROM experiments WHERE experiment_id = ?", [experiment_id]
        ).fetchall()
        if status != RUNNING:
            raise decided_already(ended_at)
        full = {**decision, "scorecard": json.dumps(decision["scorecard"])}
        cursor.execute(
            f"INSERT INTO decisions ({', '.join(full)}) VALUES ({', '.join('?' * len(full))})", list(full.values())
        )
        if ends:
            cursor.execute(
                "UPDATE experiments SET status = ?, ended_at = ? WHERE experiment_id = ?",
                [DECIDED, decision["created_at"], experiment_id],
            )

    store.write(work, "decisions", "experiments")


def decided_already(ended_at: datetime) -> DesignError:
    """What is said to who decides again what was decided."""
    return DesignError(
        f"this experiment was decided at {ended_at:%Y-%m-%d %H:%M} UTC and the record stands; "
        "start a new experiment to look again"
    )


def read_decisions(store: Store, experiment_id: str) -> pd.DataFrame:
    """An experiment's decisions, newest first.

    Columns: decision_id, verdict, rule, note, actor, scorecard (JSON text), created_at, has_record, treatment
    (the one that the decision is about).
    """
    return store.frame(
        "SELECT decision_id, verdict, rule, note, actor, scorecard::VARCHAR AS scorecard, created_at, "
        "record IS NOT NULL AS has_record, "
        f"coalesce(scorecard->>'$.{TREATMENT}', scorecard->>'$.treatment') AS treatment "
        "FROM decisions WHERE experiment_id = ? ORDER BY created_at DESC, decision_id DESC",
        [experiment_id],
    )


def read_kept(store: Store, any_id: str) -> list[KeptDecision]:
    """The decision of this id, or all of the experiment of this id, newest first; empty where there is none."""
    rows = store.rows(
        "SELECT decision_id, experiment_id, verdict, rule, note, actor, created_at, record, "
        f"json_extract_string(scorecard, '$.{RECORD_SHA256}') FROM decisions "
        "WHERE experiment_id = ? OR decision_id = ? ORDER BY created_at DESC, decision_id DESC",
        [any_id, any_id],
    )
    return [KeptDecision(*row) for row in rows]


def ends_experiment(verdict: Verdict) -> bool:
    """Whether a decision with this verdict closes its experiment."""
    return verdict is not Verdict.KEEP_RUNNING
