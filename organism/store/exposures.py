"""Who really met a variant: exposures that were recorded, and interactions of the experiment, which say the same.

Both count, and once: an exposure is a user and a variant, at the first time that either source tells of.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from organism.store.database import Cursor, Store

RECORDED, FROM_INTERACTIONS = "recorded", "interaction"
_SCHEMA = pa.schema(
    [
        ("experiment_id", pa.string()),
        ("user_key", pa.string()),
        ("variant_id", pa.string()),
        ("exposed_at", pa.timestamp("us")),
        ("source", pa.string()),
    ]
)
FIRST_EXPOSURES = f"""
    SELECT user_key, variant_id AS variant, min(met_at) AS exposed_at, bool_or(source = '{RECORDED}') AS is_recorded
    FROM (
        SELECT user_key, variant_id, exposed_at AS met_at, '{RECORDED}' AS source
        FROM exposures WHERE experiment_id = $1
        UNION ALL
        SELECT i.user_key, i.variant_id, i.occurred_at, '{FROM_INTERACTIONS}' FROM interactions i
        JOIN variants v ON v.experiment_id = i.experiment_id AND v.name = i.variant_id
        WHERE i.experiment_id = $1 AND i.user_key IS NOT NULL
    ) GROUP BY ALL
"""
"""A query with the experiment's id as its one parameter: one row for each user and variant that met."""


class Exposure(NamedTuple):
    """A user to whom a variant was served; `source` names who says so."""

    experiment_id: str
    user_key: str
    variant: str
    at: datetime
    source: str


class ExposureCount(NamedTuple):
    """A variant's users: assigned, exposed; `n_strayed` met it though they were assigned another, and are in no figure.

    `n_unassigned` met it without any assignment: they count as its users, unless they met another variant too.
    """

    variant: str
    share: float
    n_assigned: int
    n_exposed: int
    n_recorded: int
    n_strayed: int
    n_unassigned: int
    mean_probability: float | None
    first_at: datetime | None
    last_at: datetime | None


def keep_exposures(store: Store, exposures: Sequence[Exposure]) -> Future[int]:
    """Keep exposures; resolves to how many were new, once they are on disk. Sent twice is sent once, the earliest
    time stands.
    """
    return store.submit_shared(_keep, list(exposures), "exposures")


def read_first_exposures(store: Store, experiment_id: str) -> pd.DataFrame:
    """One row for each user and variant that met, at the first time: user_key, variant, exposed_at, is_recorded."""
    return store.frame(f"{FIRST_EXPOSURES} ORDER BY exposed_at, user_key, variant", [experiment_id])


def count_exposures(store: Store, experiment_id: str) -> list[ExposureCount]:
    """Each variant in order: assigned and exposed users, and how its probability was on average when it was drawn."""
    found = store.rows(
        f"""
        WITH met AS ({FIRST_EXPOSURES}), mine AS (
            SELECT user_key, variant_id AS variant, probability FROM assignments WHERE experiment_id = $1
        ), assigned AS (
            SELECT variant, count(*) AS n, avg(probability) AS probability FROM mine GROUP BY 1
        ), exposed AS (
            SELECT m.variant, count(*) AS n, count(*) FILTER (m.is_recorded) AS n_recorded,
                count(*) FILTER (a.variant <> m.variant) AS n_strayed,
                count(*) FILTER (a.variant IS NULL) AS n_unassigned,
                min(m.exposed_at) AS first_at, max(m.exposed_at) AS last_at
            FROM met m LEFT JOIN mine a USING (user_key) GROUP BY 1
        )
        SELECT v.name, v.share, coalesce(a.n, 0), coalesce(e.n, 0), coalesce(e.n_recorded, 0),
            coalesce(e.n_strayed, 0), coalesce(e.n_unassigned, 0), a.probability, e.first_at, e.last_at
        FROM variants v LEFT JOIN assigned a ON a.variant = v.name LEFT JOIN exposed e ON e.variant = v.name
        WHERE v.experiment_id = $1 ORDER BY v.position
        """,
        [experiment_id],
    )
    return [ExposureCount(*row) for row in found]


def _keep(cursor: Cursor, calls: list[list[Exposure]]) -> list[int]:
    """The earliest of each user and variant goes in; a later word of an earlier time moves the row back."""
    first: dict[tuple[str, str, str], Exposure] = {}
    owner: dict[tuple[str, str, str], int] = {}
    for number, exposures in enumerate(calls):
        for one in exposures:
            owner.setdefault(one[:3], number)
            if one[:3] not in first or one.at < first[one[:3]].at:
                first[one[:3]] = one
    if not first:
        return [0] * len(calls)
    cursor.register("sent_exposures", pa.Table.from_pylist([_row(one) for one in first.values()], _SCHEMA))
    known = cursor.execute(
        "SELECT experiment_id, user_key, variant_id FROM exposures "
        "SEMI JOIN sent_exposures USING (experiment_id, user_key, variant_id)"
    ).fetchall()
    cursor.execute(
        "INSERT INTO exposures SELECT * FROM sent_exposures ON CONFLICT DO UPDATE "
        "SET exposed_at = excluded.exposed_at, source = excluded.source WHERE excluded.exposed_at < exposed_at"
    )
    cursor.unregister("sent_exposures")
    seen = set(known)
    fresh = [number for key, number in owner.items() if key not in seen]
    return [fresh.count(number) for number in range(len(calls))]


def _row(one: Exposure) -> dict[str, Any]:
    return {
        "experiment_id": one.experiment_id,
        "user_key": one.user_key,
        "variant_id": one.variant,
        "exposed_at": one.at,
        "source": one.source,
    }
