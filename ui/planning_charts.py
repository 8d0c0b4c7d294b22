"""The chart of a plan: the smallest effect that its test sees, by the week."""

import pandas as pd
import plotly.graph_objects as go

from organism.measures.metric_names import SHARES
from ui import charts


def curve(frame: pd.DataFrame, palette: charts.Palette, metric: str, wanted: float) -> go.Figure:
    """Columns weeks, effect, effect_sequential, n_users of one metric; `wanted` is the least gain worth shipping."""
    figure = charts.blank(palette, height=300)
    scale, unit = (100, " pt") if metric in SHARES else (1, "")
    for column, name, color, dash in (
        ("effect", "Read once, at the end", palette.treatment, "solid"),
        ("effect_sequential", "Watched all along", palette.control, "dash"),
    ):
        figure.add_scatter(
            x=frame["weeks"],
            y=frame[column].astype(float) * scale,
            name=name,
            mode="lines+markers",
            line={"color": color, "width": 2.5, "dash": dash},
            marker={"size": 8},
            customdata=frame[["n_users"]],
            hovertemplate=f"%{{y:.3g}}{unit} by week %{{x}}<br>%{{customdata[0]:,}} users<extra>{name}</extra>",
        )
    figure.add_hline(
        y=wanted * scale,
        line={"color": palette.warn, "dash": "dot", "width": 1.5},
        annotation={"text": "Least gain worth shipping", "font": {"color": palette.warn, "size": 12}},
        annotation_position="bottom left",
    )
    figure.update_xaxes(title="Weeks of running", tickvals=list(frame["weeks"]))
    figure.update_yaxes(title=f"Smallest effect seen{', points' if unit else ''}", rangemode="tozero")
    return figure
