"""Which reward design a page looks at: the loop's own by name, or the draft that the address carries."""

import streamlit as st

from organism.digest.design_files import from_link
from organism.digest.designs_flow import LIVE, find_design
from organism.digest.presets import PRESETS
from organism.errors import OrganismError
from organism.records import RewardDesign
from organism.store.reward_designs import read_saved
from ui import cards, runtime
from ui.words import literal, sentence

DRAFT = "draft"


def names_of(loop_id: str) -> dict[str, str]:
    """What can be picked: a reference for `find_design`, and what it is called; the live one first."""
    saved = runtime.read(read_saved, loop_id)
    return (
        {LIVE: "The live design"}
        | {f"v{kept.version}": f"Version {kept.version}: {kept.design.name}" for kept in saved}
        | {name: f"Preset: {name}" for name in PRESETS}
    )


def asked_for() -> str:
    """The reference that the address gives: `?design=`, else the draft that it carries, else the live design."""
    return st.query_params.get("design") or (DRAFT if st.query_params.get(DRAFT) else LIVE)


def choose(loop_id: str) -> RewardDesign | None:
    """The design that the address asks for, with a choice of the others; None, and one sentence, when there is none."""
    asked = asked_for()
    if not cards.presenting():
        drafted = {DRAFT: "The draft in this link"} if st.query_params.get(DRAFT) else {}
        names = drafted | names_of(loop_id)
        names.setdefault(asked, asked)
        st.session_state["design_pick"] = asked
        st.selectbox("Design", list(names), key="design_pick", format_func=names.__getitem__, on_change=_go, width=320)
    try:
        if asked == DRAFT:
            return from_link(st.query_params.get(DRAFT, ""))
        return runtime.read(find_design, loop_id, asked)
    except OrganismError as error:
        st.error(literal(sentence(str(error))), title="Unknown design", icon=":material/link_off:")
        return None


def _go() -> None:
    st.query_params["design"] = st.session_state["design_pick"]
