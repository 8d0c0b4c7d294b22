"""The saved versions of a design, and what changed between two of them."""

import pandas as pd
import streamlit as st

from organism.digest.design_diff import diff
from organism.digest.designs_flow import find_design
from organism.store.reward_designs import read_designs
from ui import runtime
from ui.words import literal


@st.fragment
def saved_versions(loop_id: str) -> None:
    """The table of versions, newest first, and the difference between two in words."""
    designs = runtime.read(read_designs, loop_id)
    if designs.empty:
        return
    st.header("Saved versions", anchor=False)
    _listed(designs)
    if len(designs) < 2:
        return
    names = {int(row.version): f"Version {row.version}: {row.name}" for row in designs.itertuples(index=False)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        after = st.selectbox("Compare", list(names), format_func=names.__getitem__, key="compare_after", width=260)
        before = st.selectbox(
            "with", list(names), index=1, format_func=names.__getitem__, key="compare_before", width=260
        )
    pair = [runtime.read(find_design, loop_id, f"v{version}") for version in (before, after)]
    lines = diff(*pair)
    st.markdown("\n".join(f"- {literal(line)}" for line in lines) if lines else "These two are the same recipe.")


def _listed(designs: pd.DataFrame) -> None:
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
