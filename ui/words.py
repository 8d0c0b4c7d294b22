"""How figures and texts are said: percentages, durations, intervals, and texts with marked runs as Markdown."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd


def note(text: str, runs: Sequence[tuple[int, int]], color: str, *, strike_rest: bool = False) -> str:
    """A text as Markdown with the given (start, end) runs on a colored ground; optionally the rest struck through."""
    pieces, at = [], 0
    for start, end in runs:
        pieces.append(_piece(text[at:start], "~" if strike_rest else ""))
        pieces.append(_piece(text[start:end], color))
        at = end
    pieces.append(_piece(text[at:], "~" if strike_rest else ""))
    return "".join(pieces)


def _piece(text: str, mark: str) -> str:
    """Mark each line on its own: a colored ground may not span a line break."""
    return "  \n".join(_marked(line, mark) for line in text.split("\n"))


def _marked(line: str, mark: str) -> str:
    core = line.strip()
    if not core or not mark:
        return literal(line)
    before, after = line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]
    body = f"~~{literal(core)}~~" if mark == "~" else f":{mark}-background[{literal(core)}]"
    return f"{before}{body}{after}"


def literal(text: str) -> str:
    """Text that Markdown must show as it is; marks that would turn the writing of what follows around are left out."""
    return "".join(f"\\{sign}" if sign in _SIGNS else sign for sign in text if sign not in _TURNS)


_TURNS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
_SIGNS = frozenset("\\`*_{}[]()#+-.!|~$:<>&\"'=")


def code(text: str, most: int = 80) -> str:
    """A word out of an address as Markdown code: short, on one line, and nothing in it can end the code."""
    kept = " ".join(text.replace("`", "'").split())
    return f"`{kept if len(kept) <= most else kept[: most - 1] + '…'}`"


def sentence(text: str) -> str:
    """An error's message as a sentence that starts with a capital."""
    return text[:1].upper() + text[1:]


def percent(share: float | None, digits: int = 1) -> str | None:
    """0.834 as 83.4%, never -0.0%; None stays None, which a metric shows as a dash."""
    return None if share is None or pd.isna(share) else f"{share:z.{digits}%}"


def counted(number: int, noun: str) -> str:
    """1 run, 2,000 runs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def points(difference: float | None) -> str | None:
    """0.042 as +4.2 pt; what rounds to zero is +0.0 pt."""
    return None if difference is None or pd.isna(difference) else f"{100 * difference:+z.1f} pt"


def between(low: float | None, high: float | None, unit: Callable[[float], Any]) -> str:
    """An interval in words, or that it is unknown."""
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return "interval unknown"
    return f"{unit(low)} to {unit(high)}"


def span(length: timedelta | None) -> str | None:
    """A duration in its largest fitting unit: 3.2 d, 4 h, 12 min, 8 s."""
    if length is None or pd.isna(length):
        return None
    seconds = length.total_seconds()
    for size, unit, digits in ((86400, "d", 1), (3600, "h", 1), (60, "min", 0)):
        if seconds >= size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def ago(seconds: float | None) -> str:
    """How long ago, in words: 2 min ago; never came."""
    length = None if seconds is None or pd.isna(seconds) else timedelta(seconds=max(seconds, 0.0))
    return f"{span(length)} ago" if length is not None else "never came"
