"""What one variant costs and gives against the others, and which drafts the new design sees with other eyes."""

from typing import Any

import pandas as pd
import streamlit as st

from organism.digest.designs import groups_present, weighted
from organism.digest.flow import signal_moments
from organism.digest.pareto import on_front, variant_profiles
from organism.digest.rank_changes import moves, places
from organism.digest.rewards import VariantReward, rewards_by_variant
from organism.store.interactions import read_drafts
from organism.store.signals import read_signal_rows
from ui import cards, reward_charts, runtime
from ui.reward_wins import Desk, live_name, score
from ui.words import literal

COST, LATENCY = "cost_usd", "latency_ms"
TITLES = {COST: "Cost of 1,000 drafts, USD", LATENCY: "Latency, ms"}
ROWS_LIMIT = 20_000
BEGINNING = 90


def tradeoffs(desk: Desk) -> None:
    """The view: the front of variants, then the drafts whose place changes most."""
    frame = points(desk)
    if frame.empty:
        cards.empty(
            "No trade-off to show yet",
            "It needs drafts with a cost or a latency, and signals of quality on the same drafts.",
            "show_chart",
        )
    else:
        about = (desk.loop.loop_id, desk.draft.id)
        titles = {name: title for name, title in TITLES.items() if frame[name].notna().any()}
        figure = runtime.figure(
            reward_charts.front, frame, titles, "Quality part of the reward", live_name(desk.loop.loop_id), about=about
        )
        cards.chart(figure, _said(frame), frame, "trade_offs")
    st.header("Drafts that change places", anchor=False)
    _changes(desk)


def points(desk: Desk) -> pd.DataFrame:
    """Each variant's cost, latency and quality with intervals, and whether no other variant beats it in all three.

    Columns: variant, cost_usd (of 1,000 drafts), latency_ms, quality, each with _low and _high, and on_front.
    """
    profile = variant_profiles(runtime.read(signal_moments, desk.loop.loop_id, (COST, LATENCY)))
    wide = profile.pivot(index="variant", columns="signal", values=["mean", "low", "high"])
    columns = {}
    for name, factor in ((COST, 1000.0), (LATENCY, 1.0)):
        for column, suffix in (("mean", ""), ("low", "_low"), ("high", "_high")):
            found = wide[column, name] if (column, name) in wide else pd.Series(index=wide.index, dtype=float)
            columns[name + suffix] = found.astype(float) * factor
    frame = pd.DataFrame(columns).join(_quality(desk), how="inner").dropna(subset=["quality"])
    frame = frame.reset_index(names="variant")
    axes = [name for name in (COST, LATENCY, "quality") if frame[name].notna().all() and len(frame)]
    if len(axes) < 2:
        return frame.iloc[:0]
    frame["on_front"] = on_front(frame[axes].to_numpy(dtype=float), [name == "quality" for name in axes])
    return frame


def _quality(desk: Desk) -> pd.DataFrame:
    """The reward's quality part by variant: the draft with price and performance at 0."""
    if "quality" not in groups_present(desk.draft):
        return pd.DataFrame(columns=["quality", "quality_low", "quality_high"], dtype=float)
    only = weighted(desk.draft, price=0.0, performance=0.0, quality=1.0)
    found = pd.DataFrame(
        rewards_by_variant(score(desk.loop.loop_id, desk.draft).moments, only), columns=VariantReward._fields
    ).set_index("variant")
    return found[["mean", "low", "high"]].set_axis(["quality", "quality_low", "quality_high"], axis=1).astype(float)


def _said(frame: pd.DataFrame) -> str:
    held = list(frame.loc[frame["on_front"], "variant"])
    lost = list(frame.loc[~frame["on_front"], "variant"])
    if not lost:
        return "No variant beats another in cost, latency and quality at once: the weights decide."
    return f"{_listed(lost)} {'is' if len(lost) == 1 else 'are'} beaten in everything; worth weighing: {_listed(held)}."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _changes(desk: Desk) -> None:
    if desk.draft.id == desk.live.id:
        st.caption("The draft is the live design: nothing changes places. Move a weight.")
        return
    named = tuple(sorted({spec.signal for design in (desk.live, desk.draft) for spec in design.signals}))
    rows = runtime.hold(read_signal_rows, desk.loop.loop_id, named, limit=ROWS_LIMIT)
    placed = places(rows, desk.live, desk.draft)
    moved = moves(placed)
    if moved.empty:
        st.caption("No draft changes its place: the two designs rank the history alike.")
        return
    texts = runtime.read(read_drafts, desk.loop.loop_id, tuple(moved["interaction_id"])).set_index("interaction_id")
    moved = moved.join(texts[["prompt", "output"]], on="interaction_id")
    bars: dict[str, Any] = {"format": "%.0f%%", "max_value": 100.0, "width": 110}
    picked = st.dataframe(
        pd.DataFrame(
            {
                "draft": moved["output"].fillna("").str.replace(r"\s+", " ", regex=True).str.slice(0, BEGINNING),
                "variant": moved["variant"],
                "live": 100 * moved["place_live"],
                "your draft": 100 * moved["place_draft"],
            }
        ),
        hide_index=True,
        height="content",
        key="moved",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "draft": st.column_config.TextColumn("What was written", width=230),
            "variant": st.column_config.TextColumn("Variant", width=96),
            "live": st.column_config.ProgressColumn(
                "Live place",
                help="Its place under the live design: 0% the worst of all scored drafts, 100% the best.",
                **bars,
            ),
            "your draft": st.column_config.ProgressColumn("Draft place", help="Its place under your draft.", **bars),
        },
        alt="Interactions whose rank changes most between the live design and the draft",
    )
    st.caption(f"Of {len(placed):,} drafts that both designs score, those that move most. Select a row to read it.")
    if chosen := picked.selection.rows:
        _read(moved.iloc[chosen[0]])


def _read(row: pd.Series) -> None:
    left, right = st.columns(2)
    for side, title, text in ((left, "Asked", row["prompt"]), (right, f"Written by {row['variant']}", row["output"])):
        with side.container(border=True, height=260):
            st.markdown(f"**{literal(title)}**")
            st.text(text if isinstance(text, str) else "The text was not sent.")
