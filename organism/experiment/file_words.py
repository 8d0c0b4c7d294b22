"""What is said about a file: the verdict-like sentence, what blocks it, and what to know before believing it. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from organism.experiment.file_question import CORRECTION_NAMES, FileQuestion, Plan
from organism.experiment.metrics import Metric, MetricKind
from organism.experiment.readout_words import FEW_UNITS, SMALL_RATIO
from organism.experiment.results import MAX_IN_BOTH, MetricResult, Readout
from organism.store.analysis_files import AnalysisFile, said
from organism.store.analysis_units import LARGEST, SEVERAL, RowCounts, UnitCounts, Value


class Finding(StrEnum):
    """What the first metric says of the best variant that anything can be said of; blocked when nothing may be."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"


class Margin(NamedTuple):
    """Whether a guardrail holds: the worst effect that the data do not exclude, and p for "worse by the margin"."""

    margin: float
    bound: float | None
    p_value: float | None
    holds: bool | None


Margins = Mapping[tuple[str, str], Margin]


class Loaded(NamedTuple):
    """A question, what its columns are, and what was found in the rows and units of the file."""

    question: FileQuestion
    plan: Plan
    rows: RowCounts
    units: UnitCounts
    values: tuple[Value, ...]
    metrics: tuple[Metric, ...]


class FileReadout(NamedTuple):
    """All that is said about a file. `sentence` comes first; `blocked` says why nothing of it may be believed."""

    name: str
    sentence: str
    finding: Finding
    blocked: tuple[str, ...]
    readout: Readout
    margins: Margins
    loaded: Loaded
    warnings: tuple[str, ...]
    sql: str


def deciding_p(result: MetricResult) -> float | None:
    """The p that holds at every look where one was asked for, else that of the one look."""
    return result.sequence_p if result.sequence_ci is not None else result.p_value


def direction(result: MetricResult, better: int) -> int | None:
    """+1 surely better, −1 surely worse, 0 not to be told from chance; None where the data cannot say."""
    p = result.p_adjusted if result.p_adjusted is not None else deciding_p(result)
    if p is None or result.effect is None:
        return None
    return 0 if p > result.alpha else 1 if result.effect * better > 0 else -1


def figure(value: float | None, *, signed: bool = False) -> str:
    """Four digits of a number; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:+.4g}" if signed else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return text.replace("-", "−")


def percent(value: float | None) -> str:
    """A signed share in percent."""
    return "–" if value is None else f"{value:+.1%}".replace("-", "−")


def probability(p: float | None) -> str:
    """A p-value as it is printed in a report."""
    return "–" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def interval_words(pair: tuple[float, float] | None, *, signed: bool = True) -> str:
    """`low to high`; a dash where the data cannot say."""
    return "–" if pair is None else f"{figure(pair[0], signed=signed)} to {figure(pair[1], signed=signed)}"


def blocked_because(loaded: Loaded, readout: Readout) -> tuple[str, ...]:
    """Why no effect of this file may be believed; empty when nothing is wrong with the split."""
    reasons = list(readout.warnings[:1]) if readout.srm.blocked else []
    units = loaded.units
    if units.n_in_both > MAX_IN_BOTH * units.n_units:
        reasons.append(
            f"{units.n_in_both:,} of {units.n_units:,} units ({units.n_in_both / units.n_units:.2%}) are seen in two "
            f"variants or more, such as {said(units.examples)}; they are left out, but above {MAX_IN_BOTH:.1%} "
            "the rest is a selection. Mend the assignment or its logging first."
        )
    return tuple(reasons)


def finding_of(loaded: Loaded, readout: Readout, blocked: tuple[str, ...]) -> Finding:
    """The headline in one word."""
    metric = loaded.metrics[0]
    told = [direction(result, metric.better) for result in readout.metrics if result.metric == metric.name]
    known = [one for one in told if one is not None]
    if blocked:
        return Finding.BLOCKED
    if not known:
        return Finding.UNKNOWN
    if 1 in known:
        return Finding.BETTER
    return Finding.WORSE if -1 in known else Finding.UNCLEAR


def headline(loaded: Loaded, readout: Readout, margins: Margins, blocked: tuple[str, ...]) -> str:
    """The finding in one or two sentences: the first metric, then the others in a count, then the guardrails."""
    if blocked:
        return f"Blocked: {blocked[0]}"
    first = loaded.metrics[0]
    results = [result for result in readout.metrics if result.metric == first.name]
    parts = [_first_sentence(results, first, loaded)]
    others = [metric for metric in loaded.metrics[1:] if metric.is_primary]
    if others:
        parts.append(_others_sentence(readout, others))
    parts += _guardrail_sentences(margins)
    return " ".join(parts)


def _first_sentence(results: list[MetricResult], metric: Metric, loaded: Loaded) -> str:
    told = {result.variant: direction(result, metric.better) for result in results}
    known = [result for result in results if told[result.variant] is not None]
    if not known:
        return f"{metric.name} cannot be compared: {results[0].note or 'the data cannot say'}."
    sure = [result for result in known if told[result.variant]]
    shown = max(sure or known, key=lambda result: (told[result.variant] or 0, (result.effect or 0.0) * metric.better))
    words = {1: "is better than", -1: "is worse than"}.get(told[shown.variant] or 0)
    if words:
        sentence = f"{shown.variant} {words} {shown.control} on {metric.name}: {_effect(shown, loaded)}."
    elif _is_only_unadjusted(shown):
        sentence = (
            f"{shown.variant} and {shown.control} cannot be told apart on {metric.name} once all tests are counted "
            f"({shown.adjustment}): {_effect(shown, loaded)}; the interval is of this test alone, so that it excludes "
            "0 is no finding."
        )
    else:
        sentence = (
            f"{shown.variant} and {shown.control} cannot be told apart on {metric.name}: {_effect(shown, loaded)}; "
            "an effect anywhere in that interval is still possible."
        )
    if len(results) > 1:
        n_better, n_worse = (sum(one == sign for one in told.values()) for sign in (1, -1))
        sentence += f" Of {len(results)} variants, better than {shown.control}: {n_better}, worse: {n_worse}."
    return sentence


def _is_only_unadjusted(result: MetricResult) -> bool:
    """Whether the test alone would find an effect, and not after the correction for all tests."""
    p = deciding_p(result)
    return p is not None and p <= result.alpha and (result.p_adjusted or 0.0) > result.alpha


def _effect(result: MetricResult, loaded: Loaded) -> str:
    always = result.sequence_ci is not None
    pair = result.sequence_ci if always else result.ci
    level = f"{100 * (1 - result.alpha):.3g}%"
    kind = f"{level} at every look" if always else f"{level} interval"
    relative = f", {percent(result.relative)}" if result.relative is not None else ""
    p = probability(deciding_p(result))
    p_words = f"p {p}" if p.startswith("<") else f"p = {p}"
    if result.p_adjusted is not None and result.p_adjusted != deciding_p(result):
        p_words += f", after {CORRECTION_NAMES[loaded.question.correction]} {probability(result.p_adjusted)}"
    return f"{figure(result.effect, signed=True)} ({kind} {interval_words(pair)}{relative}, {p_words})"


def _others_sentence(readout: Readout, others: list[Metric]) -> str:
    better = {metric.name: metric.better for metric in others}
    told = [
        (result.metric, direction(result, better[result.metric]))
        for result in readout.metrics
        if result.metric in better
    ]
    words = []
    for sign, what in ((1, "better"), (-1, "worse"), (0, "not to be told from chance"), (None, "unknown")):
        names = list(dict.fromkeys(name for name, one in told if one == sign))
        if names:
            words.append(f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} {what}")
    return f"Besides: {'; '.join(words)}."


def _guardrail_sentences(margins: Margins) -> Iterator[str]:
    for (metric, variant), margin in margins.items():
        if margin.holds is None:
            yield f"Whether {variant} stays within the margin of {metric} cannot be said."
        elif margin.holds:
            yield f"On {metric} {variant} is surely not worse by {figure(margin.margin)} or more."
        else:
            yield f"On {metric} {variant} may be worse by {figure(margin.margin)} or more: the guardrail is open."


def warnings_of(file: AnalysisFile, loaded: Loaded, readout: Readout) -> list[str]:
    """What the file's rows and units have beside their figures, the gravest first, each with its count.

    What the `readout` warns of is not said again.
    """
    return [
        *_row_warnings(loaded),
        *_number_warnings(file, loaded),
        *_few_units(loaded, readout),
        *_unit_warnings(loaded),
        *_method_notes(file, loaded),
    ]


def _row_warnings(loaded: Loaded) -> Iterator[str]:
    rows, question = loaded.rows, loaded.question
    if rows.n_rejected:
        n = rows.n_rejected
        yield f"{_count(n)} of the file could not be split into the columns of the header and {_out(n)}."
    if rows.n_without_unit:
        n = rows.n_without_unit
        yield f"{_rows(n)} no value in the unit column {question.unit!r} and {_out(n)}."
    if rows.n_without_variant:
        n = rows.n_without_variant
        yield f"{_rows(n)} no value in the variant column {question.variant!r} and {_out(n)}."
    if rows.n_duplicates:
        yield (
            f"{_count(rows.n_duplicates)} exactly {'copies' if rows.n_duplicates == 1 else 'copy'} another one and "
            f"{'is' if rows.n_duplicates == 1 else 'are'} kept: what was exported twice should be taken out, but "
            "without an id in the file nobody can tell it from a real repeat."
        )
    whole, decimal, words = rows.id_forms
    if words and (whole or decimal):
        yield (
            f"Unit ids are of mixed type: {whole + decimal:,} rows with a number, {words:,} with words. They are "
            'compared as text, so that 7 and "7" are one unit, and 7 and 7.0 are two.'
        )
    elif whole and decimal:
        yield f"Unit ids are of mixed type: {whole:,} whole and {decimal:,} decimal numbers; 7 and 7.0 are two units."


def _number_warnings(file: AnalysisFile, loaded: Loaded) -> Iterator[str]:
    for place, count in zip(loaded.plan.numbers, loaded.rows.numbers, strict=True):
        name = file.columns[place].name
        if count.n_other:
            n = count.n_other
            yield f"{_rows(n)} no number in {name!r}, but {count.example!r} or the like, and {_out(n)}."
        if count.n_infinite:
            n = count.n_infinite
            yield f"{_rows(n)} an infinite value in {name!r}, or one beyond {LARGEST:.0e}, and {_out(n)}."
        if count.n_rounded and file.columns[place].is_exact:
            yield f"{_rows(count.n_rounded)} a number beyond 2^53 in {name!r}; only its first 15 digits count."
        if count.n_missing and loaded.units.max_rows > 1:
            yield f"{_rows(count.n_missing)} no value in {name!r} and {_out(count.n_missing)}."


def _few_units(loaded: Loaded, readout: Readout) -> Iterator[str]:
    """One threshold and one sentence: none where the read-out has said it of a ratio of sums."""
    fewest = min(loaded.units.variants.values(), default=0)
    if fewest < FEW_UNITS and not any(SMALL_RATIO in warning for warning in readout.warnings):
        yield f"A variant has {fewest} unit{'s' if fewest != 1 else ''}; below {FEW_UNITS} an interval is rough."


def _unit_warnings(loaded: Loaded) -> Iterator[str]:
    units, plan, question = loaded.units, loaded.plan, loaded.question
    if 0 < units.n_in_both <= MAX_IN_BOTH * units.n_units:
        yield (
            f"{units.n_in_both:,} of {units.n_units:,} units are seen in two variants or more, such as "
            f"{said(units.examples)}; they are left out."
        )
    for asked, n in zip(plan.metrics, units.n_negative, strict=True):
        if n and units.max_rows > 1:
            yield f"{_rows(n)} a denominator of {asked.name} below 0; find out where it comes from."
    for name, n in zip(plan.segments, units.n_several, strict=True):
        if n:
            who = "1 unit has" if n == 1 else f"{n:,} units have"
            yield f"{who} several values of {name!r} and {'is' if n == 1 else 'are'} counted in a segment {SEVERAL}."
    if question.unit is None:
        yield (
            "Each row counts as a unit of its own. If users have several rows, name their column as the unit, or the "
            "interval is too narrow and p too small."
        )


def _method_notes(file: AnalysisFile, loaded: Loaded) -> Iterator[str]:
    question, plan, units = loaded.question, loaded.plan, loaded.units
    if units.max_rows > 1 and any(one.kind in (MetricKind.MEAN, MetricKind.PROPORTION) for one in plan.metrics):
        yield (
            f"Units have up to {units.max_rows:,} rows, so a mean is the sum of values over the number of rows, "
            "clustered by unit: a ratio of sums."
        )
    for asked, value in zip(plan.metrics, loaded.values, strict=True):
        if value.cap is not None and question.winsorize is not None:
            what = "numerators" if value.den is not None else "values"
            yield (
                f"{asked.name}: {what} above {figure(value.cap)} count as that, the {question.winsorize:g} quantile "
                "over all rows of all variants together."
            )
    yield from _covariate_notes(file, loaded)
    if not plan.shares:
        yield "No planned shares were given: the split is held against equal ones."
    if question.sequential:
        yield (
            "The split is tested for this one look, though effects hold at every look: a file does not tell the looks "
            "before, so a fair split that is looked at again and again is blocked more often than once in a thousand."
        )
    if question.sequential and plan.segments:
        yield "The segments' intervals are for one look; only those of the metrics hold at every look."


def _covariate_notes(file: AnalysisFile, loaded: Loaded) -> Iterator[str]:
    for place, count in zip(loaded.plan.covariate_columns, loaded.units.covariates, strict=True):
        name = file.columns[place].name
        if not count.has_values:
            yield f"The covariate {name!r} has no values; nothing is adjusted by it."
        elif count.n_missing:
            who = "1 unit has" if count.n_missing == 1 else f"{count.n_missing:,} units have"
            yield f"{who} no {name!r}; the mean over the units of all variants stands in for it."
        if count.n_changing:
            yield (
                f"The covariate {name!r} changes within {count.n_changing:,} units, so its mean is taken; a covariate "
                "must be known before the experiment, or it hides part of the effect."
            )


def _out(n: int) -> str:
    return "is left out" if n == 1 else "are left out"


def _rows(n: int) -> str:
    return "1 row has" if n == 1 else f"{n:,} rows have"


def _count(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"
