"""All held-out visits at a glance: how much more, or less, the expert kept of each after the fine-tune."""

import pandas as pd
import plotly.graph_objects as go

from organism.measures.acceptance import retained_runs
from ui import cards, runtime
from ui.charts import AROUND_ZERO, Palette, blank
from ui.words import counted, points

MARGIN = 0.05


def opening_version(judged: pd.DataFrame) -> str:
    """The evaluated version that a room sees first: the live one, else the one with the best gain, else the newest.

    Columns: name, is_live, before, after, the newest first; before and after are shares of characters.
    """
    live = judged[judged["is_live"]]
    ranked = (
        live
        if len(live)
        else judged.assign(gain=judged["after"] - judged["before"]).sort_values("gain", ascending=False, kind="stable")
    )
    return str(ranked["name"].iloc[0])


def with_gain(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of an evaluation with kept_before, kept_after and gain, in shares of the drafts' characters."""
    figures = results["measures"]
    kept = {
        f"kept_{which}": [m[f"retained_{which}"] / max(m[f"chars_{which}"], 1) for m in figures]
        for which in ("before", "after")
    }
    added = results.assign(**kept)
    return added.assign(gain=added["kept_after"] - added["kept_before"])


def orders(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The ways to walk through the visits, by name."""
    wrong = [sum(fact["before"] and not fact["after"] for fact in m["facts"]) for m in results["measures"]]
    found = {
        "Best gains": results.sort_values("gain", ascending=False, kind="stable"),
        "Worst losses": results.sort_values("gain", kind="stable"),
        "Facts lost": results.assign(n_lost=wrong).sort_values(["n_lost", "gain"], ascending=[False, True]),
        "As they came": results,
    }
    return found if any(wrong) else {name: rows for name, rows in found.items() if name != "Facts lost"}


def only_here(text: str, other: str) -> list[tuple[int, int]]:
    """Where this text says what the other one does not, as (start, end)."""
    shared = [(run.in_draft, run.in_draft + run.size) for run in retained_runs(text, other)]
    edges = [0, *(edge for run in shared for edge in run), len(text)]
    return [pair for pair in zip(edges[::2], edges[1::2], strict=True) if pair[0] < pair[1]]


def chart(results: pd.DataFrame, row: int, version: str) -> None:
    """A bar a visit, the largest gain first, with the one on screen marked."""
    ranked = results.sort_values("gain", ascending=False, kind="stable", ignore_index=True)
    gained, lost = int((ranked["gain"] > 0).sum()), int((ranked["gain"] < -MARGIN).sum())
    takeaway = (
        f"The expert kept more of {counted(gained, 'visit')} of {len(ranked):,} after the fine-tune; "
        f"{lost:,} lost more than {100 * MARGIN:.0f} points, the worst {points(ranked['gain'].iloc[-1])}."
    )
    data = ranked[["row_number", "kept_before", "kept_after", "gain"]]
    cards.chart(runtime.figure(bars, data, row, about=(version,)), takeaway, data, "gains")


def bars(frame: pd.DataFrame, palette: Palette, row: int) -> go.Figure:
    """Gains in teal, losses in red, the visit `row` in ink; columns row_number, kept_before, kept_after, gain."""
    figure = blank(palette, height=240)
    colors = [
        palette.text if number == row else palette.treatment if gain >= 0 else palette.bad
        for number, gain in zip(frame["row_number"], frame["gain"], strict=True)
    ]
    figure.add_bar(
        x=list(range(1, len(frame) + 1)),
        y=frame["gain"],
        marker={"color": colors, "line": {"width": 0}},
        customdata=frame[["row_number", "kept_before", "kept_after"]],
        hovertemplate="Visit %{customdata[0]}: %{customdata[1]:.0%} to %{customdata[2]:.0%}<extra></extra>",
    )
    figure.update_layout(
        bargap=0.15,
        xaxis={"title": {"text": "Visits, the largest gain first"}},
        yaxis={"title": {"text": "Kept, tuned less base"}, "tickformat": "+.0%"} | AROUND_ZERO,
    )
    return figure
