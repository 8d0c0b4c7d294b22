"""Why a row cannot be learned from: said once, for the trainer that leaves it out and the page that counts it. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from organism.errors import DesignError
from organism.optimize.runs import MIN_TRAIN_ROWS, Example, Labeled, Pair, Row


class Reason(StrEnum):
    """Why a row is left out; the words that people read."""

    EMPTY = "without a text"
    EQUAL = "with two equal texts"
    TOO_LONG = "longer than the model may read"
    UNSCORED = "without a reward under the design"
    WORTHLESS = "with a reward of 0"
    TIED = "with drafts that the judge finds equal"


class Sifted(NamedTuple):
    """The places of the rows that can be learned from, and how many cannot, by reason."""

    places: list[int]
    dropped: dict[str, int]

    @property
    def n_too_long(self) -> int:
        return self.dropped.get(Reason.TOO_LONG, 0)


def why_dropped(row: Row, n_tokens: int, longest: int) -> Reason | None:
    """Why this row of `n_tokens` (of its longer text, with the prompt) is left out; None where it is learned."""
    if not all(text.strip() for text in texts_of(row)):
        return Reason.EMPTY
    if isinstance(row, Pair) and row.chosen.strip() == row.rejected.strip():
        return Reason.EQUAL
    return Reason.TOO_LONG if n_tokens > longest else None


def texts_of(row: Row) -> tuple[str, ...]:
    """The texts that this row holds for its prompt: two in a pair, the chosen one first."""
    match row:
        case Pair():
            return row.chosen, row.rejected
        case Example() | Labeled():
            return (row.completion,)


def sift(rows: Sequence[Row], lengths: Sequence[int], longest: int) -> Sifted:
    """The rows that can be learned from; raises DesignError, with what was left out and why, when they are too few."""
    reasons = [why_dropped(row, length, longest) for row, length in zip(rows, lengths, strict=True)]
    places = [place for place, reason in enumerate(reasons) if reason is None]
    sifted = Sifted(places, dict(Counter(str(reason) for reason in reasons if reason is not None)))
    require_enough(len(places), len(rows), sifted.dropped, longest)
    return sifted


def require_enough(n_usable: int, n_rows: int, dropped: Mapping[str, int], longest: int) -> None:
    """Raise DesignError unless enough rows are left to learn from."""
    if n_usable >= MIN_TRAIN_ROWS:
        return
    raise DesignError(
        f"{n_usable} of {n_rows} training rows can be learned from ({in_words(dropped) or 'none left out'}); a "
        f"fine-tune needs at least {MIN_TRAIN_ROWS}. Collect more answers, or raise max_length, now {longest} tokens."
    )


def added(first: Mapping[str, int], second: Mapping[str, int] | None) -> dict[str, int]:
    """The counts of two passes over the rows, summed reason by reason."""
    return dict(Counter(first) + Counter(second or {}))


def in_words(dropped: Mapping[str, int]) -> str:
    """The counts in words: `3 without a text, 2 longer than the model may read`; empty where none was left out."""
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
