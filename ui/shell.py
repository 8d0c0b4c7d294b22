"""The frame around every page: identity, navigation, what is alive right now, and what just ended.

It lives in ui/ and not beside pages/: with a sibling `pages/`, Streamlit runs the first visitor's
deep link without this file.
"""

from typing import Any

import streamlit as st

from organism.errors import OrganismError
from organism.optimize.flow import read_runs
from organism.records import RunStatus
from ui import runtime
from ui.cards import page_file, polite, presenting, static
from ui.words import code, literal, sentence


def page(
    name: str, title: str, icon: str, about: str, *, path: str | None = None, home: bool = False, listed: bool = True
) -> Any:
    """One entry of the menu, or with `listed` False a page that only a link leads to."""
    return st.Page(
        page_file(name),
        title=title,
        icon=f":material/{icon}:",
        help=about,
        url_path=path or name,
        default=home,
        visibility="visible" if listed else "hidden",
    )


def voting() -> bool:
    """True for a voter who followed a ballot's link: a guest of the room, who sees the ballot and nothing else."""
    return "ballot" in st.query_params


def refuse(error: OrganismError) -> None:
    """The workspace cannot be opened: say so and what to do, and wait for another try."""
    st.title("This workspace cannot be opened", icon=":material/lock:", anchor=False)
    st.error(literal(sentence(str(error))), icon=":material/error:")
    st.caption("Nothing was changed. Mend what the sentence names, then try again; the app keeps running.")
    st.button("Try again", type="primary", icon=":material/refresh:")
    st.stop()


def announce_ended_runs(runs: Any) -> int:
    """A toast for each run that this session saw alive and that has ended; returns how many are alive."""
    seen = st.session_state.setdefault("runs_seen", {})
    for run in runs.itertuples():
        status = RunStatus(run.status)
        if seen.get(run.run_id) in runtime.ALIVE and status not in runtime.ALIVE:
            icon = ":material/check_circle:" if status is RunStatus.DONE else ":material/info:"
            st.toast(f"Fine-tune {status.value}. {literal(run.message or '')}", icon=icon, duration="long")
        seen[run.run_id] = status
    return sum(status in runtime.ALIVE for status in seen.values())


def pick_loop() -> runtime.Loop | None:
    """The loop of this session, with a choice when there are several."""
    known = runtime.loops()
    if (asked := st.query_params.get("loop")) is not None and asked not in known:
        st.warning(
            f"There is no loop {code(asked)} here. Showing another.", title="Unknown link", icon=":material/link_off:"
        )
    chosen = runtime.chosen_loop()
    if chosen and len(known) > 1:
        st.session_state["loop_pick"] = chosen.name
        st.sidebar.selectbox("Loop", list(known), key="loop_pick", on_change=go_to_loop)
    return chosen


def go_to_loop() -> None:
    """Put the picked loop into the address, where it can be shared; what the address named is of the other loop."""
    for name in ("exp", "plan"):
        st.query_params.pop(name, None)
    st.session_state["loop_name"] = st.query_params["loop"] = st.session_state["loop_pick"]


# Before the navigation, or its Material icon becomes the tab's for a moment, fetched from another host.
st.set_page_config(
    page_icon=static("mark.svg"),
    layout="wide",
    initial_sidebar_state="collapsed" if presenting() or voting() else "auto",
    menu_items={"About": "A workbench for AI products that keep learning."},
)
st.logo(static("logo.svg"), icon_image=static("mark.svg"), size="large")
current = st.navigation(
    {
        "": [
            page(
                "metabolism",
                "Metabolism",
                "ecg_heart",
                "Vital signs of the whole loop, and what needs a decision.",
                home=True,
            )
        ],
        "Ingest": [
            page("sources", "Sources", "nutrition", "Who sends events, how fresh they are, and what was spoiled.")
        ],
        "Digest": [
            page(
                "reward",
                "Reward designer",
                "balance",
                "What counts as good: price, performance, quality as one number.",
            ),
            page(
                "reward_check",
                "Is this the right reward?",
                "fact_check",
                "Does the reward predict the outcomes, and did a version earn it by offering less?",
                path="reward-check",
            ),
            page(
                "choices",
                "Weights from choices",
                "how_to_vote",
                "Which of two drafts is better? The weights that people's choices ask for, and how surely.",
                path="weights-from-choices",
            ),
            page(
                "off_policy",
                "Off-policy preview",
                "alt_route",
                "What a router that never ran would have earned, or why nobody can tell.",
                path="off-policy",
            ),
            page(
                "training_sets",
                "Training sets",
                "dataset",
                "What a model learns from: frozen rows, where they came from, what was dropped and why.",
                path="training-sets",
            ),
        ],
        "Optimize": [
            page(
                "fine_tunes",
                "Fine-tunes",
                "model_training",
                "Train on what experts wrote; watch, stop, judge and promote a run.",
                path="fine-tunes",
            ),
            page(
                "before_after",
                "Before and after",
                "compare",
                "The same visit, drafted before and after a fine-tune, beside the expert's note.",
                path="before-after",
            ),
            page(
                "evaluations",
                "Evaluations",
                "fact_check",
                "Any version against any other: where it is better, where worse, what must not get worse.",
            ),
            page("vote", "Vote", "how_to_vote", "Two texts, no names: which one is better?", listed=False),
        ],
        "Deploy and observe": [
            page(
                "plan_experiment",
                "Plan an experiment",
                "edit_calendar",
                "How many users and days it takes to know, from this loop's own traffic; then start it.",
                path="plan-experiment",
            ),
            page(
                "experiments", "Experiments", "science", "Is it really better? The verdict, its interval, the decision."
            ),
            page(
                "analyze_file",
                "Analyze a file",
                "table_view",
                "An experiment that already lives in a table: the same verdict, without importing it.",
                path="analyze-file",
            ),
        ],
    },
    position="hidden" if presenting() or voting() else "sidebar",
    expanded=True,
)
st.set_page_config(page_title=f"{current.title}, Organism")
try:
    runtime.opened()
except OrganismError as error:
    refuse(error)

loop = pick_loop()
alive = announce_ended_runs(runtime.read_with_runs(read_runs, loop.loop_id)) if loop and not voting() else 0
if not presenting() and not voting():
    with st.sidebar:
        with st.container(horizontal=True, vertical_alignment="center"):
            if alive:
                st.badge(f"{alive} running", icon=":material/autorenew:", color="blue")
            else:
                st.badge("Idle", icon=":material/bedtime:", color="gray")
            st.caption(f"data v{runtime.data_version()}", help="How often this workspace's data has changed.")
        if loop and loop.is_synthetic:
            st.badge("Synthetic demo data", icon=":material/biotech:", color="orange")
with polite("This page cannot go on"):
    current.run()
