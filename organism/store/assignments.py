"""Who was assigned which variant with what probability: the first answer stays, whatever comes at the same moment."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from organism.store.database import Cursor, Store

_SCHEMA = pa.schema(
    [
        ("experiment_id", pa.string()),
        ("user_key", pa.string()),
        ("variant_id", pa.string()),
        ("probability", pa.float64()),
        ("assigned_at", pa.timestamp("us")),
    ]
)


class Kept(NamedTuple):
    """A user's variant by its name, the probability it was drawn with, and whether this call wrote it."""

    variant: str
    probability: float
    is_new: bool = False


class Draw(NamedTuple):
    """What a user would get, were nothing on record yet."""

    experiment_id: str
    user_key: str
    variant: str
    probability: float
    at: datetime


def read_assignments(store: Store, user_key: str, experiment_ids: Sequence[str]) -> dict[str, Kept]:
    """The variants that a user has in these experiments, by experiment."""
    marks = ", ".join("?" * len(experiment_ids))
    found = store.rows(
        "SELECT experiment_id, variant_id, probability FROM assignments "
        f"WHERE user_key = ? AND experiment_id IN ({marks or 'NULL'})",
        [user_key, *experiment_ids],
    )
    return {experiment_id: Kept(variant, probability) for experiment_id, variant, probability in found}


def keep_assignments(store: Store, draws: Sequence[Draw]) -> Future[list[Kept]]:
    """Keep each draw, unless the user has a variant already: then that one stands, and is the answer.

    The future resolves in the order of the draws, once the rows are on disk. Of calls that come together for one user
    the first wins, and all get its variant.
    """
    return store.submit_shared(_keep, list(draws), "assignments")


def count_assignments(store: Store, experiment_id: str) -> dict[str, int]:
    """How many users were assigned each variant; one without any is not among the keys."""
    found = store.rows(
        "SELECT variant_id, count(*) FROM assignments WHERE experiment_id = ? GROUP BY 1", [experiment_id]
    )
    return dict(found)


def _keep(cursor: Cursor, calls: list[list[Draw]]) -> list[list[Kept]]:
    asked = {(draw.experiment_id, draw.user_key): draw for draws in reversed(calls) for draw in reversed(draws)}
    standing = _standing(cursor, asked) if asked else {}
    fresh = [draw for key, draw in asked.items() if key not in standing]
    if fresh:
        cursor.register("fresh_assignments", pa.Table.from_pylist([_row(draw) for draw in fresh], _SCHEMA))
        cursor.execute("INSERT INTO assignments SELECT * FROM fresh_assignments")
        cursor.unregister("fresh_assignments")
    written = {(draw.experiment_id, draw.user_key): Kept(draw.variant, draw.probability) for draw in fresh}
    return [[_answer(draw, standing, written, asked) for draw in draws] for draws in calls]


def _answer(
    draw: Draw,
    standing: Mapping[tuple[str, str], Kept],
    written: Mapping[tuple[str, str], Kept],
    asked: Mapping[tuple[str, str], Draw],
) -> Kept:
    """Only the call whose own draw was written is told that it is new."""
    key = (draw.experiment_id, draw.user_key)
    return standing[key] if key in standing else written[key]._replace(is_new=asked[key] is draw)


def _standing(cursor: Cursor, asked: Mapping[tuple[str, str], Draw]) -> dict[tuple[str, str], Kept]:
    experiments, users = zip(*asked, strict=True)
    cursor.register("asked_users", pa.table({"experiment_id": list(experiments), "user_key": list(users)}))
    found = cursor.execute(
        "SELECT experiment_id, user_key, variant_id, probability FROM assignments "
        "SEMI JOIN asked_users USING (experiment_id, user_key)"
    ).fetchall()
    cursor.unregister("asked_users")
    return {(experiment_id, user): Kept(variant, probability) for experiment_id, user, variant, probability in found}


def _row(draw: Draw) -> dict[str, Any]:
    return {
        "experiment_id": draw.experiment_id,
        "user_key": draw.user_key,
        "variant_id": draw.variant,
        "probability": draw.probability,
        "assigned_at": draw.at,
    }
