"""How many runs at once and what an hour costs: kept in a file, overruled by the environment, refused in a sentence."""

from pathlib import Path
from typing import Any

import pytest

from organism.config import Workspace
from organism.errors import DesignError
from organism.optimize.run_settings import MAX_RUNS, USD_PER_HOUR, RunSettings, read_run_settings, set_cap, set_price


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "new")


def test_one_run_at_once_and_no_price_until_somebody_says_so(workspace: Workspace) -> None:
    assert read_run_settings(workspace, {}) == RunSettings(1, None)
    set_cap(workspace, 3)
    set_price(workspace, 0.5)
    assert read_run_settings(workspace, {}) == RunSettings(3, 0.5)
    set_price(workspace, None)
    assert read_run_settings(workspace, {}) == RunSettings(3, None)


def test_the_environment_wins(workspace: Workspace) -> None:
    set_cap(workspace, 3)
    assert read_run_settings(workspace, {MAX_RUNS: "2", USD_PER_HOUR: "1.5"}) == RunSettings(2, 1.5)


def test_a_cost_needs_a_price_and_a_time() -> None:
    assert RunSettings(1, 3.6).cost(1000) == pytest.approx(1.0)
    assert RunSettings(1, 3.6).cost(None) is None
    assert RunSettings(1, None).cost(1000) is None
    assert RunSettings(1, 0.0).cost(1000) == 0.0


@pytest.mark.parametrize("value", [0, -1, 65, 1.5, "many", None, True, float("nan"), 10**400])
def test_a_cap_that_cannot_be_is_refused(workspace: Workspace, value: Any) -> None:
    with pytest.raises(DesignError, match="runs at once; give a whole number from 1 to 64"):
        set_cap(workspace, value)
    assert not workspace.path.exists()


@pytest.mark.parametrize("value", [-0.1, 1e9, "cheap", float("inf"), 10**400])
def test_a_price_that_cannot_be_is_refused(workspace: Workspace, value: Any) -> None:
    with pytest.raises(DesignError, match="dollars an hour; give a number from 0 to 10000"):
        set_price(workspace, value)


def test_a_broken_file_and_a_broken_variable_are_named(workspace: Workspace) -> None:
    with pytest.raises(DesignError, match=f"{MAX_RUNS} asks for 'two' runs at once"):
        read_run_settings(workspace, {MAX_RUNS: "two"})
    workspace.path.mkdir()
    (workspace.path / "run_settings.json").write_text("{")
    with pytest.raises(DesignError, match=r"run_settings\.json cannot be read"):
        read_run_settings(workspace, {})
