"""Pages run in this process through AppTest, each test on a workspace of its own."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from organism.config import ROOT

SHELL = ROOT / "ui" / "shell.py"


@pytest.fixture(scope="session")
def finished_turn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one finished turn; made in a child process, so that torch stays out of this one."""
    place = tmp_path_factory.mktemp("clinic") / "workspace"
    subprocess.run([sys.executable, "-m", "tests.pages.clinic", str(place)], cwd=ROOT, check=True)
    return place


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new workspace without the demo."""
    yield from _opened(tmp_path / "workspace", monkeypatch)


@pytest.fixture
def full(finished_turn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the finished turn, to change at will."""
    yield from _opened(shutil.copytree(finished_turn, tmp_path / "workspace"), monkeypatch)


@pytest.fixture
def visit() -> Callable[..., AppTest]:
    """Opens a page as a person would, with the address's parameters."""

    def open_page(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(SHELL, default_timeout=60).run()
        if page != "metabolism":
            app.switch_page(f"../pages/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_page


def _opened(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    from ui import runtime

    monkeypatch.setenv("ORGANISM_WORKSPACE", str(place))
    monkeypatch.setenv("ORGANISM_DEMO", "0")
    monkeypatch.setenv("ORGANISM_WARM", "0")
    monkeypatch.delenv("ORGANISM_API_KEY", raising=False)
    yield place
    runtime.release()
