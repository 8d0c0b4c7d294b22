"""What would it grow? The best of several sampled drafts of each prompt, as live design and draft would pick them."""

import pandas as pd
import streamlit as st

from organism.digest.cliffs import Cliff, cliff
from organism.digest.designs import GROUPS
from organism.digest.draft_pools import Places
from organism.digest.growth import Grown, group_shares, grow, picks, sweep
from organism.digest.growth_flow import read_pool
from organism.store.sampled_drafts import read_sampled_drafts
from ui import cards, reward_charts, runtime
from ui.reward_draft import LABELS
from ui.reward_wins import Desk
from ui.words import counted, literal, percent, points

FIGURES = (
    ("Retained", "retained_char_rate", "Of what the picked drafts say, the share that experts would keep."),
    ("Written", "written_share", "Of what experts need in the end, the share that the picked drafts bring."),
    (
        "Facts right",
        "facts_right",
        "Doses and vitals that the picked drafts state right, of those that the note needs.",
    ),
)
NEAR = 0.25
EXAMPLES = 30


def growth(desk: Desk) -> None:
    """The view: a warning where there is a cliff, four figures, the sweep along one weight, and one example."""
    pool = runtime.hold(read_pool, desk.loop.loop_id)
    if pool is None:
        cards.empty(
            "No sampled drafts here",
            "This preview picks among several drafts of the same prompts. This loop has none sampled; the demo ships "
            "four for each of 300 visits.",
            "potted_plant",
        )
        return
    live, draft = grow(pool, desk.live), grow(pool, desk.draft)
    _warn(cliff(pool, desk.draft))
    _figures(live, draft)
    group = st.segmented_control(
        "Along which weight?",
        list(GROUPS),
        default=GROUPS[0],
        required=True,
        format_func=lambda name: LABELS[name][0],
        key="sweep_group",
        bind="query-params",
    )
    swept = sweep(pool, desk.draft, group)
    if swept.empty:
        st.info(f"No signal of {group} takes part in this draft, so that there is no weight to move.")
    else:
        here, there = group_shares(pool, desk.draft)[group], group_shares(pool, desk.live)[group]
        about = (desk.loop.loop_id, desk.draft.id, group, there)
        title = f"{LABELS[group][0]}'s share of the reward"
        figure = runtime.figure(reward_charts.sweep, swept, title, here, there, about=about)
        cards.chart(figure, _said(swept, group, here), swept, "growth")
    st.caption(_basis(draft, desk))
    _example(desk, picks(pool, desk.live), picks(pool, desk.draft), picks(pool, desk.draft, beginnings=True))


def _warn(found: Cliff | None) -> None:
    """Loud where the draft is past a cliff, plain where one is near."""
    if found is None:
        return
    if found.is_past:
        st.error(literal(found.sentence), title="The model would rather stop writing", icon=":material/warning:")
    elif abs(found.share_at - found.share_now) <= NEAR:
        st.warning(literal(found.sentence), title="A cliff is near", icon=":material/landslide:")


def _figures(live: Grown, draft: Grown) -> None:
    with st.grid(4, min_column_width=120):
        length = None if draft.chars is None else f"{draft.chars:,.0f}"
        moved = None if draft.chars is None or live.chars is None else round(draft.chars - live.chars)
        cards.vital(
            "Characters",
            length,
            "Mean length of the picked drafts; below it the change against the live design.",
            delta=f"{moved:+,}" if moved else None,
        )
        for label, name, about in FIGURES:
            now, before = getattr(draft, name), getattr(live, name)
            change = None if now is None or before is None or abs(now - before) < 0.0005 else points(now - before)
            cards.vital(label, percent(now), about, delta=change)


def _said(swept: pd.DataFrame, group: str, here: float) -> str:
    """How length goes along the weight, in one sentence."""
    known = swept.dropna(subset=["chars"])
    if known.empty:
        return f"Nothing is picked along the weight of {group}."
    first, last = known.iloc[0], known.iloc[-1]
    return (
        f"From {first['weight']:.0%} to {last['weight']:.0%} {group}, drafts go from {first['chars']:,.0f} to "
        f"{last['chars']:,.0f} characters; your draft stands at {here:.0%}."
    )


def _basis(draft: Grown, desk: Desk) -> str:
    """What the preview rests on, and what it cannot know."""
    whose = "simulated visits" if desk.loop.is_synthetic else "prompts"
    said = f"The best of the drafts that were sampled for each of {draft.n_prompts:,} {whose}; nothing is trained."
    if draft.left_out:
        said += f" Left out, since nobody saw these drafts: {', '.join(draft.left_out)}."
    return literal(said)


def _example(desk: Desk, live: Places, draft: Places, optimum: Places) -> None:
    """One prompt with the pick of both designs side by side, of those where they differ."""
    differ = [place for place, (a, b) in enumerate(zip(live, draft, strict=True)) if a != b and min(a, b) >= 0]
    st.header("The same prompt, both picks", anchor=False)
    if not differ:
        st.caption(f"Both designs pick the same draft on {counted(len(live), 'prompt')}.")
        return
    texts = runtime.hold(read_sampled_drafts, desk.loop.loop_id, texts=True)
    order = sorted(differ, key=lambda place: _shortening(texts, int(live[place]), int(draft[place])))[:EXAMPLES]
    number = st.selectbox(
        f"The pick changes on {len(differ):,} of {counted(len(live), 'prompt')}; the ones that get shortest first",
        range(len(order)),
        format_func=lambda at: _opening(texts, int(live[order[at]])),
        key="example",
    )
    sides = st.columns(2)
    at = order[number]
    with sides[0].container(border=True, height=320):
        _pick(texts.iloc[int(live[at])], "Live design picks")
    with sides[1].container(border=True, height=320):
        _pick(texts.iloc[int(draft[at])], "Your draft picks")
        if (stop := float(texts["stop_at"].iloc[int(optimum[at])])) < 1:
            st.caption(f":red[:material/warning: It would rather have only the first {stop:.0%} of a note.]")
    with st.expander("The prompt"):
        st.text(str(texts["prompt"].iloc[int(live[at])]))


def _pick(row: pd.Series, title: str) -> None:
    kept = row["retained_chars"] / row["draft_chars"] if row["draft_chars"] else None
    written = row["retained_chars"] / row["final_chars"] if row["final_chars"] else None
    st.markdown(f"**{title}**")
    st.caption(
        f"{row['draft_chars']:,} characters, {percent(kept, 0) or 'unknown'} retained, "
        f"{percent(written, 0) or 'unknown'} of the note written"
    )
    st.text(row["output"] if isinstance(row["output"], str) else "The text was not kept.")


def _shortening(texts: pd.DataFrame, live: int, draft: int) -> float:
    lengths = texts["draft_chars"]
    return float(lengths.iloc[draft] - lengths.iloc[live])


def _opening(texts: pd.DataFrame, place: int) -> str:
    """The prompt's first words."""
    return " ".join(str(texts["prompt"].iloc[place]).split())[:80]
