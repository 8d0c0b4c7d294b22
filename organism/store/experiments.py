"""Experiments: their variants, their plans, and how they stand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from organism.errors import DesignError, InputError
from organism.records import Variant
from organism.store.database import Cursor, Store
from organism.store.layers import refuse_overlap

PLANNED = "planned"
RUNNING = "running"
DECIDED = "decided"
MOST_KNOWN = 5
"""Ids that a complaint about an unknown one names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One comparison of variants; the first of them is the control.

    `plan` is its latest version as plain data, number `plan_version`. `started_at` is None while it is only planned.
    Users are drawn from [layer_low, layer_high) of the layer's hash; without a layer from all.
    """

    experiment_id: str
    loop_id: str
    loop_name: str
    name: str
    hypothesis: str
    variants: tuple[Variant, ...]
    salt: str
    policy: str
    layer: str | None
    layer_low: float | None
    layer_high: float | None
    targeting: dict[str, Any]
    plan: dict[str, Any]
    plan_version: int
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    is_synthetic: bool

    @property
    def control(self) -> str:
        """The name of the control."""
        return self.variants[0].name

    @property
    def treatment(self) -> str:
        """The name of the first treatment."""
        return self.variants[1].name

    @property
    def treatment_share(self) -> float:
        """The planned share of all that is not the control."""
        return 1 - self.variants[0].share

    def variant(self, name: str) -> Variant:
        """The variant of this name; raises InputError that names the known ones."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.variants)
        raise InputError(f"experiment {self.name!r} has no variant {name!r}; it has {known}")


_SELECT = """
    SELECT e.experiment_id, e.loop_id, l.name AS loop_name, e.name, coalesce(e.hypothesis, '') AS hypothesis,
        (SELECT list({'name': v.name, 'share': v.share, 'model_version_id': v.model_version_id, 'prompt': v.prompt}
            ORDER BY v.position) FROM variants v WHERE v.experiment_id = e.experiment_id) AS variants,
        e.salt, e.policy, e.layer, e.layer_low, e.layer_high, e.targeting::VARCHAR AS targeting,
        p.plan::VARCHAR AS plan, p.version AS plan_version, e.status, e.created_at, e.started_at, e.ended_at,
        e.is_synthetic
    FROM experiments e JOIN loops l USING (loop_id)
    JOIN (SELECT experiment_id, max(version) AS version, arg_max(plan, version) AS plan FROM plans
        GROUP BY experiment_id) p USING (experiment_id)
"""


def insert_experiment(
    store: Store,
    row: Mapping[str, Any],
    variants: Sequence[Variant],
    plan: Mapping[str, Any],
    *,
    actor: str = "",
    why: str = "As it was first written",
) -> str:
    """Write a new experiment (columns of the table, no salt) with its variants and the first version of its plan.

    Returns its salt, unused so far in this loop. Raises DesignError when one that is to run has the same variants as
    one that still runs, or a part of a layer that another one holds; a draft may, until it is started.
    """

    def work(cursor: Cursor) -> str:
        if row.get("status", RUNNING) == RUNNING:
            refuse_twin(cursor, row, variants)
            slot = (row.get(name) for name in ("layer", "layer_low", "layer_high"))
            refuse_overlap(cursor, row["loop_id"], row["experiment_id"], *slot)
        same = cursor.execute(
            "SELECT count(*) FROM experiments WHERE loop_id = ? AND name = ?", [row["loop_id"], row["name"]]
        ).fetchall()[0][0]
        salt = f"{row['name']} #{same + 1}" if same else str(row["name"])
        targeting = json.dumps(row.get("targeting") or {})
        full = {"status": RUNNING, "created_at": row["started_at"], **row, "salt": salt, "targeting": targeting}
        cursor.execute(
            f"INSERT INTO experiments ({', '.join(full)}) VALUES ({', '.join('?' * len(full))})", list(full.values())
        )
        experiment_id = row["experiment_id"]
        for position, one in enumerate(variants):
            cursor.execute(
                "INSERT INTO variants VALUES (?, ?, ?, ?, ?, ?)",
                [experiment_id, position, one.name, one.share, one.model_version_id, one.prompt],
            )
        cursor.execute(
            "INSERT INTO plans VALUES (?, 1, ?, ?, ?, ?)",
            [experiment_id, json.dumps(dict(plan)), actor, why, full["created_at"]],
        )
        return salt

    salt: str = store.write(work, "experiments")
    return salt


def refuse_twin(cursor: Cursor, row: Mapping[str, Any], variants: Sequence[Variant]) -> None:
    """Raise DesignError when an experiment of this loop that runs compares the same model systems."""
    asked = {(variant.name, variant.model_version_id, variant.prompt) for variant in variants}
    running = cursor.execute(
        "SELECT e.name, list({'name': v.name, 'model': v.model_version_id, 'prompt': v.prompt}) FROM experiments e "
        "JOIN variants v USING (experiment_id) WHERE e.loop_id = ? AND e.status = ? GROUP BY e.experiment_id, e.name",
        [row["loop_id"], RUNNING],
    ).fetchall()
    for name, found in running:
        if asked == {(one["name"], one["model"], one["prompt"]) for one in found}:
            raise DesignError(
                f"experiment {name!r} already compares these variants and is still running; "
                "decide it first, or send your traffic to it"
            )


def read_experiment(store: Store, experiment_id: str) -> Experiment:
    """One experiment; raises InputError that names the known ones when there is none with this id."""
    found = _read(store, "e.experiment_id = ?", [experiment_id])
    if not found:
        raise InputError(f"no experiment has the id {experiment_id!r}; known: {_known(store)}")
    return found[0]


def _known(store: Store) -> str:
    """The newest ids, and how many more there are."""
    ids = [row[0] for row in store.rows("SELECT experiment_id FROM experiments ORDER BY experiment_id DESC")]
    more = f" and {len(ids) - MOST_KNOWN:,} more" if len(ids) > MOST_KNOWN else ""
    return f"{', '.join(ids[:MOST_KNOWN]) or 'none yet'}{more}"


def read_running(store: Store, loop_id: str) -> list[Experiment]:
    """The loop's running experiments, the oldest first."""
    return _read(store, "e.loop_id = ? AND e.status = ? ORDER BY e.started_at, e.experiment_id", [loop_id, RUNNING])


def _read(store: Store, where: str, asked: Sequence[Any]) -> list[Experiment]:
    with store.cursor() as cursor:
        rows = cursor.execute(f"{_SELECT} WHERE {where}", asked).fetchall()
        names = [column[0] for column in cursor.description or []]
    return [_experiment(dict(zip(names, row, strict=True))) for row in rows]


def _experiment(found: dict[str, Any]) -> Experiment:
    variants = tuple(Variant(**one) for one in found["variants"])
    told = {name: json.loads(found[name] or "{}") for name in ("plan", "targeting")}
    return Experiment(**{**found, **told, "variants": variants})


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

    Columns: experiment_id, name, hypothesis, control, treatment (the first one), n_variants, treatment_share, policy,
    layer, status, created_at, started_at, ended_at, is_synthetic, n_assigned, verdict, rule, note, actor, decided_at
    (the last five None while undecided).
    """
    return store.frame(
        """
        WITH last AS (
            SELECT experiment_id, arg_max(d, (created_at, decision_id)) AS d FROM decisions d GROUP BY experiment_id
        ), arms AS (
            SELECT experiment_id, arg_min(name, position) AS control, max(name) FILTER (position = 1) AS treatment,
                count(*) AS n_variants, sum(share) FILTER (position > 0) AS treatment_share
            FROM variants GROUP BY experiment_id
        )
        SELECT e.experiment_id, e.name, coalesce(e.hypothesis, '') AS hypothesis, a.control, a.treatment, a.n_variants,
            a.treatment_share, e.policy, e.layer, e.status, e.created_at, e.started_at, e.ended_at, e.is_synthetic,
            (SELECT count(*) FROM assignments n WHERE n.experiment_id = e.experiment_id) AS n_assigned,
            d.verdict, d.rule, d.note, d.actor, d.created_at AS decided_at
        FROM experiments e JOIN arms a USING (experiment_id)
        LEFT JOIN last USING (experiment_id) WHERE e.loop_id = ?
        ORDER BY coalesce(e.started_at, e.created_at) DESC, e.experiment_id DESC
        """,
        [loop_id],
    )
