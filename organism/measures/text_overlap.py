"""How alike a draft and a final text are by the field's usual measures, a pair at a time. Pure; all in [0, 1]."""

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from rapidfuzz.distance import LCSseq, Levenshtein

CHRF_ORDER = 6
CHRF_BETA = 2.0
_SPACE = re.compile(r"\s+")
_TOKEN = re.compile(r"[a-z0-9]+")


def exact_match(draft: str, final: str) -> float:
    """1 when the draft is the final text letter by letter, but for white space at its ends; else 0."""
    return float(draft.strip() == final.strip())


def edit_similarity(draft: str, final: str) -> float:
    """1 minus the Levenshtein distance in characters over the longer length; 1 for two empty texts."""
    return Levenshtein.normalized_similarity(draft, final)


def rouge_l(draft: str, final: str) -> float:
    """ROUGE-L: the F1 of the longest common subsequence of words (Lin, "ROUGE", 2004, section 3).

    Words are runs of a-z and 0-9 in lower case, without stemming, as in the package rouge_score. 0 when a text has no
    word.
    """
    drafted, wanted = _words(draft), _words(final)
    shared = LCSseq.similarity(drafted, wanted)
    return 2 * shared / (len(drafted) + len(wanted)) if shared else 0.0


def chrf(draft: str, final: str) -> float:
    """chrF2 of one pair: F of character n-grams of 1 to 6 without white space, recall weighing twice as much as
    precision (Popovic, "chrF", 2015; beta 2 as in sacreBLEU, which prints it times 100).

    Orders for which a text is too short are left out of the average.
    """
    orders = [
        (sum((have & want).values()), sum(have.values()), sum(want.values()))
        for have, want in zip(_grams(draft), _grams(final), strict=True)
    ]
    usable = [(shared / n_have, shared / n_want) for shared, n_have, n_want in orders if n_have and n_want]
    if not usable:
        return 0.0
    precision, recall = (sum(side) / len(usable) for side in zip(*usable, strict=True))
    weight = CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall) if precision + recall else 0.0


MEASURES: dict[str, Callable[[str, str], float]] = {
    "rouge_l": rouge_l,
    "chrf": chrf,
    "edit_similarity": edit_similarity,
    "exact_match": exact_match,
}
"""The measures by the names of their modules in optimize/metrics."""


def _words(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


@lru_cache(maxsize=4096)
def _grams(text: str) -> tuple[Counter[str], ...]:
    """The character n-grams of each order, counted; a final text is asked for once a model."""
    letters = _SPACE.sub("", text)
    return tuple(
        Counter(letters[at : at + size] for at in range(len(letters) - size + 1)) for size in range(1, CHRF_ORDER + 1)
    )
