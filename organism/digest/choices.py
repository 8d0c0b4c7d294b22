"""Weights from choices: which pairs to show, what the answers say about the weights of a design. Pure.

A person who finds one draft better than another speaks about the differences of their utilities: the logistic
regression of the choice on those differences has the weights as its coefficients.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.errors import DesignError, InputError
from organism.records import RewardDesign
from organism.stats.preferences import (
    PairWeights,
    looseness,
    pair_weights,
    shares,
)

Matrix = npt.NDArray[np.float64]

MAX_ACTOR = 80
TOGETHER = 0.95


class ChoiceKind(StrEnum):
    """What is chosen between: two drafts, or two variants by their profiles."""

    DRAFTS = "drafts"
    VARIANTS = "variants"


class Answer(StrEnum):
    """Which one was better; a skip says that the pair was seen and not answered."""

    LEFT = "left"
    RIGHT = "right"
    SKIP = "skip"


class FittedWeight(NamedTuple):
    """One signal: its fitted weight (log odds for a full step of utility) with its profile interval, and shares.

    `share` is weight over Σ|weights|; `hand_share` the design's own weight as a share; `saved_share` what a design
    made of the fit takes, negative weights being 0 there. `n_more` is about how many more pairs would settle it.
    """

    signal: str
    weight: float
    low: float | None
    high: float | None
    share: float | None
    share_low: float | None
    share_high: float | None
    hand_share: float
    saved_share: float | None
    holds_zero: bool
    is_wide: bool
    n_more: int | None


class ChoiceFit(NamedTuple):
    """What the choices say about the weights, beside the hand-set ones.

    `foreseen_by_fit` and `foreseen_by_hand` are the shares of the answered pairs that a design with these weights
    ranks as the person did (the fit on the pairs it was fitted to). `sentences` say what to keep in mind.
    """

    weights: list[FittedWeight]
    n_pairs: int
    n_left_out: int
    l2: float
    foreseen_by_fit: float | None
    foreseen_by_hand: float | None
    sentences: list[str]


def check_choice(left: str, right: str, chosen: str, actor: str) -> Answer:
    """The answer as its word; raises InputError when it is none, has no name under it, or compares one with itself."""
    if chosen not in list(Answer):
        raise InputError(f"the choice is {chosen!r}; say which one is better: left, right, or skip")
    if left == right:
        raise InputError(f"{left!r} is on both sides; compare two different ones")
    if not actor.strip() or len(actor.strip()) > MAX_ACTOR:
        raise InputError(f"a choice needs the name of who chose, in at most {MAX_ACTOR} characters")
    return Answer(chosen)


def candidate_pairs(
    ids: Sequence[str], kinds: Sequence[str | None], asked: set[frozenset[str]], *, rng: np.random.Generator, n: int
) -> list[tuple[int, int]]:
    """Up to n pairs of positions: two rows of the same kind of prompt, drawn, none asked before; repeatable."""
    places: dict[str | None, list[int]] = {}
    for place, kind in enumerate(kinds):
        places.setdefault(kind, []).append(place)
    usable = [np.array(group) for group in places.values() if len(group) > 1]
    if not usable:
        return []
    sizes = np.array([len(group) for group in usable], dtype=float)
    found: dict[tuple[int, int], None] = {}
    for group_number in rng.choice(len(usable), size=n, p=sizes / sizes.sum()):
        left, right = rng.choice(usable[group_number], size=2, replace=False).tolist()
        if frozenset((ids[left], ids[right])) not in asked and (right, left) not in found:
            found[left, right] = None
    return list(found)


def fit_weights(
    design: RewardDesign, left: Matrix, right: Matrix, chosen: Sequence[str], n_left_out: int, *, seed: int = 0
) -> ChoiceFit:
    """Weights of the design's signals from the utilities (n × k, in the design's order) of both sides of n choices.

    Raises DesignError without a choice to learn from.
    """
    if not len(left):
        raise DesignError(
            "there is no choice to learn weights from yet; choose between some pairs first, "
            f"each with all of: {', '.join(spec.signal for spec in design.signals)}"
        )
    took_left = np.array([word == Answer.LEFT for word in chosen])
    apart = left - right
    fit = pair_weights(apart, took_left)
    loose = looseness(fit)
    hand = np.array([spec.weight for spec in design.signals])
    saved = np.clip(fit.weights, 0.0, None)
    found = [
        FittedWeight(
            signal=spec.signal,
            weight=fit.weights[i],
            low=fit.low[i],
            high=fit.high[i],
            share=share,
            share_low=low,
            share_high=high,
            hand_share=float(hand[i] / hand.sum()),
            saved_share=float(saved[i] / saved.sum()) if saved.sum() else None,
            holds_zero=loose[i].holds_zero,
            is_wide=loose[i].is_wide,
            n_more=loose[i].n_more,
        )
        for i, (spec, (share, low, high)) in enumerate(
            zip(design.signals, shares(fit, rng=np.random.default_rng(seed)), strict=True)
        )
    ]
    return ChoiceFit(
        weights=found,
        n_pairs=fit.n_pairs,
        n_left_out=n_left_out,
        l2=fit.l2,
        foreseen_by_fit=_foreseen(apart, np.array(fit.weights), took_left),
        foreseen_by_hand=_foreseen(apart, hand, took_left),
        sentences=[
            *_sentences(found, n_left_out, fit, _unopposed(design, apart, took_left)),
            *_moving_together(design, apart),
        ],
    )


def design_from(fit: ChoiceFit, design: RewardDesign) -> RewardDesign:
    """The design with the fitted weights as shares of 1, its anchors and guardrails kept; negative ones become 0.

    Raises DesignError when no fitted weight is positive.
    """
    found = {weight.signal: weight.saved_share for weight in fit.weights}
    if any(share is None for share in found.values()):
        raise DesignError(
            "the choices give no signal a positive weight, so there is no design to make of them; "
            "check that worst and best of each signal are not swapped, and choose between more pairs"
        )
    signals = tuple(spec._replace(weight=round(found[spec.signal] or 0.0, 4)) for spec in design.signals)
    clipped = [weight.signal for weight in fit.weights if weight.weight < 0]
    loose = sum(weight.holds_zero or weight.is_wide for weight in fit.weights)
    note = f"Weights from {fit.n_pairs} choices" + (f", {loose} of {len(fit.weights)} still loose" if loose else "")
    note += f"; set to 0: {', '.join(clipped)}" if clipped else ""
    return replace(design, name=f"{design.name} from choices"[:80], signals=signals, note=note, author="")


def _foreseen(apart: Matrix, weights: Matrix, took_left: npt.NDArray[np.bool_]) -> float | None:
    """The share of pairs that these weights rank as the person did; a tie counts half. None without a pair."""
    score = apart @ weights
    agrees = np.where(np.abs(score) < 1e-12, 0.5, (score > 0) == took_left)
    return float(agrees.mean()) if len(agrees) else None


def _unopposed(design: RewardDesign, apart: Matrix, took_left: npt.NDArray[np.bool_]) -> list[str]:
    """The signals that differed in some pair and were never chosen against."""
    signed = apart * np.where(took_left, 1.0, -1.0)[:, None]
    one_way = ((signed >= 0).all(axis=0) | (signed <= 0).all(axis=0)) & (signed != 0).any(axis=0)
    return [spec.signal for spec, alone in zip(design.signals, one_way.tolist(), strict=True) if alone]


def _moving_together(design: RewardDesign, apart: Matrix) -> list[str]:
    """A sentence for each two signals whose differences are nearly one: the cosine, since there is no intercept."""
    length = np.sqrt((apart**2).sum(axis=0))
    named = [spec.signal for spec in design.signals]
    alike = [
        (named[i], named[j], float(apart[:, i] @ apart[:, j] / (length[i] * length[j])))
        for i, j in combinations(np.flatnonzero(length).tolist(), 2)
    ]
    return [
        f"{a} and {b} moved {'together' if cosine > 0 else 'against each other'} in these pairs (correlation "
        f"{cosine:+.2f}): choices can hardly tell which of the two counts, only what they weigh "
        f"{'together' if cosine > 0 else 'against each other'}."
        for a, b, cosine in alike
        if abs(cosine) >= TOGETHER
    ]


def _sentences(
    weights: Sequence[FittedWeight], n_left_out: int, fit: PairWeights, unopposed: Sequence[str]
) -> list[str]:
    said = []
    if fit.is_separable:
        said.append(
            f"None of the {fit.n_pairs} choices speaks against {' or '.join(unopposed) or 'some mix of the signals'}, "
            f"so the likelihood has no maximum: the fit takes an L2 penalty of {fit.l2:g}. Do not trust the sizes yet."
        )
    elif fit.l2:
        said.append(
            f"The choices do not tell all signals apart (one hardly differed between the two sides, or two moved "
            f"together), so the fit takes an L2 penalty of {fit.l2:g}."
        )
    if loose := [weight for weight in weights if weight.holds_zero or weight.is_wide]:
        said.append(_how_loose(loose, len(weights)))
    if negative := [weight.signal for weight in weights if weight.weight < 0]:
        said.append(
            f"{' and '.join(negative)} came out negative: people chose against such a signal, or it moves with "
            "something that is not in the design. In a design it becomes 0, since a weight cannot be negative."
        )
    if n_left_out:
        said.append(
            f"{n_left_out} more were left out: skipped, or a side lacks one of the signals (what a design counts a "
            "missing signal as is nothing that a person saw)."
        )
    return said


def _how_loose(loose: Sequence[FittedWeight], n_weights: int) -> str:
    listed = ", ".join(
        f"{weight.signal} (about {weight.n_more:,} more pairs)"
        if weight.n_more
        else f"{weight.signal} (thousands more)"
        for weight in loose
    )
    return (
        f"{len(loose)} of {n_weights} weights {'is' if len(loose) == 1 else 'are'} still loose, their intervals "
        f"holding 0 or being wider than their value: {listed}."
    )
