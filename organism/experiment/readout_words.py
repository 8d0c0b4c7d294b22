"""What a reader of a read-out must know beside its figures, as sentences. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from organism.experiment.metrics import Metric, MetricKind
from organism.experiment.results import MetricResult, Srm
from organism.store.unit_scan import Scan

# More names than this are counted instead.
MOST_NAMES = 4
# Below this many units an arm the delta method's test of a ratio rejects too often (docs/conventions.md).
FEW_UNITS = 50
SMALL_RATIO = (
    f"below {FEW_UNITS} an arm a ratio of sums is found to differ too often where nothing does (at 10 to 20 in 6 to "
    "10% of cases instead of 5%, if the denominators differ widely)"
)


def warnings_of(
    scan: Scan,
    metrics: Sequence[Metric],
    srm: Srm,
    results: Sequence[MetricResult],
    *,
    control: str,
    shares: Mapping[str, float] | None,
) -> tuple[str, ...]:
    """The most serious first: the split, the variants, the units left out, the metrics that cannot be said."""
    return tuple(
        dict.fromkeys(
            [
                *_split(srm, shares),
                *_variants(scan, srm, control, shares),
                *_units(scan, metrics),
                *_segments(scan),
                *_small_ratios(results),
                *(_notes(results) if control in scan.variants and len(scan.variants) > 1 else ()),
            ]
        )
    )


def _split(srm: Srm, shares: Mapping[str, float] | None) -> Iterator[str]:
    if not srm.blocked:
        return
    p = srm.p_value if srm.sequential_p is None else srm.sequential_p
    whole = sum(srm.counts.get(name, 0) for name in srm.shares)
    seen = ", ".join(
        f"{name} {srm.counts.get(name, 0):,} ({srm.counts.get(name, 0) / whole:.2%} instead of {share:.2%})"
        for name, share in list(srm.shares.items())[:MOST_NAMES]
    )
    planned = "as planned" if shares else "equally, and no other shares were planned"
    yield (
        f"Sample ratio mismatch: the units did not split {planned} (p = {p:.1g}): {seen}. No effect here can be "
        "believed until it is known which units are lost, and why."
    )


def _variants(scan: Scan, srm: Srm, control: str, shares: Mapping[str, float] | None) -> Iterator[str]:
    names = scan.variants
    if not names:
        yield "There are no units with a variant, so there is nothing to compare."
        return
    if control not in names:
        yield f"The control {control} has no units; the variants found are {_named(names)}. Name one of those."
    elif len(names) == 1:
        yield f"Only one variant, {names[0]}, has units, so there is nothing to compare it with."
    empty = [name for name, n in srm.counts.items() if not n and name != control]
    if empty:
        yield f"No unit is in {_named(empty)}, though a share of the units was planned for it."
    if shares and (unplanned := [name for name in names if name not in shares]):
        has, is_left = ("has", "is") if len(unplanned) == 1 else ("have", "are")
        yield f"{_named(unplanned)} {has} units but no planned share, and {is_left} left out of the test of the split."
    if scan.n_without_variant:
        yield f"{_units_have(scan.n_without_variant)} no variant and {_is_left_out(scan.n_without_variant)}."


def _units(scan: Scan, metrics: Sequence[Metric]) -> Iterator[str]:
    for metric in metrics:
        lacks = f"no {metric.name}" if not metric.covariates else f"no {metric.name} or no value of a covariate"
        yield from _left_out(scan, metric.name, scan.n_missing, lacks)
        yield from _left_out(scan, metric.name, scan.n_infinite, f"an infinite value of {metric.name}")
        negative = _by_variant(metric.name, scan.n_negative)
        if negative and metric.kind is MetricKind.RATIO:
            n = sum(negative.values())
            yield (
                f"{_units_have(n)} a denominator of {metric.name} below 0 ({_shown(negative)}), with which a ratio of "
                "sums means nothing; find out where it comes from."
            )


def _left_out(scan: Scan, metric: str, counts: Mapping[tuple[str, str], int], what: str) -> Iterator[str]:
    found = _by_variant(metric, counts)
    if found:
        whole = sum(scan.n_units[variant, None, None] for variant in scan.variants)
        n = sum(found.values())
        have = "has" if n == 1 else "have"
        yield f"{n:,} of {whole:,} units {have} {what} and {_is_left_out(n)} of {metric} ({_shown(found)})."


def _by_variant(metric: str, counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {variant: n for (name, variant), n in counts.items() if name == metric}


def _segments(scan: Scan) -> Iterator[str]:
    for name, n in scan.left_out.items():
        yield f"The segment {name} is left out, since it has {n:,} values or more: group them into a few dozen first."


def _small_ratios(results: Iterable[MetricResult]) -> Iterator[str]:
    """One sentence for all ratios of sums that so few units bear."""
    few = [
        one
        for one in results
        if one.kind is MetricKind.RATIO and one.p_value is not None and min(one.n_control, one.n_treatment) < FEW_UNITS
    ]
    if few:
        n = min(min(one.n_control, one.n_treatment) for one in few)
        names = _named(list(dict.fromkeys(one.metric for one in few)))
        yield f"{names}: an arm has {n} units, and {SMALL_RATIO}."


def _notes(results: Iterable[MetricResult]) -> Iterator[str]:
    """Each note once, with the variants that it holds for."""
    said: dict[str, list[str]] = {}
    for result in results:
        if result.note:
            said.setdefault(result.note, []).append(result.variant)
    for note, variants in said.items():
        yield f"{_named(variants)}: {note}."


def _shown(counts: Mapping[str, int]) -> str:
    return _named([f"{name} {n:,}" for name, n in counts.items()])


def _is_left_out(n: int) -> str:
    return "is left out" if n == 1 else "are left out"


def _units_have(n: int) -> str:
    return "1 unit has" if n == 1 else f"{n:,} units have"


def _named(names: Sequence[str]) -> str:
    shown = list(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        shown.append(f"{len(names) - MOST_NAMES} more")
    return ", ".join(shown[:-1]) + f" and {shown[-1]}" if len(shown) > 1 else "".join(shown)
