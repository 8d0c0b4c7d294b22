"""`organism assign`, `holdout`, `layers`: words and JSON, and exit code 2 on bad input."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.experiment.running import NOW, run

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command on a workspace whose loop `notes` runs one experiment on a part of a layer, in the north."""
    store = open_store(Workspace(tmp_path).database)
    loop_id = ensure_loop(store, "notes", NOW)
    run(store, loop_id, layer=("drafts", 0.0, 0.9), targeting={"region": ["north"]})
    store.close()

    def command(*words: str) -> tuple[int, str]:
        code = main([*words, "--workspace", str(tmp_path), "--loop", "notes", "--no-demo"])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


def test_a_user_gets_one_variant_for_good(say: Say) -> None:
    asked = ("assign", "--user", "ann", "--attributes", '{"region": "north"}')
    code, said = say(*asked, "--json")
    (found,) = json.loads(said)["assignments"]
    assert (code, found["probability"], found["reason"]) == (0, 0.5, "hash")
    code, said = say("assign", "--user", "ann", "--experiment", found["experiment_id"])
    assert (code, said) == (
        0,
        f"first: {found['variant']}, by the product's own system (probability 0.5, kept).\n",
    )
    assert say("assign", "--user", "ben")[1] == "first: no variant (not targeted); serve the live version.\n"


def test_the_holdout_is_shown_and_set(say: Say) -> None:
    assert "Nobody is held out" in say("holdout")[1]
    assert say("holdout", "--share", "0.5", "--by", "Ana")[1].startswith("50.00% of the users take part in no")
    assert json.loads(say("holdout", "--json")[1])["holdout"]["actor"] == "Ana"


def test_layers_name_what_is_held_and_what_is_free(say: Say) -> None:
    said = say("layers")[1]
    assert "[0, 0.9)" in said
    assert "Free in drafts: [0.9, 1)." in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("assign", "--user", " "), "no user was named"),
        (("assign", "--user", "ann", "--experiment", "nowhere"), "no experiment has the id"),
        (("assign", "--user", "ann", "--attributes", "north"), "--attributes is not JSON"),
        (("assign", "--user", "ann", "--attributes", "[1]"), "wanted an object"),
        (("holdout", "--share", "2", "--by", "Ana"), "from 0 to 0.5"),
        (("holdout", "--share", "0.1"), "needs the name"),
    ],
)
def test_bad_input_exits_with_2_and_a_sentence(say: Say, words: tuple[str, ...], said: str) -> None:
    code, printed = say(*words)
    assert (code, said in printed) == (2, True)
