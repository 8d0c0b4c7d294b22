"""What clustered quantiles are computed from: three quantiles of a variant's rows, and each unit's rows below."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from organism.errors import InputError
from organism.records import Moments, QuantileParts
from organism.store.database import Cursor, DatabaseError
from organism.store.unit_sql import literal


def scan_quantiles(
    cursor: Cursor,
    rows_relation: str,
    *,
    variant: str,
    unit: str,
    value: str,
    probability: float,
    reach: Callable[[int], float],
    parameters: Sequence[Any] = (),
) -> dict[str, QuantileParts]:
    """By variant the parts of the quantile of `value` at `probability`, over a relation of one row a request.

    `variant`, `unit` and `value` are SQL expressions over it; `reach` tells from a number of rows how far below and
    above the probability the two quantiles lie that bracket it. Rows without a finite value, a unit or a variant are
    left out. Quantiles interpolate between rows, as R's type 7 and numpy do. The relation is read three times; make
    it a table first when it is costly. Raises InputError where SQL or a value cannot be read.
    """
    rows = (
        f"FROM (SELECT ({variant})::VARCHAR AS v, ({unit}) AS u, ({value})::DOUBLE AS x\n"
        f"  FROM ({rows_relation}) AS asked)\n"
        "WHERE v IS NOT NULL AND u IS NOT NULL AND isfinite(x)"
    )
    try:
        counts = dict(cursor.execute(f"SELECT v, count(*) {rows} GROUP BY v ORDER BY v", parameters).fetchall())
        if not counts:
            return {}
        reaches = {name: reach(n) for name, n in counts.items()}
        quantiles = _quantiles(cursor, rows, parameters, probability, reaches)
        users = _users(cursor, rows, parameters, quantiles)
    except DatabaseError as error:
        raise InputError(f"the rows cannot be read: {str(error).strip().splitlines()[0]}") from error
    parts = {}
    for name, n_rows in counts.items():
        by_user, tied, under, over = users[name]
        parts[name] = QuantileParts(
            probability, reaches[name], n_rows, *quantiles[name], by_user, tied=tied, under=under, over=over
        )
    return parts


def _quantiles(
    cursor: Cursor, rows: str, parameters: Sequence[Any], probability: float, reaches: Mapping[str, float]
) -> dict[str, tuple[float, float, float]]:
    """By variant its quantile and the two beside it, all by one GROUP BY; each variant picks its own of the list."""
    beside = {name: (max(probability - r, 0.0), min(probability + r, 1.0)) for name, r in reaches.items()}
    asked = sorted({probability, *(end for ends in beside.values() for end in ends)})
    wanted = ", ".join(literal(one) for one in asked)
    found = dict(cursor.execute(f"SELECT v, quantile_cont(x, [{wanted}]) {rows} GROUP BY v", parameters).fetchall())
    return {
        name: (
            found[name][asked.index(probability)],
            found[name][asked.index(low)],
            found[name][asked.index(high)],
        )
        for name, (low, high) in beside.items()
    }


def _users(
    cursor: Cursor, rows: str, parameters: Sequence[Any], quantiles: Mapping[str, tuple[float, float, float]]
) -> dict[str, tuple[Moments, float, float | None, float | None]]:
    """By variant the moments over units of (rows at or below the estimate, rows), from sums of whole numbers.

    Beside them what `QuantileParts` says of ties: the largest share of rows at one value, the values next to the ends.
    """
    at, low, high = (
        f"CASE v {' '.join(f'WHEN {_text(name)} THEN {literal(three[i])}' for name, three in quantiles.items())} END"
        for i in range(3)
    )
    found = cursor.execute(
        f"""
        SELECT v, greatest(sum(n_at), sum(n_low), sum(n_high)) / sum(n), max(next_low), min(next_high),
            count(*), sum(below), sum(n), sum(below * below), sum(below * n), sum(n * n)
        FROM (
            SELECT v, u, count(*) FILTER (x <= {at}) AS below, count(*) AS n, count(*) FILTER (x = {at}) AS n_at,
                count(*) FILTER (x = {low}) AS n_low, count(*) FILTER (x = {high}) AS n_high,
                max(x) FILTER (x < {low}) AS next_low, min(x) FILTER (x > {high}) AS next_high
            {rows} GROUP BY v, u
        )
        GROUP BY v
        """,
        parameters,
    ).fetchall()
    return {
        name: (_moments(*(int(one) for one in sums)), float(tied), under, over)
        for name, tied, under, over, *sums in found
    }


def _moments(n: int, below: int, rows: int, below_below: int, below_rows: int, rows_rows: int) -> Moments:
    """Exact: whole numbers of any size, divided once."""
    off = (n * below_rows - below * rows) / n
    cross = (((n * below_below - below**2) / n, off), (off, (n * rows_rows - rows**2) / n))
    return Moments(n, (below / n, rows / n), cross)


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
