"""`organism experiments` and `decide`: words and JSON, planned ones included."""

import json
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.experiment.running import NOW, run


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """A running experiment and a planned one, in a workspace of their own."""
    store = open_store(Workspace(tmp_path).database)
    loop_id = ensure_loop(store, "notes", NOW)
    made = [run(store, loop_id, "one"), run(store, loop_id, "two", versions=("c", "d"), status="planned")]
    store.execute("UPDATE experiments SET started_at = NULL WHERE status = 'planned'", [], "experiments")
    store.close()
    return made


def say(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main([*words, "--workspace", str(tmp_path), "--no-demo"])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_each_experiment_has_its_verdict_and_a_planned_one_has_none(tmp_path, ids, capsys):
    code, said = say(tmp_path, capsys, "experiments", "--loop", "notes")
    assert code == 0
    assert "Too early to tell: 0 simulated users of a and 0 of b have a known answer; 20 more are needed." in said
    assert "Planned: it has not started, so nobody was served yet." in said
    rows = json.loads(say(tmp_path, capsys, "experiments", "--loop", "notes", "--json")[1])["experiments"]
    cards = {row["name"]: row["scorecard"] for row in rows}
    assert cards["two"] is None
    assert cards["one"]["rule"] == "too_few_users"


def test_hold_keeps_it_running_and_stop_ends_it(tmp_path, ids, capsys):
    why = ("--note", "not clear", "--by", "Ann")
    assert say(tmp_path, capsys, "decide", ids[0], "--verdict", "hold", *why)[1].startswith("Recorded: keep running.")
    assert say(tmp_path, capsys, "decide", ids[0], "--verdict", "stop", *why)[1].startswith("Recorded: stop.")
    code, said = say(tmp_path, capsys, "decide", ids[0], "--verdict", "ship", *why)
    assert code == 2
    assert "was decided" in said


def test_the_treatment_that_a_decision_is_about_is_named(tmp_path, ids, capsys):
    why = ("--note", "not clear", "--by", "Ann", "--treatment")
    code, said = say(tmp_path, capsys, "decide", ids[0], "--verdict", "stop", *why, "c")
    assert code == 2
    assert "'c' is no treatment of this experiment; it has b" in said
    assert say(tmp_path, capsys, "decide", ids[0], "--verdict", "stop", *why, "b")[0] == 0
