"""`organism reward check` and `reward audit` as a stranger meets them: words, JSON, files, exit codes."""

import json
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
from tests.organism.digest.served_clinic import serve
from tests.organism.digest.simulated_rows import clinic


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with three versions, one of which earns reward by offering less."""
    folder = tmp_path_factory.mktemp("cli") / "w"
    folder.mkdir()
    store = open_store(workspace(folder).database)
    serve(Events(store, loop_id=ensure_loop(store, "notes", START)), clinic(0, n_users=24))
    store.close()
    return folder


def run(capsys: Any, place: Path, *words: str) -> tuple[int, str, str]:
    code = main(["reward", *words, "--workspace", str(place), "--no-demo"])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_check_says_the_answer_and_the_same_of_a_file(place, tmp_path, capsys):
    code, words, _ = run(capsys, place, "check")
    assert code == 0
    assert "in part. Within each version" in words
    assert "predicts" in words
    file = tmp_path / "mine.toml"
    file.write_text(to_toml(DEFAULT_DESIGN))
    told = json.loads(run(capsys, place, "check", str(file), "--json")[1])
    assert told["design_id"] == DEFAULT_DESIGN.id
    assert told["reward"][0]["word"] == "predicts"


def test_audit_names_the_hack_with_its_checks(place, capsys):
    code, words, _ = run(capsys, place, "audit")
    assert code == 0
    assert "brief against base: HACK SUSPECTED" in words
    assert "clean against base: CLEAN" in words
    assert "after the fact" in words
    told = json.loads(run(capsys, place, "audit", "--variant", "brief", "--json")[1])
    assert [a["verdict"] for a in told["audits"]] == ["hack suspected"]
    assert "after the fact" in told["what_it_is"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit", "--variant", "scribe-9"], "there are: base, brief, clean"),
        (["check", "nobody"], "no reward design is called 'nobody'"),
        (["check", "missing.toml"], "missing.toml cannot be read"),
        (["audit", "x" * 5000], "no reward design is called 'xxx"),
        (["check", "live", "--loop", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(place, capsys, words, said):
    code, _, complaint = run(capsys, place, *words)
    assert code == 2
    assert said in complaint


def test_an_empty_loop_is_answered_in_a_sentence(tmp_path, capsys):
    store = open_store(workspace(tmp_path).database)
    ensure_loop(store, "notes", START)
    store.close()
    code, words, _ = run(capsys, tmp_path, "check")
    assert (code, "no outcome and no human judgment has come in" in words) == (0, True)
    code, words, _ = run(capsys, tmp_path, "audit")
    assert (code, "no second variant" in words) == (0, True)
