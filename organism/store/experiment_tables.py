"""Temporary tables from which all of an experiment's sums are read: its interactions, its users, its units.

The unit is the user who was really served, with the variant of the assignment (without one, of what was served).
Users who met two variants, or another one than they were assigned, are in the table of users, and in no unit.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from organism.records import RewardDesign
from organism.store.database import Cursor, Store
from organism.store.experiments import Experiment
from organism.store.metric_columns import UNIT, metric_columns
from organism.store.noted_cursor import as_text
from organism.store.signal_definitions import columns_of
from organism.store.signal_table import quoted

PRE_PERIOD = timedelta(days=28)
"""How far back before the start a user's own past is looked at."""
ADAPTIVE = "thompson"


class Ask(NamedTuple):
    """What is to be summed: metrics with their SQL over a row of `signals` (numerator, denominator), by name.

    `covariates` are metrics by the same names: their sums before the start stand beside every metric. `segments` are
    `region` or names of words in the interactions' attributes. `utilities` are one SQL expression a signal of the
    reward design, in the order of their names; `quantiles` (column, probability) by metric.
    """

    metrics: Mapping[str, tuple[str, str]]
    quantiles: Mapping[str, tuple[str, float]]
    covariates: Mapping[str, tuple[str, str]]
    segments: Sequence[str]
    utilities: Sequence[str]
    primary: str

    @property
    def place(self) -> int | None:
        """Which of the metrics is the first primary one; None for a quantile, or where nothing measures it."""
        return list(self.metrics).index(self.primary) if self.primary in self.metrics else None

    @property
    def past(self) -> tuple[str, ...]:
        """The units' columns of the covariates: numerator and denominator of each."""
        return tuple(column for i in range(len(self.covariates)) for column in (f"p{i}", f"q{i}"))

    def columns(self, place: int) -> tuple[str, ...]:
        """The units' columns of a metric: numerator, denominator, then the covariates'."""
        return (f"n{place}", f"d{place}", *self.past)


def row_columns(
    store: Store, loop_id: str, names: Sequence[str], design: RewardDesign | None
) -> dict[str, tuple[str, str]]:
    """The numerator and denominator of each metric over rows of `signals`, in SQL; DesignError for an unknown one."""
    return dict(zip(names, metric_columns(store, loop_id, names, design), strict=True))


def utility_columns(store: Store, loop_id: str, design: RewardDesign) -> list[str]:
    """Each signal's utility in SQL, in the order of the names; NULL where it is absent and no default is stated."""
    specs = sorted(design.signals, key=lambda spec: spec.signal)
    found = []
    for spec, column in zip(specs, columns_of(store, loop_id, [spec.signal for spec in specs]), strict=True):
        scaled = f"greatest(0.0, least(1.0, ({column} - {spec.worst!r}) / {spec.best - spec.worst!r}))"
        missing = "NULL" if spec.missing is None else repr(spec.missing)
        found.append(f"CASE WHEN isfinite({column}) THEN {scaled} ELSE {missing} END::DOUBLE")
    return found


def make_tables(cursor: Cursor, experiment: Experiment, ask: Ask) -> str:
    """Make the temporary tables; returns their SQL, with what was bound to it.

    experiment_rows: the interactions that a variant served. experiment_users: who was served, with a number.
    experiment_served: the rows of the users who count. experiment_units: a row a user who counts.
    """
    names, is_adaptive = [variant.name for variant in experiment.variants], experiment.policy == ADAPTIVE
    asked: list[tuple[str, str, list[Any]]] = [
        ("experiment_rows", _rows_sql(ask), [experiment.experiment_id, names]),
        ("experiment_users", _users_sql(is_adaptive), [experiment.experiment_id, names]),
        ("experiment_served", _served_sql(ask, is_adaptive), []),
        ("experiment_units", _units_sql(ask), _bounds(experiment) if ask.covariates else []),
    ]
    said = []
    for name, sql, parameters in asked:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}", parameters)
        said.append(as_text(f"CREATE TEMP TABLE {name} AS\n{sql}", parameters))
    return "\n\n".join(said)


def _bounds(experiment: Experiment) -> list[Any]:
    started = experiment.started_at or experiment.created_at
    return [experiment.loop_id, started, started - PRE_PERIOD]


def _rows_sql(ask: Ask) -> str:
    """Unit, variant, time, region, each metric's numerator and denominator, quantiles' values, utilities."""
    columns = []
    for i, (num, den) in enumerate(ask.metrics.values()):
        there = _there(num, den)
        columns.append(f"CASE WHEN {there} THEN {num} END::DOUBLE AS n{i}")
        columns.append(f"CASE WHEN {there} THEN {den} END::DOUBLE AS d{i}")
        columns.append(f"coalesce(isinf({num}::DOUBLE), false) AS is_infinite{i}")
    for i, (column, _) in enumerate(ask.quantiles.values()):
        columns.append(f"CASE WHEN isfinite({column}) THEN {column} END::DOUBLE AS v{i}")
    columns += [f"{utility} AS u{i}" for i, utility in enumerate(ask.utilities)]
    own = (f"{UNIT} AS unit", "interaction_id", "variant_id AS variant", "occurred_at", "region")
    asked = ",\n  ".join([*own, *columns])
    return f"SELECT {asked}\nFROM signals WHERE experiment_id = $1 AND list_contains($2::VARCHAR[], variant_id)"


def _there(num: str, den: str) -> str:
    """Whether a row has the metric: a finite numerator, and a denominator above 0."""
    return f"isfinite({num})" if den == "1" else f"isfinite({num}) AND isfinite({den}) AND {den} > 0"


def _users_sql(is_adaptive: bool) -> str:
    """Each user who was served: the variant that counts, the first time, and whether the user strayed.

    Where the shares followed the results a user weighs 1 / the probability of the variant that was drawn; NULL where
    that is not on record.
    """
    weight = "1.0 / any_value(a.probability)" if is_adaptive else "1.0::DOUBLE"
    return f"""SELECT row_number() OVER () AS id, * FROM (
  SELECT m.unit, coalesce(any_value(a.variant_id), min(m.variant)) AS variant, min(m.at) AS first_at,
    {weight} AS weight,
    min(m.variant) <> max(m.variant) OR coalesce(min(m.variant) <> any_value(a.variant_id), false) AS strayed
  FROM (
    SELECT unit, variant, occurred_at AS at FROM experiment_rows
    UNION ALL SELECT user_key, variant_id, exposed_at FROM exposures
      WHERE experiment_id = $1 AND list_contains($2::VARCHAR[], variant_id)
  ) m LEFT JOIN assignments a ON a.experiment_id = $1 AND a.user_key = m.unit
  GROUP BY m.unit
)"""


def _served_sql(ask: Ask, is_adaptive: bool) -> str:
    """The rows of the users who count, with the days since each one's first exposure; weighed where shares moved."""
    weight = " * u.weight" if is_adaptive else ""
    own = [f"r.{kind}{i}{weight} AS {kind}{i}" for i in range(len(ask.metrics)) for kind in ("n", "d")]
    own += [f"r.v{i}" for i in range(len(ask.quantiles))]
    own += [f"r.u{i}{weight} AS u{i}" for i in range(len(ask.utilities))]
    if ask.utilities:
        scored = " AND ".join(f"r.u{i} IS NOT NULL" for i in range(len(ask.utilities)))
        own.append(f"CASE WHEN {scored} THEN 1.0{weight} END AS scored")
    return f"""SELECT u.id, u.variant, r.interaction_id, r.occurred_at, r.region,
  greatest((epoch_us(r.occurred_at) - epoch_us(u.first_at)) // 86400000000, 0) AS day
  {"".join(f", {column}" for column in own)}
FROM experiment_rows r JOIN experiment_users u USING (unit) WHERE NOT u.strayed"""


def _units_sql(ask: Ask) -> str:
    """A row a user who counts: metric sums (NULL without any), the past (0 without any), utilities, segments."""
    sums = [f"sum({kind}{i}) AS {kind}{i}" for i in range(len(ask.metrics)) for kind in ("n", "d")]
    sums += [f"sum(u{i}) FILTER (scored IS NOT NULL) AS u{i}" for i in range(len(ask.utilities))]
    if ask.utilities:
        sums.append("sum(scored) AS u_rows")
    kept = ["s.* EXCLUDE (id, n_rows)"] if sums else []
    kept += [f"coalesce(p.{name}, 0) * u.weight AS {name}" for name in ask.past]
    kept += [f"w.s{i}" for i in range(len(ask.segments))]
    joins = ""
    if ask.covariates:
        joins += f"\nLEFT JOIN ({_past_sql(ask)}) p USING (id)"
    if ask.segments:
        joins += f"\nLEFT JOIN ({_segments_sql(ask.segments)}) w USING (id)"
    has_past = "p.id IS NOT NULL" if ask.covariates else "false"
    return f"""SELECT u.id, u.variant, coalesce(s.n_rows, 0) AS n_rows, {has_past} AS has_past
  {"".join(f", {column}" for column in kept)}
FROM experiment_users u
LEFT JOIN (
  SELECT id, count(*) AS n_rows{"".join(f", {one}" for one in sums)}
  FROM experiment_served GROUP BY id
) s USING (id){joins}
WHERE NOT u.strayed"""


def _past_sql(ask: Ask) -> str:
    """What the same users did in the same loop before the start, as sums of each covariate."""
    sums = []
    for i, (num, den) in enumerate(ask.covariates.values()):
        there = _there(num, den)
        sums.append(f"sum({num}) FILTER ({there}) AS p{i}, sum({den}) FILTER ({there}) AS q{i}")
    return f"""
  SELECT e.id, {", ".join(sums)}
  FROM signals JOIN (SELECT id, unit FROM experiment_users) e ON user_key = e.unit
  WHERE loop_id = $1 AND occurred_at < $2::TIMESTAMP AND occurred_at >= $3::TIMESTAMP GROUP BY e.id
"""


def _segments_sql(segments: Sequence[str]) -> str:
    """Each user's segments as they were at the first interaction of the experiment; its first known region."""
    words = [f"any_value({_word(name)}) AS s{i}" for i, name in enumerate(segments) if name != "region"]
    region = [f"any_value(f.region) AS s{i}" for i, name in enumerate(segments) if name == "region"]
    joined = "JOIN interactions i ON i.interaction_id = f.first_id" if words else ""
    return f"""
  SELECT f.id, {", ".join(region + words)} FROM (
    SELECT id, arg_min(interaction_id, occurred_at) AS first_id, arg_min(region, occurred_at) AS region
    FROM experiment_served GROUP BY id
  ) f {joined} GROUP BY f.id
"""


def _word(name: str) -> str:
    """A word of the attributes that the sender gave."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    path = quoted(f'$."{escaped}"')
    return f"(i.attributes->>{path})"
