"""What a reader of a read-out must know beside its figures, as sentences. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from organism.experiment.metrics import Metric, MetricKind
from organism.experiment.results import MetricResult, Srm
from organism.store.unit_scan import Scan

# More names than this are counted instead.
MOST_NAMES = 4


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
        f"{name} {srm.counts.get(name, 0):,} ({srm.counts.get(name, 0) / whole:.2%} for {share:.2%})"
        for name, share in list(srm.shares.items())[:MOST_NAMES]
    )
    planned = "planned" if shares else "equal (none were given)"
    yield (
        f"Sample ratio mismatch: the units did not split by their {planned} shares (p = {p:.1g}): {seen}. No effect "
        "here can be believed until it is known which units are lost, and why."
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
        yield f"No unit has the variant {_named(empty)}, which has a share of the units."
    if shares and (unplanned := [name for name in names if name not in shares]):
        yield f"{_named(unplanned)} has units but no planned share, and is left out of the test of the split."
    if scan.n_without_variant:
        yield f"{_units_have(scan.n_without_variant)} no variant: left out of everything."


def _units(scan: Scan, metrics: Sequence[Metric]) -> Iterator[str]:
    for metric in metrics:
        lacks = f"no {metric.name}" if not metric.covariates else f"no {metric.name} or lack one of its covariates"
        yield from _left_out(scan, metric.name, scan.n_missing, lacks)
        yield from _left_out(scan, metric.name, scan.n_infinite, f"an infinite value of {metric.name}")
        negative = _by_variant(metric.name, scan.n_negative)
        if negative and metric.kind is MetricKind.RATIO:
            n = sum(negative.values())
            yield (
                f"{_units_have(n)} a denominator of {metric.name} below 0 ({_shown(negative)}), which a ratio of sums "
                "has no meaning for; look at where they come from."
            )


def _left_out(scan: Scan, metric: str, counts: Mapping[tuple[str, str], int], what: str) -> Iterator[str]:
    found = _by_variant(metric, counts)
    if found:
        whole = sum(scan.n_units[variant, None, None] for variant in scan.variants)
        n = sum(found.values())
        yield f"{_units_have(n)} {what}: left out of {metric}, of {whole:,} units in all ({_shown(found)})."


def _by_variant(metric: str, counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {variant: n for (name, variant), n in counts.items() if name == metric}


def _segments(scan: Scan) -> Iterator[str]:
    for name, n in scan.left_out.items():
        yield f"The segment {name} is left out: it has {n:,} values or more. Group them first, into a few dozen."


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


def _units_have(n: int) -> str:
    return "1 unit has" if n == 1 else f"{n:,} units have"


def _named(names: Sequence[str]) -> str:
    shown = list(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        shown.append(f"{len(names) - MOST_NAMES} more")
    return ", ".join(shown[:-1]) + f" and {shown[-1]}" if len(shown) > 1 else "".join(shown)
