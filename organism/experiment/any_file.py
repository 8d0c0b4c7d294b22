"""Any file as an experiment: rows of users or requests in, a verdict-like sentence, figures and warnings out.

The store reads the file, makes one row a unit, and sums once; the statistics are those of every other scorecard.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from organism.errors import DesignError, InputError
from organism.experiment.contrasts import Contrast, arms_of, contrast
from organism.experiment.file_guess import guess_question, number_columns
from organism.experiment.file_question import CORRECTIONS, Asked, FileQuestion, Plan, resolve
from organism.experiment.file_words import (
    FileReadout,
    Loaded,
    Margin,
    blocked_because,
    deciding_p,
    finding_of,
    headline,
    warnings_of,
)
from organism.experiment.metrics import Metric, MetricKind, columns_of, denominators_of
from organism.experiment.readout import MetricResult, read_out
from organism.records import QuantileParts
from organism.stats.compare import chance_below, critical_value
from organism.stats.multiplicity import adjusted
from organism.stats.quantile import quantile_reach
from organism.stats.sequential import Alternative, one_sided_sequence
from organism.store.analysis_files import AnalysisFile, open_analysis_file, said
from organism.store.analysis_units import (
    RowCounts,
    UnitCounts,
    Value,
    Wanted,
    cap_at,
    count_not_binary,
    covariate_name,
    load_rows,
    load_units,
    quantile_rows,
    units_relation,
)
from organism.store.quantile_scan import scan_quantiles
from organism.store.unit_scan import Scan, scan

OnProgress = Callable[[float, str], None]
FEW_VALUES = 100
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


class FileLook(NamedTuple):
    """What a file's first rows show: its columns, those that may be numbers, the values of those that have few."""

    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    labels: dict[str, tuple[str, ...]]
    sample: pd.DataFrame
    guess: FileQuestion


def look_at_file(path: Path, *, name: str | None = None) -> FileLook:
    """Look at the first rows of a file, and guess what its columns are for; InputError as in `analyze_file`."""
    with open_analysis_file(path, name) as file:
        sample = file.sample()
        numbers = number_columns(sample)
        numbers = [column.name for column in file.columns if column.is_number or column.name in numbers]
    if sample.empty:
        raise InputError(f"{name or path.name} has no rows under its header; give a file with rows")
    labels = {column: tuple(sorted(sample[column].dropna().unique())) for column in sample.columns}
    few = {column: values for column, values in labels.items() if 1 <= len(values) <= FEW_VALUES}
    return FileLook(tuple(sample.columns), tuple(numbers), few, sample, guess_question(sample))


def analyze_file(
    path: Path, question: FileQuestion, *, name: str | None = None, on_progress: OnProgress | None = None
) -> FileReadout:
    """Compare the variants in a CSV, Parquet or JSON lines file.

    Rows are summed by `question.unit`, so that requests of one user count as one unit; without it every row is a unit.
    Raises InputError or DesignError with one sentence where the file or the question cannot be read; where only a part
    cannot be said, that part is None and has its note.
    """
    say = on_progress or (lambda share, text: None)
    say(0.05, "Opening the file")
    with open_analysis_file(path, name) as file:
        plan = resolve(question, file)
        say(0.1, "Reading the rows")
        loaded = _load(file, question, plan, say)
        say(0.8, "Comparing the variants")
        return _read(file, loaded)


def _load(file: AnalysisFile, question: FileQuestion, plan: Plan, say: OnProgress) -> Loaded:
    place = {column: number for number, column in enumerate(plan.numbers)}
    rows = load_rows(file, Wanted(plan.unit, plan.variant, plan.numbers, tuple(plan.segments.values())))
    _check_numbers(file, plan, rows, place)
    say(0.6, "Making one row a unit")
    values = tuple(_value(file, asked, place, question.winsorize) for asked in plan.metrics)
    covariates = plan.covariate_columns
    units = load_units(
        file, values, [place[column] for column in covariates], len(plan.segments), by_unit=plan.unit is not None
    )
    _check_variants(question, plan, units)
    usable = {
        column: covariate_name(file.columns[column].name)
        for n, column in enumerate(covariates)
        if units.covariates[n].has_values
    }
    metrics = tuple(_metric(n, asked, plan, usable, units.max_rows) for n, asked in enumerate(plan.metrics))
    return Loaded(question, plan, rows, units, values, metrics)


def _check_numbers(file: AnalysisFile, plan: Plan, rows: RowCounts, place: Mapping[int, int]) -> None:
    """Raise InputError for a column without any number in it, and for a proportion that is none."""
    for column, count in zip(plan.numbers, rows.numbers, strict=True):
        name = file.columns[column].name
        if not count.n_values and count.n_other:
            mend = "export it with decimal points" if _DECIMAL_COMMA.fullmatch(str(count.example)) else "name another"
            raise InputError(f"the column {name!r} holds no number, but for example {count.example!r}; {mend}")
    for asked in plan.metrics:
        if asked.kind is MetricKind.PROPORTION:
            n_others, one = count_not_binary(file, place[asked.num])
            if n_others:
                raise InputError(
                    f"the proportion {asked.name!r} holds {n_others:,} values that are neither 0 nor 1, such as "
                    f"{one:g}; ask for it as a metric"
                )


def _value(file: AnalysisFile, asked: Asked, place: Mapping[int, int], winsorize: float | None) -> Value:
    value = Value(place[asked.num], None if asked.den is None else place[asked.den])
    is_capped = winsorize is not None and asked.kind in (MetricKind.MEAN, MetricKind.RATIO)
    return value._replace(cap=cap_at(file, value, winsorize)) if is_capped and winsorize else value


def _check_variants(question: FileQuestion, plan: Plan, units: UnitCounts) -> None:
    found = list(units.variants)
    named = repr(question.variant)
    if not found and units.n_in_both:
        raise InputError(f"every unit is seen in two variants or more of the column {named}; name another unit")
    if not found:
        raise InputError(f"no row has both a unit and a value in the variant column {named}; name another column")
    if question.control is None:
        raise DesignError(f"no control is named; the column {named} holds the variants {said(found)}")
    if question.control not in found:
        raise DesignError(f"there is no variant {question.control!r}; the column {named} holds {said(found)}")
    if plan.shares and (without := [name for name in found if name not in plan.shares]):
        raise DesignError(f"the shares leave {said(without)} out; give a share to each variant: {said(found)}")
    if len(set(found) | set(plan.shares)) < 2:
        raise InputError(f"the column {named} holds one variant only, {found[0]!r}; a comparison needs two")


def _metric(n: int, asked: Asked, plan: Plan, usable: Mapping[int, str], max_rows: int) -> Metric:
    """With several rows a unit a mean becomes a ratio of sums by unit: of values, and of rows that have one."""
    kind = asked.kind
    if kind in (MetricKind.MEAN, MetricKind.PROPORTION) and max_rows > 1:
        kind = MetricKind.RATIO
    columns = {MetricKind.RATIO: (f"y{n}", f"d{n}"), MetricKind.QUANTILE: ()}.get(kind, (f"y{n}",))
    own = plan.covariates.get(asked.name, ()) if kind is not MetricKind.QUANTILE else ()
    return Metric(
        name=asked.name,
        label=asked.name,
        kind=kind,
        better=-1 if asked.name in plan.lower_is_better else 1,
        columns=columns,
        covariates=tuple(usable[column] for column in own if column in usable),
        probability=asked.probability,
        is_primary=asked.name not in plan.margins,
    )


def _read(file: AnalysisFile, loaded: Loaded) -> FileReadout:
    question, plan = loaded.question, loaded.plan
    control = question.control or ""  # was checked with the variants
    found = scan(
        file.cursor,
        units_relation([file.columns[column].name for column in plan.covariate_columns]),
        variant="v",
        metrics=columns_of(loaded.metrics),
        segments={name: f"s{n}" for n, name in enumerate(plan.segments)},
        denominators=denominators_of(loaded.metrics),
    )
    readout = read_out(
        found,
        loaded.metrics,
        _quantiles(file, loaded),
        control=control,
        shares=plan.shares or None,
        alpha=question.alpha,
        sequential=question.sequential,
        tuning=question.tuning,
    )
    readout = readout._replace(metrics=corrected(readout.metrics, loaded))
    margins = _margins(found, loaded, control)
    blocked = blocked_because(loaded, readout)
    return FileReadout(
        name=file.name,
        sentence=headline(loaded, readout, margins, blocked),
        finding=finding_of(loaded, readout, blocked),
        blocked=blocked,
        readout=readout,
        margins=margins,
        loaded=loaded,
        warnings=tuple(dict.fromkeys([*blocked, *readout.warnings, *warnings_of(file, loaded, readout)])),
        sql=found.sql,
    )


def corrected(results: Sequence[MetricResult], loaded: Loaded) -> tuple[MetricResult, ...]:
    """The p-values of all primary metrics and variants adjusted as the question asks; Holm is there already."""
    asked = loaded.question.correction
    if asked == "holm":
        return tuple(results)
    primary = {metric.name for metric in loaded.metrics if metric.is_primary}
    deciding = [deciding_p(result) if result.metric in primary else None for result in results]
    method = CORRECTIONS[asked]
    after = adjusted(deciding, method) if method else [None] * len(deciding)
    n_tests = sum(p is not None for p in deciding)
    words = f"{method.value.replace('_', '-')} over {n_tests} tests" if method else "none: none was asked for"
    return tuple(
        result._replace(p_adjusted=p, adjustment=words) if result.metric in primary else result
        for result, p in zip(results, after, strict=True)
    )


def _quantiles(file: AnalysisFile, loaded: Loaded) -> dict[tuple[str, str], QuantileParts]:
    found: dict[tuple[str, str], QuantileParts] = {}
    for asked, value in zip(loaded.plan.metrics, loaded.values, strict=True):
        if (probability := asked.probability) is not None:
            parts = scan_quantiles(
                file.cursor,
                quantile_rows(value.num, is_filtered=loaded.units.n_in_both > 0),
                variant="v",
                unit="u",
                value="x",
                probability=probability,
                reach=partial(quantile_reach, probability=probability),
            )
            found |= {(asked.name, variant): part for variant, part in parts.items()}
    return found


def _margins(found: Scan, loaded: Loaded, control: str) -> dict[tuple[str, str], Margin]:
    """Each guardrail of each variant: is it surely not worse by the margin? On the adjusted values where there are."""
    margins: dict[tuple[str, str], Margin] = {}
    for metric in loaded.metrics:
        if metric.name not in loaded.plan.margins:
            continue
        margin = loaded.plan.margins[metric.name]
        arms = arms_of(metric, {v: found.cells[metric.name, v, None, None] for v in found.variants})
        for variant in found.variants:
            if variant != control:
                one = contrast(arms, control, variant, loaded.question.alpha)
                margins[metric.name, variant] = _margin(one, metric.better, margin, loaded.question)
    return margins


def _margin(one: Contrast, better: int, margin: float, question: FileQuestion) -> Margin:
    effect = one.comparison.effect
    if effect is None or one.error is None:
        return Margin(margin, None, None, None)
    if question.sequential:
        n = one.comparison.n_control + one.comparison.n_treatment
        claimed = Alternative.GREATER if better > 0 else Alternative.LESS
        bound, p_value = one_sided_sequence(
            *(effect, one.error, n),
            margin=-better * margin,
            alternative=claimed,
            alpha=question.alpha,
            tuning=question.tuning,
            degrees=one.degrees,
        )
    else:
        bound = effect - better * critical_value(1 - question.alpha, one.degrees) * one.error
        p_value = chance_below(-(better * effect + margin) / one.error, one.degrees)
    return Margin(margin, bound, p_value, None if p_value is None else p_value <= question.alpha)
