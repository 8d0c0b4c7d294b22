"""The reward designer: three weights, what they say about the history, and a saved version."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.digest.designs import group_weights, weighted
from organism.digest.flow import live_design, reward_moments, save_design
from organism.digest.rewards import rewards_by_variant
from organism.errors import DesignError
from organism.store.reward_designs import read_designs
from organism.store.signals import read_coverage
from ui import cards, charts, runtime
from ui.words import literal

GROUPS = {
    "price": ("Price", "What a draft cost. A heavy weight favors short drafts: watch what experts had to write."),
    "performance": ("Performance", "How long the draft took."),
    "quality": ("Quality", "Was it used, and how much of it survived: accepted and retained characters."),
}

cards.head(
    "Reward designer",
    "One number steers the whole organism. Move a weight and see which version would have won.",
    "balance",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing to score yet",
        "A reward scores drafts by what they cost, how fast they were and what people kept. Send some drafts first.",
        "balance",
        page="sources",
        action="Open Sources",
    )
    st.stop()

live = runtime.read(live_design, loop.loop_id)
designs = runtime.read(read_designs, loop.loop_id)
version = int(designs["version"].iloc[0]) if len(designs) else 0
weights = group_weights(live)
moments = runtime.read(reward_moments, loop.loop_id, live.signals)

left, right = st.columns([1, 1.8], gap="large")
with left:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"Live: version {version}" if version else "Live: the default", icon=":material/bolt:", color="green")
        st.caption(literal(live.note))
    wanted = {
        group: st.slider(
            label,
            0.0,
            1.0,
            float(min(weights[group], 1.0)),
            0.05,
            help=about,
            key=f"w_{group}",
            bind="query-params",
        )
        for group, (label, about) in GROUPS.items()
    }
    total = sum(wanted.values())
    st.caption(
        ", ".join(f"{label} {wanted[group] / total:.0%}" for group, (label, _) in GROUPS.items())
        + " of the reward. The address holds this draft: share it."
        if total
        else "Give at least one of the three a weight."
    )
    draft = weighted(live, **wanted)
    with st.form("save", border=False, clear_on_submit=True):
        why = st.text_input(
            "What should get better?", placeholder="Fewer rewritten notes, even if a draft costs more", required=True
        )
        who = st.text_input("Your name", key="author")
        asked = st.form_submit_button(
            f"Save as version {version + 1}",
            type="primary",
            icon=":material/save:",
            disabled=draft.id == live.id,
            help="Saving makes this design live: it picks the next training rows and judges the next experiment.",
            width="stretch",
        )
    if asked:
        with cards.polite("Not saved"):
            saved = save_design(runtime.store(), loop.loop_id, replace(draft, note=why, author=who), now=utcnow())
            st.session_state["saved"] = f"Version {saved.version} is live."
            st.rerun()
    if said := st.session_state.pop("saved", None):
        st.success(said, icon=":material/check_circle:")

with right:
    try:
        pair = {"live": rewards_by_variant(moments, live), "draft": rewards_by_variant(moments, draft)}
    except DesignError as error:
        st.error(literal(str(error)), title="No reward", icon=":material/error:")
        st.stop()
    scores = pd.DataFrame({"variant": [reward.variant for reward in pair["live"]]})
    for name, found in pair.items():
        scores[name] = [reward.mean for reward in found]
        scores[f"{name}_low"] = [reward.low for reward in found]
        scores[f"{name}_high"] = [reward.high for reward in found]
    known = scores.dropna(subset=["live", "draft"])
    if known.empty:
        cards.empty(
            "No drafts carry every signal yet",
            "A reward needs all its signals on the same draft; the table below says which are rare.",
            "rule",
        )
    else:
        winners = {name: known.loc[known[name].idxmax(), "variant"] for name in pair}
        drafts = {reward.variant: reward for reward in pair["draft"]}
        with st.grid(3, min_column_width=150):
            st.metric(
                "Wins today", winners["live"], border=True, height="stretch", help="Highest mean reward, live design."
            )
            st.metric(
                "Would win", winners["draft"], border=True, height="stretch", help="Highest mean reward, your draft."
            )
            st.metric(
                "Drafts scored",
                f"{sum(reward.n_interactions for reward in pair['draft']):,}",
                border=True,
                height="stretch",
                help="Drafts that carry every signal of the design; the others are left out.",
            )
        words = "the same version wins" if winners["live"] == winners["draft"] else "another version wins"
        best = drafts[winners["draft"]]
        takeaway = f"Under this draft {words}: {best.variant} with a mean reward of {best.mean:.3f}."
        about = (loop.loop_id, tuple(wanted.values()))
        cards.chart(runtime.figure(charts.rewards, known, about=about), takeaway, scores, "rewards")

st.header("What the reward is made of", anchor=False)
coverage = runtime.read(read_coverage, loop.loop_id, tuple(spec.signal for spec in live.signals)).set_index("signal")
st.dataframe(
    [
        {
            "Signal": spec.signal,
            "Share": spec.weight / total if total else None,
            "Worst": spec.worst,
            "Best": spec.best,
            "Covered": coverage.loc[spec.signal, "n_present"] / max(coverage.loc[spec.signal, "n_rows"], 1),
            "Missing": "left out" if spec.missing is None else f"counts as {spec.missing:g}",
        }
        for spec in draft.signals
    ],
    hide_index=True,
    column_config={
        "Share": st.column_config.ProgressColumn("Share of the reward", format="percent", max_value=1.0),
        "Worst": st.column_config.NumberColumn("Worth 0 at", format="%g"),
        "Best": st.column_config.NumberColumn("Worth 1 at", format="%g"),
        "Covered": st.column_config.ProgressColumn(
            "Covered", format="percent", max_value=1.0, help="Drafts on which this signal is known."
        ),
        "Missing": st.column_config.TextColumn("When missing"),
    },
    alt="Signals of the draft design with their share, anchors and coverage",
)
if len(designs):
    st.header("Saved versions", anchor=False)
    st.dataframe(
        designs[["version", "name", "note", "author", "created_at", "reward_design_id"]],
        hide_index=True,
        column_config={
            "version": st.column_config.NumberColumn("Version", width="small"),
            "name": "Name",
            "note": st.column_config.TextColumn("What should get better", width="large"),
            "author": "By",
            "created_at": st.column_config.DatetimeColumn("Saved (UTC)", format="MMM D, HH:mm"),
            "reward_design_id": st.column_config.TextColumn(
                "Recipe", help="Equal recipes have equal ids, on any machine."
            ),
        },
        alt="Saved reward designs, the newest first",
    )
