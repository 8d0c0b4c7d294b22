"""What pages are laid out from: heads, vital signs, verdicts, empty states, charts with their takeaway."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from organism.config import ROOT
from organism.errors import OrganismError
from organism.records import RunStatus, Verdict
from ui.words import literal, sentence

PAGES = ROOT / "pages"

VERDICTS = {
    Verdict.SHIP: ("green", "check_circle", "Ship it"),
    Verdict.KEEP_RUNNING: ("orange", "hourglass_top", "Keep running"),
    Verdict.STOP: ("gray", "stop_circle", "Stop"),
    Verdict.ROLL_BACK: ("red", "undo", "Roll back"),
    Verdict.BLOCKED: ("violet", "block", "Blocked"),
}

STATUSES = {
    RunStatus.QUEUED: ("gray", "schedule"),
    RunStatus.RUNNING: ("blue", "autorenew"),
    RunStatus.EVALUATING: ("violet", "fact_check"),
    RunStatus.PAUSED: ("gray", "pause_circle"),
    RunStatus.DONE: ("green", "check"),
    RunStatus.STOPPED: ("gray", "stop_circle"),
    RunStatus.FAILED: ("red", "error"),
    RunStatus.INTERRUPTED: ("orange", "power_off"),
}


def page_file(name: str) -> str:
    """The path of a page, as `st.switch_page` and `st.page_link` take it from anywhere."""
    return str(PAGES / f"{name}.py")


def presenting() -> bool:
    """True when the link asks for a slide: `?present=1`."""
    return st.query_params.get("present") == "1"


def head(title: str, why: str, icon: str) -> None:
    """The title of a page, and in one sentence what it is for."""
    st.title(title, icon=f":material/{icon}:", anchor=False)
    if not presenting():
        st.caption(why)


def present_button() -> None:
    """Enter the presentation, or leave it with Escape; the address stays the slide's link."""
    if presenting():
        if st.button("Leave presentation", icon=":material/close_fullscreen:", type="tertiary", shortcut="Escape"):
            del st.query_params["present"]
            st.rerun()
    elif st.button("Present", icon=":material/slideshow:", type="tertiary", help="Hide everything but the findings"):
        st.query_params["present"] = "1"
        st.rerun()


def vital(
    label: str,
    value: str | None,
    help_text: str,
    *,
    delta: str | int | None = None,
    than: str | None = None,
    less_is_better: bool = False,
    trend: Sequence[float] = (),
) -> None:
    """One vital sign: its figure, how it moved, and its recent course."""
    st.metric(
        label,
        value,
        delta,
        delta_color="inverse" if less_is_better else "normal",
        help=help_text,
        border=True,
        height="stretch",
        chart_data=list(trend) if len(trend) > 1 else None,
        chart_type="area",
        delta_description=than if delta is not None else None,
    )


def simulated_badge() -> None:
    """Said beside whatever rests on simulated people."""
    st.badge("Simulated people", icon=":material/biotech:", color="orange")


def run_badge(status: RunStatus) -> None:
    """A run's status as an icon and a word."""
    color, icon = STATUSES[status]
    st.badge(status.value.capitalize(), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]


def empty(title: str, sentence: str, icon: str, *, page: str | None = None, action: str = "") -> None:
    """Nothing to show yet: says why, and what to do next."""
    st.info(sentence, title=title, icon=f":material/{icon}:")
    if page:
        st.page_link(page_file(page), label=action, icon=":material/arrow_forward:")


@contextmanager
def polite(title: str | None = None) -> Iterator[None]:
    """What the person can mend is shown as a sentence and the page goes on; a bug rises."""
    try:
        yield
    except OrganismError as error:
        st.error(literal(sentence(str(error))), title=title, icon=":material/error:")


def chart(figure: go.Figure, takeaway: str, data: pd.DataFrame, name: str) -> None:
    """A figure, its takeaway in words, and its figures as a file."""
    st.plotly_chart(
        figure,
        key=f"chart_{name}",
        alt=takeaway,
        config={
            "displaylogo": False,
            "modeBarButtons": [["toImage"]],
            "toImageButtonOptions": {"filename": name, "scale": 2},
        },
    )
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.caption(takeaway, width="stretch")
        if not presenting():
            csv_button(data, name)


def csv_button(data: pd.DataFrame, name: str) -> None:
    """Offer a table as CSV; it is only written out when asked for."""
    st.download_button(
        "CSV",
        data=lambda: data.to_csv(index=False).encode(),
        file_name=f"{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"csv_{name}",
        help="Download the figures behind this chart",
    )


def static(name: str) -> str:
    """The path of a file in ui/static."""
    return str(Path(__file__).parent / "static" / name)
