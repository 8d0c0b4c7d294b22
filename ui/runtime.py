"""The only place where Streamlit's caches meet the core: one store, one supervisor, one draft server a process."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import plotly.graph_objects as go
import streamlit as st
from organism.deploy.serving import DraftServer
from organism.optimize.supervisor import Supervisor

from organism.config import Workspace, utcnow, workspace
from organism.demo import open_workspace
from organism.errors import OrganismError
from organism.store.database import Store
from ui import charts

P = ParamSpec("P")
T = TypeVar("T")

DATA = (
    "loops",
    "interactions",
    "feedback_events",
    "outcomes",
    "quarantine",
    "reward_designs",
    "datasets",
    "model_versions",
    "alias_events",
    "eval_runs",
    "experiments",
    "assignments",
    "decisions",
)
"""Tables whose change makes a chart stale. A run's progress is not among them: it would evict everyone's charts."""


def place() -> Workspace:
    """The workspace this process serves."""
    return workspace()


def store() -> Store:
    """The one store of this process. A workspace that cannot be opened is tried again on the next call."""
    return _store(str(place().path))


def supervisor() -> Supervisor:
    """The thread that starts and follows training runs."""
    return _supervisor(str(place().path))


def draft_server() -> DraftServer:
    """The child process that writes drafts with this workspace's models."""
    return _draft_server(str(place().path))


@st.cache_resource(show_spinner="Opening the workspace ...")
def _store(path: str) -> Store:
    return open_workspace(workspace(path))


@st.cache_resource(show_spinner=False)
def _supervisor(path: str) -> Supervisor:
    supervisor = Supervisor(_store(path), workspace(path))
    supervisor.start()
    return supervisor


@st.cache_resource(show_spinner=False)
def _draft_server(path: str) -> DraftServer:
    return DraftServer(workspace(path))


def release() -> None:
    """Stop the children and close the workspace; the next call opens it again."""
    path = str(place().path)
    draft_server().close()
    supervisor().close()
    store().close()
    for opened in (_draft_server, _supervisor, _store):
        opened.clear(path)


def data_version() -> int:
    """How often the data has changed since the workspace was made."""
    return store().version(*DATA)


def now(minutes: int = 5) -> datetime:
    """Now, rounded down, so that reads that depend on the clock can be cached for a while."""
    moment = utcnow().replace(second=0, microsecond=0)
    return moment - timedelta(minutes=moment.minute % minutes)


def read(question: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the core a question; the answer is kept until the data changes."""
    return _answer(_name(question), args, kwargs, str(place().path), data_version(), question)  # type: ignore[no-any-return]


def read_with_runs(question: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for a question that also looks at training runs."""
    version = store().version(*DATA, "training_runs")
    return _answer(_name(question), args, kwargs, str(place().path), version, question)  # type: ignore[no-any-return]


@st.cache_data(max_entries=512, show_spinner=False)
def _answer(name: str, args: Any, kwargs: Any, path: str, version: int, _question: Callable[..., Any]) -> Any:
    return _question(_store(path), *args, **kwargs)


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
