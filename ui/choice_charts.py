"""Charts of what people chose and of what untried policies would have earned: dots with intervals, a row each."""

import pandas as pd
import plotly.graph_objects as go

from ui.charts import Palette, blank, whiskers

ROW = 46


def fitted_weights(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Shares of the reward by signal: hand-set in slate, from the choices in teal with their intervals.

    Columns: signal, hand_share, share, share_low, share_high.
    """
    rows = frame.iloc[::-1]
    figure = blank(palette, 110 + ROW * len(rows))
    figure.add_scatter(
        x=rows["share"],
        y=rows["signal"],
        name="From the choices",
        mode="markers",
        marker={"size": 12, "color": palette.treatment},
        error_x=whiskers(rows["share"], rows["share_low"], rows["share_high"], palette.treatment),
        customdata=rows[["share_low", "share_high"]],
        hovertemplate="%{y}: %{x:.0%} (%{customdata[0]:.0%} to %{customdata[1]:.0%})<extra></extra>",
    )
    figure.add_scatter(
        x=rows["hand_share"],
        y=rows["signal"],
        name="Hand-set, live",
        mode="markers",
        marker={"size": 12, "color": palette.control, "symbol": "diamond"},
        hovertemplate="%{y}: %{x:.0%} in the live design<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    figure.update_layout(
        xaxis={"tickformat": ".0%", "title": {"text": "Share of all weights, 95% interval"}, "showgrid": True},
        yaxis={"showgrid": False},
    )
    return figure


def strengths(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Bradley-Terry strengths against the mean of all; columns variant, log_strength, low, high, n_won, n_lost."""
    rows = frame.iloc[::-1]
    figure = blank(palette, 90 + ROW * len(rows))
    figure.add_scatter(
        x=rows["log_strength"],
        y=rows["variant"],
        mode="markers",
        showlegend=False,
        marker={"size": 12, "color": palette.treatment},
        error_x=whiskers(rows["log_strength"], rows["low"], rows["high"], palette.treatment),
        customdata=rows[["n_won", "n_lost"]],
        hovertemplate="%{y}: %{x:+.2f}<br>won %{customdata[0]}, lost %{customdata[1]}<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    figure.update_layout(
        xaxis={"title": {"text": "Log strength against the mean of all, 95% interval"}, "showgrid": True},
        yaxis={"showgrid": False},
    )
    return figure


def policy_estimates(frame: pd.DataFrame, palette: Palette, own: tuple[float, float, float] | None) -> go.Figure:
    """One estimate a row in teal (hollow where only a model speaks), against what the logged drafts earned in slate.

    Columns: label, estimate, low, high, is_model_based; `own` is the logged mean with its interval.
    """
    rows = frame.dropna(subset=["estimate"]).iloc[::-1]
    figure = blank(palette, 100 + ROW * len(rows))
    if own:
        figure.add_vrect(x0=own[1], x1=own[2], fillcolor=palette.control, opacity=0.14, line={"width": 0})
        figure.add_vline(
            x=own[0],
            line={"color": palette.control, "width": 2, "dash": "dash"},
            annotation={"text": f"As logged {own[0]:.3f}", "font": {"color": palette.control, "size": 12}},
            annotation_position="top",
        )
    figure.add_scatter(
        x=rows["estimate"],
        y=rows["label"],
        mode="markers",
        showlegend=False,
        marker={
            "size": 12,
            "color": palette.treatment,
            "symbol": ["circle-open" if modeled else "circle" for modeled in rows["is_model_based"]],
            "line": {"width": 2, "color": palette.treatment},
        },
        error_x=whiskers(rows["estimate"], rows["low"], rows["high"], palette.treatment),
        customdata=rows[["low", "high"]],
        hovertemplate="%{y}: %{x:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra></extra>",
    )
    figure.update_layout(
        xaxis={"title": {"text": "Mean reward a draft, 95% interval by user"}, "showgrid": True, "tickformat": ".2f"},
        yaxis={"showgrid": False},
    )
    return figure
