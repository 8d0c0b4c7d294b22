"""How training runs are shown and steered: a line a run, its buttons, and the queue that they stand in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.errors import OrganismError
from organism.optimize.catalog import PRESET_TITLES, RECIPES
from organism.optimize.controls import CAN_RESUME
from organism.optimize.flow import (
    pause_run,
    read_run_settings,
    resume_run,
    retry_run,
    set_cap,
    set_price,
    stop_run,
)
from organism.records import Preset, Recipe, RunStatus
from ui import cards, charts, recipes, runtime
from ui.run_figures import in_words
from ui.words import literal, sentence

REFUSED = "refused"
CLONE, RETRY = "Clone with changes", "Try again from the start"


def is_alive(runs: pd.DataFrame) -> bool:
    """True when any of the runs waits, trains or is being judged."""
    return bool(runs["status"].isin(runtime.ALIVE).any())


def run_line(run: pd.Series, *, is_open: bool, place: int | None = None) -> None:
    """One run: what it is, how far it is, and what can be done with it; `place` is its place in line."""
    status, run_id = RunStatus(run["status"]), run["run_id"]
    with st.container(border=True, key=f"run_{run_id}"):
        left, middle, right = st.columns([2.3, 2.5, 2.2], vertical_alignment="center")
        with left.container(gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{literal(title_of(run))}**", width="content")
                cards.run_badge(status)
            st.caption(f"{_recipe_of(run)}, {charts.at(run['created_at'])}", help=f"Run {run_id}, times in UTC.")
        with middle:
            if status in runtime.ALIVE:
                st.progress(_share(run), text=_live_words(run, place))
            else:
                st.caption(_about(run))
        with right.container(horizontal=True, horizontal_alignment="right", gap="small"):
            _actions(run_id, status)
            if is_open:
                st.badge("Open", color="gray")
            else:
                st.button("Open", type="tertiary", key=f"open_{run_id}", on_click=_open, args=(run_id,))


def _actions(run_id: str, status: RunStatus) -> None:
    """The buttons that this status allows."""
    if status in runtime.ALIVE:
        _button("Pause", "pause_circle", pause, run_id, "Save a checkpoint and make room for others.")
        _button("Stop", "stop_circle", stop, run_id, "Save a checkpoint and end. It can be resumed.")
    elif status in CAN_RESUME:
        _button("Resume", "resume", resume, run_id, "Go on from the last checkpoint.")
    options = [CLONE] if status in runtime.ALIVE or status is RunStatus.PAUSED else [CLONE, RETRY]
    chosen = st.menu_button("", options, icon=":material/more_horiz:", type="tertiary", key=f"more_{run_id}")
    if chosen == CLONE:
        recipes.ask(run_id)
        st.rerun()
    if chosen == RETRY:
        retry(run_id)
        st.rerun()


def _button(label: str, icon: str, action: Any, run_id: str, about: str) -> None:
    st.button(
        label, icon=f":material/{icon}:", key=f"{label.lower()}_{run_id}", on_click=action, args=(run_id,), help=about
    )


def stop(run_id: str) -> None:
    """Ask a run to end; a refusal waits for the next drawing of the page."""
    with _keeping_refusal():
        stop_run(runtime.store(), runtime.place(), run_id)


def pause(run_id: str) -> None:
    """Ask a run to make room."""
    with _keeping_refusal():
        pause_run(runtime.store(), runtime.place(), run_id)


def resume(run_id: str) -> None:
    """Put a run in line again."""
    with _keeping_refusal():
        resume_run(runtime.store(), runtime.place(), run_id, now=utcnow())


def retry(run_id: str) -> None:
    """Start the same run anew, and open it."""
    with _keeping_refusal():
        st.query_params["run"] = retry_run(runtime.store(), runtime.place(), run_id, now=utcnow())


@contextmanager
def _keeping_refusal() -> Iterator[None]:
    try:
        yield
    except OrganismError as error:
        st.session_state[REFUSED] = str(error)


def refusal() -> None:
    """What an action was refused with, once."""
    if refused := st.session_state.pop(REFUSED, None):
        st.error(literal(sentence(refused)), title="Not done", icon=":material/error:")


def queue_settings() -> None:
    """How many runs train at once, and what an hour costs."""
    with st.popover("Queue", icon=":material/queue:", help="How many runs train at once, and what an hour costs"):
        kept = read_run_settings(runtime.place())
        cap = st.number_input(
            "Runs at once", 1, 64, kept.max_runs, key="queue_cap", help="Two cores train one run about as fast as two."
        )
        price = st.number_input(
            "Dollars an hour", 0.0, 10_000.0, kept.usd_per_hour, key="queue_price", placeholder="Not stated",
            help="What an hour of this machine costs. Runs then say what they cost so far.",
        )  # fmt: skip
        if st.button("Keep", key="queue_keep", icon=":material/check:"):
            with cards.polite("Not kept"):
                set_cap(runtime.place(), int(cap))
                set_price(runtime.place(), price)
                st.rerun()


def title_of(run: pd.Series) -> str:
    """What a run is called: its name, else the version it made, else what it learns from."""
    return str(next((run[of] for of in ("name", "version_name", "dataset_name") if pd.notna(run[of])), run["run_id"]))


def _recipe_of(run: pd.Series) -> str:
    recipe = str(run["recipe"])
    title = RECIPES[Recipe(recipe)].title if recipe in RECIPES else recipe.replace("_", " ").capitalize()
    return title + (f", {PRESET_TITLES[Preset(run['preset'])].lower()}" if pd.notna(run["preset"]) else "")


def _about(run: pd.Series) -> str:
    config = run["config"]
    n_train = f"{int(run['n_train']):,} rows, " if pd.notna(run["n_train"]) else ""
    passes = config.get("epochs")
    settings = [f"{passes:g} pass{'' if passes == 1 else 'es'}"] if passes else []
    settings += [f"rank {config['lora_r']}"] if "lora_r" in config else []
    message = f" {literal(run['message'])}" if run["message"] else ""
    return f"{n_train}{', '.join(settings)}.{message}"


def _share(run: pd.Series) -> float:
    if pd.isna(run["step"]) or pd.isna(run["total_steps"]) or not run["total_steps"]:
        return 0.0
    return min(float(run["step"] / run["total_steps"]), 1.0)


def _live_words(run: pd.Series, place: int | None) -> str:
    """How far a living run is, in a line."""
    if run["status"] == RunStatus.QUEUED and place:
        return literal(f"{run['message'] or 'Waiting for its turn'} ({place} in line)" if place > 1 else run["message"])
    if run["status"] == RunStatus.EVALUATING or pd.isna(run["total_steps"]):
        return literal(run["message"] or "Waiting for its turn")
    words = [f"Step {int(run['step'])} of {int(run['total_steps'])}"]
    if pd.notna(run["loss"]):
        words.append(f"loss {run['loss']:.3f}")
    if (left := in_words(run["seconds_left"])) is not None:
        words.append(f"{left} of training left")
    return literal(", ".join(words))


def _open(run_id: str) -> None:
    st.query_params["run"] = run_id
