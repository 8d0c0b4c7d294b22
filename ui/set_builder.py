"""The dialog that builds a training set: what a row is, which drafts, a count beforehand, then frozen."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from datetime import time as clock
from typing import Any

import streamlit as st

from organism.config import utcnow
from organism.digest.designs_flow import find_design
from organism.digest.training_set_flow import Preview, freeze, preview
from organism.digest.training_settings import ANSWERS, Basis, SetSettings, least_in_words, settings_from
from organism.records import DatasetKind
from ui import cards, runtime
from ui.words import counted, literal, sentence

KINDS = {
    DatasetKind.SFT: "Completions to imitate (SFT)",
    DatasetKind.PREFERENCE: "Preference pairs (DPO)",
    DatasetKind.UNPAIRED: "Labeled drafts (KTO)",
}
BASES = {Basis.EXPERT: "What experts did", Basis.REWARD: "What drafts earned", Basis.VOTE: "Blind votes"}
ABOUT = {
    (DatasetKind.SFT, Basis.EXPERT): "The text that the expert wrote, or the draft as it was accepted.",
    (DatasetKind.SFT, Basis.REWARD): "Of each prompt the draft that earned most, of those that nobody rejected.",
    (DatasetKind.PREFERENCE, Basis.EXPERT): "The text that the expert wrote over the draft that it replaced.",
    (DatasetKind.PREFERENCE, Basis.REWARD): "Of prompts drafted more than once, the best draft over the worst.",
    (DatasetKind.PREFERENCE, Basis.VOTE): "The text that most voters preferred over the other one, of every ballot.",
    (DatasetKind.UNPAIRED, Basis.EXPERT): "Accepted and edited texts are desirable, rejected drafts are not.",
    (DatasetKind.UNPAIRED, Basis.REWARD): "Drafts well above the threshold are desirable, those well below are not.",
}
PATIENCE_S = 2.0


def close() -> None:
    """The form stays open through reruns until it is dismissed or a set is frozen."""
    st.session_state["building_set"] = False


@st.dialog("New training set", icon=":material/dataset:", position="right", on_dismiss=close)
def build(loop_id: str, designs: Mapping[str, str], variants: list[str], regions: list[str]) -> None:
    """Choose, count, freeze; a frozen set is opened. `designs` maps a reference to what it is called."""
    usual = SetSettings()
    kind = st.selectbox("A row is", list(DatasetKind), format_func=KINDS.__getitem__, key="set_kind") or usual.kind
    basis = Basis(st.segmented_control(
        "Whose word counts", [basis for basis in Basis if (kind, basis) in ABOUT], format_func=BASES.__getitem__,
        default=Basis.EXPERT, required=True, key="set_basis",
        help="Experts' edits, accepts and rejects, the reward under a design, or for pairs what people preferred in "
        "blind votes.",
    ))  # fmt: skip
    st.caption(ABOUT[kind, basis])
    design = st.selectbox(
        "Reward design", list(designs), key="set_design", format_func=lambda ref: designs.get(ref, ref),
        help="Gives each draft its reward; variants that break one of its guardrails are not imitated for it. With "
        "experts' word it only matters where a least reward is asked for.",
    )  # fmt: skip
    asked: dict[str, Any] = {"kind": kind, "basis": basis} | _figures(kind, basis, usual)
    with st.expander("Which drafts", icon=":material/filter_alt:"):
        asked |= _filters(variants, regions)
    first = "best rewarded" if (kind, basis) == (DatasetKind.SFT, Basis.REWARD) else "newest"
    asked["max_rows"] = st.slider(
        "Rows to train on", 20, 5000, usual.max_rows, 20, key="set_max_rows", help=f"At most, the {first} first."
    )
    name = st.text_input("Name", key="set_name", placeholder="Named after its kind and its latest answer")
    with st.container(horizontal=True):
        wants_count = st.button("Count first", icon=":material/calculate:", key="set_count")
        wants_freeze = st.button("Freeze", type="primary", icon=":material/ac_unit:", key="set_freeze")
    bar = st.empty()
    with cards.polite("Not built"):
        if wants_count or wants_freeze:
            settings = settings_from(asked)
            recipe = find_design(runtime.store(), loop_id, design)
        if wants_count:
            seen = preview(runtime.store(), loop_id, settings, design=recipe, on_progress=patient(bar))
            bar.empty()
            counts(seen, settings.min_reward)
        if wants_freeze:
            done = freeze(
                runtime.store(), loop_id, settings, design=recipe, name=name.strip() or None, now=utcnow(),
                on_progress=patient(bar),
            )  # fmt: skip
            st.query_params["set"] = done.dataset_id
            close()
            st.rerun()


def patient(bar: Any) -> Callable[[float, str], None]:
    """A progress bar that shows once the work has taken two seconds."""
    began = time.monotonic()

    def tell(share: float, text: str) -> None:
        if time.monotonic() - began > PATIENCE_S:
            bar.progress(share, text)

    return tell


def counts(seen: Preview, asked: float | None) -> None:
    """What would be kept and dropped, and the least reward of that, whether `asked` for or not."""
    st.markdown(
        f"Of {counted(seen.n_candidates, 'draft')}: **{counted(seen.n_train, 'row')}** of "
        f"{counted(seen.n_users_train, 'user')} to train on, **{seen.n_heldout:,}** of {seen.n_users_heldout:,} others "
        f"to judge by. {counted(seen.n_leaking, 'training row')} nearly repeated a held-out prompt."
    )
    if least := least_in_words(seen.least_reward, asked):
        st.caption(least)
    if seen.dropped:
        st.dataframe(
            [{"Dropped because": reason, "Drafts": count} for reason, count in seen.dropped.items()],
            hide_index=True,
            alt="Why drafts were dropped",
        )
    if seen.objection:
        st.warning(literal(sentence(seen.objection)), title="It cannot be frozen like this")


def _figures(kind: DatasetKind, basis: Basis, usual: SetSettings) -> dict[str, Any]:
    """The knobs that this kind has."""
    if basis is Basis.REWARD and kind is DatasetKind.PREFERENCE:
        margin = st.slider(
            "Margin", 0.01, 1.0, usual.margin, 0.01, key="set_margin", help="How far apart the two rewards must be."
        )
        return {"margin": margin}
    if basis is Basis.REWARD and kind is DatasetKind.UNPAIRED:
        about = "Drafts above are desirable, drafts below are not."
        threshold = st.slider("Threshold", 0.05, 0.95, usual.threshold, 0.01, key="set_threshold", help=about)
        band = st.slider(
            "Dead band", 0.0, 0.5, usual.dead_band, 0.01, key="set_band", help="Left out around the threshold."
        )
        return {"threshold": threshold, "dead_band": band}
    if basis is Basis.REWARD and st.toggle(
        "At least the median reward", True, key="set_median",
        help="Drafts under the median of all drafts scored are left out. Turn it off to choose the least reward.",
    ):  # fmt: skip
        return {}
    least = st.slider(
        "Least reward", 0.0, 1.0, 0.0, 0.01, key="set_least",
        help="Drafts that earned less, or whose reward is unknown, are left out. 0 asks for none.",
    )  # fmt: skip
    return {"min_reward": least if basis is Basis.REWARD else least or None}


def _filters(variants: list[str], regions: list[str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "variants": st.multiselect("Variants", variants, key="set_variants", placeholder="All of them"),
        "answers": st.multiselect("Answers", list(ANSWERS), key="set_answers", placeholder="All of them"),
    }
    if regions:
        chosen["regions"] = st.multiselect("Regions", regions, key="set_regions", placeholder="All of them")
    since, until = st.columns(2)
    with since:
        chosen["since"] = _midnight(st.date_input("From", None, key="set_since", help="The day of the answer, UTC."))
    with until:
        last = _midnight(st.date_input("To", None, key="set_until", help="Up to the end of this day, UTC."))
        chosen["until"] = last + timedelta(days=1) if last else None
    cap = st.number_input(
        "Rows of one user, at most",
        0,
        10_000,
        0,
        key="set_cap",
        help="So that nobody speaks for all. 0 means no limit.",
    )
    return chosen | {"max_rows_per_user": int(cap) or None}


def _midnight(day: Any) -> datetime | None:
    return datetime.combine(day, clock()) if day else None
