"""All metrics, covariates and segments of an experiment's units as moments, by one GROUP BY over them.

Sums of pivoted values, sum(x - k) and sum((x - k)(y - l)), cost little more than plain sums and keep the digits that
sums of squares lose at a large mean (Chan, Golub and LeVeque 1983). The pivots come from the first units. Where the
sums show that a value was missing or not finite, the metric is summed again over its own complete cases; where a
cell's variance is tiny beside its distance from the pivot, again by DuckDB's one-pass covariances.
"""

from collections.abc import Collection, Mapping, Sequence
from math import isnan, prod
from typing import Any, NamedTuple

import numpy as np

from organism.errors import InputError
from organism.records import Moments
from organism.store.database import Cursor, DatabaseError
from organism.store.unit_sql import Way, sample_query, sum_query
from organism.store.unit_sums import Answer, Numbers, Roll, Sums, moments_of, roll_up, sums_of

SAMPLE = 2000
MAX_VARIANTS = 200
MAX_VALUES = 300
# Several segments are grouped together and added up afterwards while their values make no more cells than this.
MAX_CELLS = 2000
# Squares that sum to this many times the centered ones have lost six of their fifteen digits.
MAX_LOSS = 1e6
# Nearer 0 than this many standard deviations a mean costs sums of squares at most three of their fifteen digits.
WORTH_A_PIVOT = 30.0
# Squares of larger values overflow.
LARGEST = 1e150

Cell = tuple[str, str, str | None, str | None]
Group = tuple[str, str | None, str | None]
Counts = dict[tuple[str, str], int]


class Scan(NamedTuple):
    """What the units say, by (metric, variant, segment, value); segment and value are None for the whole variant.

    A cell holds moments of the metric's columns, in their order, over the units that have all of them, finite; a value
    of None beside a segment's name stands for the units without one. `n_units` counts all units. Units that lack a
    column, or hold NaN, are in `n_missing`, units with an infinite one in `n_infinite`; `n_negative` are those with a
    denominator below 0: all by (metric, variant), where there are any. `left_out` are segments of too many values,
    with at least how many. `sql` is what ran.
    """

    cells: dict[Cell, Moments]
    n_units: dict[Group, int]
    n_missing: Counts
    n_infinite: Counts
    n_negative: Counts
    n_without_variant: int
    left_out: dict[str, int]
    sql: str

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that have units, in the order of their names."""
        return tuple(sorted(variant for variant, segment, _ in self.n_units if segment is None))


class _Task(NamedTuple):
    """What the queries of one scan share. `sets` are the grouping sets, as places of segments."""

    cursor: Cursor
    relation: str
    parameters: Sequence[Any]
    variant: str
    segments: dict[str, str]
    sets: tuple[tuple[int, ...], ...]
    denominators: Collection[str]


def scan(
    cursor: Cursor,
    relation: str,
    *,
    variant: str,
    metrics: Mapping[str, Sequence[str]],
    segments: Mapping[str, str] | Sequence[str] = (),
    parameters: Sequence[Any] = (),
    denominators: Collection[str] = (),
) -> Scan:
    """Sum a relation of one row a unit (a SELECT, with `parameters` bound) by variant and by each segment.

    `variant`, the segments (a mapping gives them names) and each metric's columns are SQL expressions over it; of the
    metrics in `denominators` the second column divides. The relation is read twice or more, a sample of first units
    and then all: make it a table first when it is costly. Raises InputError where SQL or a value cannot be read, or
    where the variant has hundreds of values.
    """
    named = dict(segments) if isinstance(segments, Mapping) else {name: name for name in segments}
    columns = {metric: tuple(own) for metric, own in metrics.items()}
    try:
        return _scan(_Task(cursor, relation, parameters, variant, named, ((),), denominators), columns)
    except DatabaseError as error:
        raise InputError(f"the units cannot be read: {str(error).strip().splitlines()[0]}") from error


def _scan(task: _Task, metrics: dict[str, tuple[str, ...]]) -> Scan:
    task, pending, left_out = _prepared(task, metrics)
    answers: list[Answer] = []
    found: dict[str, tuple[Sums, int]] = {}
    while pending or not answers:
        answer = _ask(task, pending)
        sums = {way.metric: sums_of(way, answer) for way in pending}
        found |= {metric: (one, len(answers)) for metric, one in sums.items()}
        answers.append(answer)
        pending = [again for way in pending if (again := _again(way, answer, sums[way.metric].loss))]
    return _assembled(task, answers, found, left_out)


def _prepared(task: _Task, metrics: dict[str, tuple[str, ...]]) -> tuple[_Task, list[Way], dict[str, int]]:
    """Look at the first units: which pivots, which metrics have gaps, which segments are none, what to group by."""
    columns = list(dict.fromkeys(column for own in metrics.values() for column in own))
    query = sample_query(task.relation, task.variant, list(task.segments.values()), columns, SAMPLE)
    units = task.cursor.execute(query, task.parameters).fetchnumpy()
    n, n_variants = len(units["v"]), _n_different(units["v"])
    if n_variants > MAX_VARIANTS:
        raise InputError(
            f"{task.variant} has {n_variants} different values among the first {n} units; name the column that says "
            f"which variant a unit was given, with at most {MAX_VARIANTS} of them"
        )
    n_values = {name: _n_different(units[f"s{i}"]) for i, name in enumerate(task.segments)}
    seen = {column: _finite(units[f"x{i}"]) for i, column in enumerate(columns)}
    left_out = {name: count for name, count in n_values.items() if count > MAX_VALUES}
    kept = {name: expression for name, expression in task.segments.items() if name not in left_out}
    ways = [
        Way(metric, own, tuple(_pivot(seen[column]) for column in own), any(len(seen[c]) < n for c in own))
        for metric, own in metrics.items()
    ]
    return task._replace(segments=kept, sets=_sets([n_values[name] for name in kept], n_variants)), ways, left_out


def _n_different(labels: Any) -> int:
    """How many labels there are but NULL."""
    return len(set(np.ma.compressed(labels).tolist()))


def _finite(values: Any) -> Numbers:
    """The finite ones of a column as DuckDB hands it over: masked where it holds NULL."""
    plain: Numbers = np.ma.filled(values, np.nan)
    return plain[np.isfinite(plain)]


def _sets(n_values: Sequence[int], n_variants: int) -> tuple[tuple[int, ...], ...]:
    """Group by all segments at once, or, where that would be too many cells, by each of them."""
    together = tuple(range(len(n_values)))
    if len(n_values) < 2 or max(n_variants, 1) * prod(n + 1 for n in n_values) <= MAX_CELLS:
        return (together,)
    return tuple((i,) for i in together)


def _pivot(values: Numbers) -> float:
    """A number near the mean, in as few digits as bring it within a standard deviation; 0 where none is needed."""
    if not len(values) or np.abs(values).max() > LARGEST:
        return 0.0
    mean, deviation = float(values.mean()), float(values.std())
    if abs(mean) <= WORTH_A_PIVOT * deviation:
        return 0.0
    rounded = (float(f"{mean:.{digits}g}") for digits in range(2, 17))
    return next((number for number in rounded if abs(number - mean) <= deviation), mean)


def _ask(task: _Task, ways: Sequence[Way]) -> Answer:
    query = sum_query(task.relation, task.variant, list(task.segments.values()), task.sets, ways, task.denominators)
    rows = task.cursor.execute(query.sql, task.parameters).fetchall()
    width = len(task.segments)
    marks = {_mark(one, width): place for place, one in enumerate(task.sets)} if len(task.sets) > 1 else {0: 0}
    return Answer(
        query,
        [row[: width + 1] for row in rows],
        np.array([marks[row[width + 1]] for row in rows], dtype=np.intp),
        np.array([row[width + 2 :] for row in rows], dtype=float).reshape(len(rows), query.n_figures),
    )


def _mark(one: Sequence[int], width: int) -> int:
    """What SQL's grouping() says of a set: a bit for each segment that is not in it, the first one highest."""
    return sum(1 << (width - 1 - i) for i in range(width) if i not in one)


def _again(way: Way, answer: Answer, loss: float) -> Way | None:
    """How the metric must be summed once more; None where it was right."""
    has_gaps = any((answer.figures[:, place] != answer.n).any() for place in answer.query.places[way.metric].counts)
    if not way.guarded and (has_gaps or isnan(loss)):
        return way._replace(guarded=True)
    if not way.one_pass and loss > MAX_LOSS:
        return way._replace(one_pass=True, pivots=(0.0,) * len(way.columns))
    return None


def _assembled(
    task: _Task, answers: Sequence[Answer], found: Mapping[str, tuple[Sums, int]], left_out: dict[str, int]
) -> Scan:
    rolls = [_rolls(task, answer) for answer in answers]
    units = answers[0]
    left_out |= {roll.segment: n for roll in rolls[0] if roll.segment and (n := _n_values(roll)) > MAX_VALUES}
    shown = [[roll for roll in one if roll.segment not in left_out] for one in rolls]
    n_units = {
        (variant, roll.segment, value): int(n)
        for roll in shown[0]
        for (variant, value), n in zip(roll.labels, roll.sum(units.n), strict=True)
    }
    cells = {
        (metric, variant, roll.segment, value): moments
        for metric, (sums, place) in found.items()
        for roll in shown[place]
        for (variant, value), moments in zip(roll.labels, moments_of(roll, sums), strict=True)
    }
    counts: tuple[Counts, Counts, Counts] = ({}, {}, {})
    for metric, (sums, place) in found.items():
        _count(counts, metric, answers[place], sums, rolls[place][0])
    with_variant = sum(n for (_, segment, _), n in n_units.items() if segment is None)
    without = int(units.n[units.set_of == 0].sum()) - with_variant
    return Scan(cells, n_units, *counts, without, left_out, ";\n".join(answer.query.sql for answer in answers))


def _rolls(task: _Task, answer: Answer) -> list[Roll]:
    """The variants as a whole, then each segment's values within them."""
    places = [next(i for i, one in enumerate(task.sets) if place in one) for place in range(len(task.segments))]
    by_segment = [roll_up(answer, name, places[i], i) for i, name in enumerate(task.segments)]
    return [roll_up(answer, None, 0, None), *by_segment]


def _n_values(roll: Roll) -> int:
    return len({value for _, value in roll.labels})


def _count(counts: tuple[Counts, Counts, Counts], metric: str, answer: Answer, sums: Sums, roll: Roll) -> None:
    """Add the metric's units that lack a column, have an infinite one, or a denominator below 0."""
    places = answer.query.places[metric]
    n_units, n = roll.sum(answer.n), roll.sum(sums.n)
    present = n if places.present is None else roll.sum(answer.figures[:, places.present])
    negative = np.zeros_like(n) if places.negative is None else roll.sum(answer.figures[:, places.negative])
    for g, (variant, _) in enumerate(roll.labels):
        for number, into in zip((n_units[g] - present[g], present[g] - n[g], negative[g]), counts, strict=True):
            if number > 0:
                into[metric, variant] = int(number)
