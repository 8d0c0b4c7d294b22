"""What a file says as one HTML file that needs nothing else: the sentence first, then metrics, segments, SQL. Pure."""

from collections.abc import Sequence

from organism.experiment.figures import NBSP, PERCENT, Unit, interval
from organism.experiment.file_words import FileReadout, figure, interval_words, percent, probability
from organism.experiment.markup import Markup, el
from organism.experiment.report import document, icon_word
from organism.experiment.report_findings import figure as picture
from organism.experiment.report_findings import grid, said, section
from organism.experiment.results import MetricResult, SegmentResult
from organism.experiment.svg import Line, Mark, forest

TONES = {"better": "good", "worse": "bad", "unclear": "warn", "unknown": "quiet", "blocked": "violet"}
ICONS = {
    "better": "M4 11l4 4 8-9",
    "worse": "M7 4L3 8l4 4M3 8h9a5 5 0 0 1 0 9H8",
    "blocked": "M10 2a8 8 0 1 0 .01 0M5 5l10 10",
}
CLOCK = "M10 5v5l3 3M10 2a8 8 0 1 0 .01 0"
PLAIN = Unit(1.0, "", None)


def render_file(found: FileReadout) -> str:
    """The whole document; a blocked file shows its split and no effect."""
    tone = TONES[found.finding.value]
    top = el("header", el("p", "An experiment in a file", class_="over"), el("h1", found.name, dir="auto"))
    word = icon_word(tone, found.finding.value.capitalize(), ICONS.get(found.finding.value, CLOCK))
    verdict = el("div", word, el("p", found.sentence), class_=f"verdict {tone}")
    body: list[Markup | None] = [top, verdict, _split(found)]
    if not found.blocked:
        body += [_metrics(found), _segments(found)]
    body += [_warnings(found), _sql(found)]
    return document(found.name, body)


def _split(found: FileReadout) -> Markup:
    units, srm = found.loaded.units, found.readout.srm
    whole, n = sum(srm.shares.values()) or 1.0, sum(srm.counts.values())
    rows = [
        [name, f"{share / whole:.1%}", f"{srm.counts.get(name, 0):,}", f"{n * share / whole:,.0f}"]
        for name, share in srm.shares.items()
    ]
    table = grid(("Variant", "Planned share", "Units", "Units expected"), rows) if rows else None
    words = f"{units.n_units:,} units in {found.loaded.rows.n_rows:,} rows. Sample ratio mismatch: p "
    return section("Did units fall as planned?", said(f"{words}{probability(srm.p_value)}."), table)


def _metrics(found: FileReadout) -> Markup:
    results = found.readout.metrics
    marks = [_relative(one) for one in results if one.relative_ci is not None]
    words = "Change of each metric relative to its control, with its interval for one look."
    chart = picture(forest(marks, PERCENT, words, lines=[Line(0.0)]), words) if marks else None
    is_sequential = found.loaded.question.sequential
    head = ("Metric", "Variant", "Control mean", "Mean", "Effect", "Interval", "p", "p adjusted")
    notes = [said(f"{one.metric}, {one.variant}: {one.note}", "small") for one in results if one.note]
    kind = "Intervals and p hold at every look." if is_sequential else "Intervals and p are for one look."
    adjusted = next((one.adjustment for one in results if one.adjustment), "")
    table = grid(head, [_row(one, is_sequential) for one in results], 2)
    return section("Metrics", chart, table, notes, said(f"{kind} {adjusted}".strip(), "small"))


def _relative(one: MetricResult) -> Mark:
    low, high = one.relative_ci or (None, None)
    words = f"{percent(one.relative)} ({interval(PERCENT, low, high)})"
    return Mark(f"{one.metric}, {one.variant}", words, one.relative, low, high)


def _row(one: MetricResult, is_sequential: bool) -> list[str | Markup]:
    pair, p = (one.sequence_ci, one.sequence_p) if is_sequential else (one.ci, one.p_value)
    means = (figure(one.mean_control), figure(one.mean_treatment), figure(one.effect, signed=True))
    return [one.metric, one.variant, *means, interval_words(pair), _p(p), _p(one.p_adjusted)]


def _segments(found: FileReadout) -> Markup | None:
    results = found.readout.segments
    if not results:
        return None
    parts = [_forest(name, metric, variant, results) for name, metric, variant in _places(results)]
    head = ("Segment", "Value", "Metric", "Variant", "Units", "Effect", "Interval", "p adjusted")
    rows: list[list[str | Markup]] = [
        [
            one.segment,
            _value(one),
            one.metric,
            one.variant,
            f"{one.n_control + one.n_treatment:,}",
            figure(one.effect, signed=True),
            interval_words(one.ci),
            _p(one.p_adjusted),
        ]
        for one in results
    ]
    adjusted = next((one.adjustment for one in results if one.adjustment), "")
    return section("Segments", said(adjusted, "small"), parts, grid(head, rows, 4))


def _places(results: Sequence[SegmentResult]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((one.segment, one.metric, one.variant) for one in results))


def _forest(name: str, metric: str, variant: str, results: Sequence[SegmentResult]) -> Markup:
    rows = [one for one in results if (one.segment, one.metric, one.variant) == (name, metric, variant)]
    marks = [
        Mark(
            f"{_value(one)} ({one.n_control + one.n_treatment:,})",
            f"{figure(one.effect, signed=True)} ({interval_words(one.ci)})",
            one.effect,
            low=one.ci[0] if one.ci else None,
            high=one.ci[1] if one.ci else None,
            is_filled=one.p_adjusted is not None and one.p_adjusted <= one.alpha,
        )
        for one in rows
    ]
    words = f"{metric} of {variant} by {name}; filled dots are clear of 0 after the adjustment."
    return picture(forest(marks, PLAIN, words, lines=[Line(0.0)]), words)


def _value(one: SegmentResult) -> str:
    return "(none)" if one.value is None else one.value


def _p(p: float | None) -> str:
    return probability(p).replace(" ", NBSP)


def _warnings(found: FileReadout) -> Markup | None:
    items = [el("li", warning) for warning in found.warnings]
    return section("Before you believe it", el("ul", items)) if items else None


def _sql(found: FileReadout) -> Markup:
    words = "What DuckDB was asked of the file. Everything else here is arithmetic on its answer."
    return section("The exact SQL", said(words, "small"), el("pre", found.sql))
