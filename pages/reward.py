"""The reward designer: three weights, what they would have said about the history, and a saved version."""

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.digest.flow import live_design, read_designs, reward_moments, save_design
from organism.digest.rewards import group_weights, rewards_by_variant, weighted
from ui import cards, charts, runtime
from ui.words import literal

cards.head(
    "Reward designer",
    "One number steers the whole organism. Move a weight and see which version would have won.",
    "balance",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing to score yet",
        "A reward scores drafts by what they cost, how fast they were and what people kept. Send some first.",
        "balance",
        page="sources",
        action="Open Sources",
    )
    st.stop()

GROUPS = {
    "price": ("Price", "What a draft cost. Heavy weight here favors short drafts: watch the written share."),
    "performance": ("Performance", "How fast the draft was there."),
    "quality": ("Quality", "Was it used, and how much of it survived: accepted and retained characters."),
}
live = runtime.read(live_design, loop.loop_id)
weights = group_weights(live)
