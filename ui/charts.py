"""The charts of the product: pure functions from a table and a palette to a figure.

Treatment is always teal and control always slate, in both themes. Backgrounds are transparent and
fonts come from the theme. `plotly.graph_objects` only: plotly express costs twelve times as much.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

CLEAR = "rgba(0,0,0,0)"


class Palette(NamedTuple):
    """The inks of one theme, the same as in .streamlit/config.toml."""

    control: str
    treatment: str
    good: str
    bad: str
    warn: str
    text: str
    muted: str
    line: str
    others: tuple[str, ...]


LIGHT = Palette(
    control="#64748B",
    treatment="#0F766E",
    good="#047857",
    bad="#BE123C",
    warn="#B45309",
    text="#0F1715",
    muted="#6B7280",
    line="#E4E1D8",
    others=("#6D28D9", "#B45309", "#0369A1", "#9D174D", "#4D7C0F"),
)
DARK = Palette(
    control="#94A3B8",
    treatment="#2DD4BF",
    good="#34D399",
    bad="#FB7185",
    warn="#FBBF24",
    text="#E7EFEC",
    muted="#94A3B8",
    line="#2A3733",
    others=("#A78BFA", "#FBBF24", "#38BDF8", "#F472B6", "#A3E635"),
)


def colors_by_variant(variants: Sequence[str], live: str | None, palette: Palette) -> dict[str, str]:
    """Slate for the base, teal for what is live (else the newest), other inks for those between."""
    named = list(dict.fromkeys(variants))
    star = (
        live if live in named and live != "base" else next((name for name in reversed(named) if name != "base"), None)
    )
    spare = iter(palette.others * (len(named) // len(palette.others) + 1))
    fixed = {"base": palette.control} | ({star: palette.treatment} if star else {})
    return {name: fixed.get(name) or next(spare) for name in named}


def retained_by_week(
    frame: pd.DataFrame,
    palette: Palette,
    live: str | None = None,
    floor: float | None = None,
    ceiling: float | None = None,
) -> go.Figure:
    """Retained characters of each version by week with intervals, between the null floor and the ceiling.

    Columns: week, variant, retained_char_rate, low, high, n_interactions.
    """
    figure = blank(palette, height=320)
    colors = colors_by_variant(list(frame["variant"]), live, palette)
    for variant, rows in frame.groupby("variant", sort=False):
        rows = rows.sort_values("week")
        color = colors[str(variant)]
        _band(figure, rows["week"], rows["low"], rows["high"], color)
        figure.add_scatter(
            x=rows["week"],
            y=rows["retained_char_rate"],
            name=str(variant),
            mode="lines+markers",
            line={"color": color, "width": 2.5},
            marker={"size": 7},
            customdata=rows[["low", "high", "n_interactions"]],
            hovertemplate=(
                "%{y:.1%} retained<br>%{customdata[0]:.1%} to %{customdata[1]:.1%}<br>%{customdata[2]:,} drafts"
            ),
        )
    _level(figure, floor, "Null floor", palette.warn)
    _level(figure, ceiling, "Ceiling", palette.good)
    figure.update_yaxes(range=[0, 1.04], tickformat=".0%", title="Retained characters")
    if frame["week"].nunique() <= 13:
        figure.update_xaxes(tickvals=sorted(frame["week"].unique()), tickformat="%b %-d")
    figure.update_layout(hovermode="x unified")
    return figure


def flow(labels: Sequence[str], palette: Palette, links: Sequence[tuple[int, int, float, str]]) -> go.Figure:
    """A sankey: links are (from, to, amount, tone) with tone one of good, warn, bad, plain."""
    tones = {"good": palette.treatment, "warn": palette.warn, "bad": palette.bad, "plain": palette.control}
    by_node = {0: "plain"} | {target: tone for _, target, _, tone in links}
    figure = blank(palette, height=320)
    figure.add_sankey(
        node={
            "label": list(labels),
            "color": [tones[by_node.get(node, "plain")] for node in range(len(labels))],
            "pad": 22,
            "thickness": 14,
            "line": {"width": 0},
            "hovertemplate": "%{label}<extra></extra>",
        },
        link={
            "source": [link[0] for link in links],
            "target": [link[1] for link in links],
            "value": [link[2] for link in links],
            "color": [faint(tones[link[3]], 0.28) for link in links],
            "hovertemplate": "%{source.label} to %{target.label}: %{value:,}<extra></extra>",
        },
        textfont={"color": palette.text, "size": 13, "shadow": "none"},
        arrangement="snap",
        valueformat=",.0f",
    )
    figure.update_layout(margin={"l": 4, "r": 4, "t": 12, "b": 12})
    return figure


def timeline(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Bars from start to end, a row a lane; columns: lane, stage, started_at, ended_at, is_open, note."""
    tones = (palette.control, palette.others[2], palette.treatment, palette.others[0], palette.good)
    stages = list(dict.fromkeys(frame["stage"]))
    figure = blank(palette, height=110 + 46 * frame["lane"].nunique())
    lengths = frame["ended_at"] - frame["started_at"]
    for number, stage in enumerate(stages):
        rows = frame[frame["stage"] == stage]
        figure.add_bar(
            y=rows["lane"],
            base=rows["started_at"],
            x=lengths[rows.index].dt.total_seconds() * 1000,
            zorder=int(lengths[rows.index].max() < lengths.max() / 10),
            orientation="h",
            name=stage,
            width=0.55,
            marker={
                "color": tones[number % len(tones)],
                "cornerradius": 4,
                "pattern": {"shape": ["/" if is_open else "" for is_open in rows["is_open"]], "size": 6},
            },
            customdata=rows[["note"]],
            hovertemplate=f"<b>{stage}</b><br>%{{customdata[0]}}<extra></extra>",
        )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(type="date")
    figure.update_yaxes(autorange="reversed", showgrid=False, title=None)
    return figure


def loss(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Training loss by step; columns step, loss."""
    figure = blank(palette, height=240)
    figure.add_scatter(
        x=frame["step"],
        y=frame["loss"],
        mode="lines",
        line={"color": palette.treatment, "width": 2.5, "shape": "spline", "smoothing": 0.4},
        hovertemplate="step %{x}: loss %{y:.3f}<extra></extra>",
    )
    figure.update_xaxes(title="Step", rangemode="tozero")
    figure.update_yaxes(title="Training loss", rangemode="tozero")
    return figure


def forest(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """One interval a row around zero; columns name, effect, low, high, better (less is better when negative)."""
    rows = frame.dropna(subset=["effect"]).iloc[::-1]
    figure = blank(palette, height=90 + 44 * len(rows))
    figure.add_scatter(
        x=rows["effect"],
        y=rows["name"],
        mode="markers",
        marker={"size": 11, "color": palette.treatment},
        error_x=whiskers(rows["effect"], rows["low"], rows["high"], palette.treatment),
        customdata=rows[["low", "high"]],
        hovertemplate="%{y}: %{x:+.1%} (%{customdata[0]:+.1%} to %{customdata[1]:+.1%})<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": palette.control, "width": 1.5, "dash": "dash"})
    figure.update_xaxes(tickformat="+.0%", title="Change relative to the control", showgrid=True, **AROUND_ZERO)
    figure.update_yaxes(showgrid=False, title=None)
    return figure


def before_and_after(
    frame: pd.DataFrame, palette: Palette, floor: float | None = None, ceiling: float | None = None
) -> go.Figure:
    """A dumbbell a row, before in slate and after in teal, between floor and ceiling.

    Columns: name, before, after, gain (the change in words, written beside the row).
    """
    rows = frame.iloc[::-1]
    figure = blank(palette, height=110 + 46 * len(rows))
    for row in rows.itertuples():
        figure.add_scatter(
            x=[row.before, row.after],
            y=[row.name, row.name],
            mode="lines",
            line={"color": faint(palette.control, 0.45), "width": 5},
            hoverinfo="skip",
            showlegend=False,
        )
    for column, color in (("before", palette.control), ("after", palette.treatment)):
        figure.add_scatter(
            x=rows[column],
            y=rows["name"],
            name=column.capitalize(),
            mode="markers",
            marker={"size": 13, "color": color},
            customdata=rows[["gain"]],
            hovertemplate=f"%{{y}} {column}: %{{x:.1%}}<br>change %{{customdata[0]}}<extra></extra>",
        )
    for row in rows.itertuples():
        figure.add_annotation(
            x=1.01, xref="paper", y=row.name, text=row.gain, showarrow=False, xanchor="left", font={"size": 12}
        )
    for level, label, color in ((floor, "Null floor", palette.warn), (ceiling, "Ceiling", palette.good)):
        if level is not None:
            figure.add_vline(
                x=level,
                line={"color": color, "width": 1.5, "dash": "dot"},
                annotation={"text": f"{label} {level:.0%}", "font": {"color": color, "size": 12}, "showarrow": False},
                annotation_position="bottom right" if level < 0.5 else "bottom left",
            )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%", showgrid=True)
    figure.update_yaxes(showgrid=False, title=None)
    figure.update_layout(margin={"r": 170})
    return figure


def shares(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """One stacked bar that says what a whole is made of, in the order given; columns part, answers."""
    tones = (palette.treatment, palette.control, *palette.others)
    figure = blank(palette, height=120)
    for number, (name, amount) in enumerate(frame[["part", "answers"]].itertuples(index=False)):
        figure.add_bar(
            y=["rows"],
            x=[amount],
            orientation="h",
            name=name,
            marker={"color": tones[number % len(tones)], "cornerradius": 3},
            hovertemplate=f"{name}: %{{x:,}}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.2, legend={"traceorder": "normal"})
    figure.update_xaxes(showgrid=False, title=None)
    figure.update_yaxes(visible=False)
    return figure


def at(moment: datetime) -> str:
    """A time as charts and captions say it."""
    return f"{moment:%b} {moment.day}, {moment:%H:%M}"


def blank(palette: Palette, height: int) -> go.Figure:
    """An empty figure with the house's frame."""
    return go.Figure(layout=frame(palette, height))


def whiskers(
    value: pd.Series, low: pd.Series, high: pd.Series, color: str, *, thickness: float = 2.5
) -> dict[str, Any]:
    """Intervals as plotly's error bars, which need not be symmetric; none where an end is unknown."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (high.astype(float) - value).fillna(0),
        "arrayminus": (value - low.astype(float)).fillna(0),
        "color": color,
        "thickness": thickness,
        "width": 0,
    }


def frame(palette: Palette, height: int) -> dict[str, Any]:
    """The house's frame as plotly's layout: one dictionary, since each later update of a figure costs milliseconds."""
    text = {"color": palette.muted, "size": 12}
    axis = {
        "gridcolor": palette.line,
        "linecolor": palette.line,
        "zeroline": False,
        "automargin": True,
        "tickfont": text,
        "title": {"font": text},
    }
    return {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 30, "b": 8},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": palette.text, "size": 13},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}, "bgcolor": CLEAR},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
        "xaxis": axis | {"showgrid": False},
        "yaxis": axis | {"showgrid": True},
    }


def least_range(values: pd.Series, width: float) -> dict[str, Any]:
    """An axis property: at least `width` about these values is shown, however alike they are.

    On a shorter axis the rounded labels repeat, and those just below zero read -0%. Missing values are left out; an
    axis without any shows `width` about zero.
    """
    known = values.dropna().astype(float)
    middle = float(known.min() + known.max()) / 2 if len(known) else 0.0
    return {"autorangeoptions": {"include": [middle - width / 2, middle + width / 2]}}


AROUND_ZERO = least_range(pd.Series([0.0]), 0.1)


def _band(figure: go.Figure, x: pd.Series, low: pd.Series, high: pd.Series, color: str) -> None:
    """A faint interval; weeks whose interval is unknown leave a gap."""
    known = low.notna() & high.notna()
    x, low, high = x[known], low[known], high[known]
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        fill="toself",
        fillcolor=faint(color, 0.16),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def _level(figure: go.Figure, level: float | None, label: str, color: str) -> None:
    """A dotted line with its name above it; nothing when the level is unknown."""
    if level is None:
        return
    name = label if level == 0 else f"{label} {level:.0%}"
    figure.add_hline(
        y=level,
        line={"color": color, "width": 1.5, "dash": "dot"},
        annotation={"text": name, "font": {"color": color, "size": 12}, "xanchor": "right", "yanchor": "bottom"},
        annotation_position="top right",
    )


def faint(color: str, opacity: float) -> str:
    """A color of the palette as a see-through one."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
