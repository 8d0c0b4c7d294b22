"""A reward design: which signals count, how a value becomes a utility, and with what weight. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

from organism.errors import DesignError
from organism.records import Constraint, RewardDesign, SignalSpec

GROUPS = ("price", "performance", "quality")
MIN_WEIGHT, MAX_WEIGHT = 1e-9, 1e6
MAX_NAME, MAX_NOTE = 80, 1000
_PRICE, _PERFORMANCE = ("cost_usd", "output_tokens"), ("latency_ms", "ttft_ms", "error")
DEFAULT_DESIGN = RewardDesign(
    name="default",
    signals=(
        SignalSpec("accepted", 0.15, worst=0.0, best=1.0),
        SignalSpec("cost_usd", 0.2, worst=0.0004, best=0.0001),
        SignalSpec("latency_ms", 0.2, worst=2000.0, best=200.0),
        SignalSpec("retained_char_rate", 0.15, worst=0.0, best=1.0),
        SignalSpec("written_share", 0.3, worst=0.0, best=1.0, missing=0.0),
    ),
    note="Quality counts for three fifths, half of it how much of the text the model wrote",
)


def group_of(signal: str) -> str:
    """The group whose slider moves this signal: price, performance, or quality for all the rest."""
    return "price" if signal in _PRICE else "performance" if signal in _PERFORMANCE else "quality"


def group_weights(design: RewardDesign) -> dict[str, float]:
    """The summed weight of each of the three groups; 0 for a group without signals."""
    return {group: round(sum(spec.weight for spec in _members(design, group)), 12) for group in GROUPS}


def groups_present(design: RewardDesign) -> list[str]:
    """The groups that have a signal in this design: only their weights can be moved."""
    return [group for group in GROUPS if _members(design, group)]


def weighted(design: RewardDesign, *, price: float, performance: float, quality: float) -> RewardDesign:
    """The design with these weights of the three groups; within a group the shares stay as they are.

    For arithmetic: the shares are exact to 12 decimals. A design that people keep comes from `moved`. A group that has
    no signal in the design takes no weight: ask `check_groups` before, where that would surprise.
    """
    wanted = {"price": price, "performance": performance, "quality": quality}
    shares = {name: share for group in GROUPS for name, share in _shares(_members(design, group)).items()}
    return _with_weights(design, {name: round(wanted[group_of(name)] * share, 12) for name, share in shares.items()})


def moved(design: RewardDesign, *, price: float, performance: float, quality: float) -> RewardDesign:
    """What the sliders make of a design: as `weighted`, with weights that read well in a file.

    They have 6 significant digits, and the largest of a group takes what rounding left, so that the group sums to what
    was asked for. A group that is asked for what it has keeps its weights to the last digit. The same move of the same
    design gives the same id, wherever it is made.
    """
    wanted, now = {"price": price, "performance": performance, "quality": quality}, group_weights(design)
    weights = {spec.signal: spec.weight for spec in design.signals}
    for group in GROUPS:
        if wanted[group] != now[group]:
            weights |= _shared_out(wanted[group], _shares(_members(design, group)))
    return _with_weights(design, weights)


def check_groups(design: RewardDesign, wanted: Mapping[str, float]) -> None:
    """Raise DesignError when a group's weight is no weight, or when the design has no signal to carry it."""
    for group, weight in wanted.items():
        if group not in GROUPS:
            raise DesignError(f"there is no group {group!r}; the groups are {', '.join(GROUPS)}")
        if not 0 <= weight <= MAX_WEIGHT:
            raise DesignError(f"the weight of {group} is {weight:g}; give a number from 0 to {MAX_WEIGHT:,.0f}")
        if weight and group not in groups_present(design):
            raise DesignError(
                f"design {design.name!r} has no signal of {group} to give the weight {weight:g} to; "
                f"set {group} to 0, or add such a signal to the design"
            )


def check_design(design: RewardDesign, known: Mapping[str, Any] | Collection[str]) -> None:
    """Raise DesignError, with what to do, when the design cannot give a reward on these signals.

    `known` names the signals; where it maps them to what is known of them, a `removed_at` there tells
    that a signal is gone, and since when.
    """
    _check_words(design)
    for names, what in (
        ([s.signal for s in design.signals], "names"),
        ([c.signal for c in design.constraints], "guards"),
    ):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DesignError(f"design {design.name!r} {what} {', '.join(twice)} twice; keep one line a signal")
    for spec in design.signals:
        _check_known(design.name, "weighs", spec.signal, known)
        _check_signal(design.name, spec)
    for guardrail in design.constraints:
        _check_known(design.name, "guards", guardrail.signal, known)
        _check_constraint(design.name, guardrail)
    if not any(spec.weight >= MIN_WEIGHT for spec in design.signals):
        listed = ", ".join([spec.signal for spec in design.signals] or sorted(_alive(known)))
        least = f" of {MIN_WEIGHT:g} or more" if any(spec.weight for spec in design.signals) else ""
        raise DesignError(
            f"design {design.name!r} gives no signal a positive weight{least}; give at least one of: {listed}"
        )


def check_note(design: RewardDesign) -> None:
    """Raise DesignError unless the design says in its note what should get better."""
    if not design.note.strip():
        raise DesignError(
            f"design {design.name!r} has no note; say in one sentence what should get better, "
            "so that the next person knows why it was saved"
        )


def ordered(signals: Sequence[SignalSpec]) -> tuple[SignalSpec, ...]:
    """The signals in the order of the moments' columns: by name."""
    return tuple(sorted(signals, key=lambda spec: spec.signal))


def number(value: float) -> str:
    """A figure for people: as short as it can be without becoming another one."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def listed(words: Sequence[str]) -> str:
    """Words for people in a row: a, b and c; nothing for none."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _members(design: RewardDesign, group: str) -> list[SignalSpec]:
    return [spec for spec in design.signals if group_of(spec.signal) == group]


def _with_weights(design: RewardDesign, weights: Mapping[str, float]) -> RewardDesign:
    return RewardDesign(
        name=design.name,
        signals=tuple(spec._replace(weight=weights[spec.signal]) for spec in design.signals),
        constraints=design.constraints,
        note=design.note,
        author=design.author,
    )


def _shares(members: Sequence[SignalSpec]) -> dict[str, float]:
    """Each signal's share of its group's weight; where the group has none, the default design's, or equal ones."""
    weights = {spec.signal: spec.weight for spec in members}
    if not sum(weights.values()):
        defaults = {spec.signal: spec.weight for spec in DEFAULT_DESIGN.signals}
        weights = {name: defaults[name] if weights.keys() <= defaults.keys() else 1.0 for name in weights}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _shared_out(weight: float, shares: Mapping[str, float]) -> dict[str, float]:
    """A group's weight by these shares: 6 significant digits each, and the largest what is left of the weight."""
    if not shares:
        return {}
    rounded = {name: float(f"{weight * share:.6g}") for name, share in shares.items()}
    largest = max(sorted(shares), key=shares.__getitem__)
    return rounded | {largest: round(weight - sum(rounded[name] for name in shares if name != largest), 12)}


def _check_words(design: RewardDesign) -> None:
    if not design.name.strip():
        raise DesignError("the design has no name; give it a short one, for example: cheaper-drafts")
    if len(design.name) > MAX_NAME or not design.name.isprintable():
        raise DesignError(
            f"the design's name {design.name[:40]!r}… is no name; give one line of up to {MAX_NAME} letters"
        )
    if max(len(design.note), len(design.author)) > MAX_NOTE:
        raise DesignError(f"design {design.name!r} has a note or author of over {MAX_NOTE:,} letters; say it shorter")


def _alive(known: Mapping[str, Any] | Collection[str]) -> list[str]:
    return [name for name in known if _removed_at(name, known) is None]


def _removed_at(signal: str, known: Mapping[str, Any] | Collection[str]) -> datetime | None:
    found = known.get(signal) if isinstance(known, Mapping) else None
    return getattr(found, "removed_at", None)


def _check_known(name: str, verb: str, signal: str, known: Mapping[str, Any] | Collection[str]) -> None:
    if signal not in known:
        raise DesignError(
            f"design {name!r} {verb} {signal!r}, which nothing measures; use one of: {', '.join(sorted(_alive(known)))}"
        )
    if (removed := _removed_at(signal, known)) is not None:
        raise DesignError(
            f"design {name!r} {verb} {signal!r}, which was removed on {removed:%b} {removed.day}, {removed.year}; "
            "define that signal again, or take its line out of the design"
        )


def _check_signal(name: str, spec: SignalSpec) -> None:
    if not 0 <= spec.weight <= MAX_WEIGHT:
        wanted = "0 or more" if not spec.weight > MAX_WEIGHT else f"a number up to {MAX_WEIGHT:,.0f}"
        raise DesignError(f"design {name!r} gives {spec.signal} the weight {spec.weight}; give {wanted}")
    if spec.worst == spec.best or not isfinite(spec.best - spec.worst):
        raise DesignError(
            f"design {name!r} runs {spec.signal} from worst {spec.worst} to best {spec.best}; "
            "give two different numbers, so that better and worse can be told apart"
        )
    if spec.missing is not None and not 0 <= spec.missing <= 1:
        raise DesignError(
            f"design {name!r} counts a missing {spec.signal} as {spec.missing}; "
            "give a utility from 0 to 1, or nothing to leave such interactions out"
        )


def _check_constraint(name: str, guardrail: Constraint) -> None:
    bounds = [bound for bound in (guardrail.at_least, guardrail.at_most) if bound is not None]
    said = f"design {name!r} guards {guardrail.signal}"
    if not bounds:
        raise DesignError(f"{said} without a bound; give at_least or at_most, or take the guardrail out")
    if not all(isfinite(bound) for bound in bounds):
        raise DesignError(f"{said} with the bound {', '.join(map(str, bounds))}; give finite numbers")
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        raise DesignError(
            f"{said} with at least {number(bounds[0])} and at most {number(bounds[1])}, which no value can meet; "
            "swap the two, or drop one"
        )
