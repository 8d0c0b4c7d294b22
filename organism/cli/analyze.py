"""`organism analyze FILE`: an experiment in a file, compared without importing it; needs no workspace."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from organism.cli.output import Result, table
from organism.cli.records import write_report
from organism.experiment.any_file import analyze_file
from organism.experiment.file_document import document
from organism.experiment.file_question import CORRECTIONS, FileQuestion
from organism.experiment.file_report import render_file
from organism.experiment.file_words import FileReadout, figure, interval_words, percent, probability
from organism.experiment.results import MetricResult, SegmentResult
from organism.stats.sequential import TUNING

ABOUT = "compare the variants in a CSV, Parquet or JSONL file: effect, interval and p by unit; nothing is imported"


def add_to(command: Any) -> None:
    """The command `analyze`."""
    leaf = command("analyze", analyze, ABOUT)
    leaf.add_argument("file", metavar="FILE")
    leaf.add_argument(
        "--unit", metavar="COLUMN", help="who was assigned (a user); its rows are summed (default: each row is a unit)"
    )
    leaf.add_argument("--variant", default="variant", metavar="COLUMN", help="the variant of a row (default: variant)")
    leaf.add_argument("--control", metavar="VALUE", help="the variant to compare with")
    for flag, form, what in (
        ("--metric", "COLUMN", "compare its mean"),
        ("--proportion", "COLUMN", "compare how often it is 1 (or true) and not 0"),
        ("--ratio", "NUM/DEN", "compare the sum of one column over the sum of another"),
        ("--quantile", "COLUMN:SHARE", "compare a quantile, such as latency:0.95"),
        ("--covariate", "[METRIC=]COLUMN", "a value from before the experiment, to take noise out (CUPED)"),
        ("--segment", "COLUMN", "compare within each of its values too"),
        ("--share", "VARIANT=SHARE", "the planned share of a variant (default: equal shares)"),
        ("--margin", "METRIC=NUMBER", "how much worse a metric may get: makes it a guardrail"),
        ("--lower-is-better", "METRIC", "less of this metric is better"),
    ):
        leaf.add_argument(flag, action="append", default=[], metavar=form, help=f"{what}; repeatable")
    leaf.add_argument("--winsorize", type=float, metavar="SHARE", help="cap values at this quantile, such as 0.99")
    leaf.add_argument("--alpha", type=float, default=0.05, help="the rate of false alarms to bear (default: 0.05)")
    leaf.add_argument(
        "--sequential", action="store_true", help="intervals that hold at every look, for an experiment that still runs"
    )
    leaf.add_argument(
        "--tuning", type=float, default=TUNING, help="units at which the sequence is tightest (default: %(default)g)"
    )
    leaf.add_argument(
        "--correction", choices=list(CORRECTIONS), default="holm", help="for several metrics (default: holm)"
    )
    leaf.add_argument("--report", metavar="FILE", help="write it as one HTML file too, to send or to print")


def analyze(args: argparse.Namespace) -> Result:
    """The verdict-like sentence, a table, and what to know before believing it."""
    found = analyze_file(Path(args.file), question_of(args))
    if args.report:
        write_report(Path(args.report), render_file(found))
    return Result(in_words(found), document(found))


def question_of(args: argparse.Namespace) -> FileQuestion:
    """The question that the options put."""
    return FileQuestion(
        unit=args.unit,
        variant=args.variant,
        control=args.control,
        metrics=tuple(args.metric),
        proportions=tuple(args.proportion),
        ratios=tuple(args.ratio),
        quantiles=tuple(args.quantile),
        covariates=tuple(args.covariate),
        segments=tuple(args.segment),
        shares=tuple(args.share),
        margins=tuple(args.margin),
        lower_is_better=tuple(args.lower_is_better),
        winsorize=args.winsorize,
        alpha=args.alpha,
        sequential=args.sequential,
        tuning=args.tuning,
        correction=args.correction,
    )


def in_words(found: FileReadout) -> str:
    """What a terminal shows: the sentence, who was compared, the metrics, the segments, what to know."""
    units = found.loaded.units
    counts = ", ".join(f"{name} {n:,}" for name, n in list(units.variants.items())[:10])
    more = f" and {len(units.variants) - 10} more" if len(units.variants) > 10 else ""
    p = found.readout.srm.p_value
    split = "" if p is None else f"; sample ratio mismatch p {probability(p)}"
    parts = [found.sentence, f"{units.n_units:,} units in {found.loaded.rows.n_rows:,} rows: {counts}{more}{split}."]
    if found.blocked:
        parts.append("No effect is shown, since none can be believed; --json has the figures beside blocked: true.")
    else:
        parts += _tables(found)
    if found.warnings:
        parts.append("\n".join(f"- {warning}" for warning in found.warnings))
    return "\n\n".join(parts)


def _tables(found: FileReadout) -> list[str]:
    parts = [table(pd.DataFrame(_rows(found)), _HEADINGS, "No metric could be compared.")]
    if found.readout.segments:
        parts.append(table(pd.DataFrame(_segment_rows(found)), _SEGMENT_HEADINGS, ""))
    return parts


_HEADINGS = {
    "metric": "metric",
    "variant": "variant",
    "control": "control mean",
    "treatment": "mean",
    "effect": "effect",
    "interval": "interval",
    "relative": "relative",
    "p": "p",
    "adjusted": "p adjusted",
}
_SEGMENT_HEADINGS = {"segment": "segment", **{name: _HEADINGS[name] for name in list(_HEADINGS) if name != "relative"}}


def _rows(found: FileReadout) -> list[dict[str, str]]:
    return [
        _row(result)
        | {
            "interval": interval_words(result.sequence_ci if found.loaded.question.sequential else result.ci),
            "p": probability(result.sequence_p if found.loaded.question.sequential else result.p_value),
        }
        for result in found.readout.metrics
    ]


def _segment_rows(found: FileReadout) -> list[dict[str, str]]:
    return [{"segment": f"{result.segment} = {result.value}"} | _row(result) for result in found.readout.segments]


def _row(result: MetricResult | SegmentResult) -> dict[str, str]:
    return {
        "metric": result.metric,
        "variant": result.variant,
        "control": figure(result.mean_control),
        "treatment": figure(result.mean_treatment),
        "effect": figure(result.effect, signed=True),
        "interval": interval_words(result.ci),
        "relative": percent(result.relative),
        "p": probability(result.p_value),
        "adjusted": probability(result.p_adjusted),
    }
