"""SQL signals that a team defined: tried on a sample of its rows, and filled in for all of them."""

from datetime import datetime

from organism.errors import DesignError
from organism.store.database import Cursor, Store
from organism.store.signal_definitions import put_sql_signal
from organism.store.signal_table import Chosen, in_row, quoted, refresh_signals, wide_sql
from organism.store.sql_signals import Compiled, Trial, try_expression

SAMPLE = 2000
MAX_FILL_SECONDS = 300.0


def try_on_sample(store: Store, loop_id: str, name: str, compiled: Compiled) -> Trial:
    """Try the expression on a sample of the loop's interactions, in a database apart.

    Raises DesignError, with what to do, when it gives no usable number there, or would take too long on all.
    """
    refresh_signals(store)
    ids = (
        f"SELECT interaction_id FROM signals WHERE loop_id = {quoted(loop_id)} "
        f"ORDER BY hash(interaction_id), interaction_id LIMIT {SAMPLE}"
    )
    with store.cursor() as cursor:
        wide = wide_sql(cursor, Chosen(f"i.interaction_id IN ({ids})", ids))
        types = {row[0]: str(row[1]) for row in cursor.execute(f"DESCRIBE {wide}").fetchall()}
        columns = "".join(f', "{column}"::{_portable(types[column])} AS "{column}"' for column in compiled.columns)
        rows = cursor.sql(f"SELECT row_number() OVER () AS row_number{columns} FROM ({wide})").to_arrow_table()
    trial = try_expression(name, compiled, types, rows)
    n_rows = store.rows("SELECT count(*) FROM signals WHERE loop_id = ?", [loop_id])[0][0]
    if n_rows > trial.n_rows and (needed := trial.seconds / trial.n_rows * n_rows) > MAX_FILL_SECONDS:
        raise DesignError(
            f"{name} took {trial.seconds:.1f} s on {trial.n_rows:,} interactions, so about {needed / 60:,.0f} minutes "
            f"on all {n_rows:,}, during which no event could come in; write it more simply"
        )
    return trial


def append_sql_signal(
    store: Store, loop_id: str, name: str, expression: str, *, note: str, author: str, now: datetime
) -> tuple[int, int]:
    """Put a signal in force and compute it for every interaction of the loop; returns (n_present, n_rows)."""

    def work(cursor: Cursor) -> tuple[int, int]:
        column = put_sql_signal(cursor, loop_id, name, expression, note=note, author=author, now=now)
        own = f"loop_id = {quoted(loop_id)}"
        wide = wide_sql(cursor, Chosen(f"i.{own}", f"SELECT interaction_id FROM interactions WHERE {own}"))
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT interaction_id, {in_row(expression)} AS value FROM ({wide})"
        )
        cursor.execute(
            f"UPDATE signals SET {column} = fresh.value FROM fresh WHERE signals.interaction_id = fresh.interaction_id"
        )
        found: tuple[int, int] = cursor.execute(
            f"SELECT count({column}), count(*) FROM signals WHERE {own}"
        ).fetchall()[0]
        return found

    refresh_signals(store)
    counts: tuple[int, int] = store.write(work, "signal_definitions")
    return counts


def _portable(kind: str) -> str:
    """Types that Arrow lacks travel as text."""
    return "VARCHAR" if kind in ("UUID", "JSON") else kind
