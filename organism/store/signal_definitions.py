"""Which signals a loop has: the built-in ones, those its data brought, and those its team defined in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from organism.errors import DesignError
from organism.store.database import Cursor, Store

SIGNALS = (
    "accepted",
    "cost_usd",
    "error",
    "latency_ms",
    "output_tokens",
    "rating",
    "retained_char_rate",
    "ttft_ms",
    "written_share",
)
_NOTES = {
    "accepted": "1 when the draft was used (accepted or edited), 0 when it was rejected",
    "cost_usd": "what the answer cost, in US dollars",
    "error": "1 when the model failed, else 0",
    "latency_ms": "milliseconds until the whole answer was there",
    "output_tokens": "how many tokens the model wrote",
    "rating": "the last rating by a person or by code, without a name",
    "retained_char_rate": "share of the draft's characters that survived into the final text",
    "ttft_ms": "milliseconds until the first token",
    "written_share": "share of the final text that the model wrote",
}


class SignalKind(StrEnum):
    """Where a signal comes from."""

    BUILT_IN = "built_in"
    OUTCOME = "outcome"
    ANSWER = "answer"
    JUDGE = "judge"
    SQL = "sql"


_KIND_NOTES = {
    SignalKind.OUTCOME: "the latest outcome of this name within its attribution window",
    SignalKind.ANSWER: "annotators' rating of this name: the mean over them of each one's last",
    SignalKind.JUDGE: "a model's rating of this name (`rating` without one): the mean over models of each one's last",
}


class SignalInfo(NamedTuple):
    """One signal of a loop; `removed_at` is None while it is measured, `expression` only for SQL signals."""

    name: str
    kind: SignalKind
    note: str
    removed_at: datetime | None = None
    expression: str | None = None


class SqlSignal(NamedTuple):
    """A SQL signal as the table needs it: whose it is, its column, and the team's own text."""

    loop_id: str
    name: str
    column: str
    expression: str


def read_known(store: Store, loop_id: str) -> dict[str, SignalInfo]:
    """Every signal that was registered for the loop so far, by name: built-in first, removed ones too."""
    known = {name: SignalInfo(name, SignalKind.BUILT_IN, _NOTES[name]) for name in SIGNALS}
    found = store.rows(
        "SELECT name, kind, note, removed_at, expression FROM signal_definitions WHERE loop_id = ? ORDER BY kind, name",
        [loop_id],
    )
    return known | {
        name: SignalInfo(name, SignalKind(kind), note or _KIND_NOTES.get(kind, ""), removed_at, expression)
        for name, kind, note, removed_at, expression in found
    }


def columns_of(store: Store, loop_id: str, signals: Sequence[str]) -> list[str]:
    """The column of each signal, quoted for SQL; raises DesignError for one that is unknown or was removed."""
    found = store.rows("SELECT name, column_name, removed_at FROM signal_definitions WHERE loop_id = ?", [loop_id])
    columns = {name: name for name in SIGNALS} | {name: column for name, column, removed_at in found if not removed_at}
    removed = {name: removed_at for name, _, removed_at in found if removed_at}
    for signal in signals:
        _check_known(signal, columns, removed)
    return [f'"{columns[signal]}"' for signal in signals]


def register_named(cursor: Cursor, kind: SignalKind, names: Sequence[tuple[str, str, datetime]], limit: int) -> None:
    """Give each (loop_id, name, first seen) a definition and a column, up to `limit` of this kind in a loop.

    Loops share the column of one name, since an interaction belongs to one loop.
    """
    for loop_id, name, now in names:
        known, n_known = cursor.execute(
            "SELECT count(*) FILTER (name = $2), count(*) FROM signal_definitions WHERE loop_id = $1 AND kind = $3",
            [loop_id, f"{kind}.{name}", kind],
        ).fetchall()[0]
        if not known and n_known < limit:
            shared = cursor.execute(
                "SELECT any_value(column_name) FROM signal_definitions WHERE name = ? AND kind = ?",
                [f"{kind}.{name}", kind],
            ).fetchall()[0][0]
            _insert(cursor, loop_id, f"{kind}.{name}", kind, shared or add_column(cursor), now)


def named_columns(cursor: Cursor, kind: SignalKind) -> dict[str, str]:
    """Column by the name that events carry (without the kind in front), over all loops."""
    found = cursor.execute(
        "SELECT DISTINCT name, column_name FROM signal_definitions WHERE kind = ? ORDER BY column_name", [kind]
    ).fetchall()
    return {name.removeprefix(f"{kind}."): column for name, column in found}


def sql_signals(cursor: Cursor) -> list[SqlSignal]:
    """The SQL signals that are in force, of all loops."""
    found = cursor.execute(
        "SELECT loop_id, name, column_name, expression FROM signal_definitions "
        "WHERE kind = 'sql' AND removed_at IS NULL ORDER BY loop_id, name"
    ).fetchall()
    return [SqlSignal(*row) for row in found]


def put_sql_signal(
    cursor: Cursor, loop_id: str, name: str, expression: str, *, note: str, author: str, now: datetime
) -> str:
    """Write a SQL signal, or put one of that name in force again; returns its column."""
    found = cursor.execute(
        "SELECT column_name FROM signal_definitions WHERE loop_id = ? AND name = ?", [loop_id, name]
    ).fetchall()
    if not found:
        column = add_column(cursor)
        _insert(cursor, loop_id, name, SignalKind.SQL, column, now, expression=expression, note=note, author=author)
        return column
    cursor.execute(
        "UPDATE signal_definitions SET expression = ?, note = ?, author = ?, created_at = ?, removed_at = NULL "
        "WHERE loop_id = ? AND name = ?",
        [expression, note, author, now, loop_id, name],
    )
    return str(found[0][0])


def mark_removed(store: Store, loop_id: str, name: str, now: datetime) -> None:
    """Take a SQL signal out of force; its name and its expression stay on record."""
    store.execute(
        "UPDATE signal_definitions SET removed_at = ? WHERE loop_id = ? AND name = ? AND removed_at IS NULL",
        [now, loop_id, name],
        "signal_definitions",
    )


def add_column(cursor: Cursor) -> str:
    """One more DOUBLE column in the table of signals; names of strangers never become names of columns."""
    taken = cursor.execute("SELECT count(DISTINCT column_name) FROM signal_definitions").fetchall()[0][0]
    column = f"signal_{taken + 1}"
    cursor.execute(f"ALTER TABLE signals ADD COLUMN {column} DOUBLE")
    return column


def _insert(
    cursor: Cursor,
    loop_id: str,
    name: str,
    kind: SignalKind,
    column: str,
    now: datetime,
    *,
    expression: str | None = None,
    note: str = "",
    author: str | None = None,
) -> None:
    cursor.execute(
        "INSERT INTO signal_definitions VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        [loop_id, name, kind, column, expression, note, author, now],
    )


def _check_known(signal: str, columns: Mapping[str, str], removed: Mapping[str, datetime]) -> None:
    if signal in columns:
        return
    if signal in removed:
        raise DesignError(
            f"the signal {signal!r} was removed at {removed[signal]:%Y-%m-%d %H:%M} UTC; take it out of the design, "
            "or define it again"
        )
    raise DesignError(f"{signal!r} is no column of the signals; use one of: {', '.join(sorted(columns))}")
