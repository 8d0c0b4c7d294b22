"""Evaluations over time, and two versions side by side: pure functions from a table and a palette to a figure."""

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui.charts import Palette

UNKNOWN = "unknown"


def over_time(frame: pd.DataFrame, palette: Palette, live: str | None = None) -> go.Figure:
    """The gain in retained characters of each evaluation with its interval, at the time it was made.

    Columns: created_at, version, baseline, gain, gain_low, gain_high, n_rows. Newer versions stand further right.
    """
    figure = charts.blank(palette, height=320)
    versions = [str(name) for name in frame["version"].fillna(UNKNOWN)]
    colors = charts.colors_by_variant(versions, live, palette)
    for version, rows in frame.assign(version=versions).groupby("version", sort=False):
        color = colors[str(version)]
        rows = rows.sort_values("created_at")
        figure.add_scatter(
            x=rows["created_at"],
            y=rows["gain"],
            name=str(version),
            mode="markers",
            marker={"size": 11, "color": color},
            error_y=charts.whiskers(rows["gain"], rows["gain_low"], rows["gain_high"], color),
            customdata=rows[["baseline", "gain_low", "gain_high", "n_rows"]].fillna(UNKNOWN),
            hovertemplate=(
                f"{version} against %{{customdata[0]}}: %{{y:+.1%}}<br>%{{customdata[1]:+.1%}} to "
                "%{customdata[2]:+.1%}<br>%{customdata[3]:,} rows, %{x|%b %-d, %H:%M}<extra></extra>"
            ),
        )
    figure.add_hline(y=0, line={"color": palette.control, "width": 1.5, "dash": "dash"})
    figure.update_yaxes(tickformat="+.0%", title="Gain in retained characters", **charts.AROUND_ZERO)
    figure.update_layout(showlegend=True)
    return figure


def slices(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """The change of each slice with its interval around zero; a slice that is surely worse is red.

    Columns: name, gain, gain_low, gain_high, n_rows, is_worse.
    """
    rows = frame.iloc[::-1]
    figure = charts.blank(palette, height=110 + 34 * len(rows))
    for is_worse, color, name in ((False, palette.treatment, "Slice"), (True, palette.bad, "Surely worse")):
        part = rows[rows["is_worse"] == is_worse]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["gain"],
            y=part["name"],
            name=name,
            mode="markers",
            marker={"size": 10, "color": color, "symbol": "x" if is_worse else "circle"},
            error_x=charts.whiskers(part["gain"], part["gain_low"], part["gain_high"], color),
            customdata=part[["gain_low", "gain_high", "n_rows"]],
            hovertemplate=(
                "%{y}: %{x:+.1%}<br>%{customdata[0]:+.1%} to %{customdata[1]:+.1%}, %{customdata[2]} rows"
                "<extra></extra>"
            ),
        )
    figure.add_vline(x=0, line={"color": palette.control, "width": 1.5, "dash": "dash"})
    figure.update_xaxes(tickformat="+.0%", title="Change of retained characters", showgrid=True, **charts.AROUND_ZERO)
    figure.update_yaxes(showgrid=False, title=None, categoryorder="array", categoryarray=list(rows["name"]))
    figure.update_layout(showlegend=bool(frame["is_worse"].any()))
    return figure
