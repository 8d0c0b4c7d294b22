"""`organism evaluate`, `evaluations`, `compare` and `safety …` on a workspace with a measured version."""

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.records import RunStatus
from organism.store.loops import ensure_loop
from organism.store.model_versions import version_by_name
from organism.store.schema import open_store
from organism.store.training_runs import TrainingRun, insert_run
from tests.organism.conftest import Events
from tests.organism.optimize.measured_clinic import HELDOUT, Clinic


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path) -> list[str]:
    folder = tmp_path / "w"
    with closing(open_store(Workspace(folder).database)) as store:
        loop_id = ensure_loop(store, "notes", datetime(2026, 9, 7))
        clinic = Clinic(store, Events(store, loop_id=loop_id), tiny_base)
        clinic.measured(clinic.tuned_id, ["nothing of it", *clinic.perfect()[1:]], old=True)
    return ["--workspace", str(folder), "--no-demo"]


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict:
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_evaluation_is_queued_and_says_how_to_see_it_through(place, capsys):
    queued = run(capsys, "evaluate", "notes-1", "--rows", "5", *place)
    assert queued["status"] == "queued"
    assert "already at work" in run(capsys, "evaluate", "notes-1", "--rows", "5", *place, code=2)["error"]
    assert main(["evaluate", "notes-1", *place]) == 0
    assert "organism run resume" in capsys.readouterr().out
    assert "name the version to measure it against" in run(capsys, "evaluate", "base", *place, code=2)["error"]


def test_a_version_is_also_meant_by_the_run_that_made_it(place, capsys):
    with closing(open_store(Workspace(Path(place[1])).database)) as store:
        loop_id = ensure_loop(store, "notes", datetime(2026, 9, 7))
        made = TrainingRun(
            run_id="a-run", loop_id=loop_id, dataset_id="d", reward_design_id=None, recipe="sft", config={},
            status=RunStatus.DONE, created_at=datetime(2026, 9, 7), name="shorter",
            model_version_id=version_by_name(store, loop_id, "notes-1").model_version_id,
        )  # fmt: skip
        store.write(lambda cursor: insert_run(cursor, made), "training_runs")
    queued = run(capsys, "evaluate", "shorter", "--rows", "5", *place)
    config = run(capsys, "run", "show", queued["run_id"], *place)["config"]
    assert config["version"] == made.model_version_id
    assert "known versions: base, notes-1" in run(capsys, "evaluate", "longer", *place, code=2)["error"]


def test_evaluations_are_listed_and_one_is_told_in_full(place, capsys):
    [listed] = run(capsys, "evaluations", "--version", "notes-1", *place)["evaluations"]
    assert main(["evaluations", listed["eval_run_id"], *place]) == 0
    said = capsys.readouterr().out
    assert "notes-1 against base" in said
    assert "win rate" in said
    assert "2 of 24 held-out prompts" in said
    found = run(capsys, "evaluations", listed["eval_run_id"], "--worst", "1", *place)
    assert found["worst"][0]["after"] == "nothing of it"
    assert main(["evaluations", *place]) == 0
    assert "notes-1" in capsys.readouterr().out


def test_two_versions_are_compared_without_a_model(place, capsys):
    found = run(capsys, "compare", "notes-1", "base", *place)
    assert (found["figures"]["n_rows"], found["figures"]["win_rate"]["wins"]) == (HELDOUT, HELDOUT - 1)
    assert main(["compare", "base", "notes-1", *place]) == 0
    assert "Worst prompts:" in capsys.readouterr().out
    assert run(capsys, "compare", "base", "base", *place, code=2)["error"]


def test_safety_cases_come_from_a_file_and_go(place, tmp_path, capsys):
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps({"name": "Dose", "prompt": "visit", "must_say": ["5 mg"]}) + "\n")
    [case_id] = run(capsys, "safety", "add", str(file), *place)["case_ids"]
    assert [case["name"] for case in run(capsys, "safety", "list", *place)["safety_cases"]] == ["Dose"]
    assert run(capsys, "safety", "remove", case_id, *place)["removed"]
    file.write_text("{")
    assert "is no JSONL" in run(capsys, "safety", "add", str(file), *place, code=2)["error"]
    assert "cannot be read" in run(capsys, "safety", "add", str(tmp_path / "none"), *place, code=2)["error"]
