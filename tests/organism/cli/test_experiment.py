"""`organism experiment`: from what it would ask for to a changed plan, in words and as JSON."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.records import ModelVersion
from organism.store.loops import ensure_loop
from organism.store.model_versions import insert_version
from organism.store.schema import open_store
from tests.organism.conftest import Events

Say = Callable[..., tuple[int, str]]
START = datetime(2026, 9, 7, 8)


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command on a workspace with two versions and eight weeks of thirty users; returns code and words."""
    store = open_store(Workspace(tmp_path).database)
    events = Events(store, loop_id=ensure_loop(store, "notes", START))
    for name in ("base", "tuned"):
        version = ModelVersion(
            model_version_id=f"id-{name}", loop_id=events.loop_id, name=name, base_path="bundled:x", adapter_path=None,
            run_id=None, dataset_id=None, reward_design_id=None, created_at=START,
        )  # fmt: skip
        store.write(lambda cursor, version=version: insert_version(cursor, version), "model_versions")
    for user in range(30):
        for week in range(9):
            events.answered(f"user-{user}", 40 + user, START + timedelta(weeks=week, minutes=user))
    events.write()
    store.close()

    def run(*words: str) -> tuple[int, str]:
        code = main(["experiment", *words, "--workspace", str(tmp_path), "--loop", "notes", "--no-demo"])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_a_plan_is_tried_kept_started_and_changed(say: Say) -> None:
    asked = ("plan", "--variant", "base", "--variant", "tuned", "--minimum-effect", "0.1", "--by", "ana")
    code, said = say(*asked, "--dry-run")
    assert code == 0
    assert "points of retained characters with 80% power" in said
    assert "tuned against base" not in say("list")[1], "a dry run keeps nothing"
    code, said = say(*asked, "--hypothesis", "It learned", "--json")
    kept = json.loads(said)
    assert (code, kept["name"]) == (0, "tuned against base")
    assert kept["sizing"]["n_users"] > 20
    assert [one["weeks"] for one in kept["sizing"]["curve"]] == [1, 2, 4, 8]
    experiment = kept["experiment_id"]
    assert "planned" in say("list")[1]
    code, said = say("start", experiment, "--json")
    started = json.loads(said)
    assert (code, started["plan"]["n_users"]) == (0, kept["sizing"]["n_users"])
    words = ("change", experiment, "--guardrail", "latency_ms=30%", "--users", "90", "--by", "ben", "--why", "Slower")
    code, said = say(*words)
    assert code == 0
    assert "Version 2 by ben" in said
    assert f"planned users: {kept['sizing']['n_users']} → 90" in said
    shown = json.loads(say("show", experiment, "--json")[1])
    assert shown["experiment"]["status"] == "running"
    assert [one["version"] for one in shown["versions"]] == [1, 2]
    assert shown["changes"][0]["why"] == "Slower"
    assert "Version 2 by ben" in say("show", experiment)[1]


def test_a_draft_is_put_anew_and_what_is_not_said_stays(say: Say) -> None:
    words = ("--variant", "base", "--variant", "brief=tuned", "--prompt", "brief=Be brief.", "--variant", "gpt=outside")
    shares = ("--share", "base=0.5", "--share", "brief=0.25", "--share", "gpt=0.25", "--control", "gpt")
    kept = json.loads(say("plan", *words, *shares, "--layer", "drafts", "--range", "0:0.4", "--json")[1])
    code, _ = say("plan", "--draft", kept["experiment_id"], "--metric", "accepted", "--name", "Brief", "--json")
    assert code == 0
    shown = json.loads(say("show", kept["experiment_id"], "--json")[1])["experiment"]
    assert [(one["name"], one["share"], one["prompt"]) for one in shown["variants"]] == [
        ("gpt", 0.25, None), ("base", 0.5, None), ("brief", 0.25, "Be brief."),
    ]  # fmt: skip
    assert (shown["name"], shown["layer"], shown["layer_high"]) == ("Brief", "drafts", 0.4)
    assert shown["plan"]["primary"] == ["accepted"]
    assert say("drop", kept["experiment_id"])[1] == "The draft 'Brief' is gone.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan",), "give --variant twice or more"),
        (("plan", "--variant", "base"), "found 1 variant"),
        (("plan", "--variant", "base", "--variant", "other"), "no version 'other'; it has"),
        (("plan", "--variant", "base", "--variant", "tuned", "--share", "tuned"), "--share 'tuned' is not NAME=VALUE"),
        (("plan", "--variant", "base", "--variant", "tuned", "--share", "x=0.5"), "'x' is no variant of this plan"),
        (("plan", "--variant", "base", "--variant", "tuned", "--metric", "speed"), "no metric of this loop is called"),
        (("plan", "--variant", "base", "--variant", "tuned", "--guardrail", "error=0"), "margin 0.0; give one above 0"),
        (("plan", "--variant", "base", "--variant", "tuned", "--guardrail", "error=x"), "'x' is no number"),
        (("plan", "--variant", "base", "--variant", "tuned", "--targeting", "{"), "--targeting is not JSON"),
        (("plan", "--variant", "base", "--variant", "tuned", "--layer", "l", "--range", "1"), "is not LOW:HIGH"),
        (("plan", "--variant", "base", "--variant", "tuned", "--control", "x"), "the control 'x' is not among"),
        (("start", "exp-1"), "no experiment has the id 'exp-1'"),
    ],
)
def test_what_cannot_be_planned_exits_with_2_and_one_sentence(say: Say, words: tuple[str, ...], said: str) -> None:
    code, printed = say(*words)
    assert code == 2
    assert said in printed
    assert "Traceback" not in printed


def test_an_empty_loop_says_what_to_do(say: Say) -> None:
    assert "plan one with `organism experiment plan" in say("list")[1]
