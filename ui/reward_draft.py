"""The draft on the reward designer: kept in the address, moved by presets, sliders and files, and saved as a version.

The address is the only place where a draft lives: `w_price`, `w_performance` and `w_quality` are the sliders, and
`draft` is the design that they move where it is not the live one. A link is the draft.
"""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st

from organism.config import utcnow
from organism.digest.design_diff import diff
from organism.digest.design_files import from_json, from_link, from_toml, to_json, to_link, to_toml
from organism.digest.designs import GROUPS, check_design, group_weights, groups_present, moved
from organism.digest.flow import save_design
from organism.errors import OrganismError
from organism.records import RewardDesign, SignalSpec
from ui import cards, runtime
from ui.words import literal, sentence

LABELS = {
    "price": ("Price", "What a draft cost. A heavy weight favors short drafts: see what it would grow."),
    "performance": ("Performance", "How long a draft took, and whether it failed."),
    "quality": ("Quality", "Was it used, how much of it survived, and what people and outcomes said of it."),
}
SHOWN_CHANGES = 5


def base_of(live: RewardDesign) -> RewardDesign:
    """What the sliders move: the design that the link carries, else the live one. A broken link is one sentence.

    Another page takes the draft out of the address; who comes back finds it again.
    """
    if "draft" not in st.query_params and (kept := st.session_state.get("draft_kept")):
        st.query_params["draft"] = kept
    text = st.session_state["draft_kept"] = st.query_params.get("draft")
    if not text:
        return live
    try:
        return from_link(text)
    except OrganismError as error:
        st.warning(literal(sentence(str(error))), title="Unknown link", icon=":material/link_off:")
        return live


def start_from(design: RewardDesign, live: RewardDesign) -> None:
    """Make this design the draft; for callbacks, since it moves the sliders."""
    base = live if _reached(live, design) else design
    for group, weight in group_weights(design).items():
        st.session_state[f"w_{group}"] = weight / _full(base)
    if base is live:
        forget()
    else:
        st.query_params["draft"] = to_link(design)
    st.session_state["draft_round"] = st.session_state.get("draft_round", 0) + 1
    st.session_state["draft_started"] = True


def forget() -> None:
    """Take the draft out of the address: what the sliders move is the live design again."""
    st.query_params.pop("draft", None)
    st.session_state["draft_kept"] = None


def refuse(error: OrganismError) -> None:
    """Keep the draft as it is and say on the next drawing why."""
    st.session_state["draft_problem"] = sentence(str(error))


def sliders(base: RewardDesign) -> RewardDesign:
    """The three weights; a group without a signal cannot be moved."""
    known, full = group_weights(base), _full(base)
    there = groups_present(base)
    wanted = {
        group: st.slider(
            label,
            0.0,
            1.0,
            known[group] / full,
            0.05,
            help=about if group in there else f"No signal of {group} takes part; add one below.",
            key=f"w_{group}",
            bind="query-params",
            disabled=group not in there,
        )
        for group, (label, about) in LABELS.items()
    }
    if all(wanted[group] == known[group] / full for group in there):
        return base
    return moved(base, **{group: weight * full for group, weight in wanted.items()})


def presets(found: Mapping[str, RewardDesign], draft_id: str, live: RewardDesign) -> None:
    """A row of designs to start from; the one that the draft is now is marked."""
    options = {"Live": live} | {name.capitalize(): design for name, design in found.items()}
    at = next((name for name, design in options.items() if design.id == draft_id), None)

    def go() -> None:
        if picked := st.session_state["preset"]:
            start_from(options[picked], live)

    st.session_state["preset"] = at
    st.pills(
        "Start from",
        list(options),
        key="preset",
        on_change=go,
        wrap=True,
        help="Presets take their anchors from this loop's own data: its 5th and 95th percentiles. "
        "An older version is picked below, under Saved versions.",
    )


def shares(design: RewardDesign) -> dict[str, float] | None:
    """Each group's share of the reward; None when nothing has a weight."""
    weights = group_weights(design)
    total = sum(weights.values())
    return {group: weights[group] / total for group in GROUPS} if total else None


def changes(live: RewardDesign, draft: RewardDesign) -> None:
    """In words what differs from the live design."""
    mix = shares(draft)
    st.caption(
        ", ".join(f"{LABELS[group][0]} {share:.0%}" for group, share in mix.items()) + " of the reward."
        if mix
        else "Give at least one of the three a weight."
    )
    lines = diff(live, draft)
    if not lines:
        st.caption("The draft is the live design.")
        return
    more = [f"and {len(lines) - SHOWN_CHANGES} more"] if len(lines) > SHOWN_CHANGES else []
    listed = "  \n".join(literal(line) for line in [*lines[:SHOWN_CHANGES], *more])
    st.caption(f"**Changed against live**  \n{listed}")


def actions(loop_id: str, live: RewardDesign, draft: RewardDesign, version: int) -> None:
    """Save the draft as the next version, or carry it elsewhere: as a link or a file."""
    with st.container(horizontal=True):
        if st.button(
            f"Save as version {version + 1}",
            type="primary",
            icon=":material/save:",
            key="save_version",
            disabled=draft.id == live.id,
        ):
            _save(loop_id, draft)
        if st.button("Share", icon=":material/ios_share:", key="share"):
            _share(live, draft)


def close_when_started() -> None:
    """At the end of a dialog: close it when it made a new draft, or say why it did not."""
    if st.session_state.pop("draft_started", False):
        st.rerun()
    if problem := st.session_state.pop("draft_problem", None):
        st.error(literal(problem), title="The draft stays as it was", icon=":material/error:")


def messages() -> None:
    """What the last action came to, said once."""
    st.session_state.pop("draft_started", None)
    if problem := st.session_state.pop("draft_problem", None):
        st.error(literal(problem), title="The draft stays as it was", icon=":material/error:")
    if said := st.session_state.pop("saved", None):
        st.success(literal(said), icon=":material/check_circle:")


def anchors(design: RewardDesign) -> tuple[SignalSpec, ...]:
    """The design's signals without their weights: what moments depend on, so that a weight reads nothing anew."""
    return tuple(sorted(spec._replace(weight=1.0) for spec in design.signals))


@st.dialog("Save this draft")
def _save(loop_id: str, draft: RewardDesign) -> None:
    with st.form("save", border=False):
        st.caption("Saving makes it live, for the next training rows and experiment.")
        why = st.text_input(
            "What should get better?", placeholder="Fewer rewritten notes, even if a draft costs more", required=True
        )
        name = st.text_input("Name of the design", draft.name, required=True)
        who = st.text_input("Your name", key="author")
        asked = st.form_submit_button("Save", type="primary", width="stretch")
    if asked:
        with cards.polite("Not saved"):
            design = replace(draft, note=why.strip(), name=name.strip(), author=who.strip())
            saved = save_design(runtime.store(), loop_id, design, now=utcnow())
            st.session_state["saved"] = f"Version {saved.version} is live."
            forget()
            st.rerun()


@st.dialog("Share this draft")
def _share(live: RewardDesign, draft: RewardDesign) -> None:
    st.caption("This link opens the draft as it stands; nothing is saved.")
    query = urlencode({"draft": to_link(draft)} if draft.id != live.id else {})
    st.code(f"{str(st.context.url or '').split('?')[0]}{'?' if query else ''}{query}", language=None)
    with st.container(horizontal=True):
        for form, write, mime in (("TOML", to_toml, "application/toml"), ("JSON", to_json, "application/json")):
            st.download_button(
                form,
                write(draft),
                f"{draft.name}.{form.lower()}",
                mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"download_{form}",
                help=f"The draft as {form}; `organism reward what-if` reads it.",
            )

    def take() -> None:
        if file := st.session_state["design_file"]:
            text = file.getvalue().decode("utf-8", errors="replace")
            try:
                design = (from_json if file.name.endswith(".json") else from_toml)(text, file.name)
                check_design(design, [spec.signal for spec in design.signals])
            except OrganismError as error:
                refuse(error)
            else:
                start_from(design, live)

    st.file_uploader("Open a design file", type=["toml", "json"], key="design_file", on_change=take)
    close_when_started()


def _full(design: RewardDesign) -> float:
    """The weight that a slider shows as 1: the largest group's where that is more."""
    return max(1.0, *group_weights(design).values())


def _reached(live: RewardDesign, design: RewardDesign) -> bool:
    """Whether the sliders alone lead from the live design to this one."""
    groups = group_weights(design)
    return design.id == live.id or (max(groups.values()) <= _full(live) and moved(live, **groups).id == design.id)
