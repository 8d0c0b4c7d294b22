"""Fact accuracy: does a text carry what it must, whatever its style?"""

import re
from collections.abc import Sequence
from functools import lru_cache

from organism.records import FactCheck

_SPACE = re.compile(r"\s+")
_UNIT = re.compile(r"(?<=\d)(?=(?:mg|mcg|g|ml|kg|bpm|mmhg)\b)")


def right_facts(text: str, checks: Sequence[FactCheck]) -> list[bool]:
    """Whether each fact occurs in the text, by any of its wordings.

    Case, line breaks and the space before a unit do not matter ("875mg" is "875 mg"). A number
    counts only whole: "5 mg" is not in "875 mg", nor "98" in "98.6".
    """
    flat = _normal(text)
    return [any(_wording(words).search(flat) for words in check.any_of) for check in checks]


def fact_accuracy(
    texts: Sequence[str], checks_by_row: Sequence[Sequence[FactCheck]], kind: str | None = None
) -> float | None:
    """The share of facts (of one kind, or of all) that the texts carry; None when there is none to check."""
    right = [
        is_right
        for text, checks in zip(texts, checks_by_row, strict=True)
        for is_right in right_facts(text, [check for check in checks if kind in (None, check.kind)])
    ]
    return sum(right) / len(right) if right else None


def _normal(text: str) -> str:
    return _UNIT.sub(" ", _SPACE.sub(" ", text.casefold()))


@lru_cache(maxsize=16384)
def _wording(words: str) -> re.Pattern[str]:
    plain = _normal(words)
    before = r"(?<!\d)(?<!\d[./])" if plain[:1].isdigit() else ""
    after = r"(?!\d)(?![./]\d)" if plain[-1:].isdigit() else ""
    return re.compile(before + re.escape(plain) + after)
