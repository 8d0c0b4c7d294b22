"""Several tests at once: p-values adjusted so that luck is not found by looking often enough.

Holm and Hochberg hold the chance of even one false alarm (metrics that decide); Benjamini-Hochberg and -Yekutieli
hold the expected share of false alarms among what is flagged (segments, that are searched).
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np


class Correction(StrEnum):
    """How p-values of several tests are adjusted."""

    HOLM = "holm"
    HOCHBERG = "hochberg"
    BH = "benjamini_hochberg"
    BY = "benjamini_yekutieli"


def adjusted(p_values: Sequence[float | None], method: Correction) -> list[float | None]:
    """Each p adjusted for all of them, in their order; None (the data could not say) stays None and counts for nothing.

    Compare the result with alpha itself. Holm (1979) steps down, Hochberg (1988) steps up and asks for independent or
    positively dependent tests; BH (1995) asks for the same, BY (2001) for nothing.
    """
    known = [p for p in p_values if p is not None]
    if any(not 0 <= p <= 1 for p in known):
        raise ValueError(f"p-values lie between 0 and 1; found {[p for p in known if not 0 <= p <= 1]}")
    found = iter(_adjusted(np.array(known, dtype=float), Correction(method)).tolist())
    return [None if p is None else next(found) for p in p_values]


def _adjusted(p: np.ndarray, method: Correction) -> np.ndarray:
    m = len(p)
    if not m:
        return p
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, m + 1)
    if method in (Correction.HOLM, Correction.HOCHBERG):
        factor = m - rank + 1.0
    else:
        factor = m / rank * (np.sum(1 / rank) if method == Correction.BY else 1.0)
    scaled = p[order] * factor
    # A smaller p never gets the larger adjusted one: a running maximum downward, a running minimum upward.
    monotone = np.maximum.accumulate(scaled) if method == Correction.HOLM else np.minimum.accumulate(scaled[::-1])[::-1]
    result = np.empty(m)
    result[order] = np.minimum(monotone, 1.0)
    return result
