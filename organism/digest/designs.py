"""A reward design: which signals count, how a value becomes a utility, and with what weight. Pure."""

from collections.abc import Collection, Sequence
from math import isfinite

from organism.errors import DesignError
from organism.records import RewardDesign, SignalSpec

GROUPS = {
    "price": ("cost_usd",),
    "performance": ("latency_ms",),
    "quality": ("accepted", "retained_char_rate"),
}
DEFAULT_DESIGN = RewardDesign(
    name="balanced",
    signals=(
        SignalSpec("accepted", 0.2, worst=0.0, best=1.0),
        SignalSpec("cost_usd", 0.2, worst=0.0004, best=0.0001),
        SignalSpec("latency_ms", 0.2, worst=2000.0, best=200.0),
        SignalSpec("retained_char_rate", 0.4, worst=0.0, best=1.0),
    ),
    note="Quality counts for three fifths; price and performance share the rest",
)


def weighted(design: RewardDesign, *, price: float, performance: float, quality: float) -> RewardDesign:
    """The design with these weights of the three groups; within a group the shares stay as they are."""
    wanted = {"price": price, "performance": performance, "quality": quality}
    shares = _shares_in_groups(design)
    group_of = {signal: group for group, signals in GROUPS.items() for signal in signals}
    signals = tuple(
        spec._replace(weight=round(wanted[group_of[spec.signal]] * shares[spec.signal], 12))
        if spec.signal in group_of
        else spec
        for spec in design.signals
    )
    return RewardDesign(name=design.name, signals=signals, note=design.note, author=design.author)


def group_weights(design: RewardDesign) -> dict[str, float]:
    """The summed weight of each of the three groups."""
    weights = {spec.signal: spec.weight for spec in design.signals}
    return {group: round(sum(weights.get(signal, 0.0) for signal in signals), 12) for group, signals in GROUPS.items()}


def check_design(design: RewardDesign, known: Collection[str]) -> None:
    """Raise DesignError, with what to do, when the design cannot give a reward on these signals."""
    names = [spec.signal for spec in design.signals]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DesignError(f"design {design.name!r} names {', '.join(twice)} twice; keep one line a signal")
    for spec in design.signals:
        _check_signal(design.name, spec, known)
    if not any(spec.weight > 0 for spec in design.signals):
        listed = ", ".join(names or sorted(known))
        raise DesignError(f"design {design.name!r} gives no signal a positive weight; give at least one of: {listed}")


def ordered(signals: Sequence[SignalSpec]) -> tuple[SignalSpec, ...]:
    """The signals in the order of the moments' columns: by name."""
    return tuple(sorted(signals, key=lambda spec: spec.signal))


def _shares_in_groups(design: RewardDesign) -> dict[str, float]:
    """Each signal's share of its group's weight; where the group has none, the default design's, or equal ones."""
    weights = {spec.signal: spec.weight for spec in design.signals}
    defaults = {spec.signal: spec.weight for spec in DEFAULT_DESIGN.signals}
    shares: dict[str, float] = {}
    for signals in GROUPS.values():
        present = [signal for signal in signals if signal in weights]
        given = weights if sum(weights[signal] for signal in present) > 0 else defaults
        total = sum(given[signal] for signal in present)
        shares |= {signal: given[signal] / total for signal in present}
    return shares


def _check_signal(name: str, spec: SignalSpec, known: Collection[str]) -> None:
    if spec.signal not in known:
        raise DesignError(
            f"design {name!r} weighs {spec.signal!r}, which nothing measures; use one of: {', '.join(sorted(known))}"
        )
    if not isfinite(spec.weight) or spec.weight < 0:
        raise DesignError(f"design {name!r} gives {spec.signal} the weight {spec.weight}; give 0 or more")
    if not (isfinite(spec.worst) and isfinite(spec.best)) or spec.worst == spec.best:
        raise DesignError(
            f"design {name!r} runs {spec.signal} from worst {spec.worst} to best {spec.best}; "
            "give two different numbers, so that better and worse can be told apart"
        )
    if spec.missing is not None and not 0 <= spec.missing <= 1:
        raise DesignError(
            f"design {name!r} counts a missing {spec.signal} as {spec.missing}; "
            "give a utility from 0 to 1, or nothing to leave such interactions out"
        )
