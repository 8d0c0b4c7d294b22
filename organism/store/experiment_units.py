"""All sums that an experiment's verdict is made of, read as one state of the database."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from organism.records import Moments, QuantileParts
from organism.stats.quantile import quantile_reach
from organism.store.database import Cursor, Store
from organism.store.experiment_days import DayPart, Look, Periods, read_days, read_looks, read_periods
from organism.store.experiment_tables import Ask, make_tables
from organism.store.experiments import Experiment
from organism.store.noted_cursor import NotedCursor
from organism.store.quantile_scan import scan_quantiles
from organism.store.signal_table import refresh_signals
from organism.store.unit_scan import Scan, scan

TABLES = ("interactions", "feedback_events", "outcomes", "assignments", "exposures", "signal_definitions")
UTILITIES = "utilities"
UNITS = "SELECT * FROM experiment_units"
MAX_VALUES = 20
"""Of a segment's values the ones with the most users are looked at."""


class SegmentPart(NamedTuple):
    """The first primary metric's moments within one value of a segment; `value` is None for users without one."""

    segment: str
    value: str | None
    variant: str
    n_users: int
    moments: Moments


class Sums(NamedTuple):
    """All that one experiment's users say. `n_strayed` met two variants, or one that they were not assigned.

    `n_foreign` interactions name no variant of the experiment; `n_unweighted` users of an experiment whose shares
    followed the results have no probability on record, and are in no sum. `metrics` (by name and variant) have the
    columns numerator and denominator, then those of each covariate before the start; `reward` (by variant) the utility
    sums, then the rows; `requests` numerator and denominator of the first primary metric over single interactions.
    `n_infinite` interactions have an infinite value, by metric; they are in no sum of it. `left_out` are segments of
    too many values. `sql` is what was asked.
    """

    n_users: dict[str, int]
    n_strayed: int
    n_foreign: int
    n_unweighted: int
    n_interactions: int
    n_with_past: int
    looks: tuple[Look, ...]
    metrics: dict[str, dict[str, Moments]]
    n_infinite: dict[str, int]
    quantiles: dict[str, dict[str, QuantileParts]]
    reward: dict[str, Moments]
    requests: dict[str, Moments]
    segments: tuple[SegmentPart, ...]
    left_out: dict[str, int]
    days: tuple[DayPart, ...]
    periods: Periods | None
    sql: str


def read_sums(store: Store, experiment: Experiment, ask: Ask) -> Sums:
    """All sums of an experiment; one transaction, so that they belong together."""
    refresh_signals(store)
    with store.cursor() as cursor:
        cursor.begin()
        try:
            made = make_tables(cursor, experiment, ask)
            noted = NotedCursor(cursor)
            found = _read(cast(Cursor, noted), experiment, ask)
        finally:
            cursor.rollback()
    return found._replace(sql="\n\n".join([made, *noted.said]))


class Primary(NamedTuple):
    """How many users count, and by variant one metric's moments (a ratio) or its parts (a quantile)."""

    n_users: int
    moments: dict[str, Moments]
    parts: dict[str, QuantileParts]


def read_primary(store: Store, experiment: Experiment, columns: tuple[str, str], probability: float | None) -> Primary:
    """One metric of an experiment, and no more than that.

    `columns` is the metric (of a quantile at `probability`: its signal) in SQL over a row of `signals`, as
    `row_columns` gives it.
    """
    refresh_signals(store)
    ratios = {"primary": columns} if probability is None else {}
    quantiles = {} if probability is None else {"primary": (columns[0], probability)}
    ask = Ask(ratios, quantiles, {}, (), (), "primary")
    with store.cursor() as cursor:
        cursor.begin()
        try:
            make_tables(cursor, experiment, ask)
            found = scan(cursor, UNITS, variant="variant", metrics={name: ask.columns(0) for name in ratios})
            parts = _quantiles(cursor, ask).get("primary", {})
        finally:
            cursor.rollback()
    n_users = sum(n for (_, segment, _), n in found.n_units.items() if segment is None)
    return Primary(n_users, _by_metric(found).get("primary", {}), parts)


def _read(cursor: Cursor, experiment: Experiment, ask: Ask) -> Sums:
    variants = [variant.name for variant in experiment.variants]
    columns = {name: ask.columns(place) for place, name in enumerate(ask.metrics)}
    whole = _scan_whole(cursor, ask, columns)
    sliced = _scan_segments(cursor, ask, columns)
    by_metric = _by_metric(whole)
    ((n_rows, n_past),) = cursor.execute(
        "SELECT coalesce(sum(n_rows), 0), count(*) FILTER (has_past) FROM experiment_units"
    ).fetchall()
    return Sums(
        n_users={name: whole.n_units.get((name, None, None), 0) for name in variants},
        n_strayed=_count(cursor, "experiment_users WHERE strayed"),
        n_foreign=_count(
            cursor,
            "signals WHERE experiment_id = ? AND NOT coalesce(list_contains(?::VARCHAR[], variant_id), false)",
            [experiment.experiment_id, variants],
        ),
        n_unweighted=_count(cursor, "experiment_users WHERE weight IS NULL AND NOT strayed"),
        n_interactions=int(n_rows),
        n_with_past=int(n_past),
        looks=read_looks(cursor, variants),
        metrics={name: by_metric.get(name, {}) for name in columns},
        n_infinite=_infinite(cursor, list(columns)),
        quantiles=_quantiles(cursor, ask),
        reward=by_metric.get(UTILITIES, {}),
        requests=_requests(cursor, ask),
        segments=_segment_parts(sliced),
        left_out=dict(sliced.left_out) if sliced else {},
        days=read_days(cursor, ask),
        periods=read_periods(cursor, ask),
        sql="",
    )


def _infinite(cursor: Cursor, names: Sequence[str]) -> dict[str, int]:
    counts = ", ".join(f"count(*) FILTER (is_infinite{i})" for i in range(len(names)))
    found = cursor.execute(f"SELECT {counts} FROM experiment_rows").fetchall()[0] if names else ()
    return dict(zip(names, map(int, found), strict=True))


def _count(cursor: Cursor, what: str, parameters: Sequence[Any] = ()) -> int:
    return int(cursor.execute(f"SELECT count(*) FROM {what}", parameters).fetchall()[0][0])


def _scan_whole(cursor: Cursor, ask: Ask, columns: Mapping[str, tuple[str, ...]]) -> Scan:
    utilities = {UTILITIES: (*(f"u{i}" for i in range(len(ask.utilities))), "u_rows")} if ask.utilities else {}
    return scan(cursor, UNITS, variant="variant", metrics={**columns, **utilities}, denominators=frozenset(columns))


def _by_metric(found: Scan) -> dict[str, dict[str, Moments]]:
    by_metric: dict[str, dict[str, Moments]] = {}
    for (name, variant, segment, _), moments in sorted(found.cells.items(), key=str):
        if segment is None and moments.n:
            by_metric.setdefault(name, {})[variant] = moments
    return by_metric


def _scan_segments(cursor: Cursor, ask: Ask, columns: Mapping[str, tuple[str, ...]]) -> Scan | None:
    if not ask.segments or ask.primary not in columns:
        return None
    return scan(
        cursor,
        UNITS,
        variant="variant",
        metrics={ask.primary: columns[ask.primary]},
        segments={name: f"s{i}" for i, name in enumerate(ask.segments)},
        denominators=frozenset({ask.primary}),
    )


def _segment_parts(sliced: Scan | None) -> tuple[SegmentPart, ...]:
    """The values with the most users, in the order of their names; a segment that nobody has is left away."""
    if sliced is None:
        return ()
    users: dict[tuple[str, str | None], int] = {}
    for (_, segment, value), n in sliced.n_units.items():
        if segment is not None:
            users[segment, value] = users.get((segment, value), 0) + n
    kept = {
        place
        for segment in {name for name, value in users if value is not None}
        for place in sorted((one for one in users if one[0] == segment), key=lambda one: (-users[one], str(one[1])))[
            :MAX_VALUES
        ]
    }
    return tuple(
        SegmentPart(segment, value, variant, sliced.n_units.get((variant, segment, value), 0), moments)
        for (_, variant, segment, value), moments in sorted(sliced.cells.items(), key=str)
        if segment is not None and (segment, value) in kept and moments.n
    )


def _quantiles(cursor: Cursor, ask: Ask) -> dict[str, dict[str, QuantileParts]]:
    found = {}
    for i, (name, (_, probability)) in enumerate(ask.quantiles.items()):
        rows = f"SELECT id, variant, v{i} FROM experiment_served WHERE v{i} IS NOT NULL"
        found[name] = scan_quantiles(
            cursor,
            rows,
            variant="variant",
            unit="id",
            value=f"v{i}",
            probability=probability,
            reach=partial(quantile_reach, probability=probability),
        )
    return found


def _requests(cursor: Cursor, ask: Ask) -> dict[str, Moments]:
    """The first primary metric over single interactions: for showing what a test over them gets wrong."""
    if ask.place is None:
        return {}
    num, den = f"n{ask.place}", f"d{ask.place}"
    rows = f"SELECT variant, {num}, {den} FROM experiment_served WHERE {den} IS NOT NULL"
    return _by_metric(scan(cursor, rows, variant="variant", metrics={"requests": (num, den)})).get("requests", {})
