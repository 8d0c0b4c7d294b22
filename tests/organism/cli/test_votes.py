"""`organism vote`: from an open ballot to the names, in words and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.digest.test_votes_flow import NOW, evaluate, version

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command on a workspace with two versions that were judged; returns the exit code and what it printed."""
    store = open_store(Workspace(tmp_path).database)
    loop_id = ensure_loop(store, "notes", NOW)
    evaluate(store, version(store, loop_id, "tuned-1"), version(store, loop_id, "base", tuned=False))
    store.close()

    def run(*words: str) -> tuple[int, str]:
        code = main(["vote", *words, "--workspace", str(tmp_path), "--loop", "notes", "--no-demo"])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_a_ballot_is_opened_judged_and_closed(say: Say) -> None:
    code, said = say("open", "tuned-1", "--pairs", "3", "--seed", "2", "--json")
    ballot = json.loads(said)["ballot_id"]
    assert code == 0
    for place in range(3):
        item = json.loads(say("next", ballot, "--by", "ann", "--json")[1])["item"]
        assert (item["place"], item["n_items"]) == (place + 1, 3)
        better = "first" if item["first"].startswith("tuned") else "second"
        code, said = say("cast", ballot, "--item", str(item["item_number"]), "--better", better, "--by", "ann")
        assert (code, said) == (0, f"Kept. ann has judged {place + 1} of 3 pairs.\n")
    assert say("next", ballot, "--by", "ann")[1] == "ann has judged every pair of this ballot.\n"
    hidden = say("tally", ballot)[1]
    assert "tuned" not in hidden
    assert "organism vote close" in hidden
    assert "3 for tuned-1, 0 for base, 0 for neither." in say("close", ballot)[1]
    assert "closed" in say("list")[1]


def test_the_next_pair_says_how_to_answer_it_and_no_name(say: Say) -> None:
    ballot = json.loads(say("open", "tuned-1", "--json")[1])["ballot_id"]
    code, said = say("next", ballot, "--by", "ann")
    assert code == 0
    assert f"organism vote cast {ballot} --by 'ann' --item" in said


def test_an_unknown_ballot_or_version_exits_with_2(say: Say) -> None:
    assert "open one with `organism vote open VERSION`" in say("list")[1]
    assert say("tally", "nowhere")[0] == 2
    assert say("open", "tuned-9")[0] == 2
