"""What a loop's own past says for sizing a plan: its traffic, and moments of metrics over spans of its last days."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import DesignError
from organism.measures.metric_names import quantile_of
from organism.records import Moments, QuantileParts, RewardDesign
from organism.stats.quantile import quantile_reach
from organism.store.database import Store
from organism.store.interactions import VARIANT
from organism.store.metric_columns import UNIT, metric_columns
from organism.store.quantile_scan import scan_quantiles
from organism.store.signal_definitions import columns_of
from organism.store.signal_table import refresh_signals
from organism.store.unit_scan import scan


class SpanMoments(NamedTuple):
    """By days how many users the span had; by (days, metric) how many had the metric, and moments over them."""

    n_users: dict[int, int]
    known: dict[tuple[int, str], int]
    moments: dict[tuple[int, str], Moments]


class Past(NamedTuple):
    """When the loop's interactions were seen first and last, and how many; both times None without any."""

    first_at: datetime | None
    last_at: datetime | None
    n_interactions: int


def read_past(store: Store, loop_id: str) -> Past:
    """How far back the loop's interactions go."""
    found = store.rows(
        "SELECT min(occurred_at), max(occurred_at), count(*) FROM interactions WHERE loop_id = ?", [loop_id]
    )
    return Past(*found[0])


def read_weekly_traffic(store: Store, loop_id: str, until: datetime, weeks: int) -> pd.DataFrame:
    """The loop's traffic by week, the oldest first, counted back from `until`.

    Columns: week (its first moment), n_users, n_new_users (never seen before), n_interactions.
    """
    return store.frame(
        f"""
        WITH seen AS (
            SELECT {UNIT} AS unit, (epoch(?::TIMESTAMP - occurred_at) // 604800)::INTEGER AS back
            FROM interactions WHERE loop_id = ? AND occurred_at <= ?
        ), debuts AS (SELECT back, count(*) AS n FROM (SELECT max(back) AS back FROM seen GROUP BY unit) GROUP BY back)
        SELECT ?::TIMESTAMP - to_weeks(s.back + 1) AS week, count(DISTINCT s.unit) AS n_users,
            coalesce(max(d.n), 0) AS n_new_users, count(*) AS n_interactions
        FROM seen s LEFT JOIN debuts d USING (back) WHERE s.back < ? GROUP BY s.back ORDER BY s.back DESC
        """,
        [until, loop_id, until, until, weeks],
    )


def read_span_moments(
    store: Store,
    loop_id: str,
    metrics: Mapping[str, Sequence[str]],
    *,
    until: datetime,
    spans: Sequence[int],
    before: int,
    design: RewardDesign | None = None,
    variant: str | None = None,
) -> SpanMoments:
    """What users did in the last `spans` days, and of covariates in up to `before` days before that.

    `metrics` maps each to its covariates. Moments by (days, metric): over the users who had the metric in the span
    its numerator and denominator, then each covariate's from before the span (0 and 0 for a user without). With
    `variant` they are of what it served; users are counted whoever served them.
    """
    refresh_signals(store)
    names = list(dict.fromkeys([*metrics, *(name for own in metrics.values() for name in own)]))
    at = {name: place for place, name in enumerate(names)}
    columns = {
        metric: [f"n{at[metric]}", f"d{at[metric]}", *(f"{side}{at[one]}" for one in own for side in ("p", "q"))]
        for metric, own in metrics.items()
    }
    pairs = metric_columns(store, loop_id, names, design)
    edges = sorted({*spans, *(days + before for days in spans)})
    with store.cursor() as cursor:
        cursor.begin()
        try:
            cursor.execute(_pieces(pairs, edges), [until, variant, variant, loop_id, until, until, edges[-1]])
            cursor.execute(_users_of_spans(len(names)), [list(spans), before])
            counts = ", ".join(f"count(*) FILTER (k{at[metric]})" for metric in metrics)
            counted = cursor.execute(f"SELECT days, count(*), {counts} FROM plan_users GROUP BY days").fetchall()
            users = "SELECT * FROM plan_users WHERE is_own"
            found = scan(cursor, users, variant="days", metrics=columns)
        finally:
            cursor.rollback()
    known = {(int(days), metric): n for days, _, *all_n in counted for metric, n in zip(metrics, all_n, strict=True)}
    moments = {(int(days), metric): cell for (metric, days, segment, _), cell in found.cells.items() if not segment}
    return SpanMoments({int(days): n for days, n, *_ in counted}, known, moments)


def _pieces(pairs: Sequence[tuple[str, str]], edges: Sequence[int]) -> str:
    """A temporary table of one row a user, piece of time and owner: upto (days back), n{i} and d{i} summed.

    Spans are made of pieces, so that the interactions are read once for all of them.
    """
    upto = " ".join(f"WHEN age < {days} THEN {days}" for days in edges)
    sums = []
    for i, (num, den) in enumerate(pairs):
        there = f"isfinite({num}::DOUBLE)" + ("" if den == "1" else f" AND isfinite({den}::DOUBLE)")
        sums.append(f"sum({num}) FILTER ({there})::DOUBLE AS n{i}, sum({den}) FILTER ({there})::DOUBLE AS d{i}")
    return f"""
        CREATE OR REPLACE TEMP TABLE plan_pieces AS
        SELECT {UNIT} AS unit, CASE {upto} END AS upto, is_own, {", ".join(sums)}
        FROM (
            SELECT *, epoch(?::TIMESTAMP - occurred_at) / 86400 AS age, ?::VARCHAR IS NULL OR {VARIANT} = ? AS is_own
            FROM signals WHERE loop_id = ? AND occurred_at <= ? AND occurred_at > ?::TIMESTAMP - to_days(?)
        ) GROUP BY ALL
    """


def _users_of_spans(n_metrics: int) -> str:
    """A temporary table of one row a span and user: days, is_own, then for metric i its sums in the span n{i} and
    d{i} (NULL without any), those before it p{i} and q{i} (0 without any), and k{i}: whether it was known at all.
    """
    sums = ", ".join(
        f"sum(n{i}) FILTER (is_in AND is_own) AS n{i}, sum(d{i}) FILTER (is_in AND is_own) AS d{i}, "
        f"coalesce(sum(n{i}) FILTER (NOT is_in), 0) AS p{i}, coalesce(sum(d{i}) FILTER (NOT is_in), 0) AS q{i}, "
        f"coalesce(bool_or(d{i} <> 0) FILTER (is_in), false) AS k{i}"
        for i in range(n_metrics)
    )
    return f"""
        CREATE OR REPLACE TEMP TABLE plan_users AS
        SELECT days::VARCHAR AS days, bool_or(is_in AND is_own) AS is_own, {sums}
        FROM (
            SELECT p.*, days, upto <= days AS is_in
            FROM plan_pieces p JOIN (SELECT unnest(?::INTEGER[]) AS days) ON upto <= days + ?
        ) GROUP BY days, unit HAVING bool_or(is_in)
    """


def read_span_quantiles(
    store: Store, loop_id: str, metric: str, *, until: datetime, spans: Sequence[int], variant: str | None = None
) -> dict[int, QuantileParts]:
    """By days the parts of a quantile metric (`latency_ms.p95`) over the rows of the last so many days."""
    refresh_signals(store)
    parts = quantile_of(metric)
    if parts is None:
        raise DesignError(f"{metric!r} is no quantile; name a signal and one, such as latency_ms.p95")
    signal, probability = parts
    relation = f"""
        SELECT days, {UNIT} AS unit, {columns_of(store, loop_id, [signal])[0]} AS value
        FROM signals JOIN (SELECT unnest(?::INTEGER[]) AS days)
            ON occurred_at > ?::TIMESTAMP - to_days(days) AND occurred_at <= ?
        WHERE loop_id = ? AND (?::VARCHAR IS NULL OR {VARIANT} = ?)
    """
    with store.cursor() as cursor:
        found = scan_quantiles(
            cursor,
            relation,
            variant="days",
            unit="unit",
            value="value",
            probability=probability,
            reach=lambda n: quantile_reach(n, probability),
            parameters=[list(spans), until, until, loop_id, variant, variant],
        )
    return {int(days): kept for days, kept in found.items()}


def read_users_by_variant(store: Store, loop_id: str, *, since: datetime, until: datetime) -> dict[str, int]:
    """How many users each variant served in this time."""
    found = store.rows(
        f"SELECT {VARIANT}, count(DISTINCT {UNIT}) FROM interactions "
        "WHERE loop_id = ? AND occurred_at > ? AND occurred_at <= ? GROUP BY 1",
        [loop_id, since, until],
    )
    return dict(found)


def read_user_attributes(store: Store, loop_id: str) -> list[tuple[dict[str, Any], int]]:
    """What is known of the loop's users as they were last seen (region and attributes), with how many are alike."""
    found = store.rows(
        f"""
        SELECT region, attributes, count(*) FROM (
            SELECT arg_max(region, occurred_at) AS region, arg_max(attributes::VARCHAR, occurred_at) AS attributes
            FROM interactions WHERE loop_id = ? GROUP BY {UNIT}
        ) GROUP BY ALL
        """,
        [loop_id],
    )
    return [
        ({**(json.loads(attributes) if attributes else {}), **({"region": region} if region else {})}, n)
        for region, attributes, n in found
    ]
