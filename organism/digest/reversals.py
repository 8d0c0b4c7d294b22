"""Does the reward prefer a version that has less of an outcome? Pure.

A reward can order drafts rightly within each version and still pay most for the version that offers least. So every
pair of versions is compared: who earns surely more, and whether that one has surely less of the outcome. A version
that breaks a guardrail of the design may not win, so what it earns prefers nobody wrongly: it is only named.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from organism.digest.row_rewards import rewards
from organism.digest.scored_rows import spoken, without
from organism.digest.versions_compared import comparable, compared, surely_down, surely_up
from organism.records import RewardDesign
from organism.stats.compare import Comparison


class Reversal(NamedTuple):
    """A version that earns surely more than another and has surely less of an outcome; changes are its less other's."""

    preferred: str
    other: str
    outcome: str
    reward: Comparison
    change: Comparison


def reversals(rows: pd.DataFrame, design: RewardDesign, outcomes: Sequence[str], level: float = 0.95) -> list[Reversal]:
    """Every reversal among the versions, with `level` for all comparisons together (Bonferroni)."""
    pairs = list(combinations(sorted(set(rows["variant"])), 2))
    each = 1 - (1 - level) / max(len(pairs) * len(outcomes), 1)
    found = [_reversal(rows, design, pair, outcome, each) for pair in pairs for outcome in outcomes]
    return [reversal for reversal in found if reversal is not None]


def in_words(found: Sequence[Reversal], broken: Mapping[str, Sequence[str]] | None = None) -> str:
    """Whom the reward prefers wrongly, and what the others have more of; empty without a reversal.

    `broken` says by variant which guardrails it breaks: such a one is said to be barred instead.
    """
    by_pair: dict[tuple[str, str], list[str]] = {}
    for reversal in found:
        by_pair.setdefault((reversal.preferred, reversal.other), []).append(spoken(reversal.outcome))
    said: dict[str, list[str]] = {}
    for (preferred, other), outcomes in by_pair.items():
        said.setdefault(preferred, []).append(f"{other}, which has more of {' and '.join(outcomes)}")
    wrong = [f"{name} to {other}" for name, others in said.items() if name not in (broken or {}) for other in others]
    sentences = [f"But it prefers {'; '.join(wrong)}."] if wrong else []
    sentences += [
        f"{name} earns more than {'; '.join(said[name])}, and is barred by the guardrail {' and '.join(bounds)}."
        for name, bounds in (broken or {}).items()
        if name in said
    ]
    return " ".join(sentences)


def _reversal(
    rows: pd.DataFrame, design: RewardDesign, pair: tuple[str, str], outcome: str, level: float
) -> Reversal | None:
    judged = without(design, outcome)
    if judged is None:
        return None
    other, preferred = pair
    both = comparable(rows, preferred, other)[0]
    both = both.assign(reward=rewards(both, judged))
    is_preferred = (both["variant"] == preferred).to_numpy(dtype=bool)
    reward = compared(both, "reward", is_preferred, level)
    if surely_down(reward):
        other, preferred, is_preferred = preferred, other, ~is_preferred
        reward = compared(both, "reward", is_preferred, level)
    if not surely_up(reward):
        return None
    change = compared(both, outcome, is_preferred, level)
    return Reversal(preferred, other, outcome, reward, change) if surely_down(change) else None
