"""Plans of experiments: their versions, drafts that become experiments, and what a loop's own past says for sizing."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import DesignError, InputError
from organism.records import Moments, QuantileParts, RewardDesign, Variant
from organism.stats.quantile import quantile_reach
from organism.store.database import Cursor, Store
from organism.store.experiments import PLANNED, RUNNING, refuse_twin
from organism.store.interactions import VARIANT
from organism.store.layers import refuse_overlap
from organism.store.quantile_scan import scan_quantiles
from organism.store.signal_definitions import columns_of
from organism.store.signal_table import refresh_signals
from organism.store.unit_scan import scan

UNIT = "coalesce(user_key, interaction_id::VARCHAR)"
RATIOS = {"retained_char_rate": ("retained_chars", "draft_chars"), "written_share": ("retained_chars", "final_chars")}
"""Metrics that are a ratio of two sums; any other is Σ value ÷ Σ rows with it."""
_QUANTILE = re.compile(r"(.+)\.p(\d{1,2}(?:\.\d{1,3})?)")


class PlanVersion(NamedTuple):
    """One version of a plan as it was kept: plain data, who wrote it, why, and when."""

    version: int
    plan: dict[str, Any]
    actor: str
    why: str
    created_at: datetime


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


def quantile_of(metric: str) -> tuple[str, float] | None:
    """`latency_ms.p95` as (latency_ms, 0.95); None for a metric that is no quantile."""
    found = _QUANTILE.fullmatch(metric)
    if found is None or not 0 < float(found[2]) < 100:
        return None
    return found[1], float(found[2]) / 100


def read_plan_versions(store: Store, experiment_id: str) -> list[PlanVersion]:
    """All versions of an experiment's plan, the first one first."""
    found = store.rows(
        "SELECT version, plan::VARCHAR, actor, why, created_at FROM plans WHERE experiment_id = ? ORDER BY version",
        [experiment_id],
    )
    return [PlanVersion(version, json.loads(plan), *rest) for version, plan, *rest in found]


def append_plan_version(
    store: Store, experiment_id: str, plan: Mapping[str, Any], *, actor: str, why: str, now: datetime
) -> int:
    """Keep the next version of a running experiment's plan; returns its number. Raises DesignError unless it runs."""

    def work(cursor: Cursor) -> int:
        status = _status(cursor, experiment_id)
        if status != RUNNING:
            raise DesignError(f"this experiment is {status}, not running; only the plan of a running one has versions")
        found = cursor.execute("SELECT max(version) FROM plans WHERE experiment_id = ?", [experiment_id]).fetchall()
        version = int(found[0][0]) + 1
        cursor.execute(
            "INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?)",
            [experiment_id, version, json.dumps(dict(plan)), actor, why, now],
        )
        return version

    kept: int = store.write(work, "experiments")
    return kept


def rewrite_draft(
    store: Store,
    experiment_id: str,
    row: Mapping[str, Any],
    variants: Sequence[Variant],
    plan: Mapping[str, Any],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Put a draft anew in place of itself (`row`: columns of experiments). Raises DesignError once it has started."""

    def work(cursor: Cursor) -> None:
        _refuse_started(cursor, experiment_id)
        full = {**row, "targeting": json.dumps(row.get("targeting") or {})}
        setting = ", ".join(f"{column} = ?" for column in full)
        cursor.execute(f"UPDATE experiments SET {setting} WHERE experiment_id = ?", [*full.values(), experiment_id])
        cursor.execute("DELETE FROM variants WHERE experiment_id = ?", [experiment_id])
        cursor.executemany(
            "INSERT INTO variants VALUES (?, ?, ?, ?, ?, ?)",
            [
                [experiment_id, position, one.name, one.share, one.model_version_id, one.prompt]
                for position, one in enumerate(variants)
            ],
        )
        cursor.execute(
            "UPDATE plans SET plan = ?, actor = ?, created_at = ? WHERE experiment_id = ?",
            [json.dumps(dict(plan)), actor, now, experiment_id],
        )

    store.write(work, "experiments")


def start_draft(
    store: Store, experiment_id: str, variants: Sequence[Variant], plan: Mapping[str, Any], *, actor: str, now: datetime
) -> None:
    """Freeze the draft's plan as its version 1 and let the experiment run from now.

    Raises DesignError when it has started, or when one of the same variants is running.
    """

    def work(cursor: Cursor) -> None:
        _refuse_started(cursor, experiment_id)
        ((loop_id, *slot),) = cursor.execute(
            "SELECT loop_id, layer, layer_low, layer_high FROM experiments WHERE experiment_id = ?", [experiment_id]
        ).fetchall()
        refuse_twin(cursor, {"loop_id": loop_id}, variants)
        refuse_overlap(cursor, loop_id, experiment_id, *slot)
        cursor.execute(
            "UPDATE experiments SET status = ?, started_at = ? WHERE experiment_id = ?", [RUNNING, now, experiment_id]
        )
        cursor.execute(
            "UPDATE plans SET plan = ?, actor = ?, why = 'As it was started', created_at = ? WHERE experiment_id = ?",
            [json.dumps(dict(plan)), actor, now, experiment_id],
        )

    store.write(work, "experiments")


def delete_draft(store: Store, experiment_id: str) -> None:
    """Take a draft away with its variants and its plan. Raises DesignError once it has started."""

    def work(cursor: Cursor) -> None:
        _refuse_started(cursor, experiment_id)
        for table in ("variants", "plans", "experiments"):
            cursor.execute(f"DELETE FROM {table} WHERE experiment_id = ?", [experiment_id])

    store.write(work, "experiments")


def _refuse_started(cursor: Cursor, experiment_id: str) -> None:
    if (status := _status(cursor, experiment_id)) != PLANNED:
        raise DesignError(
            f"this experiment is {status} already, so its plan is frozen; a running one takes changes as new versions "
            "(organism experiment change)"
        )


def _status(cursor: Cursor, experiment_id: str) -> str:
    found = cursor.execute("SELECT status FROM experiments WHERE experiment_id = ?", [experiment_id]).fetchall()
    if not found:
        raise InputError(f"no experiment has the id {experiment_id!r}; organism experiment list shows those there are")
    return str(found[0][0])


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


def metric_columns(
    store: Store, loop_id: str, metrics: Sequence[str], design: RewardDesign | None = None
) -> list[tuple[str, str]]:
    """Each metric's numerator and denominator over rows of `signals`, in SQL; a row without either is left out.

    `reward` needs the design. Raises DesignError for a signal that the loop does not have.
    """
    return [_columns(store, loop_id, metric, design) for metric in metrics]


def _columns(store: Store, loop_id: str, metric: str, design: RewardDesign | None) -> tuple[str, str]:
    if metric == "reward":
        if design is None:
            raise DesignError("the metric 'reward' needs a reward design; save one, or choose another metric")
        return _reward(store, loop_id, design), "1"
    if metric in RATIOS:
        return RATIOS[metric]
    return columns_of(store, loop_id, [metric])[0], "1"


def _reward(store: Store, loop_id: str, design: RewardDesign) -> str:
    """A row's Σ w·u ÷ Σ w; NULL where a signal is absent and the design says nothing of it.

    Numbers of a saved design stand in the text: they are floats that were checked when it was saved.
    """
    specs = [spec for spec in design.signals if spec.weight > 0]
    terms = []
    for spec, column in zip(specs, columns_of(store, loop_id, [spec.signal for spec in specs]), strict=True):
        scaled = f"greatest(0.0, least(1.0, ({column} - {spec.worst!r}) / {spec.best - spec.worst!r}))"
        missing = "NULL" if spec.missing is None else repr(spec.missing)
        terms.append(f"{spec.weight!r} * CASE WHEN isfinite({column}) THEN {scaled} ELSE {missing} END::DOUBLE")
    return f"(({' + '.join(terms)}) / {sum(spec.weight for spec in specs)!r})"
