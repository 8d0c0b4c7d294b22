"""Every page in an empty, a full and a mistaken workspace."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from organism.config import ROOT

Visit = Callable[..., AppTest]
PAGES = (
    "metabolism",
    "sources",
    "reward",
    "reward_check",
    "choices",
    "off_policy",
    "training_sets",
    "fine_tunes",
    "before_after",
    "evaluations",
    "plan_experiment",
    "experiments",
)


def said(app: AppTest) -> str:
    """All sentences of a page in one text."""
    kinds = (app.title, app.info, app.error, app.warning, app.caption, app.markdown, app.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_workspace_is_told_what_to_do_next(empty: Path, visit: Visit, page: str) -> None:
    app = visit(page)
    assert not app.exception
    assert len(app.title) == 1
    assert len(app.info) == 1, "one empty state with one sentence"


@pytest.mark.parametrize("page", PAGES)
def test_a_full_workspace_is_shown_without_a_complaint(full: Path, visit: Visit, page: str) -> None:
    app = visit(page)
    assert not app.exception
    assert not app.error
    assert not app.warning
    assert not app.info
    assert "Synthetic demo data" in said(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_slide_shows_findings_and_no_forms(full: Path, visit: Visit, page: str) -> None:
    if page in ("sources", "reward", "fine_tunes", "plan_experiment"):
        pytest.skip("these pages are for work, not for slides")
    app = visit(page, present="1")
    assert not app.exception
    assert not app.sidebar.children
    assert "Leave presentation" in [button.label for button in app.button]
    assert not [button for button in app.button if button.label == "Record the decision"]


def test_an_unknown_loop_in_the_address_is_named_and_another_is_shown(full: Path, visit: Visit) -> None:
    app = visit("experiments", loop="no-such-loop")
    assert not app.exception
    assert "no-such-loop" in app.warning[0].value
    assert "Ship" in said(app)


@pytest.mark.parametrize("page", ["metabolism", "experiments"])
def test_a_file_that_is_no_database_is_one_sentence_and_never_a_traceback(empty: Path, visit: Visit, page: str) -> None:
    empty.mkdir()
    (empty / "organism.duckdb").write_bytes(b"not a database at all" * 400)
    app = AppTest.from_file(ROOT / "ui" / "shell.py", default_timeout=60).run()
    assert not app.exception
    assert app.title[0].value == "This workspace cannot be opened"
    assert "restore" in app.error[0].value


def test_a_workspace_of_a_newer_version_is_refused_and_left_alone(full: Path, visit: Visit) -> None:
    with duckdb.connect(str(full / "organism.duckdb")) as connection:
        connection.execute("INSERT INTO schema_steps VALUES ('m999_tomorrow', now()::TIMESTAMP)")
    app = AppTest.from_file(ROOT / "ui" / "shell.py", default_timeout=60).run()
    assert not app.exception
    assert "newer Organism" in app.error[0].value
    with duckdb.connect(str(full / "organism.duckdb")) as connection:
        connection.execute("DELETE FROM schema_steps WHERE name = 'm999_tomorrow'")
    assert app.button[0].label == "Try again"
    app.button[0].click().run()
    assert app.title[0].value == "Metabolism", "the same process goes on once the cause is mended"


@pytest.fixture
def other_owner(full: Path) -> Iterator[int]:
    """Another process that holds the workspace."""
    code = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(full / "organism.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        yield owner.pid
        owner.communicate()


def test_a_workspace_that_another_process_holds_names_that_process(full: Path, other_owner: int) -> None:
    app = AppTest.from_file(ROOT / "ui" / "shell.py", default_timeout=60).run()
    assert not app.exception
    assert str(other_owner) in app.error[0].value
