"""Is the effect the same everywhere? The first primary metric by segment, searched and therefore adjusted. Pure."""

from organism.experiment.analysis import Reading, Settings, ratio_estimates, read_pair
from organism.experiment.evidence import Evidence
from organism.experiment.scorecard import Heterogeneity, SegmentRow
from organism.records import Moments
from organism.stats.heterogeneity import cochran_q
from organism.stats.multiplicity import Correction, adjusted

NOT_SAID = "not said"
Place = tuple[str, str | None]


def read_segments(evidence: Evidence, settings: Settings) -> tuple[tuple[SegmentRow, ...], tuple[Heterogeneity, ...]]:
    """A row for each value and treatment, p by Benjamini and Hochberg over all rows; and Cochran's Q by segment."""
    parts: dict[Place, dict[str, Moments]] = {}
    for part in evidence.sums.segments:
        parts.setdefault((part.segment, part.value), {})[part.variant] = part.moments
    primary = settings.plan.primary[0]
    readings: list[tuple[Place, Reading]] = []
    for place, moments in parts.items():
        arms, _ = ratio_estimates(evidence, moments, with_covariates=bool(settings.plan.covariates))
        readings += [(place, read_pair(settings, primary, treatment, arms)) for treatment in settings.treatments]
    p_values = adjusted([reading.p_value for _, reading in readings], Correction.BH)
    rows = tuple(_row(place, reading, p) for (place, reading), p in zip(readings, p_values, strict=True))
    names = list(dict.fromkeys(segment for segment, _ in parts))
    return rows, tuple(
        _heterogeneity(
            name,
            treatment,
            [one for place, one in readings if place[0] == name and one.variant == treatment],
            settings.plan.alpha,
        )
        for name in names
        for treatment in settings.treatments
    )


def adjustment_words(rows: tuple[SegmentRow, ...], settings: Settings) -> str:
    """How the segments' p-values were adjusted, in words; empty without segments."""
    n = sum(row.p_value is not None for row in rows)
    if not n:
        return ""
    kind = "for one look" if settings.is_fixed else "always-valid"
    return (
        f"Segments are searched, not planned: their p-values are Benjamini–Hochberg adjusted over {n} "
        f"comparison{'' if n == 1 else 's'}; the intervals are {kind} and each stands for itself."
    )


def _row(place: Place, reading: Reading, p_adjusted: float | None) -> SegmentRow:
    found = reading.comparison
    few = found.effect is None or reading.low is None
    return SegmentRow(
        segment=place[0],
        value=place[1] if place[1] is not None else NOT_SAID,
        metric=reading.metric,
        variant=reading.variant,
        n_control=found.n_control,
        n_treatment=found.n_treatment,
        mean_control=found.mean_control,
        mean_treatment=found.mean_treatment,
        effect=found.effect,
        low=reading.low,
        high=reading.high,
        p_value=reading.p_value,
        p_adjusted=p_adjusted,
        note="Too few users of a variant with a value for an interval." if few else None,
    )


def _heterogeneity(segment: str, treatment: str, readings: list[Reading], alpha: float) -> Heterogeneity:
    found = cochran_q(
        [one.comparison.effect for one in readings], [one.error**2 if one.error else None for one in readings]
    )
    if found is None:
        return Heterogeneity(segment, treatment, None, 0, None, None, f"Too few users by {segment} to compare effects.")
    p = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    said = f"Cochran's Q = {found.q:.1f} on {found.degrees}, {p}; I² {found.i2:.0%}"
    sentence = (
        f"The effect differs by {segment} more than chance would have it ({said})."
        if found.p_value <= alpha
        else f"No sign that the effect differs by {segment} ({said})."
    )
    return Heterogeneity(segment, treatment, found.q, found.degrees, found.p_value, found.i2, sentence)
