"""`organism experiment selftest` and `organism simulate`: words, JSON, silence while it is quick, one sentence else."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from organism.cli import selftest
from organism.cli.main import main
from organism.config import Workspace
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.conftest import Events
from tests.organism.experiment.running import NOW, run

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs a command on a workspace with an experiment of 70 users; returns code, output and errors."""
    monkeypatch.setattr(selftest, "PATIENCE", 1000.0)  # a busy machine may take longer than two seconds
    store = open_store(Workspace(tmp_path).database)
    events = Events(store, loop_id=ensure_loop(store, "notes", NOW))
    made = run(store, events.loop_id, primary="retained_char_rate")
    for user in range(70):
        for day in range(5):
            at = NOW + timedelta(days=day, minutes=user)
            events.answered(f"u{user}", 20 + user, at, experiment_id=made, variant_id="ab"[user % 2])
    events.write()
    store.close()

    def speak(*words: str) -> tuple[int, str, str]:
        named = [made if word == "ID" else word for word in words]
        code = main([*named, "--workspace", str(tmp_path), "--no-demo"])
        return code, *capsys.readouterr()

    return speak


def test_a_self_test_says_both_rates_and_draws_both_histograms(say: Say) -> None:
    code, said, errors = say("experiment", "selftest", "ID", "--permutations", "300")
    assert (code, errors) == (0, "")
    assert "cries wolf" in said
    assert said.count("#") > 20
    code, plain, _ = say("experiment", "selftest", "ID", "--permutations", "300", "--json")
    assert json.loads(plain)["n_permutations"] == 300
    code, plain, _ = say("experiment", "selftest", "--loop", "notes", "--weeks", "3", "--json", "--metric", "accepted")
    assert code == 2
    assert "no spread" in json.loads(plain)["error"], "everybody accepted everything"
    code, plain, _ = say("experiment", "selftest", "--loop", "notes", "--weeks", "3", "--json")
    assert json.loads(plain)["source"] == "the loop's last 3 weeks"


@pytest.mark.parametrize(
    "words",
    [
        ("experiment", "selftest", "ID", "--weeks", "3"),
        ("experiment", "selftest", "--loop", "notes", "--treatment", "b"),
        ("experiment", "selftest", "ID", "--metric", "nope"),
        ("experiment", "selftest", "ID", "--alpha", "2"),
        ("simulate", "--users", "0"),
        ("simulate", "--effect", "nan"),
    ],
)
def test_bad_input_is_one_sentence(say: Say, words: tuple[str, ...]) -> None:
    code, said, errors = say(*words)
    assert (code, said) == (2, "")
    assert errors.startswith("organism: ")
    assert errors.count("\n") == 1


def test_a_simulation_says_rates_stops_and_users(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("simulate", "--users", "100", "--experiments", "500", "--looks", "10", "--effect", "0.3")
    code, said, errors = say(*asked)
    assert (code, errors) == (0, ""), "nothing on stderr while it is quick"
    for words in ("power (99%)", "stopped early", "users at stop", "naive", "fixed", "sequence"):
        assert words in said
    found = json.loads(say(*asked, "--json", "--method", "fixed")[1])
    assert found["measures"] == "power"
    assert [one["method"] for one in found["outcomes"]] == ["fixed"]
    monkeypatch.setattr(selftest, "PATIENCE", 0.0)
    assert "100%" in say(*asked)[2], "progress once it takes longer"
