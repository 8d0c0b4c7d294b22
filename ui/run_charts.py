"""How a run went, step by step: pure functions from its progress to tables and figures."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from ui.charts import Palette
from ui.charts import frame as house_frame

LOSS, HELDOUT_LOSS = "loss", "heldout_loss"
TITLES = {
    LOSS: "Loss",
    "reward": "Reward",
    "learning_rate": "Learning rate",
    "tokens_per_second": "Tokens a second",
    "memory_mb": "Memory, MB",
    "margin": "Margin",
    "accuracy": "Accuracy",
    "kl": "KL from the base",
    "grad_norm": "Gradient norm",
}
FORMS = {"learning_rate": ".1e", "tokens_per_second": ",.0f", "memory_mb": ",.0f"}
SERIES = {LOSS: "Training", HELDOUT_LOSS: "Held out"}


def courses(progress: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What a run told over its steps, by title: tables of step, series, value, without what it never told.

    `progress` has the columns of `read_progress`; each number in `extra` is a course of its own, but the held-out
    loss, which is drawn with the training loss.
    """
    rows = [row if isinstance(row, dict) else {} for row in progress["extra"]]
    extra = pd.DataFrame(rows, index=progress.index).select_dtypes("number")
    own = [column for column in ("step", *TITLES) if column in progress]
    told = pd.concat([progress[own], extra.drop(columns=[name for name in own if name in extra])], axis=1)
    columns = [*TITLES, *sorted(set(told) - {"step", HELDOUT_LOSS, *TITLES})]
    found = {LOSS: _told(told, [LOSS, HELDOUT_LOSS])}
    found |= {column: _told(told, [column]) for column in columns if column != LOSS}
    return {title(column): table for column, table in found.items() if len(table)}


def title(column: str) -> str:
    """What people call a figure of a run."""
    return TITLES.get(column, column.replace("_", " ").capitalize())


def course(frame: pd.DataFrame, palette: Palette, name: str) -> go.Figure:
    """One figure of a run over its steps, a line a series; columns step, series, value."""
    form = next((FORMS[column] for column, said in TITLES.items() if said == name and column in FORMS), ".3f")
    inks = (palette.treatment, palette.warn)
    layout = house_frame(palette, height=240)
    layout["xaxis"] |= {"title": layout["xaxis"]["title"] | {"text": "Step"}, "rangemode": "tozero"}
    layout["yaxis"] |= {"title": layout["yaxis"]["title"] | {"text": name}, "tickformat": form, "nticks": 5}
    groups = list(frame.groupby("series", sort=False))
    traces = [
        {
            "type": "scatter",
            "x": rows["step"].tolist(),
            "y": rows["value"].tolist(),
            "name": series,
            "mode": "lines+markers" if len(rows) < 40 else "lines",
            "marker": {"size": 5},
            "line": {"color": ink, "width": 2.5},
            "showlegend": len(groups) > 1,
            "hovertemplate": f"step %{{x}}: %{{y:{form}}}<extra>{series}</extra>",
        }
        for (series, rows), ink in zip(groups, inks, strict=False)
    ]
    return go.Figure(data=traces, layout=layout)


def takeaway(name: str, frame: pd.DataFrame) -> str:
    """Where a figure began and where it stands, in a sentence a series."""
    said = []
    for series, rows in frame.groupby("series", sort=False):
        of = f" ({str(series).lower()})" if frame["series"].nunique() > 1 else ""
        first, last = rows["value"].iloc[0], rows["value"].iloc[-1]
        said.append(f"{name}{of} went from {first:.3g} to {last:.3g} in {counted_steps(rows['step'])}.")
    return " ".join(said)


def counted_steps(steps: Sequence[int] | pd.Series) -> str:
    """1 step, 40 steps."""
    last = int(max(steps))
    return "1 step" if last == 1 else f"{last:,} steps"


def _told(told: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"step": told["step"], "series": SERIES.get(column, title(column)), "value": told[column]})
        for column in columns
        if column in told
    ]
    return pd.concat(parts).dropna(subset=["value"]).reset_index(drop=True) if parts else pd.DataFrame()
