"""Two drafts (or two versions' profiles) side by side, blind, and the buttons that say which one is better."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from organism.config import utcnow
from organism.digest.choices import Answer, ChoiceKind
from organism.digest.choices_flow import PairToJudge, Side, record_choice
from organism.errors import OrganismError
from ui import runtime
from ui.words import literal, percent, sentence

SHARES = ("retained_char_rate", "written_share")
NAMES = {
    "accepted": "Used",
    "retained_char_rate": "Kept by the expert",
    "written_share": "Of the final text, written",
    "cost_usd": "Cost",
    "latency_ms": "Took",
    "ttft_ms": "First word after",
    "output_tokens": "Tokens",
    "error": "Failed",
    "rating": "Rating",
}
BUTTONS = {
    Answer.LEFT: ("Left is better", "arrow_back", "Left"),
    Answer.SKIP: ("Skip", "skip_next", "Down"),
    Answer.RIGHT: ("Right is better", "arrow_forward", "Right"),
}


def said(signal: str, value: float | None, *, is_mean: bool = False) -> str:
    """A signal's value in plain words; a dash where it is unknown."""
    if value is None:
        return "–"
    if signal in SHARES or (is_mean and signal in ("accepted", "error")):
        return percent(value, 0) or "–"
    if signal in ("accepted", "error"):
        return "yes" if value else "no"
    if signal == "cost_usd":
        return f"${1000 * value:.2f} per 1,000"
    if signal in ("latency_ms", "ttft_ms"):
        return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"
    return f"{value:,.3g}"


def show(pair: PairToJudge) -> None:
    """Both sides, without the names of their versions."""
    columns = st.columns(2, gap="small")
    for column, title, side in zip(columns, ("Left", "Right"), (pair.left, pair.right), strict=True):
        with column.container(border=True, height="stretch", key=f"side_{title.lower()}"):
            st.subheader(title, anchor=False)
            _signals(side, is_mean=pair.kind is ChoiceKind.VARIANTS)
            if side.output is not None:
                _text("Draft", side.output or "The model wrote nothing.", 300)
            if side.prompt is not None:
                _text("Prompt", side.prompt, 180)


def buttons(pair: PairToJudge, loop_id: str, actor: str) -> None:
    """Left, skip, right, by click or by arrow key; without a name nothing can be kept."""
    with st.container(horizontal=True, horizontal_alignment="center"):
        for answer, (label, icon, key) in BUTTONS.items():
            st.button(
                label,
                key=f"choose_{answer}",
                icon=f":material/{icon}:",
                shortcut=key,
                type="secondary" if answer is Answer.SKIP else "primary",
                disabled=not actor.strip(),
                on_click=partial(_keep, pair, loop_id, answer, actor),
                help="Type your name first: a choice is kept under it." if not actor.strip() else None,
            )


def current_pair(ask: Callable[[], PairToJudge | None], about: object) -> PairToJudge | None:
    """The pair on the screen: it stays until it is answered, whatever data arrives meanwhile."""
    kept = st.session_state.get("pair")
    if kept is None or kept[0] != about:
        st.session_state["pair"] = kept = (about, ask())
    pair: PairToJudge | None = kept[1]
    return pair


def count_newcomers(everybody: list[str]) -> None:
    """Count everyone at first, and whoever chose for the first time since; who was taken out stays out."""
    seen = st.session_state.get("voters_seen", [])
    counted = [actor for actor in st.session_state.get("whose", seen) if actor in everybody]
    st.session_state["whose"] = [*counted, *(actor for actor in everybody if actor not in seen)]
    st.session_state["voters_seen"] = everybody


def _keep(pair: PairToJudge, loop_id: str, answer: Answer, actor: str) -> None:
    """Write the choice, and forget the pair; a refusal is shown on the next drawing."""
    try:
        done = record_choice(
            runtime.store(),
            loop_id,
            left=pair.left.id,
            right=pair.right.id,
            chosen=answer,
            actor=actor,
            kind=pair.kind,
            now=utcnow(),
        )
    except OrganismError as error:
        st.session_state["choice_problem"] = sentence(str(error))
        return
    st.session_state.pop("pair", None)
    sides = f"left was {done.left_variant}, right was {done.right_variant}"
    words = {Answer.LEFT: "Kept: left is better", Answer.RIGHT: "Kept: right is better", Answer.SKIP: "Skipped"}
    st.session_state["last_choice"] = f"{words[answer]}. The {sides}. Choices under your name: {done.n_by_actor:,}."


def _signals(side: Side, *, is_mean: bool) -> None:
    parts = [
        f"{literal(NAMES.get(name, name))} **{literal(said(name, value, is_mean=is_mean))}**"
        for name, value in side.signals.items()
    ]
    st.markdown(" · ".join(parts))


def _text(title: str, text: str, height: int) -> None:
    st.caption(title)
    with st.container(height=height, border=False):
        st.markdown("  \n".join(literal(line) for line in text.split("\n")))
