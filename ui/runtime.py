"""The only place where Streamlit's caches meet the core: one store, one supervisor, one draft server a process."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import plotly.graph_objects as go
import streamlit as st

from organism.config import Workspace, utcnow, workspace
from organism.demo import open_workspace
from organism.deploy.serving import DraftServer
from organism.errors import OrganismError
from organism.optimize.supervisor import Supervisor
from organism.records import RunStatus
from organism.store.database import Store
from organism.store.loops import read_loops
from ui import charts

P = ParamSpec("P")
T = TypeVar("T")

ALIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.EVALUATING)

DATA = (
    "loops",
    "interactions",
    "feedback_events",
    "outcomes",
    "quarantine",
    "reward_designs",
    "signal_definitions",
    "choices",
    "sampled_drafts",
    "datasets",
    "model_versions",
    "alias_events",
    "eval_runs",
    "safety_cases",
    "sweeps",
    "ballots",
    "votes",
    "experiments",
    "assignments",
    "exposures",
    "holdouts",
    "decisions",
)
"""Tables whose change makes a chart stale. A run's progress is not among them: it would evict everyone's charts."""


class Opened(NamedTuple):
    """What one process holds open for one workspace."""

    store: Store
    supervisor: Supervisor
    drafts: DraftServer

    def close(self) -> None:
        """Stop the children, then finish the writes and release the file."""
        self.drafts.close()
        self.supervisor.close()
        self.store.close()


class Loop(NamedTuple):
    """The loop that the pages look at."""

    loop_id: str
    name: str
    n_interactions: int
    is_synthetic: bool


def place() -> Workspace:
    """The workspace this process serves."""
    return workspace()


def opened() -> Opened:
    """The one store, supervisor and draft server of this process; one that failed to open is tried again."""
    return _opened(str(place().path))


@st.cache_resource(show_spinner=False, on_release=Opened.close)
def _opened(path: str) -> Opened:
    here = workspace(path)
    store = open_workspace(here)
    supervisor = Supervisor(store, here)
    supervisor.start()
    return Opened(store, supervisor, DraftServer(here))


def release() -> None:
    """Close what is open, if anything is; the next call opens it again."""
    _opened.clear(str(place().path))


def store() -> Store:
    """The one store of this process."""
    return opened().store


def loops() -> dict[str, Loop]:
    """Every loop by name, the busiest first."""
    found = read(read_loops).sort_values("n_interactions", ascending=False)
    return {
        row.name: Loop(row.loop_id, row.name, int(row.n_interactions), bool(row.is_synthetic))
        for row in found.itertuples(index=False)
    }


def chosen_loop() -> Loop | None:
    """The loop that this session looks at: the link's, else the one picked, else the busiest; None without any."""
    known = loops()
    if (asked := st.query_params.get("loop")) in known:
        st.session_state["loop_name"] = asked
    return known.get(st.session_state.get("loop_name", "")) or next(iter(known.values()), None)


def data_version() -> int:
    """How often the data has changed since the workspace was made."""
    return store().version(*DATA)


def now(minutes: int = 5) -> datetime:
    """Now, rounded down, so that reads that depend on the clock can be cached for a while."""
    moment = utcnow().replace(second=0, microsecond=0)
    return moment - timedelta(minutes=moment.minute % minutes)


def read(question: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the core a question; the answer is kept until the data changes."""
    return _answer(_name(question), args, kwargs, str(place().path), data_version(), question)


def read_with_runs(question: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for a question that also looks at training runs."""
    version = store().version(*DATA, "training_runs")
    return _answer(_name(question), args, kwargs, str(place().path), version, question)


@st.cache_data(max_entries=512, show_spinner=False)
def _answer(name: str, args: Any, kwargs: Any, path: str, version: int, _question: Callable[..., Any]) -> Any:
    return _question(_opened(path).store, *args, **kwargs)


def hold(question: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for a large answer: one for all readers instead of a copy each, so nobody may change it."""
    return _held(_name(question), args, kwargs, str(place().path), data_version(), question)


@st.cache_resource(max_entries=32, show_spinner=False)
def _held(name: str, args: Any, kwargs: Any, path: str, version: int, _question: Callable[..., Any]) -> Any:
    return _question(_opened(path).store, *args, **kwargs)


def figure(draw: Callable[..., go.Figure], data: Any, *options: Any, about: tuple[Any, ...] = ()) -> go.Figure:
    """A chart of this data in the reader's theme, kept until the data changes; `about` names what it shows."""
    dark = st.context.theme.type == "dark"
    return _figure(_name(draw), about, options, data_version(), str(place().path), dark, draw, data)


@st.cache_resource(max_entries=256, show_spinner=False)
def _figure(
    name: str,
    about: tuple[Any, ...],
    options: Any,
    version: int,
    path: str,
    dark: bool,
    _draw: Callable[..., go.Figure],
    _data: Any,
) -> go.Figure:
    return _draw(_data, charts.DARK if dark else charts.LIGHT, *options)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


class Errand:
    """One long piece of work in a thread of this process, with a progress that every page can read."""

    def __init__(self, title: str, work: Callable[["Errand"], str]) -> None:
        self.title = title
        self.share = 0.0
        self.text = "Starting"
        self.error: str | None = None
        self.done: str | None = None
        self._work = work
        threading.Thread(target=self._run, name=f"errand-{title}", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """True until it ended, well or badly."""
        return self.done is None and self.error is None

    def say(self, stage: str, share: float, text: str) -> None:
        """Take progress up, in the shape that the loop's flows report it."""
        self.share, self.text = min(max(share, 0.0), 1.0), text

    def _run(self) -> None:
        try:
            self.done = self._work(self)
        except OrganismError as error:
            self.error = str(error)
        except Exception as error:
            self.error = f"this is a bug, please report it: {type(error).__name__}: {error}"
            raise


@st.cache_resource(show_spinner=False)
def errands() -> dict[str, Errand]:
    """The long errands of this process by subject (an experiment's id)."""
    return {}
