"""The reward designer: a draft on the left, and live beside it who would win and what it would grow."""

import streamlit as st

from organism.digest.designs import check_design
from organism.digest.designs_flow import presets
from organism.digest.flow import live_design
from organism.records import RewardDesign
from organism.store.reward_designs import read_saved
from organism.store.signals import known_signals
from ui import cards, reward_draft, runtime
from ui.reward_editor import editor
from ui.reward_growth import growth
from ui.reward_saved import saved_versions
from ui.reward_signals import signals
from ui.reward_tradeoffs import tradeoffs
from ui.reward_wins import Desk, wins
from ui.words import literal

VIEWS = {"Who wins": wins, "Trade-offs": tradeoffs, "What would it grow?": growth, "Signals": signals}

cards.head(
    "Reward designer",
    "One number steers the whole organism. Move a weight and see who would win, and what it would grow.",
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


@st.fragment
def designer(loop: runtime.Loop) -> None:
    """All that a weight moves; a fragment, so that a slider redraws nothing else."""
    live = runtime.read(live_design, loop.loop_id)
    left, right = st.columns([1, 2], gap="large")
    with left:
        draft = drafted(loop, live)
    with right:
        view = st.segmented_control(
            "View",
            list(VIEWS),
            default="Who wins",
            required=True,
            key="view",
            bind="query-params",
            label_visibility="collapsed",
            wrap=True,
        )
        with cards.polite("No reward"):
            if view != "Signals":  # There a missing one can be defined again.
                check_design(draft, runtime.read(known_signals, loop.loop_id))
            VIEWS[view or "Who wins"](Desk(loop, live, draft))


def drafted(loop: runtime.Loop, live: RewardDesign) -> RewardDesign:
    """The left side: where the draft starts, its weights, what that changes, and how it is kept."""
    version = max((kept.version for kept in runtime.read(read_saved, loop.loop_id)), default=0)
    with st.container(gap="xsmall"):
        with st.container(horizontal=True):
            st.badge(
                f"Live: version {version}" if version else "Live: the default", icon=":material/bolt:", color="green"
            )
            if loop.is_synthetic:
                cards.simulated_badge()
        st.caption(literal(live.note + (f" ({live.author})" if live.author else "")))
    base = reward_draft.base_of(live)
    start = st.container()
    draft = reward_draft.sliders(base)
    reward_draft.changes(live, draft)
    if cards.presenting():
        return draft
    with start:
        reward_draft.presets(runtime.read(presets, loop.loop_id), draft.id, live)
    if st.button("Signals and anchors", icon=":material/tune:", key="details", width="stretch"):
        editor(draft, live, runtime.read(known_signals, loop.loop_id), loop.loop_id)
    reward_draft.messages()
    reward_draft.actions(loop.loop_id, live, draft, version)
    return draft


designer(loop)
if not cards.presenting():
    saved_versions(loop.loop_id)
cards.present_button()
