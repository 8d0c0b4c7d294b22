"""Two models write the same note before everyone's eyes: panels that fill as the words come, marked as they go."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import streamlit as st

from organism.deploy.flow import version_by_name
from organism.deploy.serving import Draft, Step
from organism.errors import OrganismError
from organism.measures.acceptance import measure, retained_runs
from organism.measures.facts import right_facts
from organism.records import FactCheck, ModelVersion
from ui import runtime
from ui.words import literal, note, percent

FRAME_S = 0.04
MIN_SHOWN = 3
COLORS = ("gray", "green")
CARET = " :primary[**|**]"
WARM = "ORGANISM_WARM"


class Written(NamedTuple):
    """A text with what is known of its making; tokens and cost as of an evaluation, seconds only of a live one."""

    text: str
    output_tokens: int | None = None
    cost_usd: float | None = None
    seconds: float | None = None


class Yardstick(NamedTuple):
    """What a draft is held against: the expert's own text and the facts it must carry; both may be missing."""

    expert: str | None = None
    facts: tuple[FactCheck, ...] = ()


class Panel:
    """One model's side: its name, its figures, its text. `show` may be called many times a second."""

    def __init__(self, title: str, color: str, against: Yardstick, key: str) -> None:
        self.color, self.against = color, against
        with st.container(border=True, height="stretch", key=key):
            st.header(title, anchor=False)
            self._figures = st.empty()
            self._text = st.empty()

    def show(self, written: Written, *, is_writing: bool = False) -> None:
        """The text as it stands, what the expert kept of it on a colored ground."""
        with self._figures.container():
            self._say_figures(written, is_writing)
        marked = note(written.text, kept_runs(written.text, self.against.expert), self.color)
        empty = "" if is_writing else "*The model wrote nothing.*"
        self._text.markdown((marked or empty) + (CARET if is_writing else ""))

    def mark(self, written: Written, runs: Sequence[tuple[int, int]]) -> None:
        """The finished text with these runs on a colored ground, where there is no expert to compare with."""
        with self._figures.container():
            st.caption(took(written))
        self._text.markdown(note(written.text, runs, self.color) or "*The model wrote nothing.*")

    def _say_figures(self, written: Written, is_writing: bool) -> None:
        if self.against.expert is not None:
            kept = measure(written.text, self.against.expert)
            with st.grid(3, min_column_width=64, gap="small"):
                st.metric(
                    "Kept",
                    percent(kept_share(written.text, self.against.expert), 0),
                    help="Retained characters: how much of this draft is still in the expert's note.",
                )
                st.metric(
                    "Written",
                    percent(kept.retained_chars / max(kept.final_chars, 1), 0),
                    help="Written share: how much of the expert's note this draft had already written.",
                )
                st.metric(
                    "Facts",
                    self._facts(written.text),
                    help="Facts of the visit (drug and dose, vitals, durations) that the draft copies exactly, of all "
                    "that it must carry.",
                )
        st.caption("Writing ..." if is_writing else took(written))

    def _facts(self, text: str) -> str:
        facts = self.against.facts
        return f"{sum(right_facts(text, facts))}/{len(facts)}" if facts else "–"


def kept_share(draft: str, expert: str | None) -> float | None:
    """Retained characters as a share of the draft; None without a draft or an expert."""
    return measure(draft, expert).retained_chars / len(draft) if draft and expert is not None else None


def kept_runs(draft: str, expert: str | None) -> list[tuple[int, int]]:
    """Where in the draft the expert's text has it, as (start, end); scraps at the ends of lines are not shown."""
    if expert is None:
        return []
    runs = [(run.in_draft, run.in_draft + run.size) for run in retained_runs(draft, expert)]
    return [piece for start, end in runs for piece in _without_scraps(draft, start, end)]


def _without_scraps(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The run a line at a time, without its pieces of less than MIN_SHOWN characters."""
    for line in text[start:end].splitlines(keepends=True):
        if len(line.strip()) >= MIN_SHOWN:
            yield start, start + len(line)
        start += len(line)


def took(written: Written) -> str:
    """What the draft cost, as far as it is known, in one line."""
    parts = [
        f"{written.output_tokens:,} tokens" if written.output_tokens is not None else "",
        f"{written.seconds:.2f} s" if written.seconds is not None else "",
        f"${1000 * written.cost_usd:.2f} per 1,000 drafts" if written.cost_usd is not None else "",
    ]
    return literal(" · ".join(part for part in parts if part)) or "Not measured"


def write_both(
    versions: Sequence[ModelVersion], prompt: str, show: Callable[[int, Written, bool], None]
) -> list[Written]:
    """Both drafts, shown as they are written: `show(place, so far, is still writing)` some 25 times a second.

    Raises ModelError or RunError when a model cannot write.
    """
    steps = runtime.opened().drafts.stream_together(versions, prompt)
    with contextlib.closing(_frames(steps)) as frames:
        done: dict[int, Written] = {}
        for place, text, draft in frames:
            written = Written(text) if draft is None else of_draft(draft)
            show(place, written, draft is None)
            if draft is not None:
                done[place] = written
    return [done[place] for place in sorted(done)]


def of_draft(draft: Draft) -> Written:
    """A finished draft with what it took."""
    return Written(draft.text, draft.output_tokens, draft.cost_usd, draft.latency_ms / 1000)


def _frames(steps: Iterator[Step]) -> Generator[tuple[int, str, Draft | None], None, None]:
    """The first piece of each side at once, then no more often than an eye can follow, and the end."""
    texts: dict[int, str] = {}
    shown_at: dict[int, float] = {}
    for step in steps:
        texts[step.place] = texts.get(step.place, "") + (step.piece or "")
        now = time.monotonic()
        if step.draft is not None or (texts[step.place] and now - shown_at.get(step.place, 0.0) >= FRAME_S):
            shown_at[step.place] = now
            yield step.place, texts[step.place], step.draft


def warm(loop_id: str, names: Sequence[str]) -> None:
    """Load these versions while the page is being read, so that the first word comes at once.

    ORGANISM_WARM=0 leaves it: then the first draft waits for its model.
    """
    if os.environ.get(WARM) == "0":
        return
    store, drafts = runtime.store(), runtime.opened().drafts
    with contextlib.suppress(OrganismError):
        versions = [version_by_name(store, loop_id, name) for name in names]
        _warm(tuple(version.model_version_id for version in versions), drafts.pid, versions)


@st.cache_resource(max_entries=8, show_spinner=False)
def _warm(ids: tuple[str, ...], child: int | None, _versions: Sequence[ModelVersion]) -> threading.Thread:
    """Once for these versions and this child; a model that cannot be loaded says so when it is asked to write."""
    drafts = runtime.opened().drafts

    def work() -> None:
        with contextlib.suppress(OrganismError):
            drafts.warm(_versions)

    thread = threading.Thread(target=work, name="warm-models", daemon=True)
    thread.start()
    return thread


def facts_of(measures: Mapping[str, Any]) -> tuple[FactCheck, ...]:
    """The facts of an evaluation's row as checks."""
    return tuple(FactCheck(fact["kind"], tuple(fact["any_of"])) for fact in measures["facts"])
