"""The charts of an experiment: pure functions from a table and a palette to a figure.

Figures are drawn in the metric's unit as people read it: `factor` and `unit` come with the data (100 and " pt" for a
share). `big` draws for the back of the room.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui.charts import Palette

ROW = 34
MARGIN_SHOWN = 2.0


class Unit(NamedTuple):
    """How a difference in a metric is written: times `factor`, with `suffix`."""

    factor: float = 1.0
    suffix: str = ""


class Planned(NamedTuple):
    """When the planned size was reached or will be, and what is written beside it."""

    at: datetime
    label: str


def track(
    frame: pd.DataFrame,
    palette: Palette,
    unit: Unit,
    planned: Planned | None = None,
    minimum_effect: float | None = None,
    big: bool = False,
) -> go.Figure:
    """The effect so far by day: the interval for one look inside the one that holds at every look.

    Columns: day, effect, low, high, always_low, always_high, n_users. The first days' intervals may leave the frame;
    the last ones never do.
    """
    figure = charts.blank(palette, height=430 if big else 320)
    scaled = frame.assign(**{name: frame[name] * unit.factor for name in _INTERVALS if name in frame})
    for low, high, opacity, name in (
        ("always_low", "always_high", 0.13, "Always-valid"),
        ("low", "high", 0.24, "For one look"),
    ):
        if low in scaled:
            _band(figure, scaled, low, high, charts.faint(palette.treatment, opacity), name)
    figure.add_scatter(
        x=scaled["day"],
        y=scaled["effect"],
        mode="lines+markers" if len(scaled) < 40 else "lines",
        name="Effect",
        line={"color": palette.treatment, "width": 4 if big else 2.5},
        marker={"size": 9 if big else 6},
        customdata=scaled[[name for name in ("n_users",) if name in scaled]],
        hovertemplate=f"%{{x|%b %-d}}: %{{y:+.3~g}}{unit.suffix}, %{{customdata[0]:,}} users<extra></extra>",
    )
    _line(figure, palette.control, y=0.0, label="No difference", dash="dash", is_below=True)
    if minimum_effect is not None:
        _line(figure, palette.good, y=minimum_effect * unit.factor, label="Worth shipping for", dash="dot")
    if planned is not None:
        is_early = planned.at < frame["day"].iloc[len(frame) // 2]
        side = "left" if is_early else "right"
        _line(figure, palette.warn, x=planned.at, label=planned.label, dash="dot", anchor=side, is_below=True)
    figure.update_yaxes(range=_track_range(scaled), ticksuffix=unit.suffix, tickformat="+.3~g", title=None)
    ends = [frame["day"].iloc[0], planned.at if planned else frame["day"].iloc[-1], frame["day"].iloc[-1]]
    figure.update_xaxes(tickformat="%b %-d", range=_with_air(ends))
    figure.update_layout(hovermode="x")
    return _grown(figure) if big else figure


_INTERVALS = ("effect", "low", "high", "always_low", "always_high")


def _with_air(days: Sequence[datetime]) -> list[datetime]:
    """From the first of these days to the last, and a fifth more for the names of the lines."""
    return [min(days), max(days) + (max(days) - min(days)) / 5]


def _track_range(scaled: pd.DataFrame) -> list[float]:
    """From zero and all effects to the last intervals, with some air; early intervals are wide and say little."""
    last = scaled.iloc[-max(1, len(scaled) // 3) :]
    known = pd.concat([last[name].dropna() for name in _INTERVALS if name in last] + [scaled["effect"].dropna()])
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    air = 0.12 * (high - low) or 1.0
    return [low - air, high + air]


def segments(frame: pd.DataFrame, palette: Palette, unit: Unit, overall: float | None, big: bool = False) -> go.Figure:
    """A forest plot: one interval a value, under its segment's name, beside the effect on all.

    Columns: segment, value, effect, low, high, n, is_clear (after the adjustment), note.
    """
    rows = _under_headers(frame)
    figure = charts.blank(palette, height=(120 if big else 96) + (ROW + 8 * big) * len(rows))
    known = rows.dropna(subset=["effect"])
    for is_clear, symbol, name in ((True, "circle", "Clear after the adjustment"), (False, "circle-open", "Not clear")):
        part = known[known["is_clear"].astype(bool) == is_clear]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["effect"] * unit.factor,
            y=part["place"],
            mode="markers",
            name=name,
            marker={"size": 13, "color": palette.treatment, "symbol": symbol, "line": _edge(palette.treatment)},
            error_x=charts.whiskers(
                part["effect"] * unit.factor, part["low"] * unit.factor, part["high"] * unit.factor, palette.treatment
            ),
            customdata=part[["value", "n"]],
            hovertemplate=f"%{{customdata[0]}}: %{{x:+.3~g}}{unit.suffix}, %{{customdata[1]:,}} users<extra></extra>",
        )
    _line(figure, palette.control, x=0.0, dash="dash")
    if overall is not None:
        _line(figure, palette.treatment, x=overall * unit.factor, dash="dot", label="All users")
    figure.update_yaxes(
        tickvals=rows["place"], ticktext=rows["label"], range=[-0.7, len(rows) - 0.3], showgrid=False, title=None
    )
    figure.update_xaxes(ticksuffix=unit.suffix, tickformat="+.3~g", showgrid=True, title=None, nticks=7)
    return _grown(figure) if big else figure


def _under_headers(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows from the top down with a row for each segment's name; place 0 is the lowest."""
    parts = []
    for segment, rows in frame.groupby("segment", sort=False):
        parts.append(pd.DataFrame({"label": [f"<b>{segment}</b>"]}))
        parts.append(rows.assign(label=[f"{row.value} ({row.n:,})" for row in rows.itertuples()]))
    made = pd.concat(parts, ignore_index=True)
    return made.assign(place=range(len(made) - 1, -1, -1), is_clear=made["is_clear"].eq(True))


def since_exposure(frame: pd.DataFrame, palette: Palette, unit: Unit, overall: float | None) -> go.Figure:
    """The effect on what users did so many days after they first met their variant; columns day, effect, low, high, n.

    A novelty effect falls toward zero, learning rises.
    """
    known = frame.dropna(subset=["effect"])
    figure = charts.blank(palette, height=320)
    value = known["effect"] * unit.factor
    figure.add_scatter(
        x=known["day"],
        y=value,
        mode="markers",
        showlegend=False,
        marker={"size": 9, "color": palette.treatment},
        error_y=charts.whiskers(value, known["low"] * unit.factor, known["high"] * unit.factor, palette.treatment),
        customdata=known[["n"]],
        hovertemplate=f"day %{{x}}: %{{y:+.3~g}}{unit.suffix}, %{{customdata[0]:,}} users<extra></extra>",
    )
    _line(figure, palette.control, y=0.0, dash="dash", label="No difference", is_below=(overall or 0) >= 0)
    if overall is not None:
        _line(figure, palette.treatment, y=overall * unit.factor, dash="dot", label="All days")
    figure.update_xaxes(title="Days since the user first met their variant", dtick=1 if len(known) < 15 else None)
    figure.update_yaxes(ticksuffix=unit.suffix, tickformat="+.3~g", title=None)
    return figure


def guardrails(frame: pd.DataFrame, palette: Palette, big: bool = False) -> go.Figure:
    """How much of each margin is used: the estimate, and the worst that the data allow.

    Columns: name, used, at_most, state, in shares of the margin: 1 is the margin, below 0 is better than the control.
    What lies beyond twice the margin is drawn at its edge.
    """
    rows = frame.iloc[::-1]
    inks = {"holds": palette.good, "broken": palette.bad, "open": palette.warn}
    figure = charts.blank(palette, height=(130 if big else 84) + (60 if big else 42) * len(rows))
    figure.add_vrect(
        x0=1, x1=MARGIN_SHOWN + 0.1, fillcolor=charts.faint(palette.bad, 0.10), line_width=0, layer="below"
    )
    for row in rows.dropna(subset=["used"]).itertuples():
        ink = inks.get(str(row.state), palette.control)
        used, at_most = (_within_frame(float(value)) for value in (row.used, row.at_most))
        figure.add_scatter(
            x=[used, at_most],
            y=[row.name, row.name],
            mode="lines+markers",
            showlegend=False,
            line={"color": ink, "width": 6 if big else 4},
            marker={"size": [15 if big else 12, 0], "color": ink, "opacity": 1},
            hovertemplate=f"{row.name}: {row.used:.0%} of the margin used, {row.at_most:.0%} at most<extra></extra>",
        )
    _line(figure, palette.control, x=0.0, dash="dash", label="As the control", anchor="right")
    _line(figure, palette.bad, x=1.0, dash="solid", label="Margin", anchor="left")
    figure.update_xaxes(range=[-MARGIN_SHOWN - 0.1, MARGIN_SHOWN + 0.1], visible=False)
    figure.update_yaxes(showgrid=False, title=None, categoryorder="array", categoryarray=list(rows["name"]))
    return _grown(figure) if big else figure


def _within_frame(share: float) -> float:
    return min(max(share, -MARGIN_SHOWN), MARGIN_SHOWN)


def variants(frame: pd.DataFrame, palette: Palette, unit: Unit, big: bool = False) -> go.Figure:
    """Each variant's mean with its own interval; the control in slate with a line to compare with.

    Columns: name, mean, low, high, is_control, is_best, n.
    """
    rows = frame.dropna(subset=["mean"]).iloc[::-1]
    figure = charts.blank(palette, height=(110 if big else 84) + (56 if big else 42) * len(rows))
    for row in rows.itertuples():
        ink = palette.control if row.is_control else palette.treatment if row.is_best else palette.others[0]
        part = rows.loc[[row.Index]]
        value = part["mean"] * unit.factor
        figure.add_scatter(
            x=value,
            y=part["name"],
            mode="markers",
            showlegend=False,
            marker={"size": 14 if big else 11, "color": ink},
            error_x=charts.whiskers(value, part["low"] * unit.factor, part["high"] * unit.factor, ink),
            hovertemplate=f"{row.name}: %{{x:.4~g}}{unit.suffix}, {row.n:,} users<extra></extra>",
        )
    if len(control := rows.loc[rows["is_control"], "mean"]):
        _line(figure, palette.control, x=float(control.iloc[0]) * unit.factor, dash="dash")
    figure.update_xaxes(ticksuffix=unit.suffix, tickformat=".4~g", showgrid=True, title=None)
    figure.update_yaxes(showgrid=False, title=None, categoryorder="array", categoryarray=list(rows["name"]))
    return _grown(figure) if big else figure


def weights(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Each signal's part of all weight, and the parts at which the finding's certainty changes or it turns around.

    Columns: name, weight, share, zero_at, zero_share, unsure_at, unsure_share; missing where no weight does that.
    """
    rows = frame.iloc[::-1]
    figure = charts.blank(palette, height=110 + 42 * len(rows))
    for column, at, name, ink, symbol in (
        ("share", "weight", "Now", palette.treatment, "circle"),
        ("unsure_share", "unsure_at", "Sure becomes unsure, or unsure sure", palette.warn, "circle-open"),
        ("zero_share", "zero_at", "The effect turns around", palette.bad, "diamond"),
    ):
        part = rows.dropna(subset=[column])
        if part.empty:
            continue
        figure.add_scatter(
            x=part[column],
            y=part["name"],
            mode="markers",
            name=name,
            cliponaxis=False,
            marker={"size": 13, "color": ink, "symbol": symbol, "line": _edge(ink)},
            customdata=part[[at]],
            hovertemplate=f"%{{y}}: {name.lower()} at weight %{{customdata[0]:.3~g}}, %{{x:.0%}} of all<extra></extra>",
        )
    figure.update_xaxes(title="Part of all weight", range=[0, 1], tickformat=".0%", showgrid=True)
    figure.update_yaxes(showgrid=False, title=None, categoryorder="array", categoryarray=list(rows["name"]))
    return figure


def _band(figure: go.Figure, frame: pd.DataFrame, low: str, high: str, fill: str, name: str) -> None:
    """A filled interval; days whose interval is unknown are left out."""
    known = frame.dropna(subset=[low, high])
    figure.add_scatter(
        x=[*known["day"], *known["day"][::-1]],
        y=[*known[high], *known[low][::-1]],
        fill="toself",
        fillcolor=fill,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=name,
    )


def _line(
    figure: go.Figure,
    ink: str,
    *,
    dash: str,
    label: str = "",
    x: Any = None,
    y: float | None = None,
    anchor: str = "center",
    is_below: bool = False,
) -> None:
    """A straight line across the chart with its name at its end."""
    style = {"color": ink, "width": 1.5, "dash": dash}
    across = {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"} if y is None else {"y0": y, "y1": y}
    figure.add_shape(
        type="line", line=style, **({"x0": 0, "x1": 1, "xref": "paper"} | across if y is not None else across)
    )
    if not label:
        return
    text = {"text": label, "showarrow": False, "font": {"color": ink, "size": 12}}
    edge = "top" if is_below else "bottom"
    place = {"x": x, "y": 1, "yref": "paper", "xanchor": anchor, "yanchor": edge}
    if y is not None:
        place = {"x": 1, "xref": "paper", "y": y, "xanchor": "right", "yanchor": edge}
    figure.add_annotation(**text, **place)


def _edge(ink: str) -> dict[str, Any]:
    return {"width": 2, "color": ink}


def _grown(figure: go.Figure) -> go.Figure:
    """The same figure with letters for the back of the room."""
    figure.update_layout(font_size=18, legend_font_size=17)
    figure.update_xaxes(tickfont_size=17, title_font_size=17)
    figure.update_yaxes(tickfont_size=17, title_font_size=17)
    figure.update_annotations(font_size=17)
    return figure
