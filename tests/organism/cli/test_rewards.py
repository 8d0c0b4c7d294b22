"""`organism reward …` as a person and as a script meet it: a design is a file that goes round."""

import io
import json
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from organism.cli.main import main
from organism.records import EventKind, event_id
from organism.store.database import Store
from organism.store.events import append_events
from organism.store.loops import ensure_loop
from organism.store.schema import open_store

AT = datetime(2026, 9, 7, 8)


def put(store: Store, loop_id: str) -> None:
    """Twelve users each of two variants; the second keeps more and is slower."""
    drafts, answers = [], []
    for n in range(24):
        variant, identity = ("base", "tuned")[n % 2], event_id(AT, "test", str(n))
        shared = {"occurred_at": AT, "created_at": AT, "source": "test", "external_id": str(n)}
        drafts.append(
            {
                "interaction_id": identity,
                "loop_id": loop_id,
                "user_key": f"u{n}",
                "variant_id": variant,
                "output": "x" * 100,
                "latency_ms": 900.0 + 300 * (n % 2) + n,
                "cost_usd": 0.0002 + n / 1e5,
                **shared,
            }
        )
        answers.append(
            {
                "feedback_id": event_id(AT, "test", f"f{n}"),
                "interaction_id": identity,
                "kind": "edit",
                "draft_chars": 100,
                "retained_chars": 40 + 30 * (n % 2) + n,
                "final_chars": 120,
                **shared,
            }
        )

    def work(cursor: Any) -> None:
        append_events(cursor, EventKind.INTERACTIONS, drafts)
        append_events(cursor, EventKind.FEEDBACK, answers)

    store.write(work, "interactions", "feedback_events")


class Shell:
    """Runs `organism reward …` on one small workspace."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        store = open_store(folder / "organism.duckdb")
        put(store, ensure_loop(store, "notes", AT))
        store.close()

    def __call__(self, *words: str) -> str:
        assert main(["reward", *words, "--workspace", str(self.folder), "--no-demo"]) == 0
        return self._capsys.readouterr().out

    def data(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def refused(self, *words: str) -> str:
        """The one sentence of a refusal, the same in words and in JSON."""
        assert main(["reward", *words, "--workspace", str(self.folder), "--no-demo", "--json"]) == 2
        printed = self._capsys.readouterr()
        said = json.loads(printed.out)["error"]
        assert printed.err == f"organism: {said}\n"
        return said


@pytest.fixture
def reward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "w", capsys)


def test_a_design_that_show_writes_is_one_that_what_if_and_save_read(reward: Shell, tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    file.write_text(reward("show", "quality", "--toml"))
    found = reward.data("what-if", str(file))
    assert found["design_id"] == reward.data("show", "quality")["reward_design_id"]
    assert [set(row) for row in found["variants"]] == [{"variant", "n_users", "n_interactions", "mean", "ci"}] * 2
    assert [(row["variant"], row["n_users"], len(row["ci"])) for row in found["variants"]] == [
        ("base", 12, 2),
        ("tuned", 12, 2),
    ]
    (only,) = found["differences"]
    assert set(only) == {"variant", "control", "effect", "ci", "p_value"}
    assert only["effect"] > 0
    assert {"nearest_flip", "coverage"} <= set(found)
    saved = reward.data("save", str(file), "--note", "More survives", "--by", "Ana")
    assert saved == {"reward_design_id": found["design_id"], "version": 1, "is_new": True}
    listed = reward.data("list")
    assert [(row["version"], row["note"], row["author"]) for row in listed["saved"]] == [(1, "More survives", "Ana")]
    assert "its note stays" in reward("save", str(file), "--note", "Said again")
    assert len(reward.data("list")["saved"]) == 1


def test_json_goes_round_as_well_and_standard_input_is_a_file(
    reward: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "design.json"
    file.write_text(reward("show", "price", "--json"))
    wanted = reward.data("what-if", str(file))
    for text in (file.read_text(), reward("show", "price", "--toml")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert reward.data("what-if", "-") == wanted


def test_both_toml_and_json_asked_for_is_one_object_with_the_text(reward: Shell) -> None:
    both = reward.data("show", "live", "--toml")
    assert set(both) == {"reward_design_id", "name", "toml"}
    assert tomllib.loads(both["toml"])["name"] == both["name"]


def test_a_person_reads_tables(reward: Shell, tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text(reward("show", "balanced", "--toml"))
    shown = reward("what-if", str(file), "--control", "tuned")
    assert "mean reward" in shown
    assert "95% interval" in shown
    assert "Warning: only 12 users met base" in shown
    assert "Nearest flip: with " in shown
    assert "Live: the default" in reward("list")
    assert "when missing" in reward("show", "live")


def test_a_diff_says_what_changes(reward: Shell) -> None:
    assert reward("diff", "price", "performance").splitlines() == ["cost_usd 0.60 → 0.10", "latency_ms 0.10 → 0.60"]
    assert reward.data("diff", "price", "performance")["changes"][0] == "cost_usd 0.60 → 0.10"
    assert "the same recipe" in reward("diff", "live", "live")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weight = 0.6", "weight = -0.1", "the weight -0.1; give 0 or more"),
        ("weight = 0.6", "weight = nan", "the weight nan"),
        ("weight = 0.6", "weight = inf", "the weight inf"),
        ("weight = 0.6", 'weight = "high"', "weight is the text 'high'; wanted a number"),
        ("weight = 0.6", "wieght = 0.1", "unknown key 'wieght'"),
        ("weight = 0.6", "weight =", "is not TOML"),
        ('"latency_ms"', '"applause"', "which nothing measures"),
        ('"latency_ms"', '"cost_usd"', "names cost_usd twice"),
        ("worst = 0.0\nbest = 1.0", "worst = 1.0\nbest = 1.0", "two different numbers"),
        ('name = "price"', 'name = ""', "has no name"),
        ("[[signals]]", "[[signal]]", "unknown key 'signal'"),
    ],
)
def test_a_bad_file_is_exit_2_with_one_sentence(reward: Shell, tmp_path: Path, old: str, new: str, said: str) -> None:
    text = reward("show", "price", "--toml")
    assert old in text
    file = tmp_path / "bad.toml"
    file.write_text(text.replace(old, new))
    for words in (("what-if", str(file)), ("save", str(file), "--note", "x")):
        assert said in reward.refused(*words)


def test_what_if_takes_a_design_by_its_name_as_well(reward: Shell, tmp_path: Path) -> None:
    file = tmp_path / "balanced.toml"
    file.write_text(reward("show", "balanced", "--toml"))
    assert reward.data("what-if", "balanced") == reward.data("what-if", str(file))
    assert reward.data("what-if")["design_id"] == reward.data("show", "live")["reward_design_id"]


def test_a_note_that_nobody_wrote_is_not_kept(reward: Shell, tmp_path: Path) -> None:
    file = tmp_path / "design.toml"
    text = reward("show", "balanced", "--toml")
    file.write_text(text)
    said = reward.refused("save", str(file))
    assert "still that of the design balanced" in said
    assert "--note" in said
    note = next(line for line in text.splitlines() if line.startswith("note"))
    file.write_text(text.replace(note, 'note = ""'))
    assert "the file has no note; say in one sentence what should get better: --note" in reward.refused(
        "save", str(file)
    )
    assert reward.data("list")["saved"] == []
    file.write_text(text.replace(note, 'note = "Fewer rewrites"'))
    reward("save", str(file))
    assert reward.data("list")["saved"][0]["note"] == "Fewer rewrites"


def test_what_is_not_there_is_exit_2_with_what_is(reward: Shell, tmp_path: Path) -> None:
    assert "reward show live --toml" in reward.refused("what-if", str(tmp_path / "none.toml"))
    assert "cannot be read" in reward.refused("save", str(tmp_path), "--note", "x")
    assert "no reward design is called" in reward.refused("what-if", str(tmp_path))
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in reward.refused("what-if", str(tmp_path / "b.toml"))
    assert "there are: live, price" in reward.refused("show", "nobody")
    assert "there are: live, price" in reward.refused("diff", "live", "nobody")
    file = tmp_path / "d.toml"
    file.write_text(reward("show", "price", "--toml"))
    assert "can be: base, tuned" in reward.refused("what-if", str(file), "--control", "nobody")
    assert "what should get better" in reward.refused("save", str(file), "--note", "")
    assert "has no name" in reward.refused("save", str(file), "--note", "x", "--name", "")
