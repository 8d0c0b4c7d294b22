"""`organism reward choose`, `choices`, `weights` and `off-policy`: words, JSON, exit codes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from organism.cli.main import main
from organism.config import workspace
from organism.digest.design_files import to_toml
from organism.digest.designs import DEFAULT_DESIGN
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.conftest import START, Events
from tests.organism.digest.routed import serve_experiment


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A workspace with an experiment, and its interactions by id."""
    folder = tmp_path_factory.mktemp("cli") / "w"
    folder.mkdir()
    store = open_store(workspace(folder).database)
    serve_experiment(store, Events(store, loop_id=ensure_loop(store, "notes", START)))
    ids = [row[0] for row in store.rows("SELECT interaction_id::VARCHAR FROM interactions ORDER BY 1 LIMIT 8")]
    store.close()
    return folder, ids


def run(capsys: Any, place: tuple[Path, list[str]], *words: str) -> tuple[int, str, str]:
    code = main(["reward", *words, "--loop", "notes", "--workspace", str(place[0]), "--no-demo"])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_choices_are_kept_listed_and_turned_into_weights(place, capsys):
    ids = place[1]
    assert "Nobody chose yet" in run(capsys, place, "choices")[1]
    assert run(capsys, place, "weights")[0] == 2
    for number in range(4):
        sides = (ids[2 * number], ids[2 * number + 1], "--better", ("left", "right")[number % 2], "--by", "Ana")
        code, words, _ = run(capsys, place, "choose", *sides)
        assert code == 0
    assert "Ana has made 4 choices" in words
    listed = json.loads(run(capsys, place, "choices", "--json")[1])
    assert len(listed["choices"]) == 4
    code, words, _ = run(capsys, place, "weights", "--by", "Ana")
    assert code == 0
    assert "retained_char_rate" in words
    assert "loose" in words
    assert "hand-set: the design's own share" in words
    told = json.loads(run(capsys, place, "weights", "--json")[1])
    assert (told["n_pairs"], {"weight", "low", "high", "n_more"} <= told["weights"][0].keys()) == (4, True)


def test_the_next_pair_is_shown_blind_with_the_command_that_answers_it(place, capsys):
    code, words, _ = run(capsys, place, "next-pair", "--by", "Cleo")
    assert code == 0
    assert not {"base", "scribe-1"} & set(words.replace(":", " ").split())
    pair = json.loads(run(capsys, place, "next-pair", "--by", "Cleo", "--json")[1])["pair"]
    assert pair["left"].keys() == {"id", "prompt", "output", "signals"}
    asked = f"choose {pair['left']['id']} {pair['right']['id']} --better left --by Cleo"
    assert asked in words
    assert all(pair[side]["output"] in words for side in ("left", "right"))
    assert run(capsys, place, *asked.split())[0] == 0
    after = json.loads(run(capsys, place, "next-pair", "--by", "Cleo", "--json")[1])["pair"]
    assert {after["left"]["id"], after["right"]["id"]} != {pair["left"]["id"], pair["right"]["id"]}


def test_a_person_who_compared_all_variants_is_told_so(place, capsys):
    code, words, _ = run(capsys, place, "next-pair", "--by", "Dan", "--kind", "variants")
    while code == 0 and "Answer with" in words:
        answer = words.splitlines()[-1].removeprefix("organism reward ").split()
        assert run(capsys, place, *answer)[0] == 0
        code, words, _ = run(capsys, place, "next-pair", "--by", "Dan", "--kind", "variants")
    assert (code, words) == (0, "Dan has seen every pair there is.\n")


def test_the_design_may_be_a_file_wherever_one_is_named(place, capsys, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(to_toml(replace(DEFAULT_DESIGN, name="mine", signals=DEFAULT_DESIGN.signals[:1])))
    policy = ("off-policy", "--policy", "region:north=scribe-1,*=base")
    by_file = json.loads(run(capsys, place, *policy, "--design", str(file), "--json")[1])
    assert by_file["estimates"] != json.loads(run(capsys, place, *policy, "--json")[1])["estimates"]
    pair = json.loads(run(capsys, place, "next-pair", "--by", "Eve", "--design", str(file), "--json")[1])["pair"]
    assert list(pair["left"]["signals"]) == [DEFAULT_DESIGN.signals[0].signal]
    ids = (pair["left"]["id"], pair["right"]["id"])
    assert run(capsys, place, "choose", *ids, "--better", "left", "--by", "Eve")[0] == 0
    told = json.loads(run(capsys, place, "weights", "--by", "Eve", "--design", str(file), "--json")[1])
    assert [weight["signal"] for weight in told["weights"]] == [DEFAULT_DESIGN.signals[0].signal]
    assert run(capsys, place, "weights", "--design", str(tmp_path / "none.toml"))[0] == 2


def test_bad_choices_exit_with_two_and_one_sentence(place, capsys):
    code, _, complaint = run(capsys, place, "choose", place[1][0], "ghost", "--better", "left", "--by", "Ana")
    assert code == 2
    assert complaint.count("\n") == 1
    assert "ghost" in complaint
    assert run(capsys, place, "weights", "--by", "Bob")[0] == 2


def test_off_policy_prints_the_estimate_or_the_refusal(place, capsys):
    code, words, _ = run(capsys, place, "off-policy", "--policy", "region:north=scribe-1,*=base")
    assert code == 0
    assert "Doubly robust (DR)" in words
    assert "effective users" in words
    assert "re-weighting the same drafts is exact" in words
    told = json.loads(run(capsys, place, "off-policy", "--policy", "always:scribe-2", "--json")[1])
    assert "No overlap" in told["refusal"]
    code, _, complaint = run(capsys, place, "off-policy", "--policy", "always:base", "--seed", "-1")
    assert (code, "the seed is -1; give 0" in complaint) == (2, True)
    code, _, complaint = run(capsys, place, "off-policy", "--policy", "sometimes")
    assert (code, "is no policy" in complaint) == (2, True)
