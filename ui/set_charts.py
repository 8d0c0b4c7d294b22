"""Charts of a training set: what it is made of, what it earned, what was dropped."""

import pandas as pd
import plotly.graph_objects as go

from ui.charts import Palette, blank

SIDES = (("train", "Training"), ("heldout", "Held out"))


def sides(frame: pd.DataFrame, palette: Palette, column: str) -> go.Figure:
    """A bar a word of the column, training in teal and held out in slate; columns `column`, train, heldout."""
    figure = blank(palette, height=95 + 34 * len(frame))
    for (side, name), color in zip(SIDES, (palette.treatment, palette.control), strict=True):
        figure.add_bar(
            y=frame[column],
            x=frame[side],
            orientation="h",
            name=name,
            marker={"color": color, "cornerradius": 3},
            hovertemplate=f"%{{y}}, {name.lower()}: %{{x:,}}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, legend={"traceorder": "normal"})
    figure.update_xaxes(title="Rows", showgrid=True, rangemode="tozero")
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, title=None)
    return figure


def users(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """A bar a user, the one with most rows first; columns user_key, split, n_rows."""
    figure = blank(palette, height=240)
    ranked = frame.assign(rank=range(1, len(frame) + 1))
    for (side, name), color in zip(SIDES, (palette.treatment, palette.control), strict=True):
        rows = ranked[ranked["split"] == side]
        figure.add_bar(
            x=rows["rank"],
            y=rows["n_rows"],
            name=name,
            marker={"color": color},
            customdata=rows[["user_key"]],
            hovertemplate=f"%{{customdata[0]}}, {name.lower()}: %{{y:,}}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", bargap=0.15)
    figure.update_xaxes(title="Users, the one with most rows first", showticklabels=False)
    figure.update_yaxes(title="Rows", rangemode="tozero")
    return figure


def reward_spread(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Rows by reward; columns low, high, train, heldout."""
    figure = blank(palette, height=240)
    for (side, name), color in zip(SIDES, (palette.treatment, palette.control), strict=True):
        figure.add_bar(
            x=(frame["low"] + frame["high"]) / 2,
            y=frame[side],
            name=name,
            marker={"color": color},
            customdata=frame[["low", "high"]],
            hovertemplate=f"%{{customdata[0]:.2f}} to %{{customdata[1]:.2f}}, {name.lower()}: %{{y:,}}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.05, legend={"traceorder": "normal"})
    figure.update_xaxes(title="Reward of the draft", range=[0, 1])
    figure.update_yaxes(title="Rows", rangemode="tozero")
    return figure


def reasons(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """A bar a reason, the most frequent first; columns reason, drafts."""
    figure = blank(palette, height=70 + 34 * len(frame))
    figure.add_bar(
        y=frame["reason"],
        x=frame["drafts"],
        orientation="h",
        marker={"color": palette.warn, "cornerradius": 3},
        text=frame["drafts"],
        texttemplate="%{text:,}",
        textposition="auto",
        hovertemplate="%{y}: %{x:,}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(bargap=0.3)
    figure.update_xaxes(title="Drafts", rangemode="tozero", showgrid=True)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, title=None)
    return figure
