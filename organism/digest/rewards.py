"""A reward design and what it makes of the signals. Pure: no store, no clock.

The reward of an interaction is Σ w·u / Σ w over the design's signals, u the utility in [0, 1]. It is linear in
the weights, so everything that a page asks about weights is arithmetic on `Moments` of per-user utility sums.
"""

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from organism.errors import DesignError
from organism.records import Moments, RewardDesign, SignalSpec
from organism.stats.compare import Comparison, Estimate, difference, interval, ratio_of_sums
from organism.stats.moments import combine

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


class VariantReward(NamedTuple):
    """A variant's mean reward per interaction, its interval clustered by user (None where it cannot be said)."""

    variant: str
    n_users: int
    n_interactions: int
    mean: float | None
    low: float | None
    high: float | None


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


def utility(spec: SignalSpec, value: float | None) -> float | None:
    """How good one value is: 0 at worst, 1 at best, linear between; what the spec says when it is missing."""
    if value is None or not isfinite(value):
        return spec.missing
    return min(1.0, max(0.0, (value - spec.worst) / (spec.best - spec.worst)))


def reward(design: RewardDesign, row: Mapping[str, float | None]) -> float | None:
    """The reward of one interaction's signals; None when a signal is missing and the design leaves such rows out."""
    total = 0.0
    for spec in design.signals:
        u = utility(spec, row.get(spec.signal))
        if u is None:
            return None
        total += spec.weight * u
    return total / sum(spec.weight for spec in design.signals)


def rewards_by_variant(
    moments: Mapping[str, Moments], design: RewardDesign, level: float = 0.95
) -> list[VariantReward]:
    """Each variant's mean reward under these weights, by name. No scan: arithmetic on the moments.

    `moments` come from `reward_moments` for the same signals and anchors; only weights may differ.
    """
    return [_variant_reward(variant, moments[variant], design, level) for variant in sorted(moments)]


def reward_difference(
    moments: Mapping[str, Moments], design: RewardDesign, *, control: str, treatment: str, level: float = 0.95
) -> Comparison:
    """Treatment's mean reward minus control's, as if their users were different people, with interval and p."""
    arms = [_estimate(moments[name], design) if name in moments else None for name in (control, treatment)]
    return difference(arms[0], arms[1], level)


def ordered(signals: Sequence[SignalSpec]) -> tuple[SignalSpec, ...]:
    """The signals in the order of the moments' columns: by name."""
    return tuple(sorted(signals, key=lambda spec: spec.signal))


def _variant_reward(variant: str, users: Moments, design: RewardDesign, level: float) -> VariantReward:
    found = interval(_estimate(users, design), level)
    return VariantReward(variant, users.n, round(users.n * users.mean[-1]), *found)


def _estimate(users: Moments, design: RewardDesign) -> Estimate | None:
    specs = ordered(design.signals)
    if len(users.mean) != len(specs) + 1:
        raise DesignError(
            f"the sums at hand are for {len(users.mean) - 1} signals and design {design.name!r} has {len(specs)}; "
            "read the moments again for this design"
        )
    total = sum(spec.weight for spec in specs)
    if total <= 0:
        raise DesignError(
            f"design {design.name!r} gives no signal a positive weight; "
            f"give at least one of: {', '.join(spec.signal for spec in specs)}"
        )
    sums = [spec.weight / total for spec in specs] + [0.0]
    count = [0.0] * len(specs) + [1.0]
    return ratio_of_sums(combine(users, [sums, count]))


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
