"""What an A/A self-test permutes: one metric's sums of every user, of an experiment or of a loop's last weeks."""

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from organism.errors import DesignError
from organism.store.database import Cursor, Store
from organism.store.experiment_tables import Ask, make_tables
from organism.store.experiments import Experiment
from organism.store.metric_columns import UNIT
from organism.store.signal_table import refresh_signals

ROWS = "self_test_rows"


class UserSums(NamedTuple):
    """A user a row, in the order of their keys, columns: num, den, rows, and over the user's rows num², num·den, den².

    `num` is what is left of the numerator after `ratio` (that of all users together) times the denominator: no
    difference between users changes by it, and sums of squares keep their digits. `size` is the mean square of the
    numerator as it was, over users.
    """

    table: npt.NDArray[np.float64]
    ratio: float
    size: float


class UserRows(NamedTuple):
    """All rows by rising value, for a quantile: the number of each one's user (0 and up, by key), and the value."""

    owner: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    n_users: int
    probability: float


def read_of_experiment(
    store: Store, experiment: Experiment, pair: tuple[str, str], metric: tuple[str, str] | tuple[str, float]
) -> tuple[UserSums | UserRows, int]:
    """The users of two of the experiment's variants, and how many of those with the metric the second one has.

    `metric` is SQL over a row of `signals`: numerator and denominator, or a column and a quantile's probability.
    """
    refresh_signals(store)
    name, is_quantile = "metric", isinstance(metric[1], float)
    ask = Ask({} if is_quantile else {name: metric}, {name: metric} if is_quantile else {}, {}, (), (), name)  # type: ignore[dict-item]
    columns = "v0 AS num, 1.0 AS den" if is_quantile else "n0 AS num, d0 AS den"
    with store.cursor() as cursor:
        cursor.begin()
        try:
            make_tables(cursor, experiment, ask)
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE {ROWS} AS SELECT u.unit, s.variant, {columns} FROM experiment_served s "
                "JOIN experiment_users u USING (id) WHERE list_contains(?::VARCHAR[], s.variant)",
                [list(pair)],
            )
            cursor.execute(f"DELETE FROM {ROWS} WHERE num IS NULL OR den IS NULL")
            counted = cursor.execute(f"SELECT count(DISTINCT unit) FROM {ROWS} WHERE variant = ?", [pair[1]]).fetchall()
            return _read(cursor, metric[1]), int(counted[0][0])
        finally:
            cursor.rollback()


def read_of_loop(
    store: Store,
    loop_id: str,
    metric: tuple[str, str] | tuple[str, float],
    *,
    since: datetime,
    until: datetime,
) -> UserSums | UserRows:
    """All users of a loop in this time, whatever variant served them; `metric` as for an experiment."""
    refresh_signals(store)
    is_quantile = isinstance(metric[1], float)
    num, den = (metric[0], "1.0") if is_quantile else metric
    there = f"isfinite(({num})::DOUBLE) AND isfinite(({den})::DOUBLE) AND ({den}) > 0"
    with store.cursor() as cursor:
        cursor.begin()
        try:
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE {ROWS} AS SELECT {UNIT} AS unit, ({num})::DOUBLE AS num, "
                f"({den})::DOUBLE AS den FROM signals WHERE loop_id = ? AND occurred_at > ? AND occurred_at <= ? "
                f"AND {there}",
                [loop_id, since, until],
            )
            return _read(cursor, metric[1])
        finally:
            cursor.rollback()


def _read(cursor: Cursor, second: str | float) -> UserSums | UserRows:
    ((n, num, den),) = cursor.execute(f"SELECT count(*), sum(num), sum(den) FROM {ROWS}").fetchall()
    if not n:
        raise DesignError("nobody has this metric yet; name another, or wait for answers")
    return _rows(cursor, second) if isinstance(second, float) else _sums(cursor, float(num) / float(den))


def _sums(cursor: Cursor, ratio: float) -> UserSums:
    found = cursor.execute(
        f"""
        SELECT sum(u) AS num, sum(den) AS den, count(*)::DOUBLE AS n, sum(u * u) AS uu, sum(u * den) AS ud,
            sum(den * den) AS dd, sum(num) AS whole
        FROM (SELECT *, num - ? * den AS u FROM {ROWS}) GROUP BY unit ORDER BY unit
        """,
        [ratio],
    ).fetchnumpy()
    table = np.column_stack([_plain(found[name]) for name in ("num", "den", "n", "uu", "ud", "dd")])
    return UserSums(table, ratio, float(np.mean(_plain(found["whole"]) ** 2)))


def _rows(cursor: Cursor, probability: float) -> UserRows:
    found = cursor.execute(
        f"SELECT dense_rank() OVER (ORDER BY unit) - 1 AS owner, num FROM {ROWS} ORDER BY num, unit"
    ).fetchnumpy()
    owner = np.asarray(found["owner"], dtype=np.int64)
    return UserRows(owner, _plain(found["num"]), int(owner.max()) + 1, probability)


def _plain(column: Any) -> npt.NDArray[np.float64]:
    return np.asarray(np.ma.getdata(column), dtype=float)
