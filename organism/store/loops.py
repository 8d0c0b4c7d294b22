"""Loops: one AI job inside a product each; named in every face, an id inside."""

from datetime import datetime

import pandas as pd

from organism.errors import InputError
from organism.records import new_id
from organism.store.database import Cursor, Store


def ensure_loop(store: Store, name: str, now: datetime) -> str:
    """The id of the loop with this name, made on first sight."""
    known = loop_ids(store)
    return known[name] if name in known else store.write(lambda cursor: _insert(cursor, name, now), "loops")


def loop_ids(store: Store) -> dict[str, str]:
    """Name to id of every loop."""
    return dict(store.rows("SELECT name, loop_id FROM loops"))


def loop_id_of(store: Store, name: str) -> str:
    """The id of a loop; raises InputError with the known names when there is no such loop."""
    known = loop_ids(store)
    if name not in known:
        listed = ", ".join(sorted(known)) or "none yet"
        raise InputError(
            f"no loop is named {name!r}; known loops: {listed}. Use one of them, or send an interaction "
            f"with loop {name!r} to make it."
        )
    return known[name]


def loop_name_of(store: Store, loop_id: str) -> str:
    """The name of a loop; raises InputError for an unknown id."""
    names = {known: name for name, known in loop_ids(store).items()}
    if loop_id not in names:
        raise InputError(f"no loop has the id {loop_id!r}; list the loops with `organism sources`, or /v1/loops.")
    return names[loop_id]


def read_loops(store: Store) -> pd.DataFrame:
    """Every loop by name, with how much it has: n_interactions, last_at (None when empty), is_synthetic."""
    return store.frame("""
        SELECT l.*, coalesce(i.n_interactions, 0) AS n_interactions, i.last_at,
            coalesce(i.is_synthetic, false) AS is_synthetic FROM loops l
        LEFT JOIN (SELECT loop_id, count(*) AS n_interactions, max(occurred_at) AS last_at,
                          bool_or(is_synthetic) AS is_synthetic
                   FROM interactions GROUP BY loop_id) i USING (loop_id) ORDER BY l.name
    """)


def describe_loop(store: Store, loop_id: str, *, job_to_be_done: str, unit_of_value: str) -> None:
    """Say in words what the loop is hired for and what one unit of its value is."""
    store.execute(
        "UPDATE loops SET job_to_be_done = ?, unit_of_value = ? WHERE loop_id = ?",
        [job_to_be_done, unit_of_value, loop_id],
        "loops",
    )


def _insert(cursor: Cursor, name: str, now: datetime) -> str:
    if found := cursor.execute("SELECT loop_id FROM loops WHERE name = ?", [name]).fetchall():
        return found[0][0]
    loop_id = new_id(now)
    cursor.execute("INSERT INTO loops (loop_id, name, created_at) VALUES (?, ?, ?)", [loop_id, name, now])
    return loop_id
