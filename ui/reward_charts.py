"""The charts of the reward designer: pure functions from a table and a palette to a figure.

A color is a variant, the same in every chart of the page. What is filled is the draft design, what is hollow the
live one. Each figure is made in one call from dictionaries: a slider redraws them, and every later update of a
figure costs 10 to 20 ms.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from organism.digest.cliffs import MOST
from ui.charts import CLEAR, Palette, colors_by_variant, least_range
from ui.charts import frame as house_frame

Trace = dict[str, Any]

UNCLEAR = "Unclear"
CLOSE = 0.15
MEASURES = (("retained_char_rate", "Retained"), ("written_share", "Written"), ("facts_right", "Facts right"))
CORNERS = (
    ("Price", (1, 0, 0), "top center"),
    ("Performance", (0, 1, 0), "bottom center"),
    ("Quality", (0, 0, 1), "bottom center"),
)


def mean_rewards(
    frame: pd.DataFrame, palette: Palette, live: str | None = None, winner: str | None = None
) -> go.Figure:
    """Mean reward of each variant with its interval, hollow under the live design and filled under the draft.

    Columns: variant, note (written under the name, may be empty), live, live_low, live_high, draft, draft_low,
    draft_high. The winner's name is bold.
    """
    colors = colors_by_variant(list(frame["variant"]), live, palette)
    traces = [
        trace
        for design, label, offset in (("live", "Live design", -0.15), ("draft", "Your draft", 0.15))
        for trace in _means(frame, design, label, offset, colors, palette)
    ]
    layout = house_frame(palette, height=84 + 48 * len(frame))
    layout["xaxis"] |= _title(layout, "xaxis", "Mean reward, 95% interval by user") | {
        "range": _room(frame),
        "showgrid": True,
        "nticks": 7,
    }
    layout["yaxis"] |= {
        "tickvals": list(range(len(frame))),
        "ticktext": [_named(row.variant, row.note, row.variant == winner, palette) for row in frame.itertuples()],
        "range": [len(frame) - 0.5, -0.5],
        "showgrid": False,
    }
    return go.Figure(data=traces, layout=layout)


def ternary(
    frame: pd.DataFrame,
    palette: Palette,
    here: Sequence[float],
    live_at: Sequence[float],
    live: str | None = None,
    variants: Sequence[str] = (),
) -> go.Figure:
    """Who wins at each mix of price, performance and quality; gray where the winner is not clear of the next.

    Columns: price, performance, quality (sum 1), winner, runner_up, effect, p_value, is_clear. `here` and `live_at`
    are the three shares of the draft and of the live design.
    """
    colors = colors_by_variant(list(variants) or sorted(set(frame["winner"].dropna())), live, palette)
    clear = frame["is_clear"].fillna(False).astype(bool)
    regions = [(name, color, frame[clear & (frame["winner"] == name)]) for name, color in colors.items()]
    cells = [
        _cells(rows, name, color)
        for name, color, rows in [*regions, (UNCLEAR, palette.line, frame[~clear])]
        if len(rows)
    ]
    marks = [
        _mark_mix("Live", live_at, "circle", 13, "rgba(255,255,255,0.55)", palette),
        _mark_mix("You are here", here, "star", 15, "#FFFFFF", palette),
    ]
    axis = {
        "title": {"text": ""},
        "showticklabels": False,
        "ticks": "",
        "showgrid": False,
        "linecolor": CLEAR,
        "min": 0,
    }
    layout = house_frame(palette, height=350) | {
        "ternary": {"sum": 1, "bgcolor": CLEAR, "aaxis": axis, "baxis": axis, "caxis": axis},
        "margin": {"l": 40, "r": 40, "t": 30, "b": 8},
    }
    layout["legend"] |= {"y": -0.13, "yanchor": "top", "x": 0.5, "xanchor": "center", "font": {"size": 11}}
    return go.Figure(data=[_corners(palette), *cells, *marks], layout=layout)


def front(
    frame: pd.DataFrame, palette: Palette, x_titles: Mapping[str, str], y_title: str, live: str | None = None
) -> go.Figure:
    """Quality over cost and over latency, a panel each, with intervals; hollow where another variant is better in all.

    Columns: variant, on_front, quality, quality_low, quality_high and for each key of `x_titles` the value, `_low`
    and `_high`; missing where nobody measured it.
    """
    colors = colors_by_variant(list(frame["variant"]), live, palette)
    layout = house_frame(palette, height=320)
    layout["yaxis"] |= _title(layout, "yaxis", y_title) | {"tickformat": ".2f", "nticks": 6}
    layout["yaxis"] |= least_range(frame["quality"], 0.1)
    base, gap = layout["xaxis"], 0.08
    width = (1 - gap * (len(x_titles) - 1)) / len(x_titles)
    traces = []
    for number, (name, title) in enumerate(x_titles.items()):
        tail = str(number + 1) if number else ""
        place = {"domain": [number * (width + gap), number * (width + gap) + width], "showgrid": True, "nticks": 5}
        layout[f"xaxis{tail}"] = base | {"title": base["title"] | {"text": title}} | place
        known = frame.dropna(subset=[name, "quality"]).to_dict("records")
        traces += [_point(row, name, f"x{tail}", colors[row["variant"]], in_legend=not number) for row in known]
    return go.Figure(data=traces, layout=layout)


def sweep(
    frame: pd.DataFrame,
    palette: Palette,
    axis_title: str,
    here: float,
    live_at: float,
) -> go.Figure:
    """What a design would grow as one weight moves: shares above, length below; the draft's weight is marked.

    Columns: weight (the group's share of the reward, 0 to 1), chars and any of retained_char_rate, written_share,
    facts_right; optimum_chars is drawn dotted, the length where stopping early is a choice too. The ground is red
    where stops_share is above a half: there the model would rather stop writing.
    """
    inks = (palette.treatment, palette.others[2], palette.warn)
    traces = [
        _line(frame, column, label, ink, "y", "%{y:.1%}")
        for (column, label), ink in zip(MEASURES, inks, strict=True)
        if column in frame and frame[column].notna().any()
    ]
    traces.append(_line(frame, "chars", "Length", palette.text, "y2", "%{y:,.0f} characters"))
    if "optimum_chars" in frame and frame["optimum_chars"].notna().any():
        free = _line(frame, "optimum_chars", "If free to stop", palette.bad, "y2", "%{y:,.0f} characters")
        traces.append(free | {"line": {"color": palette.bad, "width": 2, "dash": "dot"}})
    layout = house_frame(palette, height=380)
    layout["yaxis2"] = layout["yaxis"] | _title(layout, "yaxis", "Characters")
    layout["yaxis2"] |= {"domain": [0, 0.38], "rangemode": "tozero", "nticks": 4}
    layout["yaxis"] |= _title(layout, "yaxis", "Share") | {"domain": [0.46, 1], "range": [0, 1.04], "tickformat": ".0%"}
    layout["xaxis"] |= _title(layout, "xaxis", axis_title) | {
        "range": [-0.01, 1.01],
        "tickformat": ".0%",
        "anchor": "y2",
    }
    layout["margin"] |= {"t": 52}
    layout["legend"] |= {"y": 1.08}
    marks = [(live_at, "Live", palette.control, "dot"), (here, "Your draft", palette.treatment, "solid")]
    shown = [mark for mark in marks if mark[1] != "Live" or live_at != here]
    layout["shapes"] = [_stops(start, end, palette) for start, end in _stop_spans(frame)]
    layout["shapes"] += [_level(place, color, dash) for place, _, color, dash in shown]
    layout["annotations"] = [
        _level_name(place, label, color, to_left=_to_left(place, [mark[0] for mark in shown]))
        for place, label, color, _ in shown
    ]
    return go.Figure(data=traces, layout=layout)


def _means(
    frame: pd.DataFrame, design: str, label: str, offset: float, colors: Mapping[str, str], palette: Palette
) -> list[Trace]:
    """The intervals and means under one design, and its line in the legend, which stands for no row."""
    low, high, filled = f"{design}_low", f"{design}_high", design == "draft"
    places = pd.Series(range(len(frame)), index=frame.index) + offset
    known = frame.dropna(subset=[design])
    inks = [colors[name] for name in known["variant"]]
    intervals = [
        {
            "type": "scatter",
            "x": [row[low], row[high]],
            "y": [places[at], places[at]],
            "mode": "lines",
            "line": {"color": colors[row["variant"]], "width": 2.5 if filled else 1.5},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        for at, row in known.dropna(subset=[low]).iterrows()
    ]
    means = {
        "type": "scatter",
        "x": known[design].tolist(),
        "y": places[known.index].tolist(),
        "mode": "markers",
        "showlegend": False,
        "marker": _dot(inks, filled=filled),
        "customdata": known[["variant", low, high]].to_numpy(dtype=object).tolist(),
        "hovertemplate": f"%{{customdata[0]}}, {label.lower()}: %{{x:.3f}} (%{{customdata[1]:.3f}} to "
        "%{customdata[2]:.3f})<extra></extra>",
    }
    key = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": label}
    return [*intervals, means, key | {"marker": _dot(palette.muted, filled=filled)}]


def _cells(rows: pd.DataFrame, name: str, color: str) -> Trace:
    """The mixes that one variant wins, as hexagons that touch. Arrays and texts: lists of lists are slow to send."""
    leads = zip(rows["winner"], rows["runner_up"], rows["effect"].astype(float), strict=True)
    return {
        "type": "scatterternary",
        "a": rows["price"].to_numpy(),
        "b": rows["performance"].to_numpy(),
        "c": rows["quality"].to_numpy(),
        "mode": "markers",
        "name": name,
        "cliponaxis": False,
        "marker": {"symbol": "hexagon", "size": 12, "color": color, "line": {"width": 0}},
        "text": [
            f"{first} leads {second} by {by:.3f}" if not isnan(by) else "Nobody wins" for first, second, by in leads
        ],
        "hovertemplate": "price %{a:.0%}, performance %{b:.0%}, quality %{c:.0%}<br>%{text}<extra></extra>",
    }


def _corners(palette: Palette) -> Trace:
    """The names of the three corners: texts beside invisible marks, since an axis title would lie under the cells."""
    a, b, c = zip(*(mix for _, mix, _ in CORNERS), strict=True)
    return {
        "type": "scatterternary",
        "a": list(a),
        "b": list(b),
        "c": list(c),
        "mode": "markers+text",
        "text": [name for name, _, _ in CORNERS],
        "textposition": [position for _, _, position in CORNERS],
        "textfont": {"size": 12, "color": palette.muted},
        "marker": {"size": 20, "opacity": 0},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _mark_mix(label: str, mix: Sequence[float], symbol: str, size: int, ink: str, palette: Palette) -> Trace:
    return {
        "type": "scatterternary",
        "a": [mix[0]],
        "b": [mix[1]],
        "c": [mix[2]],
        "mode": "markers",
        "name": label,
        "cliponaxis": False,
        "marker": {"symbol": symbol, "size": size, "color": ink, "line": {"color": palette.text, "width": 2}},
        "hovertemplate": f"{label}: price %{{a:.0%}}, performance %{{b:.0%}}, quality %{{c:.0%}}<extra></extra>",
    }


def _point(row: dict[str, Any], name: str, axis: str, color: str, *, in_legend: bool) -> Trace:
    """One variant in one panel with both its intervals."""
    return {
        "type": "scatter",
        "x": [row[name]],
        "y": [row["quality"]],
        "xaxis": axis,
        "yaxis": "y",
        "mode": "markers",
        "name": row["variant"],
        "legendgroup": row["variant"],
        "showlegend": in_legend,
        "marker": _dot(color, filled=bool(row["on_front"])),
        "error_x": _reach(row, name, color),
        "error_y": _reach(row, "quality", color),
        "hovertemplate": f"{row['variant']}: %{{x:.3g}}, quality %{{y:.3f}}<extra></extra>",
    }


def _reach(row: dict[str, Any], name: str, color: str) -> dict[str, Any]:
    """An interval as plotly's error bar; nothing where it is unknown."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - row[name]],
        "arrayminus": [row[name] - low],
        "color": color,
        "thickness": 1.5,
        "width": 0,
    }


def _line(frame: pd.DataFrame, column: str, label: str, ink: str, axis: str, said: str) -> Trace:
    return {
        "type": "scatter",
        "x": frame["weight"].tolist(),
        "y": frame[column].tolist(),
        "yaxis": axis,
        "name": label,
        "mode": "lines",
        "line": {"color": ink, "width": 2.5},
        "hovertemplate": f"{label} at %{{x:.0%}}: {said}<extra></extra>",
    }


def _stop_spans(frame: pd.DataFrame) -> list[tuple[float, float]]:
    """From where to where along the weight beginnings beat whole drafts on most prompts."""
    if "stops_share" not in frame:
        return []
    stops = frame["stops_share"] > MOST
    runs = (stops != stops.shift()).cumsum()[stops]
    half = frame["weight"].diff().median() / 2
    weights = [frame.loc[found, "weight"] for found in runs.groupby(runs).groups.values()]
    return [(max(span.min() - half, 0.0), min(span.max() + half, 1.0)) for span in weights]


def _stops(start: float, end: float, palette: Palette) -> Trace:
    place = {"x0": start, "x1": end, "y0": 0, "y1": 1, "yref": "paper"}
    return place | {"type": "rect", "fillcolor": palette.bad, "opacity": 0.08, "line": {"width": 0}, "layer": "below"}


def _level(place: float, color: str, dash: str) -> dict[str, Any]:
    """A vertical line through both panels."""
    line = {"color": color, "width": 1.5, "dash": dash}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _level_name(place: float, label: str, color: str, *, to_left: bool) -> dict[str, Any]:
    """The line's name on top of it."""
    anchor = {"x": place, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "right" if to_left else "left"}
    return anchor | {"text": label, "showarrow": False, "font": {"color": color, "size": 12}}


def _to_left(place: float, places: Sequence[float]) -> bool:
    """Whether a name has its room on the left of its line: in the right half, or with another line close on its right.

    At the edges there is room on one side only.
    """
    others = [other for other in places if other != place and abs(other - place) < CLOSE]
    if others and CLOSE < place < 1 - CLOSE / 2:
        return place < others[0]
    return place > 0.5


def _title(layout: dict[str, Any], axis: str, text: str) -> dict[str, Any]:
    return {"title": layout[axis]["title"] | {"text": text}}


def _room(frame: pd.DataFrame) -> list[float] | None:
    """The span of all means and intervals with a little air on both sides."""
    drawn = frame[[f"{design}{end}" for design in ("live", "draft") for end in ("", "_low", "_high")]]
    low, high = drawn.min(axis=None), drawn.max(axis=None)
    air = max(0.06 * (high - low), 0.005)
    return [low - air, high + air] if pd.notna(low) else None


def _dot(color: str | list[str], *, filled: bool) -> dict[str, Any]:
    symbol = "circle" if filled else "circle-open"
    return {"size": 12, "color": color, "symbol": symbol, "line": {"width": 2, "color": color}}


def _named(variant: str, note: str, is_winner: bool, palette: Palette) -> str:
    name = f"<b>{variant}</b>" if is_winner else variant
    return f"{name}<br><span style='color:{palette.bad};font-size:11px'>{note}</span>" if note else name
