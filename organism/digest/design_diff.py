"""What changes from one reward design to another, in words. Pure."""

from math import isclose

from organism.digest.designs import number, ordered
from organism.records import Constraint, RewardDesign, SignalSpec


def diff(before: RewardDesign, after: RewardDesign) -> list[str]:
    """What changes from one recipe to the other, in words, a line a change; empty when they are the same recipe.

    Figures are rounded as far as the change still shows.
    "latency_ms 0.20 → 0.35" is a weight; "+" is a signal or guardrail that comes, "−" one that goes.
    """
    old, new = ({spec.signal: spec for spec in design.signals} for design in (before, after))
    lines = [line for name in sorted(old | new) for line in _signal_lines(old.get(name), new.get(name))]
    if lines and _same_shares(before, after):
        lines.append("every share stays as it was: the reward is the same")
    olds, news = ({c.signal: c for c in design.constraints} for design in (before, after))
    return lines + [line for name in sorted(olds | news) for line in _bound_lines(olds.get(name), news.get(name))]


def bounds_in_words(guardrail: Constraint) -> str:
    """ "at least 0.8", "at most 1500", or both."""
    parts = (("at least", guardrail.at_least), ("at most", guardrail.at_most))
    return " and ".join(f"{word} {number(bound)}" for word, bound in parts if bound is not None) or "without a bound"


def _signal_lines(old: SignalSpec | None, new: SignalSpec | None) -> list[str]:
    if old is None or new is None:
        sign, spec = ("+", new) if old is None else ("−", old)
        return [f"{sign} {_in_words(spec)}"] if spec else []
    name, lines = old.signal, []
    if old.weight != new.weight:
        lines.append(f"{name} {_weights(old.weight, new.weight)}")
    for anchor in ("worst", "best"):
        if getattr(old, anchor) != getattr(new, anchor):
            lines.append(f"{name} {anchor} {_apart(getattr(old, anchor), getattr(new, anchor), digits=6)}")
    if old.missing != new.missing:
        lines.append(f"{name} when missing: {_missing(old)} → {_missing(new)}")
    return lines


def _bound_lines(old: Constraint | None, new: Constraint | None) -> list[str]:
    if old == new:
        return []
    if old is None or new is None:
        sign, guardrail = ("+", new) if old is None else ("−", old)
        return [f"{sign} guardrail: {guardrail.signal} {bounds_in_words(guardrail)}"] if guardrail else []
    return [f"guardrail: {old.signal} {bounds_in_words(old)} → {bounds_in_words(new)}"]


def _in_words(spec: SignalSpec) -> str:
    anchors = f"worst {number(spec.worst)}, best {number(spec.best)}, {_missing(spec)} when missing"
    return f"{spec.signal} {_weights(spec.weight)} ({anchors})"


def _missing(spec: SignalSpec) -> str:
    return "left out" if spec.missing is None else f"counts as {number(spec.missing)}"


def _weights(*weights: float) -> str:
    """Weights with two decimals where these say all, else with three digits, or as many as tell them apart."""
    short = [f"{weight:.2f}" for weight in weights]
    exact = all(isclose(float(text), weight, abs_tol=1e-9) for text, weight in zip(short, weights, strict=True))
    if exact and len(set(short)) == len(set(weights)):
        return " → ".join(short)
    return _apart(*weights, digits=3)


def _apart(*figures: float, digits: int) -> str:
    """Figures of so many significant digits, or of as many as tell different ones apart; 17 tell any two."""
    texts = [number(float(f"{figure:.{digits}g}")) for figure in figures]
    if digits < 17 and len(set(texts)) < len(set(figures)):
        return _apart(*figures, digits=digits + 1)
    return " → ".join(texts)


def _same_shares(before: RewardDesign, after: RewardDesign) -> bool:
    """Whether only the scale of the weights differs."""
    shares = []
    for design in (before, after):
        total = sum(spec.weight for spec in design.signals)
        if not total:
            return False
        shares.append([spec._replace(weight=spec.weight / total) for spec in ordered(design.signals)])
    pairs = list(zip(*shares, strict=False))
    return len(shares[0]) == len(shares[1]) and all(
        old[0] == new[0] and old[2:] == new[2:] and isclose(old.weight, new.weight, rel_tol=1e-9) for old, new in pairs
    )
