"""What one variant costs and gives against the others, and which drafts the new design sees with other eyes."""

from typing import Any

import pandas as pd
import streamlit as st

from organism.digest.designs import listed
from organism.digest.flow import ROWS_LIMIT, signal_difference, signal_moments
from organism.digest.pareto import COST, LATENCY, QUALITY, beaten_unsurely, quality_difference, trade_offs
from organism.digest.rank_changes import moves, places
from organism.stats.compare import Comparison
from organism.store.interactions import read_drafts
from organism.store.signals import read_signal_rows
from ui import cards, reward_charts, runtime
from ui.reward_wins import Desk, live_name, score
from ui.words import literal

TITLES = {COST: "Cost of 1,000 drafts, USD", LATENCY: "Latency, ms"}
NAMES = {COST: "cost", LATENCY: "latency", QUALITY: "quality"}
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
        cards.chart(figure, _said(frame, desk), frame, "trade_offs")
    st.header("Drafts that change places", anchor=False)
    _changes(desk)


def points(desk: Desk) -> pd.DataFrame:
    """The columns of `trade_offs`, with the cost of 1,000 drafts."""
    by_signal = runtime.read(signal_moments, desk.loop.loop_id, (COST, LATENCY))
    frame = trade_offs(by_signal, score(desk.loop.loop_id, desk.draft).moments, desk.draft)
    return frame.assign(**{name: 1000 * frame[name] for name in (COST, f"{COST}_low", f"{COST}_high")})


def _said(frame: pd.DataFrame, desk: Desk) -> str:
    """Who is beaten, how surely, and who is left to weigh."""
    axes = {name: name == QUALITY for name in NAMES if frame[name].notna().all()}
    doubts = beaten_unsurely(frame.dropna(subset=list(axes)), axes, lambda *asked: _difference(desk, *asked))
    if not doubts:
        return "No variant beats another in cost, latency and quality at once: the weights decide."
    surely = [name for name, unsure in doubts.items() if not unsure]
    said = [f"{listed(surely)} {'is' if len(surely) == 1 else 'are'} beaten in everything"] if surely else []
    said += [
        f"on average {name} is beaten in everything, though not surely in {listed([NAMES[axis] for axis in unsure])}"
        for name, unsure in doubts.items()
        if unsure
    ]
    return "; ".join([*said, f"worth weighing: {listed(list(frame.loc[frame['on_front'], 'variant']))}."])


def _difference(desk: Desk, axis: str, control: str, treatment: str) -> Comparison:
    """Treatment less control: of a signal read once until the data changes, of quality by arithmetic on moments."""
    if axis != QUALITY:
        return runtime.read(signal_difference, desk.loop.loop_id, axis, control=control, treatment=treatment)
    moments = score(desk.loop.loop_id, desk.draft).moments
    return quality_difference(moments, desk.draft, control=control, treatment=treatment)


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
