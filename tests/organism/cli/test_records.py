"""`organism experiment replay` and `report`, as a stranger meets them."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.experiment.flow import decide
from organism.experiment.record import canonical
from organism.experiment.record_flow import record_of
from organism.records import Verdict
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.conftest import Events
from tests.organism.experiment.running import run

START = datetime(2026, 9, 7, 8)
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def experiment_id(tmp_path: Path) -> str:
    """A decided experiment in a workspace, its record as a file beside it."""
    store = open_store(Workspace(tmp_path / "place").database)
    events = Events(store, loop_id=ensure_loop(store, "notes", START))
    made = run(store, events.loop_id)
    for n in range(30):
        for day in range(3):
            kind = "accept" if n % 2 or n % 3 == day else "reject"
            at = START + timedelta(days=day, hours=1)
            events.answered(f"user {n}", at=at, kind=kind, experiment_id=made, variant_id="ab"[n % 2])
    events.write()
    decide(store, made, Verdict.SHIP, "More is used", "Ann", now=START + timedelta(days=4))
    (tmp_path / "record.json").write_bytes(record_of(store, made).content)
    store.close()
    return made


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command on the workspace; returns code, words and complaints."""

    def said(*words: str) -> tuple[int, str, str]:
        code = main(["experiment", *words, "--workspace", str(tmp_path / "place"), "--no-demo"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return said


def test_a_record_is_replayed_by_experiment_by_file_and_against_the_data(
    say: Say, experiment_id: str, tmp_path: Path
) -> None:
    code, said, _ = say("replay", experiment_id)
    assert (code, said.startswith("Same bytes: SHA-256 ")) == (0, True)
    assert "Ann decided ship" in said
    assert say("replay", str(tmp_path / "record.json"))[:2] == (0, said)
    code, said, _ = say("replay", experiment_id, "--from-data", "--json")
    found = json.loads(said)
    assert (code, found["is_same"], found["since"]["is_same"]) == (0, True, True)
    assert found["outcome"] == "same bytes"
    assert "same sums today" in found["since"]["sentence"]


def test_a_changed_file_exits_1_and_names_the_first_difference(say: Say, experiment_id: str, tmp_path: Path) -> None:
    changed = tmp_path / "changed.json"
    text = (tmp_path / "record.json").read_text()
    changed.write_text(text.replace('"n_interactions":90,', '"n_interactions":91,'))
    code, said, _ = say("replay", str(changed))
    assert code == 1
    assert "n_interactions was 9" in said
    code, said, _ = say("replay", str(changed), "--json")
    assert (code, json.loads(said)["is_same"], json.loads(said)["outcome"]) == (1, False, "differs")
    changed.write_text(text.replace("More is used", "Less is used"))
    code, said, _ = say("replay", str(changed))
    assert (code, said.startswith("Differs. The record was changed after it was written")) == (1, True)


def test_another_builds_last_digit_is_the_same_to_rounding_and_exits_0(
    say: Say, experiment_id: str, tmp_path: Path
) -> None:
    found = json.loads((tmp_path / "record.json").read_text())
    found["scorecard"]["mean_control"] *= 1 + 1e-14
    found["software"]["build"] = "0" * 12
    found.pop("content_sha256")
    found["content_sha256"] = hashlib.sha256(canonical(found).encode()).hexdigest()
    (tmp_path / "record.json").write_text(canonical(found))
    code, said, _ = say("replay", str(tmp_path / "record.json"))
    assert (code, said.startswith("The same to rounding: 1 value comes")) == (0, True)
    assert "The largest difference: scorecard.mean_control was" in said
    assert "Another build of organism wrote it" in said
    code, said, _ = say("replay", str(tmp_path / "record.json"), "--json")
    assert (code, json.loads(said)["outcome"]) == (0, "the same to rounding")


def test_bad_input_is_one_sentence(say: Say, experiment_id: str, tmp_path: Path) -> None:
    strange = tmp_path / "strange.json"
    strange.write_bytes(b"\xff\xfe")
    for words, complaint in (
        (("replay", "nothing"), "no experiment has the id 'nothing'"),
        (("replay", str(strange)), "cannot be read as UTF-8"),
        (("replay", str(tmp_path / "record.json"), "--from-data"), "no database to ask again"),
        (("report", "nothing", "--out", str(tmp_path / "x.html")), "no experiment has the id 'nothing'"),
        (("report", experiment_id, "--out", str(tmp_path / "no" / "x.html")), "cannot be written"),
    ):
        code, _, said = say(*words)
        assert code == 2
        assert complaint in said


def test_a_report_is_written_the_same_every_time(say: Say, experiment_id: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.html", "two.html")]
    for file in files:
        code, said, _ = say("report", experiment_id, "--out", str(file))
        assert (code, said.startswith(f"Wrote {file}")) == (0, True)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "Decided: ship it" in files[0].read_text()


def test_a_file_is_reported_as_one_html_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"u{n},{'<i>a' if n % 2 else 'b'},{40 + n % 11 + 20 * (n % 2)},{('north', 'south')[n % 3 == 0]}"
        for n in range(90)
    ]
    (tmp_path / "tests & <b>.csv").write_text("user,variant,kept,region\n" + "\n".join(rows) + "\n")
    out = tmp_path / "out.html"
    asked = ("--unit", "user", "--control", "b", "--metric", "kept", "--segment", "region", "--report", str(out))
    assert main(["analyze", str(tmp_path / "tests & <b>.csv"), *asked]) == 0
    assert "is better than b on kept" in capsys.readouterr().out
    text = out.read_text()
    assert "tests &amp; &lt;b&gt;.csv" in text
    assert "&lt;i&gt;a is better than b on kept" in text
    assert "<i>a" not in text
    assert text.count("<svg") == 3, "the icon, the metrics and the segments"
    assert main(["analyze", str(tmp_path / "tests & <b>.csv"), *asked[:-1], str(tmp_path / "no" / "x.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
