"""The same gain for parts of the rows: by segment of the user, by length of the final text, by novelty of the prompt.

Pure. A slice is flagged only when its interval stays below zero after Bonferroni's correction for all slices shown
(Dunn, "Multiple comparisons among means", 1961); the interval that is shown is the plain one at 95%.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from organism.optimize.paired import Row, change_by_user, pair

MIN_ROWS = 8
MAX_VALUES = 8
LENGTH, NOVELTY = "length of the final text", "nearness to the training prompts"


class _Part(NamedTuple):
    dimension: str
    value: str
    rows: list[Row]


def slices(rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    """One plain object a slice of at least eight rows: dimension, value, n_rows, n_users, before, after, gain, gain_ci,
    facts_before, facts_after (None without facts), is_worse.

    Segments are what row["segments"] names (region, plan, …), a value a user; a name with more than eight values is
    no segment.
    """
    parts = [part for part in (*_by_segment(rows), *_by_length(rows), *_by_novelty(rows)) if len(part.rows) >= MIN_ROWS]
    return [_figures(part, seed, len(parts)) for part in parts]


def _by_segment(rows: Sequence[Row]) -> Iterator[_Part]:
    names = sorted({name for row in rows for name in row.get("segments") or ()})
    for name in names:
        values = Counter(value for row in rows if (value := (row.get("segments") or {}).get(name)) is not None)
        if 2 <= len(values) <= MAX_VALUES:
            for value in sorted(values):
                yield _Part(name, value, [row for row in rows if (row.get("segments") or {}).get(name) == value])


def _by_length(rows: Sequence[Row]) -> Iterator[_Part]:
    lengths = [float(row["measures"]["final_chars"]) for row in rows]
    yield from _thirds(LENGTH, rows, lengths, "{:.0f} to {:.0f} characters")


def _by_novelty(rows: Sequence[Row]) -> Iterator[_Part]:
    known = [row for row in rows if row["measures"].get("nearest") is not None]
    nearness = [100 * float(row["measures"]["nearest"]) for row in known]
    yield from _thirds(NOVELTY, known, nearness, "{:.0f}% to {:.0f}% shared")


def _thirds(dimension: str, rows: Sequence[Row], values: Sequence[float], name: str) -> Iterator[_Part]:
    """Three parts of about equal size, the least first; fewer where many rows have one value."""
    if not rows:
        return
    edges = sorted({*np.quantile(values, [0, 1 / 3, 2 / 3, 1]).tolist()})
    if len(edges) == 1:
        return
    for low, high in pairwise(edges):
        inside = [low < value <= high or value == low == edges[0] for value in values]
        found = [value for value, is_in in zip(values, inside, strict=True) if is_in]
        if found:
            members = [row for row, is_in in zip(rows, inside, strict=True) if is_in]
            yield _Part(dimension, name.format(min(found), max(found)), members)


def _figures(part: _Part, seed: int, n_slices: int) -> dict[str, Any]:
    counts = [row["measures"] for row in part.rows]
    kept_before, drafted_before, kept_after, drafted_after = ([count[name] for count in counts] for name in _RETAINED)
    gain, strict = (
        change_by_user(part.rows, kept_before, drafted_before, kept_after, drafted_after, seed, level)
        for level in (0.95, 1 - 0.05 / n_slices)
    )
    return {
        "dimension": part.dimension,
        "value": part.value,
        "n_rows": len(part.rows),
        "n_users": len({row["user_key"] for row in part.rows}),
        "before": _ratio(kept_before, drafted_before),
        "after": _ratio(kept_after, drafted_after),
        "gain": gain.estimate,
        "gain_ci": pair(gain),
        **_facts(counts),
        "is_worse": strict.high is not None and strict.high < 0,
    }


_RETAINED = ("retained_before", "chars_before", "retained_after", "chars_after")


def _facts(counts: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    facts = [fact for count in counts for fact in count["facts"]]
    return {f"facts_{side}": _ratio([fact[side] for fact in facts], [1] * len(facts)) for side in ("before", "after")}


def _ratio(num: Sequence[float], den: Sequence[float]) -> float | None:
    return sum(num) / sum(den) if sum(den) else None
