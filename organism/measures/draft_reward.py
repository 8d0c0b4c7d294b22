"""What a reward design makes of one draft: its signals, its reward, and how far it falls short of the floors. Pure.

The same design scores the history (by interaction), picks the best of n sampled drafts, and is what GRPO climbs. For a
draft that nobody answered some signals cannot be known (accepted, a rating, an outcome): they are left out, and the
other weights share the whole, as in the preview of what a design would grow. A guardrail is a floor for every
single draft: a bare price weight is a cliff, which made a model stop after 37 tokens.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from organism.errors import DesignError
from organism.measures.acceptance import measure
from organism.measures.facts import right_facts
from organism.measures.prices import cost_usd
from organism.records import Constraint, FactCheck, RewardDesign, SignalSpec

LOWEST = 0.0
Signals = Mapping[str, float | None]


def utility(spec: SignalSpec, value: float | None) -> float | None:
    """How good one value is: 0 at worst, 1 at best, linear between; what the spec says when it is missing."""
    if value is None or not isfinite(value):
        return spec.missing
    return min(1.0, max(0.0, (value - spec.worst) / (spec.best - spec.worst)))


def reward(design: RewardDesign, row: Signals) -> float | None:
    """The reward of one interaction's signals; None when a signal is missing and the design leaves such rows out."""
    total = 0.0
    for spec in design.signals:
        u = utility(spec, row.get(spec.signal))
        if u is None:
            return None
        total += spec.weight * u
    return total / sum(spec.weight for spec in design.signals)


def draft_signals(
    draft: str,
    *,
    tokens: int,
    prompt_tokens: int = 0,
    seconds: float | None = None,
    first_token_seconds: float | None = None,
    reference: str | None = None,
    facts: Sequence[FactCheck] = (),
) -> dict[str, float | None]:
    """The signals that can be known of a draft that nobody answered, by the store's names; the others are not there.

    `tokens` are those that the model wrote, `reference` the text that the expert finally kept. `facts_right` is the
    share of the facts that the draft carries. A share is None where it has no denominator: an empty draft has no
    retained_char_rate, though its written_share is 0.
    """
    found: dict[str, float | None] = {
        "cost_usd": cost_usd(prompt_tokens, tokens),
        "error": 0.0,
        "output_tokens": float(tokens),
    }
    if seconds is not None:
        found["latency_ms"] = 1000 * seconds
    if first_token_seconds is not None:
        found["ttft_ms"] = 1000 * first_token_seconds
    if reference is not None:
        kept = measure(draft, reference)
        found["retained_char_rate"] = kept.retained_chars / kept.draft_chars if kept.draft_chars else None
        found["written_share"] = kept.retained_chars / kept.final_chars if kept.final_chars else None
    if facts:
        found["facts_right"] = sum(right_facts(draft, facts)) / len(facts)
    return found


def draft_reward(design: Mapping[str, Any], signals: Signals) -> float | None:
    """The design's reward of a draft in [0, 1], over the signals that are there; 0 where a floor is broken.

    `design` is the spec as plain data. A signal that is there and None counts as the design says of a missing one:
    None when it leaves such rows out. Raises DesignError when no signal with a weight is there.
    """
    if shortfall(design, signals) > 0:
        return LOWEST
    return reward(_known(design_of(design), signals), signals)


def shortfall(design: Mapping[str, Any], signals: Signals) -> float:
    """How far below its floors a draft is: 0 where it keeps all, else the worst miss as a share of the bound, up to 1.

    A floor on what is not there cannot be broken; one on a value that is None is.
    """
    return max((_miss(bound, signals) for bound in design_of(design).constraints), default=0.0)


def unknown_signals(design: Mapping[str, Any], signals: Signals) -> list[str]:
    """The weighed signals that nobody can know of such a draft, by name: their weight goes to the others."""
    return sorted(spec.signal for spec in design_of(design).signals if spec.weight > 0 and spec.signal not in signals)


def design_of(spec: Mapping[str, Any], name: str = "the design") -> RewardDesign:
    """A design from its spec as plain data ({"signals": […], "constraints": […]})."""
    return RewardDesign(
        name=name,
        signals=tuple(SignalSpec(**line) for line in spec["signals"]),
        constraints=tuple(Constraint(**line) for line in spec.get("constraints", ())),
    )


def _known(design: RewardDesign, signals: Signals) -> RewardDesign:
    specs = tuple(spec for spec in design.signals if spec.signal in signals and spec.weight > 0)
    if not specs:
        weighed = ", ".join(spec.signal for spec in design.signals if spec.weight > 0)
        raise DesignError(
            f"the design weighs only {weighed or 'nothing'}, which nobody can know of a draft that no person answered; "
            f"give a weight to one of: {', '.join(sorted(signals))}"
        )
    return RewardDesign(name=design.name, signals=specs)


def _miss(bound: Constraint, signals: Signals) -> float:
    if bound.signal not in signals:
        return 0.0
    value = signals[bound.signal]
    if value is None or not isfinite(value):
        return 1.0
    low, high = bound.at_least, bound.at_most
    under = 0.0 if low is None else (low - value) / (abs(low) or 1.0)
    over = 0.0 if high is None else (value - high) / (abs(high) or 1.0)
    return min(1.0, max(0.0, under, over))
