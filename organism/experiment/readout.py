"""What an experiment says: a scan's sums become every metric, segment and the split, in numbers and words. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from organism.experiment.contrasts import Contrast, arms_of, contrast, quantile_contrast
from organism.experiment.metrics import Metric, MetricKind
from organism.experiment.readout_words import warnings_of
from organism.experiment.results import (
    SRM_ALPHA,
    Heterogeneity,
    MetricResult,
    Pair,
    Readout,
    SegmentResult,
    Srm,
)
from organism.records import Moments, QuantileParts
from organism.stats.bayes import chance_to_win, expected_loss
from organism.stats.heterogeneity import cochran_q
from organism.stats.multiplicity import Correction, adjusted
from organism.stats.sequential import TUNING, confidence_sequence
from organism.stats.srm import sequential_srm, srm_test
from organism.store.unit_scan import Scan

__all__ = ["Heterogeneity", "MetricResult", "Readout", "SegmentResult", "Srm", "read_out", "srm_of"]

Quantiles = Mapping[tuple[str, str], QuantileParts]


class _Asked(NamedTuple):
    """What every part of the read-out is computed by."""

    metrics: Sequence[Metric]
    control: str
    treatments: tuple[str, ...]
    alpha: float
    sequential: bool
    tuning: float


class _SegmentContrast(NamedTuple):
    segment: str
    value: str | None
    metric: Metric
    variant: str
    found: Contrast


def read_out(
    scan: Scan,
    metrics: Sequence[Metric],
    quantiles: Quantiles | None = None,
    *,
    control: str,
    shares: Mapping[str, float] | None = None,
    alpha: float = 0.05,
    sequential: bool = False,
    tuning: float = TUNING,
    looks: Sequence[Mapping[str, int]] | None = None,
) -> Readout:
    """Every metric of every variant against `control`, the segments, and whether the units split by their `shares`.

    `quantiles` hold the parts of quantile metrics by (metric, variant). Without shares the split is held against equal
    ones. With `sequential` each metric also has the interval and p that hold at every look; `looks` are the units of
    each variant so far at each look, for the split. What cannot be said is None, with a sentence in the result's
    `note` and in `warnings`; nothing is raised for poor data.
    """
    variants = tuple(dict.fromkeys([*(shares or {}), *scan.variants]))
    asked = _Asked(metrics, control, tuple(v for v in variants if v != control), alpha, sequential, tuning)
    srm = srm_of({v: scan.n_units.get((v, None, None), 0) for v in variants}, shares, looks)
    results = _holm(asked, _metrics(asked, scan, quantiles or {}))
    contrasts = _segment_contrasts(asked, scan)
    segments = _benjamini_hochberg(asked, contrasts)
    return Readout(
        srm,
        results,
        segments,
        _heterogeneity(contrasts),
        warnings_of(scan, metrics, srm, results, control=control, shares=shares),
    )


def srm_of(
    counts: Mapping[str, int],
    shares: Mapping[str, float] | None = None,
    looks: Sequence[Mapping[str, int]] | None = None,
) -> Srm:
    """Did the units split by the shares (equal ones unless given)? Variants without a share above 0 are not tested.

    One look is tested by chi-square, exactly where few units are expected; with `looks` (units so far at each) the
    sequential test decides. Blocked when p is below 0.001; p is None with fewer than two variants or no units.
    """
    planned = {v: float(share) for v, share in (shares or dict.fromkeys(counts, 1.0)).items() if share > 0}
    whole = sum(planned.values())
    planned = {v: share / whole for v, share in planned.items()}
    seen = dict(counts)
    if len(planned) < 2 or not sum(seen.get(v, 0) for v in planned):
        return Srm(None, None, False, seen, planned)
    expected = list(planned.values())
    p_value = srm_test([seen.get(v, 0) for v in planned], expected).p_value
    by_look = [[look.get(v, 0) for v in planned] for look in looks] if looks else []
    sequential_p = sequential_srm(by_look, expected) if by_look else None
    deciding = p_value if sequential_p is None else sequential_p
    return Srm(p_value, sequential_p, deciding is not None and deciding < SRM_ALPHA, seen, planned)


def _metrics(asked: _Asked, scan: Scan, quantiles: Quantiles) -> list[tuple[Metric, MetricResult]]:
    results = []
    for metric in asked.metrics:
        if metric.kind is MetricKind.QUANTILE:
            parts = {v: quantiles[m, v] for m, v in quantiles if m == metric.name}
            found = {v: quantile_contrast(metric, parts, asked.control, v, asked.alpha) for v in asked.treatments}
        else:
            arms = arms_of(metric, _cells(scan, metric, None, None))
            found = {v: contrast(arms, asked.control, v, asked.alpha) for v in asked.treatments}
        results += [(metric, _metric_result(asked, metric, variant, one)) for variant, one in found.items()]
    return results


def _cells(scan: Scan, metric: Metric, segment: str | None, value: str | None) -> dict[str, Moments]:
    return {v: cell for v in scan.variants if (cell := scan.cells.get((metric.name, v, segment, value))) is not None}


def _compared(asked: _Asked, metric: Metric, variant: str, one: Contrast) -> dict[str, Any]:
    """What a result says of two arms, be they whole or of one segment."""
    c = one.comparison
    return {
        "metric": metric.name,
        "kind": metric.kind,
        "variant": variant,
        "control": asked.control,
        "n_control": c.n_control,
        "n_treatment": c.n_treatment,
        "mean_control": c.mean_control,
        "mean_treatment": c.mean_treatment,
        "effect": c.effect,
        "ci": _pair(c.ci_low, c.ci_high),
        "p_value": c.p_value,
        "relative": c.relative,
        "relative_ci": _pair(c.relative_low, c.relative_high),
        "method": one.method,
        "alpha": asked.alpha,
        "note": one.note,
    }


def _metric_result(asked: _Asked, metric: Metric, variant: str, one: Contrast) -> MetricResult:
    c = one.comparison
    n = c.n_control + c.n_treatment
    result = MetricResult(
        **_compared(asked, metric, variant, one),
        variance_reduction=one.variance_reduction,
    )
    if metric.better and one.error is not None:
        result = result._replace(
            chance_to_win=chance_to_win(c.effect, one.error, better=metric.better),
            expected_loss=expected_loss(c.effect, one.error, better=metric.better),
        )
    if asked.sequential and one.error is not None:
        always = confidence_sequence(
            c.effect, one.error, n, alpha=asked.alpha, tuning=asked.tuning, degrees=one.degrees
        )
        result = result._replace(sequence_ci=_pair(always.low, always.high), sequence_p=always.p_value)
    return result


def _pair(low: float | None, high: float | None) -> Pair | None:
    return None if low is None or high is None else (low, high)


def _holm(asked: _Asked, results: Sequence[tuple[Metric, MetricResult]]) -> tuple[MetricResult, ...]:
    """One error rate over all primary metrics and variants: the p that is shown always, else the fixed one."""
    deciding = [
        (result.sequence_p if asked.sequential else result.p_value) if metric.is_primary else None
        for metric, result in results
    ]
    known = sum(p is not None for p in deciding)
    n_metrics = len({metric.name for (metric, _), p in zip(results, deciding, strict=True) if p is not None})
    words = (
        f"Holm over {known} tests ({_count(n_metrics, 'primary metric')}, {_count(len(asked.treatments), 'variant')})"
    )
    words = words if known > 1 else "none: it is the only test"
    if asked.sequential:
        words += ", of the p that holds at every look"
    after = adjusted(deciding, Correction.HOLM)
    return tuple(
        result._replace(p_adjusted=p, adjustment=words if metric.is_primary else "none: not a primary metric")
        for (metric, result), p in zip(results, after, strict=True)
    )


def _segment_contrasts(asked: _Asked, scan: Scan) -> list[_SegmentContrast]:
    groups = sorted(
        {(segment, value) for _, segment, value in scan.n_units if segment is not None},
        key=lambda group: (group[0], group[1] is None, group[1] or ""),
    )
    found = []
    for segment, value in groups:
        for metric in asked.metrics:
            if metric.kind is not MetricKind.QUANTILE:
                arms = arms_of(metric, _cells(scan, metric, segment, value))
                found += [
                    _SegmentContrast(segment, value, metric, v, contrast(arms, asked.control, v, asked.alpha))
                    for v in asked.treatments
                ]
    return found


def _benjamini_hochberg(asked: _Asked, contrasts: Sequence[_SegmentContrast]) -> tuple[SegmentResult, ...]:
    p_values = [one.found.comparison.p_value for one in contrasts]
    known = sum(p is not None for p in p_values)
    words = f"Benjamini-Hochberg over {known} comparisons of segments" if known > 1 else "none: it is the only test"
    after = adjusted(p_values, Correction.BH)
    return tuple(_segment_result(asked, one, p, words) for one, p in zip(contrasts, after, strict=True))


def _segment_result(asked: _Asked, one: _SegmentContrast, p_adjusted: float | None, words: str) -> SegmentResult:
    return SegmentResult(
        segment=one.segment,
        value=one.value,
        **_compared(asked, one.metric, one.variant, one.found),
        p_adjusted=p_adjusted,
        adjustment=words,
    )


def _heterogeneity(contrasts: Sequence[_SegmentContrast]) -> tuple[Heterogeneity, ...]:
    families: dict[tuple[str, str, str], list[Contrast]] = {}
    for one in contrasts:
        families.setdefault((one.segment, one.metric.name, one.variant), []).append(one.found)
    return tuple(_spread(*family, members) for family, members in families.items())


def _spread(segment: str, metric: str, variant: str, members: Sequence[Contrast]) -> Heterogeneity:
    known = [(one.comparison.effect, one.error) for one in members if one.error is not None]
    found = cochran_q([effect for effect, _ in known], [error**2 for _, error in known])
    if found is None:
        note = f"fewer than two values of {segment} have an effect with an interval"
        return Heterogeneity(segment, metric, variant, len(known), None, None, None, note)
    return Heterogeneity(segment, metric, variant, len(known), found.q, found.p_value, found.i2)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
