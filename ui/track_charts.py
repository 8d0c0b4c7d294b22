"""The Pareto plot of tracks: a pure function from their results to a figure."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui.charts import Palette, least_range
from ui.charts import frame as house_frame

BASE = "base"
PANELS = {"tokens": "Tokens a draft", "latency_ms": "Latency of a draft, ms"}
GAP = 0.09


def front(frame: pd.DataFrame, palette: Palette, y_title: str) -> go.Figure:
    """Quality over tokens and, where it was measured, over latency, with intervals; a color a recipe.

    Columns: number, label, recipe (None for the base), on_front, to_experiment, quality, tokens, latency_ms, each
    with _low and _high. Hollow: another track is at least as good in everything. A star goes to an experiment.
    """
    inks = _inks(frame, palette)
    panels = {name: title for name, title in PANELS.items() if frame[name].notna().any()}
    layout = house_frame(palette, height=380)
    layout["yaxis"] |= {
        "title": layout["yaxis"]["title"] | {"text": y_title}, "tickformat": ".0%", "nticks": 6, "showgrid": True
    } | least_range(frame["quality"], 0.1)  # fmt: skip
    base, width = layout["xaxis"], (1 - GAP * (len(panels) - 1)) / max(len(panels), 1)
    traces = []
    for number, (name, title) in enumerate(panels.items()):
        tail = str(number + 1) if number else ""
        place = {"domain": [number * (width + GAP), number * (width + GAP) + width], "showgrid": True, "nticks": 6}
        layout[f"xaxis{tail}"] = base | {"title": base["title"] | {"text": f"{title} (less is better)"}} | place
        known = frame.dropna(subset=[name, "quality"])
        traces += [_point(row, name, f"x{tail}", inks) for row in known.to_dict("records")]
    traces += [_key(recipe, ink) for recipe, ink in inks.items()]
    return go.Figure(data=traces, layout=layout)


def _inks(frame: pd.DataFrame, palette: Palette) -> dict[str, str]:
    """Slate for the base, then an ink a recipe in the order of sight."""
    recipes = [recipe for recipe in dict.fromkeys(frame["recipe"]) if isinstance(recipe, str)]
    inks = (palette.treatment, *palette.others, palette.text)
    has_base = frame["recipe"].isna().any()
    return ({BASE: palette.control} if has_base else {}) | dict(zip(recipes, inks, strict=False))


def _point(row: Mapping[str, Any], name: str, axis: str, inks: Mapping[str, str]) -> dict[str, Any]:
    ink = inks.get(row["recipe"] if isinstance(row["recipe"], str) else BASE, next(iter(inks.values())))
    symbol = ("star" if row["to_experiment"] else "circle") + ("" if row["on_front"] else "-open")
    size = 15 if row["to_experiment"] else 12
    return {
        "type": "scatter",
        "x": [row[name]],
        "y": [row["quality"]],
        "xaxis": axis,
        "mode": "markers+text",
        "text": [f" {row['number']}"],
        "textposition": "top right",
        "textfont": {"size": 12},
        "showlegend": False,
        "marker": {"size": size, "color": ink, "symbol": symbol, "line": {"width": 2, "color": ink}},
        "error_x": _whisker(row, name, ink),
        "error_y": _whisker(row, "quality", ink),
        "hovertemplate": f"<b>{row['number']}. {row['label']}</b><br>{PANELS[name]}: %{{x:,.1f}}<br>"
        f"quality %{{y:.1%}} ({_ends(row)})<extra></extra>",
    }  # fmt: skip


def _whisker(row: Mapping[str, Any], name: str, ink: str) -> dict[str, Any]:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    known = pd.notna(low) and pd.notna(high)
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - row[name] if known else 0],
        "arrayminus": [row[name] - low if known else 0],
        "color": ink,
        "thickness": 1.5,
        "width": 0,
    }


def _ends(row: Mapping[str, Any]) -> str:
    if pd.isna(row["quality_low"]):
        return "interval unknown"
    return f"{row['quality_low']:.1%} to {row['quality_high']:.1%}"


def _key(recipe: str, ink: str) -> dict[str, Any]:
    """A line of the legend, which stands for no track."""
    key = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": recipe}
    return key | {"marker": {"color": ink, "size": 11}}
