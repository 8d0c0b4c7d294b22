"""`organism tracks …` on a workspace with forty users' answers."""

import json
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from organism.cli.main import main
from organism.config import Workspace
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.schema import open_store

NOW = datetime(2026, 10, 1)


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    folder = tmp_path / "w"
    drafts, answers = [], []
    for n in range(120):
        own = {"source": "test", "occurred_at": NOW - timedelta(hours=n)}
        texts = {"prompt": f"prompt {n}", "output": f"draft {n}", "consent": True, "user_key": f"user-{n % 40:02d}"}
        drafts.append({**own, **texts, "loop": "notes", "external_id": f"d{n}", "latency_ms": 5.0, "cost_usd": 0.1})
        said = {"kind": "edit", "final_text": f"final {n}"}
        answers.append({**own, **said, "external_id": f"a{n}", "interaction_external_id": f"d{n}"})
    with closing(open_store(Workspace(folder).database)) as store:
        ingest(store, EventKind.INTERACTIONS, drafts, now=NOW).result()
        ingest(store, EventKind.FEEDBACK, answers, now=NOW).result()
    return ["--workspace", str(folder), "--no-demo"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["tracks", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_preview_start_list_show_and_stop(place, tiny_base, capsys):
    asked = ["start", "rows", "--recipe", "sft", "--cut", "max_rows=30", "--cut", "max_rows=50"]
    asked += ["--set", f"base={tiny_base}", *place]
    assert [track["n_train"] for track in run(capsys, *asked, "--preview")["tracks"]] == [30, 50]
    assert run(capsys, "list", *place)["tracks"] == []
    started = run(capsys, *asked)
    [listed] = run(capsys, "list", *place)["tracks"]
    assert (listed["sweep_id"], listed["n_runs"]) == (started["sweep_id"], 2)
    shown = run(capsys, "show", started["sweep_id"], *place)
    assert [row["status"] for row in shown["results"]] == ["queued", "queued"]
    assert run(capsys, "stop", started["sweep_id"], *place)["stopped"] == 2
    assert main(["tracks", "show", started["sweep_id"], *place]) == 0
    assert "Imitate expert edits, 30 rows: Not measured: Stopped before it started." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "no-such"], "no tracks have the id"),
        (["start", "x", "--recipe", "alchemy"], "no recipe 'alchemy'"),
        (["start", "x", "--recipe", "sft", "--cut", "rows"], "gives no value"),
        (["start", "x", "--recipe", "sft", "--seeds", "0"], "--seeds 0 starts nothing"),
        (["experiment", "no-such"], "no run has the id"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(place, capsys, words, sentence):
    assert main(["tracks", *words, *place]) == 2
    assert sentence in capsys.readouterr().err
