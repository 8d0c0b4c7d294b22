"""Four designs to start from: the same signals between the same anchors, only the weights differ. Pure.

The anchors are the loop's own 5th and 95th percentiles, so that a utility of 0 and of 1 are both things that
happen here, and a weight means the same for every signal.
"""

from collections.abc import Collection, Mapping
from math import floor, isfinite, log10
from typing import NamedTuple

from organism.digest.designs import DEFAULT_DESIGN, GROUPS, group_of, groups_present, moved
from organism.records import Constraint, RewardDesign, SignalSpec

LOW, MEDIAN, HIGH = 0.05, 0.5, 0.95
FLOOR_SHARE = 0.75
"""What a version must write, as a share of what is usual here, to be allowed to win under a preset."""


class Preset(NamedTuple):
    """The weights of the three groups, and for whom that is."""

    price: float
    performance: float
    quality: float
    note: str


PRESETS: Mapping[str, Preset] = {
    "price": Preset(
        0.6,
        0.1,
        0.3,
        "For a product that pays for every draft: cheap drafts first. The guardrail on written_share "
        "keeps the model from stopping early",
    ),
    "performance": Preset(
        0.1, 0.6, 0.3, "For people who wait while the model writes: fast drafts first, as long as they are used"
    ),
    "quality": Preset(
        0.1, 0.1, 0.8, "For work where a wrong draft costs more than a slow one: what people keep comes first"
    ),
    "balanced": Preset(
        0.2, 0.2, 0.6, "For a team that has not decided yet: quality first, price and performance share the rest"
    ),
}
ANCHORS: Mapping[str, tuple[float, float]] = {
    **{spec.signal: (spec.worst, spec.best) for spec in DEFAULT_DESIGN.signals},
    "error": (1.0, 0.0),
    "output_tokens": (400.0, 50.0),
    "rating": (1.0, 5.0),
    "ttft_ms": (1000.0, 100.0),
}
LOWER_IS_BETTER = ("cost_usd", "error", "latency_ms", "output_tokens", "ttft_ms")
_SHARES = {"accepted": 1.0, "retained_char_rate": 1.0, "written_share": 2.0}
"""How a group's weight is shared; written_share counts for half of quality, or stopping early would pay."""
_COUNTS_AS = {"written_share": 0.0}
"""A draft that was rejected unseen wrote nothing of the final text; unanswered drafts are left out by `accepted`."""
_FIRST_CHOICE = tuple(spec.signal for spec in DEFAULT_DESIGN.signals)
_SECOND_CHOICE = ("output_tokens", "rating", "ttft_ms")
CANDIDATES = (*_FIRST_CHOICE, *_SECOND_CHOICE)
Quantiles = Mapping[str, tuple[float | None, float | None]]


def presets_from(quantiles: Quantiles, usually_written: float | None = None) -> dict[str, RewardDesign]:
    """The four presets by name, from each candidate's 5th and 95th percentile (None or absent: nothing measured it).

    `usually_written` is the loop's median written share; a version must write three quarters of that, whatever
    its reward: a heavy price is a cliff and not a dial, and needs a floor.

    A signal that the loop never measured is left out, since it would leave out every row with it; a group that
    would then be empty gets its second choice, and the default signals when the loop has neither.
    """
    measured = [signal for signal in CANDIDATES if _known(quantiles.get(signal))]
    signals = tuple(
        _spec(signal, *anchors(signal, quantiles.get(signal))) for signal in sorted(_chosen(measured) or _FIRST_CHOICE)
    )
    floor_written = _floor(usually_written)
    return {name: _preset(signals, floor_written, name, preset) for name, preset in PRESETS.items()}


def anchors(signal: str, low_high: tuple[float | None, float | None] | None) -> tuple[float, float]:
    """Worst and best of a signal from its 5th and 95th percentile, two significant digits each.

    Where these are unknown or the same number, the signal's default anchors; 0 to 1 for one without.
    """
    default = ANCHORS.get(signal, (0.0, 1.0))
    if low_high is None or not _known(low_high):
        return default
    low, high = (_rounded(float(value)) for value in low_high if value is not None)
    if low == high:
        return default
    return (high, low) if signal in LOWER_IS_BETTER else (low, high)


def _preset(
    signals: tuple[SignalSpec, ...], guardrails: tuple[Constraint, ...], name: str, preset: Preset
) -> RewardDesign:
    """Weights that sum to 1: those of a group that the loop does not measure go to the others in proportion.

    The signals come with their shares of their group as weights.
    """
    plain = RewardDesign(name=name, signals=signals, constraints=guardrails, note=preset.note)
    wanted = {group: getattr(preset, group) for group in groups_present(plain)}
    total = sum(wanted.values())
    return moved(plain, **{group: wanted.get(group, 0.0) / total for group in GROUPS})


def _floor(usually_written: float | None) -> tuple[Constraint, ...]:
    if usually_written is None or not isfinite(usually_written) or usually_written <= 0:
        return ()
    return (Constraint("written_share", at_least=_rounded(FLOOR_SHARE * usually_written)),)


def _spec(signal: str, worst: float, best: float) -> SignalSpec:
    return SignalSpec(signal, _SHARES.get(signal, 1.0), worst, best, _COUNTS_AS.get(signal))


def _chosen(measured: Collection[str]) -> list[str]:
    first = [signal for signal in measured if signal in _FIRST_CHOICE]
    filled = {group_of(signal) for signal in first}
    return first + [signal for signal in measured if signal in _SECOND_CHOICE and group_of(signal) not in filled]


def _known(low_high: tuple[float | None, float | None] | None) -> bool:
    return low_high is not None and all(value is not None and isfinite(value) for value in low_high)


def _rounded(value: float) -> float:
    """Two significant digits."""
    return round(value, 1 - floor(log10(abs(value)))) if value else 0.0
