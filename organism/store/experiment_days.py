"""An experiment's first primary metric over time: by calendar day so far, and by time since a user's first exposure.

Reads the temporary tables of `experiment_tables`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from organism.records import Moments
from organism.store.database import Cursor
from organism.store.experiment_tables import Ask

MAX_PERIODS = 14
"""Into how many periods since exposure an effect is cut at most."""


class Look(NamedTuple):
    """The state at the end of one day: by variant the users so far, and the interactions so far of users who count."""

    day: datetime
    n_users: dict[str, int]
    n_interactions: dict[str, int]


class DayPart(NamedTuple):
    """Moments over all that the users of a variant did until the end of a day."""

    day: datetime
    variant: str
    moments: Moments


class PeriodPart(NamedTuple):
    """One variant over the periods since its users' first exposure: all of them, and by period those who did something.

    `totals` are the sums of the denominator, `ratios` the metric (None without any), and `residuals` the sums over
    users of e_k · e_l, e = numerator − ratio · denominator within a period: what the delta method needs of them.
    """

    variant: str
    n: int
    n_users: tuple[int, ...]
    totals: tuple[float, ...]
    ratios: tuple[float | None, ...]
    residuals: tuple[tuple[float, ...], ...]


class Periods(NamedTuple):
    """The metric by time since a user's first exposure, in periods of `days` days."""

    days: int
    parts: tuple[PeriodPart, ...]


def read_looks(cursor: Cursor, variants: Sequence[str]) -> tuple[Look, ...]:
    """By day the users who came and what they did, added up from the first day on."""
    came = cursor.execute(
        "SELECT first_at::DATE::TIMESTAMP, variant, count(*) FROM experiment_users WHERE NOT strayed GROUP BY ALL"
    ).fetchall()
    did = cursor.execute(
        "SELECT occurred_at::DATE::TIMESTAMP, variant, count(*) FROM experiment_served GROUP BY ALL"
    ).fetchall()
    counts = [{(day, variant): int(n) for day, variant, n in rows} for rows in (came, did)]
    totals = [dict.fromkeys(variants, 0), dict.fromkeys(variants, 0)]
    looks = []
    for day in sorted({row[0] for row in (*came, *did)}):
        totals = [
            {variant: total[variant] + of_day.get((day, variant), 0) for variant in variants}
            for total, of_day in zip(totals, counts, strict=True)
        ]
        looks.append(Look(day, *totals))
    return tuple(looks)


def read_days(cursor: Cursor, ask: Ask) -> tuple[DayPart, ...]:
    """The first primary metric as it stood at the end of each day, over all users until then.

    A user's sums so far are a running sum over the days; what a day changes in the sum of their products is the
    product after it less the product before. Pivots near the means keep the digits; six digits of them do, and are
    the same however the means were added up.
    """
    if ask.place is None:
        return ()
    columns, i = ask.columns(ask.place), ask.place
    means = cursor.execute(
        f"SELECT {', '.join(f'coalesce(avg({column}), 0.0)' for column in columns)} FROM experiment_units"
    ).fetchall()[0]
    pivots = [float(f"{mean:.6g}") for mean in means]
    past = "".join(f", {name} AS x{n}" for n, name in enumerate(columns) if n > 1)
    rows = cursor.execute(
        f"""
        WITH daily AS (
            SELECT id, any_value(variant) AS variant, occurred_at::DATE AS day, sum(n{i}) AS y0, sum(d{i}) AS y1
            FROM experiment_served WHERE d{i} IS NOT NULL GROUP BY id, occurred_at::DATE
        ), running AS (
            SELECT id, variant, day, y0, y1, sum(y0) OVER so_far AS x0, sum(y1) OVER so_far AS x1,
                row_number() OVER so_far = 1 AS is_new
            FROM daily WINDOW so_far AS (PARTITION BY id ORDER BY day)
        )
        SELECT day::TIMESTAMP, variant, count(*) FILTER (is_new), {_changes(pivots)}
        FROM running JOIN (SELECT id{past} FROM experiment_units) USING (id)
        GROUP BY ALL ORDER BY 1
        """
    ).fetchall()
    return _added_up(rows, pivots)


def _changes(pivots: Sequence[float]) -> str:
    """What a day changes in the sums of the columns x0, x1, … less their pivots, and of their products."""
    k = len(pivots)
    after = [f"(x{c} - {pivot!r})" for c, pivot in enumerate(pivots)]
    before = [f"(x{c} - {f'y{c} - ' if c < 2 else ''}{pivot!r})" for c, pivot in enumerate(pivots)]
    pairs = [(a, b) for a in range(k) for b in range(a, k)]
    terms = [(after[c], before[c]) for c in range(k)]
    terms += [(f"{after[a]} * {after[b]}", f"{before[a]} * {before[b]}") for a, b in pairs]
    return ", ".join(f"sum({new} - CASE WHEN is_new THEN 0.0 ELSE {old} END)" for new, old in terms)


def _added_up(rows: Sequence[tuple[Any, ...]], pivots: Sequence[float]) -> tuple[DayPart, ...]:
    """The days' changes added up, as moments of each variant that has users by then."""
    k = len(pivots)
    sums: dict[str, np.ndarray] = {}
    found = []
    for day in sorted({row[0] for row in rows}):
        for _, variant, *changes in (row for row in rows if row[0] == day):
            sums[variant] = sums.get(variant, np.zeros(1 + k + k * (k + 1) // 2)) + np.array(changes, dtype=float)
        found += [DayPart(day, variant, _moments(total, pivots)) for variant, total in sorted(sums.items())]
    return tuple(found)


def _moments(total: np.ndarray, pivots: Sequence[float]) -> Moments:
    n, k = int(total[0]), len(pivots)
    first = total[1 : 1 + k]
    second = np.zeros((k, k))
    second[np.triu_indices(k)] = total[1 + k :]
    second = second + np.triu(second, 1).T
    cross = second - np.outer(first, first) / n if n > 1 else np.zeros((k, k))
    mean = np.array(pivots) + first / n
    return Moments(n, tuple(mean.tolist()), tuple(tuple(row) for row in cross.tolist()))


def read_periods(cursor: Cursor, ask: Ask) -> Periods | None:
    """The first primary metric by time since exposure; None where it is no ratio, or nobody has it."""
    if ask.place is None:
        return None
    i = ask.place
    (last,) = cursor.execute(f"SELECT max(day) FROM experiment_served WHERE d{i} IS NOT NULL").fetchall()[0]
    if last is None:
        return None
    days = last // MAX_PERIODS + 1
    cursor.execute(f"""
        CREATE OR REPLACE TEMP TABLE experiment_periods AS
        WITH told AS (
            SELECT id, any_value(variant) AS variant, day // {days} AS period, sum(n{i}) AS num, sum(d{i}) AS den
            FROM experiment_served WHERE d{i} IS NOT NULL GROUP BY id, day // {days}
        ), whole AS (
            SELECT variant, period, sum(den) AS total, sum(num) / sum(den) AS ratio FROM told GROUP BY ALL
        )
        SELECT id, variant, period, total, ratio, num - ratio * den AS residual
        FROM told JOIN whole USING (variant, period)
    """)
    periods = cursor.execute(
        "SELECT variant, period, count(*), any_value(total), any_value(ratio) FROM experiment_periods GROUP BY ALL"
    ).fetchall()
    products = cursor.execute(
        "SELECT a.variant, a.period, b.period, sum(a.residual * b.residual) FROM experiment_periods a "
        "JOIN experiment_periods b ON a.id = b.id AND a.period <= b.period GROUP BY ALL"
    ).fetchall()
    users = cursor.execute("SELECT variant, count(DISTINCT id) FROM experiment_periods GROUP BY ALL").fetchall()
    n = last // days + 1
    return Periods(days, tuple(_period_part(name, int(count), n, periods, products) for name, count in sorted(users)))


def _period_part(
    variant: str, n_users: int, n: int, periods: Sequence[tuple[Any, ...]], products: Sequence[tuple[Any, ...]]
) -> PeriodPart:
    counts, totals, ratios = [0] * n, [0.0] * n, [None] * n
    for _, period, *found in (row for row in periods if row[0] == variant):
        counts[period], totals[period], ratios[period] = found
    cross = np.zeros((n, n))
    for _, k, m, product in (row for row in products if row[0] == variant):
        cross[k, m] = cross[m, k] = product
    residuals = tuple(tuple(row) for row in cross.tolist())
    return PeriodPart(variant, n_users, tuple(counts), tuple(totals), tuple(ratios), residuals)
