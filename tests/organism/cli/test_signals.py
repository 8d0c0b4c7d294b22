"""`organism reward signals`, `define-signal`, `remove-signal`: words, JSON, exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from organism.cli.main import main
from organism.config import workspace
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.conftest import START, Events


@pytest.fixture
def place(tmp_path: Path) -> Path:
    store = open_store(workspace(tmp_path).database)
    events = Events(store, loop_id=ensure_loop(store, "notes", START))
    events.answered("a")
    events.draft("b")
    events.write()
    store.close()
    return tmp_path


def run(capsys: Any, place: Path, *words: str) -> tuple[int, str, str]:
    code = main(["reward", *words, "--workspace", str(place), "--no-demo"])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_signal_is_defined_listed_and_removed(place, capsys):
    code, words, _ = run(capsys, place, "define-signal", "short", "feedback.final_chars < 200", "--note", "A short one")
    assert (code, words) == (0, "short is a signal now: there on 1 of 2 interactions.\n")
    told = json.loads(run(capsys, place, "signals", "--json")[1])["signals"]
    assert {"short": 1, "accepted": 1, "latency_ms": 2}.items() <= {s["name"]: s["n_present"] for s in told}.items()
    assert "A short one" in run(capsys, place, "signals")[1]
    assert run(capsys, place, "remove-signal", "short")[:2] == (0, "short is no longer measured.\n")
    (gone,) = [s for s in json.loads(run(capsys, place, "signals", "--json")[1])["signals"] if s["name"] == "short"]
    assert gone["removed_at"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("define-signal", "short", "read_text('x') = ''"), "the function read_text, which a signal cannot use"),
        (("define-signal", "short", "1 / (latency_ms - 500)"), "nullif"),
        (("remove-signal", "latency_ms"), "comes with the data"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(place, capsys, words, sentence):
    code, out, err = run(capsys, place, *words)
    assert (code, out) == (2, "")
    assert sentence in err
