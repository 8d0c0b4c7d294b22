"""Who was assigned which variant with what probability: the first answer stays, whatever comes at the same moment."""

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import pyarrow as pa

from organism.store.database import Cursor, Store

REMEMBERED = 100_000
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


_recent: WeakKeyDictionary[Store, dict[tuple[str, str], Kept]] = WeakKeyDictionary()


def read_assignments(store: Store, user_key: str, experiment_ids: Sequence[str]) -> dict[str, Kept]:
    """The variants that a user has in these experiments, by experiment.

    A row never changes, so the last REMEMBERED that were read are answered from memory: a read among a million
    assignments takes 4 ms.
    """
    recent = _recent.setdefault(store, {})
    known = {one: kept for one in experiment_ids if (kept := recent.get((one, user_key)))}
    asked = [one for one in experiment_ids if one not in known]
    if not asked:
        return known
    found = store.rows(
        "SELECT experiment_id, variant_id, probability FROM assignments "
        f"WHERE user_key = ? AND experiment_id IN ({', '.join('?' * len(asked))})",
        [user_key, *asked],
    )
    read = {experiment_id: Kept(variant, probability) for experiment_id, variant, probability in found}
    if len(recent) + len(read) > REMEMBERED:
        _recent[store] = recent = {}
    recent.update({(experiment_id, user_key): kept for experiment_id, kept in read.items()})
    return known | read


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
    """The first draw of each user goes in, unless the table has one: only then it is asked for what stands."""
    first = {_key(draw): draw for draws in reversed(calls) for draw in reversed(draws)}
    written = _insert(cursor, list(first.values())) if first else set()
    standing = _standing(cursor, [key for key in first if key not in written])
    return [[_answer(draw, first[_key(draw)], standing.get(_key(draw))) for draw in draws] for draws in calls]


def _key(draw: Draw) -> tuple[str, str]:
    return draw.experiment_id, draw.user_key


def _answer(draw: Draw, first: Draw, standing: Kept | None) -> Kept:
    """Only the call whose own draw was written is told that it is new."""
    return standing or Kept(first.variant, first.probability, is_new=first is draw)


def _insert(cursor: Cursor, draws: Sequence[Draw]) -> set[tuple[str, str]]:
    """Insert those whose user has nothing yet; returns their keys."""
    cursor.register("fresh_assignments", pa.Table.from_pylist([_row(draw) for draw in draws], _SCHEMA))
    found = cursor.execute(
        "INSERT INTO assignments SELECT * FROM fresh_assignments ON CONFLICT DO NOTHING "
        "RETURNING experiment_id, user_key"
    ).fetchall()
    cursor.unregister("fresh_assignments")
    return set(found)


def _standing(cursor: Cursor, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Kept]:
    if not keys:
        return {}
    asked = pa.table({"experiment_id": [key[0] for key in keys], "user_key": [key[1] for key in keys]})
    cursor.register("asked_users", asked)
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
