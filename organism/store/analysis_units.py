"""From the rows of an analysis file to one row a unit: two tables in the file's own connection, and what was counted.

`file_rows`: u the unit, v the variant, x0… numbers as DOUBLE, b0… the text of what should be a number and is none,
s0… segments. `file_units`: one row a unit; y0… sums of numerators, d0… sums of denominators (or how many rows had a
value), c0… means of covariates, s0… segments. Rows without a unit or a variant are counted and left out.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from organism.errors import InputError
from organism.store.analysis_files import (
    AnalysisFile,
    count_rejected,
    id_form,
    id_of,
    label_of,
    not_a_number,
    number_of,
    reading,
    said,
)

MAX_VARIANTS = 100
MAX_VALUES = 30
EXAMPLES = 5
LARGEST = 1e150
SEVERAL, OTHER, NO_VALUE = "(several)", "(other)", "(missing)"


class Wanted(NamedTuple):
    """The columns to read, by their numbers in the file. Without a unit every row is one."""

    unit: int | None
    variant: int
    numbers: tuple[int, ...]
    segments: tuple[int, ...]


class NumberCount(NamedTuple):
    """What a column of numbers holds besides them: cells that are missing, infinite, no number (with one of them).

    A number beyond `LARGEST` counts as infinite, since it cannot be squared; `n_rounded` are beyond 2^53.
    """

    n_values: int
    n_missing: int
    n_infinite: int
    n_rounded: int
    n_other: int
    example: str | None


class RowCounts(NamedTuple):
    """What was found in the rows. `n_duplicates` are exact copies of another row (by a 64-bit hash of all columns).

    `id_forms` counts written ids that are whole numbers, decimal numbers, words. `numbers` follows `Wanted.numbers`.
    """

    n_rows: int
    n_rejected: int
    n_without_unit: int
    n_without_variant: int
    n_duplicates: int
    id_forms: tuple[int, int, int]
    numbers: tuple[NumberCount, ...]


class Value(NamedTuple):
    """One metric's numerator and denominator as places in `Wanted.numbers`, and the numerator's cap.

    Without a denominator the rows that have a value are counted instead.
    """

    num: int
    den: int | None = None
    cap: float | None = None


class CovariateCount(NamedTuple):
    """Units without the covariate (its mean over all is put in), units in which it changes, and whether it has any."""

    n_missing: int
    n_changing: int
    has_values: bool


class UnitCounts(NamedTuple):
    """What was found in the units. `n_in_both` were seen in two variants or more; `examples` are some of them.

    `variants` counts the others by variant; `max_rows` is the most rows that a unit has; `n_negative` are rows whose
    denominator is below 0, by metric; `n_several` are units with several values of a segment.
    """

    n_units: int
    n_in_both: int
    examples: tuple[str, ...]
    variants: dict[str, int]
    max_rows: int
    n_negative: tuple[int, ...]
    covariates: tuple[CovariateCount, ...]
    n_several: tuple[int, ...]


def load_rows(file: AnalysisFile, wanted: Wanted) -> RowCounts:
    """Read the file once into `file_rows`; raises InputError when it cannot be read or has no rows."""
    cells = [f"{label_of(file.columns[wanted.variant], f'c{wanted.variant}')} AS v", "hash(t) AS h"]
    if wanted.unit is None:
        cells += ["row_number() OVER () AS u", "NULL::TINYINT AS f"]
    else:
        unit, cell = file.columns[wanted.unit], f"c{wanted.unit}"
        cells += [f"{id_of(unit, cell)} AS u", f"{id_form(unit, cell)} AS f"]
    for number, place in enumerate(wanted.numbers):
        column, cell = file.columns[place], f"c{place}"
        x = number_of(column, cell)
        cells.append(f"CASE WHEN abs({x}) > {LARGEST} THEN 'Infinity'::DOUBLE ELSE {x} END AS x{number}")
        cells.append(f"{not_a_number(column, cell)} AS b{number}")
    for number, place in enumerate(wanted.segments):
        cells.append(f"coalesce({label_of(file.columns[place], f'c{place}')}, '{NO_VALUE}') AS s{number}")
    file.read(f"CREATE TEMP TABLE file_rows AS SELECT {', '.join(cells)}")
    with reading(file):
        counts = _count_rows(file, wanted)
    if not counts.n_rows:
        raise InputError(f"{file.name} has no rows{_rejected_too(counts.n_rejected)}; give a file with rows")
    return counts


def _rejected_too(n_rejected: int) -> str:
    return f" that fit its header ({n_rejected:,} do not)" if n_rejected else " under its header"


def _count_rows(file: AnalysisFile, wanted: Wanted) -> RowCounts:
    asked = ["count(*)", "count(*) - count(u)", "count(*) - count(v)", "count(*) - count(DISTINCT h)"]
    asked += [f"count(*) FILTER (f = {form})" for form in range(3)]
    for n in range(len(wanted.numbers)):
        counted = (f"isfinite(x{n})", f"isinf(x{n})", f"isfinite(x{n}) AND abs(x{n}) > 9007199254740992")
        asked += [*(f"count(*) FILTER ({one})" for one in counted), f"count(b{n})", f"min(b{n})"]
    found = file.cursor.execute(f"SELECT {', '.join(asked)} FROM file_rows").fetchall()[0]
    numbers = []
    for at in range(7, len(found), 5):
        n_values, n_infinite, n_rounded, n_other, example = found[at : at + 5]
        n_missing = found[0] - n_values - n_infinite - n_other
        numbers.append(NumberCount(n_values, n_missing, n_infinite, n_rounded, n_other, example))
    return RowCounts(
        n_rows=found[0],
        n_rejected=count_rejected(file),
        n_without_unit=found[1],
        n_without_variant=found[2],
        n_duplicates=found[3],
        id_forms=(found[4], found[5], found[6]),
        numbers=tuple(numbers),
    )


def cap_at(file: AnalysisFile, value: Value, probability: float) -> float | None:
    """The quantile at which a numerator is capped: over all rows of all variants that the metric reads."""
    sql = f"SELECT quantile_cont(x{value.num}, {float(probability)}) FROM file_rows WHERE {_usable(value)}"
    with reading(file):
        found = file.cursor.execute(f"{sql} AND u IS NOT NULL AND v IS NOT NULL").fetchall()[0][0]
    return None if found is None else float(found)


def count_not_binary(file: AnalysisFile, place: int) -> tuple[int, float | None]:
    """How many rows hold a number other than 0 and 1, and one of those numbers."""
    sql = f"SELECT count(*), min(x{place}) FROM file_rows WHERE isfinite(x{place}) AND x{place} NOT IN (0, 1)"
    with reading(file):
        found = file.cursor.execute(sql).fetchall()[0]
    return int(found[0]), found[1]


def load_units(
    file: AnalysisFile, values: Sequence[Value], covariates: Sequence[int], n_segments: int, *, by_unit: bool
) -> UnitCounts:
    """Make `file_units` from `file_rows`; `covariates` are places in `Wanted.numbers`.

    Units in two variants are left out of it, in `file_units` remain those with one. Raises InputError when the variant
    column has hundreds of values.
    """
    with reading(file):
        _check_variants(file)
        file.cursor.execute(_units_sql(values, covariates, n_segments, by_unit=by_unit))
        counts = _count_units(file, values, covariates, n_segments)
        for n, count in enumerate(counts.covariates):
            if count.n_missing and count.has_values:
                mean = f"(SELECT avg(c{n}) FROM file_units)"
                file.cursor.execute(f"UPDATE file_units SET c{n} = {mean} WHERE c{n} IS NULL")
        for n in range(n_segments):
            _pool_rare_values(file, n)
    return counts


def quantile_rows(value: int, *, is_filtered: bool) -> str:
    """The relation of rows (v, u, x) that one quantile is read from; `is_filtered` where units were left out."""
    own = f"SELECT v, u, x{value} AS x FROM file_rows WHERE isfinite(x{value}) AND v IS NOT NULL"
    return f"{own} AND u IN (SELECT u FROM file_units)" if is_filtered else own


def _usable(value: Value) -> str:
    """SQL: the row has all that the metric needs."""
    return f"isfinite(x{value.num})" + (f" AND isfinite(x{value.den})" if value.den is not None else "")


def _check_variants(file: AnalysisFile) -> None:
    found = file.cursor.execute(f"SELECT DISTINCT v FROM file_rows WHERE v IS NOT NULL LIMIT {MAX_VARIANTS + 1}")
    labels = sorted(row[0] for row in found.fetchall())
    if len(labels) > MAX_VARIANTS:
        raise InputError(
            f"the variant column of {file.name} has more than {MAX_VARIANTS} different values ({said(labels[:3])}, …); "
            "name the column that says which variant a row belongs to"
        )


def _units_sql(values: Sequence[Value], covariates: Sequence[int], n_segments: int, *, by_unit: bool) -> str:
    """One row a unit. Sums of no row are NULL, not 0, so that a unit without the metric is not counted for it."""
    total, lowest, highest, mean = ("sum", "min", "max", "avg") if by_unit else ("", "", "", "")
    cells = [f"u, {lowest}(v) AS v, {'count(*)' if by_unit else '1'} AS n_rows"]
    cells.append(f"{f'{lowest}(v) <> {highest}(v)' if by_unit else 'false'} AS crossed")
    for n, value in enumerate(values):
        y = f"x{value.num}" if value.cap is None else f"least(x{value.num}, {value.cap!r})"
        d = "1" if value.den is None else f"x{value.den}"
        cells += [
            f"{total}(CASE WHEN {_usable(value)} THEN {part} END)::DOUBLE AS {name}{n}"
            for part, name in ((y, "y"), (d, "d"))
        ]
        below = f"{_usable(value)} AND x{value.den} < 0" if value.den is not None else "false"
        cells.append(f"{total}(CAST(({below}) AS INTEGER)) AS below{n}")
    for n, place in enumerate(covariates):
        x = f"CASE WHEN isfinite(x{place}) THEN x{place} END"
        changes = f"{lowest}({x}) <> {highest}({x})" if by_unit else "false"
        cells.append(f"{mean}({x}) AS c{n}, coalesce({changes}, false) AS changes{n}")
    for n in range(n_segments):
        several = f"WHEN {lowest}(s{n}) <> {highest}(s{n}) THEN '{SEVERAL}' " if by_unit else ""
        cells.append(f"CASE {several}WHEN true THEN {lowest}(s{n}) END AS s{n}")
    where = "u IS NOT NULL AND v IS NOT NULL"
    grouped = " GROUP BY u" if by_unit else ""
    return f"CREATE TEMP TABLE file_units AS SELECT {', '.join(cells)} FROM file_rows WHERE {where}{grouped}"


def _drop_crossers(file: AnalysisFile) -> tuple[int, int, tuple[str, ...]]:
    """Take the units in several variants out; returns how many units there were, how many went, and some of those."""
    n_units, n_in_both = file.cursor.execute("SELECT count(*), count(*) FILTER (crossed) FROM file_units").fetchall()[0]
    some = file.cursor.execute(
        f"SELECT CAST(u AS VARCHAR) FROM file_units WHERE crossed ORDER BY u LIMIT {EXAMPLES}"
    ).fetchall()
    if n_in_both:
        file.cursor.execute("DELETE FROM file_units WHERE crossed")
    return n_units, n_in_both, tuple(row[0] for row in some)


def _count_units(file: AnalysisFile, values: Sequence[Value], covariates: Sequence[int], n_segments: int) -> UnitCounts:
    n_units, n_in_both, examples = _drop_crossers(file)
    asked = ["coalesce(max(n_rows), 0)"]
    asked += [f"coalesce(sum(below{n}), 0)::BIGINT" for n in range(len(values))]
    for n in range(len(covariates)):
        asked += [f"count(*) - count(c{n})", f"count(*) FILTER (changes{n})", f"count(c{n}) > 0"]
    asked += [f"count(*) FILTER (s{n} = '{SEVERAL}')" for n in range(n_segments)]
    found = list(file.cursor.execute(f"SELECT {', '.join(asked)} FROM file_units").fetchall()[0])
    first = 1 + len(values)
    last = first + 3 * len(covariates)
    rows = file.cursor.execute("SELECT v, count(*) FROM file_units GROUP BY v ORDER BY v").fetchall()
    return UnitCounts(
        n_units=n_units,
        n_in_both=n_in_both,
        examples=examples,
        variants=dict(rows),
        max_rows=found[0],
        n_negative=tuple(found[1:first]),
        covariates=tuple(CovariateCount(*found[at : at + 3]) for at in range(first, last, 3)),
        n_several=tuple(found[last:]),
    )


def _pool_rare_values(file: AnalysisFile, n: int) -> None:
    """Keep the most frequent values of a segment and call the rest one."""
    most = f"SELECT s{n} FROM file_units GROUP BY s{n} ORDER BY count(*) DESC, s{n} LIMIT {MAX_VALUES}"
    file.cursor.execute(f"UPDATE file_units SET s{n} = '{OTHER}' WHERE s{n} NOT IN ({most})")


def units_relation(covariates: Sequence[str]) -> str:
    """The relation of one row a unit, its covariates c0… also under their own names, for the sentences that name them.

    A name that is one of ours already is said to be a covariate's.
    """
    own = ", ".join(f"c{n} AS {covariate_name(name)}" for n, name in enumerate(covariates))
    return f"SELECT *{', ' + own if own else ''} FROM file_units"


def covariate_name(name: str) -> str:
    """SQL: the quoted name of a covariate in `units_relation`."""
    is_ours = re.fullmatch(r"[uv]|n_rows|crossed|([ydcs]|below|changes)\d+", name.casefold())
    text = f"covariate {name}" if is_ours else name.replace("\x00", "")
    return '"' + text.replace('"', '""') + '"'
