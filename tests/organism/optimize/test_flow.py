"""What start_run refuses, each in one sentence; and that nothing is left behind."""

from pathlib import Path

import pytest

from organism.config import Workspace, utcnow
from organism.errors import DesignError, InputError, ModelError, StoreError
from organism.optimize.flow import SftConfig, read_runs, resume_run, start_run, stop_run, wait_for_run
from organism.optimize.runs import RunFolder
from organism.records import RunStatus, content_hash, new_id
from organism.store.database import Store
from organism.store.datasets import append_dataset
from organism.store.loops import ensure_loop

NOW = utcnow()


def _freeze(store: Store, n_train: int, n_heldout: int) -> tuple[str, str]:
    loop_id = ensure_loop(store, "clinical-notes", NOW)
    row = {"feedback_id": new_id(NOW), "prompt": "p", "completion": "c", "facts": None, "user_key": "u"}
    rows = [
        {**row, "interaction_id": new_id(NOW), "row_number": n, "split": "train" if n < n_train else "heldout"}
        for n in range(n_train + n_heldout)
    ]
    counts = {"n_train": n_train, "n_heldout": n_heldout, "n_users_train": 1, "n_users_heldout": 1}
    identity = {"dataset_id": new_id(NOW), "loop_id": loop_id, "name": "notes", "content_hash": content_hash("x")}
    append_dataset(store, {**identity, **counts, "dropped": {}, "created_at": NOW}, rows)
    return loop_id, str(identity["dataset_id"])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def _start(store: Store, workspace: Workspace, dataset: tuple[str, str], base: Path, **settings: float) -> str:
    config = SftConfig.from_dict({"base": str(base), **settings})
    return start_run(store, workspace, *dataset, config, now=utcnow())


def test_three_rows_are_no_training_set(store: Store, workspace: Workspace, tiny_base: Path) -> None:
    with pytest.raises(DesignError, match="training set 'notes' has 3 training rows; a fine-tune needs at least 20"):
        _start(store, workspace, _freeze(store, 3, 3), tiny_base)
    assert not workspace.runs.exists()


def test_without_held_out_rows_nothing_is_started(store: Store, workspace: Workspace, tiny_base: Path) -> None:
    with pytest.raises(DesignError, match="holds no rows out"):
        _start(store, workspace, _freeze(store, 30, 0), tiny_base)


@pytest.mark.parametrize(
    ("kind", "rows"), [("preference", "preference pairs"), ("unpaired", "labeled drafts, desirable and undesirable")]
)
def test_pairs_and_labels_are_not_imitated(
    store: Store, workspace: Workspace, tiny_base: Path, kind: str, rows: str
) -> None:
    dataset = _freeze(store, 30, 3)
    store.execute("UPDATE datasets SET kind = ?", [kind], "datasets")
    with pytest.raises(DesignError, match=f"training set 'notes' holds {rows}.*Give it a set of the kind sft"):
        _start(store, workspace, dataset, tiny_base)
    assert not workspace.runs.exists()


def test_a_missing_or_broken_base_is_found_before_a_run_is_queued(
    store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    dataset = _freeze(store, 30, 3)
    with pytest.raises(ModelError, match="no model folder at"):
        _start(store, workspace, dataset, tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        _start(store, workspace, dataset, tmp_path / "half")
    (tmp_path / "half" / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="has no weights"):
        _start(store, workspace, dataset, tmp_path / "half")
    assert read_runs(store, dataset[0]).empty


def test_an_unknown_training_set_and_a_bad_setting_are_refused(
    store: Store, workspace: Workspace, tiny_base: Path
) -> None:
    with pytest.raises(InputError, match="no training set has the id 'nope'"):
        _start(store, workspace, ("loop", "nope"), tiny_base)
    with pytest.raises(DesignError, match="epochs is 0; give a number from 1 to 50"):
        _start(store, workspace, ("loop", "nope"), tiny_base, epochs=0)
    with pytest.raises(InputError, match="no run has the id 'nope'"):
        stop_run(store, workspace, "nope")


def test_the_same_run_is_refused_while_the_first_waits_and_leaves_no_folder(
    store: Store, workspace: Workspace, tiny_base: Path
) -> None:
    dataset = _freeze(store, 30, 3)
    first = _start(store, workspace, dataset, tiny_base)
    with pytest.raises(DesignError, match=f"run {first} is already at work"):
        _start(store, workspace, dataset, tiny_base)
    assert [folder.name for folder in workspace.runs.iterdir()] == [first]
    other = _start(store, workspace, dataset, tiny_base, seed=1)
    assert set(read_runs(store, dataset[0])["run_id"]) == {first, other}


def test_a_waiting_run_is_stopped_at_once_and_queued_again(store: Store, workspace: Workspace, tiny_base: Path) -> None:
    dataset = _freeze(store, 30, 3)
    run_id = _start(store, workspace, dataset, tiny_base)
    stop_run(store, workspace, run_id)
    assert wait_for_run(store, run_id).status is RunStatus.STOPPED
    twin = _start(store, workspace, dataset, tiny_base)
    with pytest.raises(DesignError, match=f"run {twin} is already at work"):
        resume_run(store, workspace, run_id, now=utcnow())
    stop_run(store, workspace, twin)
    resume_run(store, workspace, run_id, now=utcnow())
    assert list(read_runs(store, dataset[0]).set_index("run_id").loc[[run_id, twin], "status"]) == ["queued", "stopped"]


def test_the_folder_holds_the_frozen_rows_and_settings(store: Store, workspace: Workspace, tiny_base: Path) -> None:
    dataset = _freeze(store, 30, 3)
    folder = RunFolder(workspace.runs / _start(store, workspace, dataset, tiny_base, epochs=2))
    assert (len(folder.examples()), len(folder.heldout())) == (30, 3)
    assert folder.config() == SftConfig(base=str(tiny_base), epochs=2)
    assert folder.description()["dataset_hash"] == content_hash("x")


def test_a_full_disk_is_a_sentence_and_not_a_run(
    store: Store, workspace: Workspace, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = _freeze(store, 30, 3)
    run_id = "00000000-0000-7000-8000-000000000000"
    monkeypatch.setattr("organism.optimize.flow.new_id", lambda now: run_id)
    (workspace.runs / run_id).mkdir(parents=True)
    (workspace.runs / run_id / "data.jsonl.tmp").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="is full"):
        _start(store, workspace, dataset, tiny_base)
    assert read_runs(store, dataset[0]).empty
    assert not list(workspace.runs.iterdir())
