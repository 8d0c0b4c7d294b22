"""How strong the variants are by what people chose: Bradley-Terry, and whether it has an answer. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from organism.stats.preferences import UNCONNECTED_PENALTY, Connectivity, bradley_terry, connectivity

Pair = tuple[str, str]


class Strength(NamedTuple):
    """One variant: its Bradley-Terry log strength against the mean of all, with a Wald interval."""

    variant: str
    log_strength: float
    low: float
    high: float
    n_won: int
    n_lost: int


class Strengths(NamedTuple):
    """Variants by what people chose between their drafts; `penalty` is 0 unless the wins do not link them all."""

    variants: list[Strength]
    penalty: float
    sentence: str


def strengths(wins: Mapping[Pair, int]) -> Strengths:
    """Bradley-Terry strengths from how often the first variant of a pair was chosen over the second.

    Where the wins do not link all variants (one never lost, say) that is said, and the fit takes a penalty.
    Empty with fewer than two variants.
    """
    names = sorted({name for pair in wins for name in pair})
    if len(names) < 2:
        return Strengths([], 0.0, "No choice between drafts of two different versions was made yet.")
    table = np.array([[wins.get((a, b), 0) for b in names] for a in names], dtype=float)
    links = connectivity(table)
    penalty = 0.0 if links.n_groups == 1 else UNCONNECTED_PENALTY
    found = bradley_terry(table, penalty)
    rows = [
        Strength(name, theta, theta - 1.96 * error, theta + 1.96 * error, int(won), int(lost))
        for name, theta, error, won, lost in zip(
            names, found.log_strengths, found.standard_errors, table.sum(axis=1), table.sum(axis=0), strict=True
        )
    ]
    return Strengths(sorted(rows, key=lambda row: -row.log_strength), penalty, _linked(links, names))


def _linked(links: Connectivity, names: Sequence[str]) -> str:
    if links.n_groups == 1:
        return "Every version has both won and lost along some chain of choices, so the strengths are finite."
    parts = [
        f"{' and '.join(names[place] for place in places)} {words}"
        for places, words in ((links.never_lost, "never lost"), (links.never_won, "never won"))
        if places
    ] or ["some versions are not linked by wins in both directions"]
    return (
        f"{'; '.join(parts)}: no finite strength fits that best, so an L2 penalty of {UNCONNECTED_PENALTY:g} holds "
        "the figures. Read the order, not the distances."
    )
