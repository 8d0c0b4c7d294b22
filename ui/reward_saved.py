"""The saved versions of a design, what changed between two of them, and the way back to an older one."""

import pandas as pd
import streamlit as st

from organism.digest.design_diff import diff
from organism.digest.flow import live_design
from organism.store.reward_designs import Saved, read_saved
from ui import runtime
from ui.reward_draft import start_from
from ui.words import literal


@st.fragment
def saved_versions(loop_id: str) -> None:
    """The table of versions, newest first, the difference between two in words, and one to start from."""
    saved = {kept.version: kept for kept in runtime.read(read_saved, loop_id)}
    if not saved:
        return
    st.header("Saved versions", anchor=False)
    _listed(list(saved.values()))
    if len(saved) < 2:
        return
    names = {version: f"Version {version}: {kept.design.name}" for version, kept in saved.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        after = st.selectbox("Compare", list(names), format_func=names.__getitem__, key="compare_after", width=260)
        before = st.selectbox(
            "with", list(names), index=1, format_func=names.__getitem__, key="compare_before", width=260
        )
        chosen = st.button(
            f"Start from version {before}",
            icon=":material/history:",
            key="start_from_version",
            on_click=start_from,
            args=(saved[before].design, runtime.read(live_design, loop_id)),
            help="Makes it your draft. It goes live when you save it, as the next version.",
        )
    if chosen:
        st.rerun()  # The draft stands in another fragment.
    lines = diff(saved[before].design, saved[after].design)
    st.markdown("\n".join(f"- {literal(line)}" for line in lines) if lines else "These two are the same recipe.")


def _listed(saved: list[Saved]) -> None:
    rows = [
        (kept.version, kept.design.name, kept.design.note, kept.design.author, kept.created_at, kept.design.id)
        for kept in saved
    ]
    st.dataframe(
        pd.DataFrame(rows, columns=["version", "name", "note", "author", "created_at", "reward_design_id"]),
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
