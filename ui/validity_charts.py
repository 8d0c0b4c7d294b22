"""The charts of "Is this the right reward?": pure functions from a table and a palette to a figure.

What counts is filled (within versions), what stands beside it is hollow and slate (over all). A word has one color
everywhere: predicts teal, the opposite violet, spurious red, says nothing amber, cannot say gray.
"""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from organism.digest.predictions import Word
from ui.charts import Palette, blank, whiskers

OFFSET = 0.16
WEIGHT, VARIANCE = "Share of the weight", "Share of the reward's variance between users"
SHORT: Mapping[str, str] = {
    Word.PREDICTS: "predicts",
    Word.OPPOSITE: "the opposite",
    Word.SPURIOUS: "spurious",
    Word.NOT_WITHIN: "says nothing",
    Word.CANNOT_SAY: "cannot say",
}


def inks(palette: Palette) -> Mapping[str, str]:
    """The color of each word."""
    return {
        Word.PREDICTS: palette.treatment,
        Word.OPPOSITE: palette.others[0],
        Word.SPURIOUS: palette.bad,
        Word.NOT_WITHIN: palette.warn,
        Word.CANNOT_SAY: palette.muted,
    }


def correlations(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """A row a name: rank correlation within versions (filled, in its word's color) and over all (hollow), in order.

    Columns: name, word, within, within_low, within_high, overall, overall_low, overall_high; NaN leaves a mark out.
    """
    figure = blank(palette, height=104 + 58 * len(frame))
    places = pd.Series(range(len(frame)), index=frame.index, dtype=float)
    figure.add_vline(x=0, line={"color": palette.control, "width": 1.5, "dash": "dash"})
    _marks(figure, frame, places + OFFSET, "overall", "Over all", palette.control, hollow=True)
    for word, color in inks(palette).items():
        rows = frame[frame["word"] == word]
        if rows["within"].notna().any():
            _marks(figure, rows, places[rows.index] - OFFSET, "within", f"Within versions: {SHORT[word]}", color)
    figure.update_xaxes(title="Rank correlation, 95% interval", showgrid=True, range=_room(frame))
    figure.update_yaxes(
        tickvals=list(places),
        ticktext=[name.replace(" (", "<br>(") for name in frame["name"]],
        range=[len(frame) - 0.5, -0.5],
        showgrid=False,
        title=None,
    )
    return figure


def _marks(
    figure: go.Figure, rows: pd.DataFrame, places: pd.Series, column: str, label: str, color: str, hollow: bool = False
) -> None:
    known = rows[column].notna()
    rows, places = rows[known], places[known]
    figure.add_scatter(
        x=rows[column],
        y=places,
        name=label,
        mode="markers",
        marker={
            "size": 11,
            "color": color,
            "symbol": "circle-open" if hollow else "circle",
            "line": {"color": color, "width": 2},
        },
        error_x=whiskers(
            rows[column], rows[f"{column}_low"], rows[f"{column}_high"], color, thickness=1.5 if hollow else 2.5
        ),
        customdata=rows[["name", f"{column}_low", f"{column}_high"]],
        hovertemplate="%{customdata[0]}: %{x:.2f} (%{customdata[1]:.2f} to %{customdata[2]:.2f})<extra></extra>",
    )


def _room(frame: pd.DataFrame) -> list[float]:
    """From a little under the lowest bound, or 0, to a little over the highest."""
    ends = frame[[f"{name}{end}" for name in ("within", "overall") for end in ("", "_low", "_high")]].stack()
    low, high = min([0.0, *ends]), max([0.2, *ends])
    return [max(low - 0.06, -1.02), min(high + 0.06, 1.02)]


def calibration(frame: pd.DataFrame, palette: Palette, outcome: str, overall: float | None) -> go.Figure:
    """The mean outcome by tenth of the reward with its interval, and the mean over all as a line.

    Columns: bin, score_mean, score_low, score_high, n_rows, mean, low, high.
    """
    figure = blank(palette, height=320)
    figure.add_scatter(
        x=frame["score_mean"],
        y=frame["mean"],
        mode="lines+markers",
        showlegend=False,
        line={"color": palette.treatment, "width": 2.5},
        marker={"size": 9, "color": palette.treatment},
        error_y=whiskers(frame["mean"], frame["low"], frame["high"], palette.treatment, thickness=1.5),
        customdata=frame[["bin", "score_low", "score_high", "n_rows", "low", "high"]],
        hovertemplate="tenth %{customdata[0]}: reward %{customdata[1]:.3f} to %{customdata[2]:.3f}, "
        "%{customdata[3]:,} drafts<br>" + outcome + " %{y:.2f} (%{customdata[4]:.2f} to %{customdata[5]:.2f})"
        "<extra></extra>",
    )
    if overall is not None:
        figure.add_hline(y=overall, line={"color": palette.control, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(title="Mean reward of the tenth")
    figure.update_yaxes(title=f"Mean {outcome}")
    return figure


def components(frame: pd.DataFrame, palette: Palette) -> go.Figure:
    """Each signal's share of the weight (slate) and of what makes the reward vary between users (teal).

    Columns: signal, weight_share, variance_share (NaN where unknown).
    """
    figure = blank(palette, height=104 + 54 * len(frame))
    for column, label, color in (
        ("weight_share", WEIGHT, palette.control),
        ("variance_share", VARIANCE, palette.treatment),
    ):
        figure.add_bar(
            y=frame["signal"],
            x=frame[column],
            orientation="h",
            name=label,
            marker={"color": color, "cornerradius": 4},
            hovertemplate="%{y}: %{x:.0%}<extra>" + label + "</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.35, bargroupgap=0.12)
    figure.update_xaxes(tickformat=".0%", showgrid=True, title=None)
    figure.update_yaxes(autorange="reversed", showgrid=False, title=None)
    return figure
