"""Charts as inline SVG, drawn from figures by hand: no script, no font, no file beside them. Pure.

Inks are classes, so that the page's style decides about light, dark and paper.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import floor, log10
from typing import NamedTuple

from organism.experiment.figures import Unit
from organism.experiment.markup import Markup, el

WIDTH = 720.0
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Mark(NamedTuple):
    """One row of a forest: an estimate with its interval, and what is written at both ends.

    A row without an estimate and interval is a heading (`is_head`) or says that nothing is known.
    """

    label: str
    said: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    ink: str = "treatment"
    is_filled: bool = True
    is_head: bool = False


class Line(NamedTuple):
    """A straight line across a chart with its name."""

    at: float
    label: str = ""
    ink: str = "control"
    dash: str = "4 4"


class Look(NamedTuple):
    """The effect at the end of one day, with the interval for one look and the one that holds at every look."""

    day: datetime
    value: float | None
    low: float | None
    high: float | None
    always_low: float | None
    always_high: float | None


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers within [low, high], about n of them."""
    if not high > low:
        return [low]
    raw = (high - low) / max(n, 1)
    scale = 10.0 ** floor(log10(raw))
    step = scale * STEPS[min(bisect_left(STEPS, raw / scale - 1e-9), len(STEPS) - 1)]
    first = -floor(-low / step + 1e-9)
    found = []
    while first * step <= high + 1e-9 * step:
        found.append(first * step + 0.0)
        first += 1
    return found


def drawing(height: float, about: str, *parts: Markup | list[Markup]) -> Markup:
    """One picture with what it says in words, for those who cannot see it."""
    return el(
        "svg", *parts, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=about, class_="chart"
    )  # fmt: skip


def forest(
    rows: Sequence[Mark],
    unit: Unit,
    about: str,
    *,
    lines: Sequence[Line] = (),
    reach: tuple[float, float] | None = None,
) -> Markup:
    """A row an interval: names at the left, figures at the right; what leaves the frame ends in an arrow."""
    left, right, row_height, top = 180.0, 508.0, 25.0, 18.0 if any(line.label for line in lines) else 6.0
    low, high = reach or _reach(rows, [line.at for line in lines])
    bottom = top + row_height * len(rows)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    parts = [_vertical(x(at), top, bottom, unit.tick(at)) for at in ticks(low, high)] if reach is None else []
    shown = sorted((line for line in lines if low <= line.at <= high), key=lambda line: line.at)
    for place, line in enumerate(shown):
        # Two names keep to their own sides, so that they never lie on each other.
        anchor, aside = ("middle", 0) if len(shown) == 1 else ("start", 2) if place else ("end", -2)
        parts.append(_rule(x(line.at), x(line.at), top, bottom, line))
        parts.append(_text(x(line.at) + aside, top - 6, line.label, f"note {line.ink}-text", anchor))
    for place, row in enumerate(rows):
        parts += _mark(row, top + (place + 0.5) * row_height, x, (low, high), (left, right))
    return drawing(bottom + (20.0 if reach is None else 6.0), about, parts)


def track(looks: Sequence[Look], unit: Unit, about: str, *, lines: Sequence[Line] = ()) -> Markup:
    """The effect by day: the interval for one look inside the one that holds at every look."""
    left, right, top, bottom = 62.0, 600.0, 12.0, 232.0
    low, high = _track_reach(looks, [line.at for line in lines])
    first, last = looks[0].day, looks[-1].day
    whole = max((last - first).total_seconds(), 1.0)

    def x(day: datetime) -> float:
        return left + (day - first).total_seconds() / whole * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    def clipped(value: float) -> float:
        return y(min(max(value, low), high))

    parts = [
        Markup(
            el("line", x1=left, x2=right, y1=y(at), y2=y(at), class_="grid")
            + _text(left - 8, y(at) + 4, unit.tick(at), "tick", "end")
        )
        for at in ticks(low, high)
    ]
    parts += [_text(x(day), bottom + 18, f"{day:%b} {day.day}", "tick", "middle") for day in _days(first, last)]
    parts.append(_band([(x(one.day), one.always_low, one.always_high) for one in looks], clipped, "always"))
    parts.append(_band([(x(one.day), one.low, one.high) for one in looks], clipped, "fixed"))
    parts += _level_lines(lines, y, (low, high), (left, right))
    known = [(x(one.day), y(one.value)) for one in looks if one.value is not None and low <= one.value <= high]
    parts.append(el("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in known), class_="effect"))
    if len(known) < 40:
        parts += [el("circle", cx=a, cy=b, r=3, class_="treatment-fill") for a, b in known]
    return drawing(bottom + 28, about, parts)


def since_exposure(rows: Sequence[Mark], unit: Unit, about: str, *, lines: Sequence[Line] = ()) -> Markup:
    """An upright interval a day since exposure; `label` is the day."""
    left, right, top, bottom = 62.0, 600.0, 12.0, 192.0
    low, high = _reach(rows, [line.at for line in lines])
    step = (right - left) / max(len(rows), 1)

    def y(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - top)

    parts = [
        Markup(
            el("line", x1=left, x2=right, y1=y(at), y2=y(at), class_="grid")
            + _text(left - 8, y(at) + 4, unit.tick(at), "tick", "end")
        )
        for at in ticks(low, high)
    ]
    parts += _level_lines(lines, y, (low, high), (left, right))
    for place, row in enumerate(rows):
        x = left + (place + 0.5) * step
        parts.append(_text(x, bottom + 18, row.label, "tick", "middle"))
        if row.value is None:
            continue
        if row.low is not None and row.high is not None:
            parts.append(el("line", x1=x, x2=x, y1=y(row.low), y2=y(row.high), class_="whisker treatment-ink"))
        if low <= row.value <= high:
            parts.append(el("circle", cx=x, cy=y(row.value), r=4.5, class_="treatment-fill"))
    parts.append(
        _text((left + right) / 2, bottom + 36, "Days since the user first met their variant", "tick", "middle")
    )
    return drawing(bottom + 44, about, parts)


def _mark(
    row: Mark, y: float, x: Callable[[float], float], reach: tuple[float, float], frame: tuple[float, float]
) -> list[Markup]:
    label = _text(0, y + 4, _short(row.label, 27), "head" if row.is_head else "label")
    parts = [label, _text(WIDTH, y + 4, row.said, "figure", "end")]
    if row.value is None:
        return parts
    (low, high), (left, right) = reach, frame
    if row.low is not None and row.high is not None:
        if row.high >= low and row.low <= high:
            start, end = x(max(row.low, low)), x(min(row.high, high))
            parts.append(el("line", x1=start, x2=end, y1=y, y2=y, class_=f"whisker {row.ink}-ink"))
        parts += [_arrow(left, y, -1, row.ink)] if row.low < low else []
        parts += [_arrow(right, y, 1, row.ink)] if row.high > high else []
    if low <= row.value <= high:
        dot = f"{row.ink}-fill" if row.is_filled else f"{row.ink}-ink hollow"
        parts.append(el("circle", cx=x(row.value), cy=y, r=5, class_=dot))
    return parts


def _arrow(x: float, y: float, to: int, ink: str) -> Markup:
    path = f"M{x - 6 * to:.1f},{y - 4:.1f} L{x:.1f},{y:.1f} L{x - 6 * to:.1f},{y + 4:.1f}"
    return el("path", d=path, class_=f"whisker {ink}-ink")


def _band(points: Sequence[tuple[float, float | None, float | None]], y: Callable[[float], float], name: str) -> Markup:
    known = [(at, y(low), y(high)) for at, low, high in points if low is not None and high is not None]
    outline = [(at, high) for at, _, high in known] + [(at, low) for at, low, _ in reversed(known)]
    return el("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in outline), class_=f"band {name}")


def _level_lines(
    lines: Sequence[Line], y: Callable[[float], float], reach: tuple[float, float], frame: tuple[float, float]
) -> list[Markup]:
    """Level lines with their names at the right; a name that would lie on another moves down."""
    parts, taken = [], list[float]()
    for line in sorted((one for one in lines if reach[0] <= one.at <= reach[1]), key=lambda one: -one.at):
        at = y(line.at)
        parts.append(_rule(frame[0], frame[1], at, at, line))
        place = at + 4
        while any(abs(place - other) < 14 for other in taken):
            place += 2
        taken.append(place)
        parts.append(_text(frame[1] + 8, place, line.label, f"note {line.ink}-text"))
    return parts


def _rule(x1: float, x2: float, y1: float, y2: float, line: Line) -> Markup:
    return el("line", x1=x1, x2=x2, y1=y1, y2=y2, class_=f"rule {line.ink}-ink", stroke_dasharray=line.dash)


def _vertical(x: float, top: float, bottom: float, label: str) -> Markup:
    return Markup(
        el("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid") + _text(x, bottom + 16, label, "tick", "middle")
    )


def _text(x: float, y: float, words: str, class_: str, anchor: str | None = None) -> Markup:
    return el("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _reach(rows: Sequence[Mark], also: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest interval, but not past four times the typical one, or the first.

    So one wild row leaves the frame instead of making all others dots; the first row is what the chart is about.
    """
    ends = [end for row in rows for end in (row.low, row.high, row.value) if end is not None]
    wide = sorted(max(abs(row.low), abs(row.high)) for row in rows if row.low is not None and row.high is not None)
    first = next((row for row in rows if row.low is not None and row.high is not None), None)
    most = max((abs(end) for end in ends), default=1.0)
    if first is not None and first.low is not None and first.high is not None:
        most = max(4 * wide[len(wide) // 2], abs(first.low), abs(first.high))
    return _with_air([min(max(end, -most), most) for end in ends] + [0.0, *also])


def _track_reach(looks: Sequence[Look], also: Sequence[float]) -> tuple[float, float]:
    """All effects and the last third's intervals: early ones are wide and say little."""
    last = looks[-max(1, len(looks) // 3) :]
    ends = [end for one in last for end in one[2:] if end is not None]
    return _with_air([*ends, *(one.value for one in looks if one.value is not None), 0.0, *also])


def _with_air(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 1.0
    return low - air, high + air


def _days(first: datetime, last: datetime) -> list[datetime]:
    """Up to eight days at even steps."""
    step = max(1, -(-(last - first).days // 7))
    return [first + timedelta(days=day) for day in range(0, (last - first).days + 1, step)]
