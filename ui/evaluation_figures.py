"""The figures of an evaluation: before and after with intervals, and the picture between floor and ceiling."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ui import cards, charts, runtime
from ui.words import between, counted, percent, points

Figures = Mapping[str, Any]


def figures_card(figures: Figures, version: str, baseline: str, facts_margin: float) -> None:
    """Before and after on held-out users: the figures, then the picture between its floor and its ceiling."""
    st.caption(
        f"Both models drafted {figures['n_rows']:,} held-out prompts of {counted(figures['n_users'], 'user')}. "
        "Intervals at 95%, for other users."
    )
    with st.grid(4, min_column_width=175):
        _shares(figures, facts_margin)
        _win_rate(figures, baseline)
        _amount("Draft length", figures, "chars", "{:,.0f}", f"Characters a draft. Experts write {_length(figures)}.")
        _amount("Tokens a draft", figures, "tokens", "{:,.0f}", "What the price follows.", less_is_better=True)
        _amount(
            "Latency",
            figures,
            "latency_ms",
            "{:,.0f} ms",
            f"Median of {figures.get('n_timed', 0)} drafts written one at a time on the machine of the evaluation.",
            less_is_better=True,
        )
        _amount(
            "Perplexity",
            figures,
            "perplexity",
            "{:.2f}",
            "Between how many tokens the model hesitates on the experts' final texts; lower is surer.",
            less_is_better=True,
        )
    table = _levels(figures)
    about = (figures["eval_run_id"],)
    levels = (figures.get("floor"), figures.get("ceiling"))
    drawn = runtime.figure(charts.before_and_after, table, *levels, about=about)
    cards.chart(drawn, _takeaway(figures, version, baseline), table, f"evaluation_{version}")


def _shares(figures: Figures, facts_margin: float) -> None:
    for label, stem, ends, about in (
        ("Retained characters", "", "gain_ci", "How much of what the model wrote survived."),
        (
            "Written share",
            "written_share_",
            "written_share_gain_ci",
            "How much of what the expert needed the model wrote. Short drafts cannot game this one.",
        ),
        (
            "Facts right",
            "facts_",
            "facts_gain_ci",
            f"Facts copied exactly. Not promoted: a loss of more than {100 * facts_margin:.0f} points, or a sure one.",
        ),
    ):
        before, after = figures[f"{stem}before"], figures[f"{stem}after"]
        gain = None if before is None or after is None else after - before
        spread = figures.get(ends)
        said = f" Change {points(spread[0])} to {points(spread[1])}." if spread else ""
        flat = gain is not None and abs(gain) < 0.0005
        cards.vital(
            label, percent(after), about + said, delta=0 if flat else points(gain), than=f"from {percent(before, 0)}"
        )


def _win_rate(figures: Figures, baseline: str) -> None:
    found = figures.get("win_rate")
    if not found:
        return
    about = (
        f"Share of prompts whose draft is nearer to the final text than the one of {baseline}; a tie counts half. "
        f"{ends_in_words(found['ci'])} at 95%."
    )
    said = f"{found['wins']:,} won, {found['losses']:,} lost"
    st.metric(
        "Win rate",
        percent(found["rate"], 0),
        said,
        delta_color="off",
        delta_arrow="off",
        help=about,
        border=True,
        height="stretch",
    )


def _amount(
    label: str, figures: Figures, stem: str, form: str, about: str, *, less_is_better: bool | None = None
) -> None:
    """One quantity before and after; nothing where it was not measured."""
    before, after = figures.get(f"{stem}_before"), figures.get(f"{stem}_after")
    if before is None or after is None:
        return
    change = form.format(abs(after - before))
    is_flat = change == form.format(0)
    st.metric(
        label,
        form.format(after),
        0 if is_flat else f"{'-' if after < before else '+'}{change}",
        delta_color="inverse" if less_is_better else "off",
        help=about,
        border=True,
        height="stretch",
        delta_description=f"from {form.format(before)}",
    )


def _length(figures: Figures) -> str:
    return f"{figures['chars_final']:,.0f}"


def _takeaway(figures: Figures, version: str, baseline: str) -> str:
    ceiling = figures.get("ceiling")
    end = f", a second text of the same expert {percent(ceiling, 0)}." if ceiling else "."
    return (
        f"{version} keeps {percent(figures['after'], 0)} of what it writes, "
        f"{baseline} {percent(figures['before'], 0)}; "
        f"unrelated texts share {percent(figures['floor'], 0) or 'an unknown part'}{end}"
    )


def _levels(figures: Figures) -> pd.DataFrame:
    """The shares of the dumbbell chart: name, before, after, gain in words."""
    kinds = figures.get("facts_by_kind", {})
    rows = [
        ("Retained characters", figures["before"], figures["after"], figures["gain_ci"]),
        ("Written share", *(figures[f"written_share_{name}"] for name in ("before", "after", "gain_ci"))),
        ("All facts", *(figures[f"facts_{name}"] for name in ("before", "after", "gain_ci"))),
        *((f"Facts: {kind.replace('_', ' ')}", f["before"], f["after"], f["gain_ci"]) for kind, f in kinds.items()),
    ]
    return pd.DataFrame(
        [
            {
                "name": name,
                "before": before,
                "after": after,
                "gain": change({"before": before, "after": after, "gain_ci": ends}),
            }
            for name, before, after, ends in rows
            if before is not None and after is not None
        ],
        columns=["name", "before", "after", "gain"],
    )


def change(figure: Mapping[str, Any]) -> str:
    """+4.2 pt (+3.0 to +5.4)"""
    ends = figure["gain_ci"]
    spread = f" ({100 * ends[0]:+z.1f} to {100 * ends[1]:+z.1f})" if ends else ""
    return f"{points(figure['after'] - figure['before'])}{spread}"


def ends_in_words(ends: Sequence[float] | None) -> str:
    """An interval of a share in words."""
    low, high = ends or (None, None)
    return between(low, high, lambda share: percent(share, 0))
