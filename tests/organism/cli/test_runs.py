"""`organism train`, `recipes`, `runs` and `run …`: queued, seen through, changed; and what a script is promised."""

import json
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.ingest.flow import ingest
from organism.optimize.catalog import RECIPES
from organism.optimize.run_settings import MAX_RUNS, USD_PER_HOUR
from organism.records import EventKind
from organism.store.schema import open_store

NOW = datetime(2026, 10, 1)
PROMISED = {"run_id", "status", "model_version_id", "evaluation", "tokens_per_second", "seconds"}
FIGURES = {
    "before", "after", "gain", "gain_ci", "facts_before", "facts_after", "tokens_before", "tokens_after",
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """The words that name a workspace with 120 edited drafts of forty users."""
    drafts, answers = [], []
    for n in range(120):
        own = {"source": "test", "occurred_at": NOW - timedelta(hours=n)}
        texts = {"prompt": f"drug {n}", "output": f"take {n} mg", "consent": True, "user_key": f"user-{n % 40:02d}"}
        drafts.append({**own, **texts, "loop": "notes", "external_id": f"d{n}"})
        said = {"kind": "edit", "final_text": f"Note: drug {n} mg, every morning."}
        answers.append({**own, **said, "external_id": f"a{n}", "interaction_external_id": f"d{n}"})
    with closing(open_store(Workspace(tmp_path / "w").database)) as store:
        ingest(store, EventKind.INTERACTIONS, drafts, now=NOW).result()
        ingest(store, EventKind.FEEDBACK, answers, now=NOW).result()
    return ["--workspace", str(tmp_path / "w"), "--no-demo"]


@pytest.fixture
def quick(place: list[str], tiny_base: Path) -> list[str]:
    """A quick look on a tiny model."""
    return ["--preset", "quick", "--set", f"base={tiny_base}", "--set", "max_new_tokens=8", "--rows", "24", *place]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    assert main([*words]) == code
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("organism: ")
    return said


def test_a_run_that_is_waited_for_prints_what_a_script_is_promised(place, quick, capsys):
    made = run(capsys, "train", "--recipe", "sft", *quick, "--set", "eval_rows=4", "--epochs", "1", "--wait")
    assert set(made) == PROMISED
    assert made["status"] == "done"
    assert set(made["evaluation"]) == FIGURES
    assert 0 <= made["evaluation"]["after"] <= 1
    assert made["evaluation"]["tokens_before"] == 8
    assert made["tokens_per_second"] > 0
    assert made["seconds"] > 0
    [listed] = run(capsys, "runs", *place)["runs"]
    assert (listed["version_name"], listed["model_version_id"]) == ("notes-1", made["model_version_id"])
    shown = run(capsys, "run", "show", made["run_id"][-8:], *place)
    assert shown["evaluation"]["n_rows"] == 4
    assert len(shown["progress"]) == shown["total_steps"] == 3
    logged = run(capsys, "run", "log", made["run_id"], *place)["log"]
    assert "recipe sft, 24 rows, on " in logged[0]
    assert [line[9:20] for line in logged[1:-2]] == ["step 1 of 3", "step 3 of 3"]
    assert "loss " in logged[1]
    assert "tokens/s" in logged[1]
    assert "Both models draft the held-out rows: " in logged[-2]
    assert "and evaluated, after " in logged[-1]
    assert main(["run", "show", made["run_id"], *place]) == 0
    assert "step 3 of 3, loss" in capsys.readouterr().out


def test_a_run_is_queued_named_listed_and_changed(place, quick, capsys):
    made = run(capsys, "train", "--recipe", "dpo", "--name", "pairs", *quick)
    assert (made["status"], made["model_version_id"], made["evaluation"], made["seconds"]) == ("queued", *[None] * 3)
    assert run(capsys, "run", "pause", "pairs", *place)["status"] == "paused"
    assert run(capsys, "run", "resume", "pairs", *place)["status"] == "queued"
    clone = run(capsys, "run", "clone", "pairs", "--set", "epochs=1", "--set", "beta=0.3", *place)
    shown = run(capsys, "run", "show", "pairs 2", *place)
    assert (shown["run_id"], shown["parent_run_id"]) == (clone["run_id"], made["run_id"])
    assert (shown["config"]["beta"], shown["recipe"]) == (0.3, "dpo")
    assert run(capsys, "run", "stop", "pairs", *place)["status"] == "stopped"
    assert run(capsys, "run", "retry", "pairs", *place)["status"] == "queued"
    assert run(capsys, "run", "log", "pairs", *place)["log"] == []
    assert main(["runs", *place]) == 0
    table = capsys.readouterr().out
    assert "pairs 3" in table
    assert "None" not in table


def test_queued_says_who_will_start_it(place, quick, capsys):
    assert main(["train", *quick]) == 0
    said = capsys.readouterr().out
    assert "It starts when `organism serve` is at work" in said
    assert "organism run resume" in said


def test_a_run_that_fails_exits_with_1_and_says_why(place, quick, capsys):
    words = ["train", *quick, "--set", "max_length=16", "--wait", "--json"]
    assert main(words) == 1
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == PROMISED | {"error"}
    assert (printed["status"], printed["evaluation"]) == ("failed", None)
    assert "24 longer than the model may read" in printed["error"]


def test_recipes_and_their_knobs_are_listed(capsys, place):
    assert {card["recipe"] for card in run(capsys, "recipes", *place)["recipes"]} == set(RECIPES)
    assert main(["recipes", *place]) == 0
    assert "Learns from drafts that experts edited or accepted." in capsys.readouterr().out


def test_what_it_would_take_and_see_and_whether_there_is_enough_is_said_before(place, quick, capsys):
    assert run(capsys, "train", *quick, "--estimate")["seconds"] > 0
    assert run(capsys, "train", *quick, "--check")["objection"] is None
    seen = run(capsys, "train", *quick, "--preview")
    assert seen["n_usable"] == seen["n_rows"] == 24
    assert main(["train", *quick, "--preview"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("> Note: drug") for line in lines)
    assert any(line.startswith("| drug ") for line in lines)
    assert run(capsys, "runs", *place)["runs"] == []


def test_a_workspace_without_a_loop_has_nothing_to_train(tmp_path, capsys):
    assert "no loop is named" in refused(capsys, "train", "--workspace", str(tmp_path), "--no-demo")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--recipe", "alchemy"], "there is no recipe 'alchemy'"),
        (["--preset", "slow"], "there is no preset 'slow'"),
        (["--set", "epochs"], "--set epochs names no value; write it as NAME=VALUE"),
        (["--set", "speed=2"], "a fine-tune has no setting 'speed'"),
        (["--set", "epochs=many"], "epochs is 'many'; give a whole number"),
        (["--dataset", "none"], "no training set begins with the id 'none'"),
        (["--on", "moon"], "nobody knows the place 'moon'"),
    ],
)
def test_a_mistake_is_one_sentence(place, capsys, words, sentence):
    assert sentence in refused(capsys, "train", *words, *place)


@pytest.mark.parametrize("setting", ["bogus=1", "epochs=abc", "epochs=-3"])
def test_a_check_refuses_the_settings_that_a_launch_refuses(place, capsys, setting):
    words = ("train", "--set", setting, *place)
    assert refused(capsys, *words, "--check") == refused(capsys, *words)


def test_thumbs_of_one_kind_are_a_sentence_and_no_run(place, quick, capsys):
    assert "a model learns from both sides" in refused(capsys, "train", "--recipe", "kto", *quick)
    assert main(["train", "--recipe", "kto", "--check", *quick]) == 2
    assert "It cannot start: all 24 rows" in capsys.readouterr().out
    assert run(capsys, "runs", *place)["runs"] == []


def test_no_two_runs_share_a_name(place, quick, capsys):
    run(capsys, "train", "--name", "mine", *quick)
    said = refused(capsys, "train", "--name", "mine", *quick, "--set", "seed=3")
    assert "the name 'mine' belongs to run" in said


def test_the_cap_and_the_price_can_be_changed_while_another_process_holds_the_workspace(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(MAX_RUNS, raising=False)
    monkeypatch.delenv(USD_PER_HOUR, raising=False)
    place = ["--workspace", str(tmp_path / "w")]
    with closing(open_store(Workspace(tmp_path / "w").database)):
        assert run(capsys, "run", "cap", "3", *place)["max_runs"] == 3
        assert run(capsys, "run", "price", "0.25", *place) == {"max_runs": 3, "usd_per_hour": 0.25}
        assert main(["run", "cap", *place]) == 0
    assert capsys.readouterr().out == "At most 3 runs at once; an hour costs $0.25.\n"
    assert "give a whole number from 1 to 64" in refused(capsys, "run", "cap", "0", *place)
