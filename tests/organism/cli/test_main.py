"""The command line as a stranger meets it: help, exit codes, JSON, and no command that the README hides."""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from organism.cli.main import build_parser, main
from organism.cli.serve import names_of

ROOT = Path(__file__).resolve().parents[3]


def _commands(parser: argparse.ArgumentParser | None = None, before: str = "") -> list[str]:
    """Every command's words; a group is named by its members."""
    actions = (parser or build_parser())._subparsers
    if actions is None:
        return [before.strip()]
    (tree,) = [action for action in actions._group_actions if isinstance(action, argparse._SubParsersAction)]
    return sorted(name for word, leaf in tree.choices.items() for name in _commands(leaf, f"{before} {word}"))


@pytest.mark.parametrize("name", _commands())
def test_every_command_stands_in_the_readme(name: str) -> None:
    section = (ROOT / "README.md").read_text().split("## Command line")[1].split("\n## ")[0]
    assert re.search(rf"`(organism )?{name}\b", section)


@pytest.mark.parametrize("name", _commands())
def test_every_command_has_help_json_and_workspace(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert "--json" in shown
    assert "--workspace" in shown


def test_an_unknown_command_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["digest-everything"])
    assert stop.value.code == 2


def test_a_missing_file_is_bad_input_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        [
            "import",
            str(tmp_path / "no.csv"),
            "--kind",
            "feedback",
            "--no-demo",
            "--workspace",
            str(tmp_path / "w"),
            "--json",
        ]
    )
    printed = capsys.readouterr()
    assert code == 2
    assert "no.csv" in json.loads(printed.out)["error"]
    assert printed.err.startswith("organism: ")


def test_an_unknown_loop_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vitals", "--loop", "nobody", "--no-demo", "--workspace", str(tmp_path)]) == 2
    assert "nobody" in capsys.readouterr().err


def test_an_argument_that_is_no_text_is_bad_input(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 reach Python as half characters, which neither the store nor a terminal takes."""
    words = [sys.executable, "-m", "organism", "reward", "define-signal", "x", b"'\xff' = 'a'", "--no-demo"]
    done = subprocess.run([*words, "--workspace", str(tmp_path / "w")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "organism: expression is not UTF-8 text; write it anew\n")


def test_a_reader_who_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    """As in `organism sources | head`, with a pipe that is closed before a word is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "organism", "sources", "--no-demo", "--workspace", str(tmp_path)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_taken_port_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--workspace", str(tmp_path)]) == 2
    assert f"port {port} is taken" in capsys.readouterr().err


def test_import_then_sources_then_backup_and_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "drafts.jsonl"
    good = {
        "loop": "mail",
        "source": "crm",
        "external_id": "1",
        "occurred_at": "2026-11-01T10:00:00Z",
        "user_key": "u",
        "output": "hi",
    }
    rows.write_text(json.dumps(good) + "\n" + json.dumps({**good, "external_id": "2", "latency_ms": "soon"}) + "\n")
    place = ["--workspace", str(tmp_path / "w"), "--no-demo", "--json"]

    def run(*words: str) -> dict:  # type: ignore[type-arg]
        assert main([*words, *place]) == 0
        return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]

    assert run("import", str(rows), "--kind", "interactions")["accepted"] == 1
    assert run("import", str(rows), "--kind", "interactions")["duplicates"] == 1
    assert len(run("quarantine")["rows"]) == 1
    assert run("sources")["sources"][0]["source"] == "crm"
    run("backup", str(tmp_path / "copy.duckdb"))
    run("restore", str(tmp_path / "copy.duckdb"))
    assert run("sources")["sources"][0]["n_rows"] == 1


def test_doctor_finds_a_cut_model_and_says_how_to_mend_it(tmp_path: Path) -> None:
    from organism.doctor import weights_problem

    broken = tmp_path / "model.safetensors"
    broken.write_bytes((10).to_bytes(8, "little") + b'{"a": 1}')
    assert "safetensors" in weights_problem(broken)


def test_the_module_is_the_same_command() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "organism", "--version"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert shown.stdout.startswith("organism ")


def test_only_this_machine_is_named_unless_the_app_is_shown_to_a_network() -> None:
    assert names_of("127.0.0.1") == ["localhost", "127.0.0.1"]
    shown = names_of("0.0.0.0")
    assert {"localhost", "127.0.0.1", socket.gethostname()} <= set(shown)
    assert "0.0.0.0" not in shown
    assert "10.1.2.3" in names_of("10.1.2.3")
