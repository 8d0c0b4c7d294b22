"""A file's findings as JSON, as docs/analyze.md describes it: the same by command, over HTTP and on the page. Pure."""

from typing import Any

from organism.experiment.file_words import FileReadout, deciding_p
from organism.experiment.results import MetricResult, SegmentResult

# The fields that the document promises first, in this order; others may follow.
CORE = (
    "metric",
    "kind",
    "variant",
    "control",
    "n_control",
    "n_treatment",
    "mean_control",
    "mean_treatment",
    "effect",
    "ci",
    "p_value",
    "relative",
    "relative_ci",
    "method",
    "alpha",
)
SEQUENCE = "asymptotic confidence sequence, tightest at {:,.0f} units"


def document(found: FileReadout) -> dict[str, Any]:
    """Plain data: srm, metrics, segments, warnings, and what they were asked by; unknown figures are None."""
    readout, loaded = found.readout, found.loaded
    srm = readout.srm
    return {
        "sentence": found.sentence,
        "finding": found.finding,
        "srm": {
            "p_value": srm.p_value,
            "blocked": bool(found.blocked),
            "blocked_because": list(found.blocked),
            "counts": srm.counts,
            "shares": srm.shares,
            "shares_given": bool(loaded.plan.shares),
        },
        "metrics": [_metric(result, found) for result in readout.metrics],
        "segments": [_segment(result) for result in readout.segments],
        "heterogeneity": [one._asdict() for one in readout.heterogeneity],
        "warnings": list(found.warnings),
        "file": found.name,
        "n_rows": loaded.rows.n_rows,
        "n_units": loaded.units.n_units,
        "n_units_in_two_variants": loaded.units.n_in_both,
        "units_in_two_variants": list(loaded.units.examples),
        "n_duplicate_rows": loaded.rows.n_duplicates,
        "unit": loaded.question.unit,
        "variant": loaded.question.variant,
        "control": loaded.question.control,
        "sequential": loaded.question.sequential,
        "sql": found.sql,
    }


def _metric(result: MetricResult, found: FileReadout) -> dict[str, Any]:
    """With a sequence, `ci` and `p_value` are those that hold at every look; the others follow as `fixed_…`."""
    data = _core(result)
    question = found.loaded.question
    if question.sequential:
        data |= {"ci": result.sequence_ci, "p_value": deciding_p(result) if result.sequence_ci else None}
        data |= {"relative_ci": None, "method": f"{result.method}; {SEQUENCE.format(question.tuning)}"}
        data |= {"fixed_ci": result.ci, "fixed_p_value": result.p_value, "fixed_relative_ci": result.relative_ci}
    data |= {
        "p_adjusted": result.p_adjusted,
        "adjustment": result.adjustment,
        "variance_reduction": result.variance_reduction,
        "chance_to_win": result.chance_to_win,
        "expected_loss": result.expected_loss,
        "better": "lower" if result.metric in found.loaded.plan.lower_is_better else "higher",
        "note": result.note,
    }
    cap = _cap(result.metric, found)
    if cap is not None:
        data["capped_at"] = cap
    if margin := found.margins.get((result.metric, result.variant)):
        data["non_inferiority"] = margin._asdict()
    return data


def _segment(result: SegmentResult) -> dict[str, Any]:
    return {
        "segment": result.segment,
        "value": result.value,
        **_core(result),
        "p_adjusted": result.p_adjusted,
        "adjustment": result.adjustment,
        "note": result.note,
    }


def _core(result: MetricResult | SegmentResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in CORE}


def _cap(metric: str, found: FileReadout) -> float | None:
    metrics = [asked.name for asked in found.loaded.plan.metrics]
    return found.loaded.values[metrics.index(metric)].cap
