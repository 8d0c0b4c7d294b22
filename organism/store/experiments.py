"""Experiments, who was assigned where, what their users did, and what people decided."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from organism.errors import DesignError, InputError
from organism.records import Moments, Verdict
from organism.store.database import Cursor, Store
from organism.store.signal_table import refresh_signals

RUNNING = "running"
DECIDED = "decided"
METRICS = {
    "retained_char_rate": ("retained_chars", "draft_chars"),
    "written_share": ("retained_chars", "final_chars"),
    "accepted": ("accepted", "1"),
    "latency_ms": ("latency_ms", "1"),
    "cost_usd": ("cost_usd", "1"),
    "output_tokens": ("output_tokens", "1"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One comparison of two model versions; arms are named control and treatment, variants by their version."""

    experiment_id: str
    loop_id: str
    loop_name: str
    name: str
    hypothesis: str
    control_version_id: str
    treatment_version_id: str
    control: str
    treatment: str
    treatment_share: float
    salt: str
    plan: dict[str, Any]
    status: str
    started_at: datetime
    ended_at: datetime | None
    is_synthetic: bool


_SELECT = """
    SELECT e.experiment_id, e.loop_id, l.name AS loop_name, e.name, coalesce(e.hypothesis, '') AS hypothesis,
        e.control_version_id, e.treatment_version_id, c.name AS control, t.name AS treatment, e.treatment_share,
        e.salt, e.plan::VARCHAR AS plan, e.status, e.started_at, e.ended_at, e.is_synthetic
    FROM experiments e JOIN loops l USING (loop_id)
    JOIN model_versions c ON c.model_version_id = e.control_version_id
    JOIN model_versions t ON t.model_version_id = e.treatment_version_id
"""


def insert_experiment(store: Store, row: Mapping[str, Any]) -> str:
    """Write a new experiment (the columns of the table, no salt); returns its salt, unused so far in this loop.

    Raises DesignError when one of the same two versions is still running.
    """

    def work(cursor: Cursor) -> str:
        running = cursor.execute(
            "SELECT name FROM experiments WHERE loop_id = ? AND status = ? "
            "AND control_version_id = ? AND treatment_version_id = ?",
            [row["loop_id"], RUNNING, row["control_version_id"], row["treatment_version_id"]],
        ).fetchall()
        if running:
            raise DesignError(
                f"experiment {running[0][0]!r} already compares these two versions and is still running; "
                "decide it first, or send your traffic to it"
            )
        same = cursor.execute(
            "SELECT count(*) FROM experiments WHERE loop_id = ? AND name = ?", [row["loop_id"], row["name"]]
        ).fetchall()[0][0]
        salt = f"{row['name']} #{same + 1}" if same else str(row["name"])
        full = {**row, "salt": salt, "status": RUNNING, "plan": json.dumps(row["plan"])}
        cursor.execute(
            f"INSERT INTO experiments ({', '.join(full)}) VALUES ({', '.join('?' * len(full))})", list(full.values())
        )
        return salt

    salt: str = store.write(work, "experiments")
    return salt


def read_experiment(store: Store, experiment_id: str) -> Experiment:
    """One experiment; raises InputError that names the known ones when there is none with this id."""
    with store.cursor() as cursor:
        rows = cursor.execute(f"{_SELECT} WHERE e.experiment_id = ?", [experiment_id]).fetchall()
        names = [column[0] for column in cursor.description or []]
    if not rows:
        known = ", ".join(row[0] for row in store.rows("SELECT experiment_id FROM experiments")) or "none yet"
        raise InputError(f"no experiment has the id {experiment_id!r}; known: {known}")
    found = dict(zip(names, rows[0], strict=True))
    return Experiment(**{**found, "plan": json.loads(found["plan"])})


def served_so_far(store: Store, experiment_id: str) -> tuple[int, int]:
    """The experiment's place among its loop's (1 for the first), and how many interactions it has."""
    ((place, n_interactions),) = store.rows(
        """
        SELECT (SELECT count(*) FROM experiments other WHERE other.loop_id = e.loop_id
                AND other.experiment_id <= e.experiment_id),
            (SELECT count(*) FROM interactions WHERE experiment_id = e.experiment_id)
        FROM experiments e WHERE e.experiment_id = ?
        """,
        [experiment_id],
    )
    return int(place), int(n_interactions)


def read_experiments(store: Store, loop_id: str) -> pd.DataFrame:
    """The loop's experiments, newest first, with their latest decision.

    Columns: experiment_id, name, hypothesis, control, treatment, treatment_share, status, started_at, ended_at,
    is_synthetic, n_assigned, verdict, rule, note, actor, decided_at (the last five None while undecided).
    """
    return store.frame(
        """
        WITH last AS (
            SELECT experiment_id, arg_max(d, (created_at, decision_id)) AS d FROM decisions d GROUP BY experiment_id
        )
        SELECT e.experiment_id, e.name, coalesce(e.hypothesis, '') AS hypothesis, c.name AS control,
            t.name AS treatment, e.treatment_share, e.status, e.started_at, e.ended_at, e.is_synthetic,
            (SELECT count(*) FROM assignments a WHERE a.experiment_id = e.experiment_id) AS n_assigned,
            d.verdict, d.rule, d.note, d.actor, d.created_at AS decided_at
        FROM experiments e
        JOIN model_versions c ON c.model_version_id = e.control_version_id
        JOIN model_versions t ON t.model_version_id = e.treatment_version_id
        LEFT JOIN last USING (experiment_id) WHERE e.loop_id = ? ORDER BY e.started_at DESC, e.experiment_id DESC
        """,
        [loop_id],
    )


def read_assignment(store: Store, experiment_id: str, user_key: str) -> tuple[str, float] | None:
    """The arm that a user has, with its probability; None when the user has none yet."""
    found = store.rows(
        "SELECT variant_id, probability FROM assignments WHERE experiment_id = ? AND user_key = ?",
        [experiment_id, user_key],
    )
    return found[0] if found else None


def append_assignment(
    store: Store, experiment_id: str, user_key: str, arm: str, probability: float, now: datetime
) -> None:
    """Keep a user's arm; one that is there already stays."""
    store.execute(
        "INSERT INTO assignments VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [experiment_id, user_key, arm, probability, now],
        "assignments",
    )


def read_user_sums(store: Store, experiment: Experiment, *, daily: bool = False) -> pd.DataFrame:
    """What each user did in each arm that served them, as sums: one scan for all metrics.

    Columns: user_key, arm, assigned (None without an assignment), n_rows, and for each metric METRIC_num and
    METRIC_den over the interactions that have it; with `daily` also day, a row a day.
    """
    refresh_signals(store)
    sums = ", ".join(
        f"coalesce(sum({num}) FILTER ({_both(num, den)}), 0)::DOUBLE AS {name}_num, "
        f"coalesce(sum({den}) FILTER ({_both(num, den)}), 0)::DOUBLE AS {name}_den"
        for name, (num, den) in METRICS.items()
    )
    day = "occurred_at::DATE::TIMESTAMP AS day, " if daily else ""
    return store.frame(
        f"""
        SELECT * FROM (
            SELECT coalesce(user_key, interaction_id::VARCHAR) AS user_key, {day}
                CASE variant_id WHEN $2 THEN 'control' WHEN $3 THEN 'treatment' END AS arm,
                count(*) AS n_rows, {sums}
            FROM signals WHERE experiment_id = $1 AND variant_id IN ($2, $3) GROUP BY ALL
        ) LEFT JOIN (SELECT user_key, variant_id AS assigned FROM assignments WHERE experiment_id = $1)
            USING (user_key)
        ORDER BY ALL
        """,
        [experiment.experiment_id, experiment.control, experiment.treatment],
    )


def read_request_moments(store: Store, experiment: Experiment) -> dict[str, Moments]:
    """By arm the moments of (retained, draft) characters over single requests: for showing what they get wrong."""
    refresh_signals(store)
    rows = store.rows(
        """
        SELECT CASE variant_id WHEN $2 THEN 'control' ELSE 'treatment' END AS arm, count(*),
            avg(retained_chars), avg(draft_chars), coalesce(var_samp(retained_chars), 0),
            coalesce(covar_samp(retained_chars, draft_chars), 0), coalesce(var_samp(draft_chars), 0)
        FROM signals WHERE experiment_id = $1 AND variant_id IN ($2, $3)
            AND retained_chars IS NOT NULL AND draft_chars IS NOT NULL
        GROUP BY arm
        """,
        [experiment.experiment_id, experiment.control, experiment.treatment],
    )
    return {
        arm: Moments(n, (retained, draft), (((n - 1) * rr, (n - 1) * rd), ((n - 1) * rd, (n - 1) * dd)))
        for arm, n, retained, draft, rr, rd, dd in rows
    }


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
            raise DesignError(
                f"this experiment was decided at {ended_at:%Y-%m-%d %H:%M} UTC and the record stands; "
                "start a new experiment to look again"
            )
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


def read_decisions(store: Store, experiment_id: str) -> pd.DataFrame:
    """An experiment's decisions, newest first.

    Columns: decision_id, verdict, rule, note, actor, scorecard (JSON text), created_at.
    """
    return store.frame(
        "SELECT decision_id, verdict, rule, note, actor, scorecard::VARCHAR AS scorecard, created_at "
        "FROM decisions WHERE experiment_id = ? ORDER BY created_at DESC, decision_id DESC",
        [experiment_id],
    )


def ends_experiment(verdict: Verdict) -> bool:
    """Whether a decision with this verdict closes its experiment."""
    return verdict is not Verdict.KEEP_RUNNING


def _both(num: str, den: str) -> str:
    return " AND ".join(f"{column} IS NOT NULL" for column in (num, den) if column != "1")
