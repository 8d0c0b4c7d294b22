"""Charts of a blind vote: what the room prefers with its interval, and the votes prompt by prompt."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from ui.charts import LIGHT, Palette, blank

FEW_LABELS = 0.08


def preference(frame: pd.DataFrame, palette: Palette, is_revealed: bool) -> go.Figure:
    """All votes as one bar, the right side's first, and over it the share that prefers it with its interval.

    One row; columns: left, right, n_left, n_ties, n_right, share, low, high (the interval may be missing). While the
    names are hidden both sides wear inks that no model has.
    """
    row = frame.iloc[0]
    left, right = (palette.control, palette.treatment) if is_revealed else (palette.others[1], palette.others[0])
    total = max(row["n_left"] + row["n_ties"] + row["n_right"], 1)
    figure = blank(palette, height=230)
    for name, count, color in (
        (row["right"], row["n_right"], right),
        ("Neither", row["n_ties"], palette.line),
        (row["left"], row["n_left"], left),
    ):
        figure.add_bar(
            x=[count / total],
            y=["Votes"],
            orientation="h",
            name=name,
            marker={"color": color, "cornerradius": 3},
            text=[f"{name} {count / total:.0%}" if count / total > FEW_LABELS else ""],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"size": 15, "color": palette.text if name == "Neither" else _on_color(palette)},
            hovertemplate=f"{name}: {count} of {total}<extra></extra>",
        )
    if pd.notna(row["low"]):
        _interval(figure, row, palette, right)
    figure.add_vline(x=0.5, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    figure.update_layout(
        barmode="stack",
        bargap=0.35,
        showlegend=False,
        margin={"l": 8, "r": 12, "t": 24, "b": 8},
        xaxis={"range": [0, 1], "tickformat": ".0%", "title": {"text": f"Prefer {row['right']}, 95% interval"}},
        yaxis={"visible": False, "categoryorder": "array", "categoryarray": ["Votes", "Interval"]},
    )
    return figure


def _on_color(palette: Palette) -> str:
    """Ink that can be read on the theme's colors, which are dark on paper and light on ink."""
    return "#FFFFFF" if palette is LIGHT else "#0E1513"


def _interval(figure: go.Figure, row: pd.Series, palette: Palette, color: str) -> None:
    figure.add_scatter(
        x=[row["share"]],
        y=["Interval"],
        mode="markers+text",
        text=[f"{row['share']:.0%}"],
        textposition="top center",
        textfont={"size": 15, "color": palette.text},
        marker={"size": 15, "color": color},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["share"]],
            "arrayminus": [row["share"] - row["low"]],
            "color": color,
            "thickness": 3,
            "width": 0,
        },
        hovertemplate=f"{row['share']:.0%} ({row['low']:.0%} to {row['high']:.0%})<extra></extra>",
    )


def by_prompt(frame: pd.DataFrame, palette: Palette, sides: Sequence[str]) -> go.Figure:
    """Votes for either side of each prompt, away from the middle; columns label, n_left, n_right."""
    rows = frame.iloc[::-1]
    figure = blank(palette, height=90 + 26 * len(rows))
    for name, column, sign, color in (
        (sides[0], "n_left", -1, palette.control),
        (sides[1], "n_right", 1, palette.treatment),
    ):
        figure.add_bar(
            x=sign * rows[column],
            y=rows["label"],
            orientation="h",
            name=name,
            marker={"color": color, "cornerradius": 3},
            customdata=rows[[column]],
            hovertemplate=f"%{{y}}: %{{customdata[0]}} for {name}<extra></extra>",
        )
    most = int(max(frame["n_left"].max(), frame["n_right"].max(), 1))
    step = max(1, -(-most // 3))
    ticks = list(range(-(most // step) * step, most + 1, step))
    figure.update_layout(
        barmode="relative",
        bargap=0.25,
        xaxis={
            "range": [-most - 0.5, most + 0.5],
            "tickvals": ticks,
            "ticktext": [str(abs(tick)) for tick in ticks],
            "showgrid": True,
            "title": {"text": "Votes"},
        },
        yaxis={"showgrid": False},
    )
    return figure
