"""The chart of an A/A self-test: how the p-values of both tests are spread, over splits where nothing can differ."""

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui.charts import Palette

SERIES = (("By request", "naive", "bad"), ("By user", "ours", "treatment"))
AIR = 1.2
"""Above the highest bar, for the words beside alpha."""


def p_values(frame: pd.DataFrame, palette: Palette, alpha: float) -> go.Figure:
    """Columns low, high, ours, naive: the share of the splits whose p lies between low and high.

    Where a test is right all bars are as high as the dashed line; too high at the left is crying wolf.
    """
    figure = charts.blank(palette, height=300)
    middle = (frame["low"] + frame["high"]) / 2
    for name, column, ink in SERIES:
        figure.add_bar(
            x=middle,
            y=frame[column],
            name=name,
            marker_color=getattr(palette, ink),
            customdata=frame[["low", "high"]],
            hovertemplate=f"{name}: %{{y:.1%}} of the splits<br>p %{{customdata[0]:.2f}} to %{{customdata[1]:.2f}}"
            "<extra></extra>",
        )
    even = float((frame["high"] - frame["low"]).iloc[0])
    figure.add_shape(
        type="line", x0=0, x1=1, y0=even, y1=even, line={"color": palette.control, "dash": "dash", "width": 1.5}
    )
    figure.add_annotation(
        x=1.01, y=even, xanchor="left", yanchor="middle", showarrow=False, text="As promised",
        font={"color": palette.control, "size": 12},
    )  # fmt: skip
    figure.add_vline(x=alpha, line={"color": palette.warn, "dash": "dot", "width": 1.5})
    figure.add_annotation(
        x=alpha, y=1.0, yref="paper", xanchor="left", yanchor="top", showarrow=False, xshift=4,
        text=f"alpha {100 * alpha:g}%: left of it a test calls a difference", font={"color": palette.warn, "size": 12},
    )  # fmt: skip
    figure.update_layout(barmode="group", bargap=0.18, bargroupgap=0.0)
    figure.update_xaxes(range=[0, 1.1], tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1], title="p-value", tickformat=".1~f")
    highest = float(frame[["ours", "naive"]].to_numpy().max())
    figure.update_yaxes(tickformat=".0%", title="Share of the splits", range=[0, AIR * max(highest, even)])
    return figure
