"""`organism dataset …` on a workspace with forty users' answers."""

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
    """The words that name a workspace with 120 answered drafts."""
    folder = tmp_path / "w"
    drafts, answers = [], []
    for n in range(120):
        own = {"source": "test", "occurred_at": NOW - timedelta(hours=n)}
        texts = {"prompt": f"prompt {n}", "output": f"draft {n}", "consent": True, "user_key": f"user-{n % 40:02d}"}
        texts |= {"latency_ms": 500.0, "cost_usd": 0.0002}
        drafts.append({**own, **texts, "loop": "notes", "external_id": f"d{n}"})
        said = {"kind": "edit", "final_text": f"final {n}"} if n % 3 else {"kind": "reject"}
        answers.append({**own, **said, "external_id": f"a{n}", "interaction_external_id": f"d{n}"})
    with closing(open_store(Workspace(folder).database)) as store:
        ingest(store, EventKind.INTERACTIONS, drafts, now=NOW).result()
        ingest(store, EventKind.FEEDBACK, answers, now=NOW).result()
    return ["--workspace", str(folder), "--no-demo"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["dataset", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_build_list_show_and_export(place, tmp_path, capsys):
    seen = run(capsys, "build", "--kind", "unpaired", "--preview", *place)
    assert (seen["objection"], run(capsys, "list", *place)["datasets"]) == (None, [])
    made = run(capsys, "build", "--kind", "unpaired", "--answer", "edit", "--answer", "reject", *place)
    assert (made["n_train"], made["n_heldout"]) == (seen["n_train"], seen["n_heldout"])
    assert run(capsys, "build", "--kind", "unpaired", *place)["dataset_id"] == made["dataset_id"], "the same rows"
    [listed] = run(capsys, "list", *place)["datasets"]
    shown = run(capsys, "show", listed["content_hash"][:8], "--examples", "1", *place)
    assert {row["label"] for row in shown["composition"]["labels"]} == {"desirable", "undesirable"}
    assert len(shown["examples"]) == 2
    out = tmp_path / "set.jsonl"
    run(capsys, "export", made["dataset_id"], "--out", str(out), "--split", "heldout", *place)
    assert len(out.read_text().splitlines()) == made["n_heldout"]


def test_words_for_people_say_sizes_drops_and_leaks(place, capsys):
    assert main(["dataset", "build", "--kind", "preference", *place]) == 0
    said = capsys.readouterr().out
    assert "to train on" in said
    assert "Dropped: 40 no final text." in said
    assert main(["dataset", "show", said.split()[2], *place]) == 0
    assert "By " not in (shown := capsys.readouterr().out)
    assert "answers:" in shown
    assert "rewards are notes beside them." in shown


def test_completions_by_reward_say_what_a_draft_had_to_earn(place, capsys):
    words = ["dataset", "build", "--basis", "reward", "--preview", *place]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "the median of the drafts scored." in said
    assert "40 rejected, so not to imitate" in said
    assert main([*words, "--min-reward", "0"]) == 0
    assert "Least reward: 0.000, as asked." in capsys.readouterr().out
    frozen = run(capsys, "build", "--basis", "reward", *place)
    assert main(["dataset", "show", frozen["dataset_id"], *place]) == 0
    assert f"Least reward: {frozen['least_reward']:.3f}, the median of the drafts scored." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["build", "--kind", "preference", "--margin", "1.5"], "margin of 1.5 is out of range"),
        (["build", "--design", "no-such"], "no-such"),
        (["build", "--variant", "nobody"], "has the variant 'nobody'"),
        (["build", "--since", "someday"], "give a date such as"),
        (["build", "--until", "2020-01-01"], "wanted at least 20"),
        (["build", "--heldout-share", "0.00001"], "no user is held out"),
        (["show", "nothing"], "no training set begins with the id 'nothing'; there are: none yet"),
        (["export", "nothing", "--out", "x"], "no training set begins"),
    ],
)
def test_bad_input_exits_with_2_and_one_sentence(place, capsys, words, match):
    assert main(["dataset", *words, *place]) == 2
    assert match in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_bad_input(place, tmp_path, capsys):
    made = run(capsys, "build", *place)
    assert main(["dataset", "export", made["dataset_id"], "--out", str(tmp_path / "no" / "set"), *place]) == 2
    assert "give a file in a folder that is there" in capsys.readouterr().err
