"""Training runs: written and read back equal, claimed by one, and changed without touching other tables."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from organism.errors import InputError
from organism.records import RunStatus
from organism.store.database import Store
from organism.store.training_runs import (
    TrainingRun,
    claim_run,
    find_named,
    find_twin,
    insert_run,
    read_active_runs,
    read_dataset_header,
    read_done_runs,
    read_run,
    read_runs,
    update_run,
)

NOW = datetime(2026, 9, 7, 8)
RUN = TrainingRun(
    run_id="r1",
    loop_id="loop",
    dataset_id="d1",
    reward_design_id=None,
    recipe="sft",
    config={"epochs": 3, "base": "b"},
    status=RunStatus.QUEUED,
    created_at=NOW,
)


def _insert(store: Store, *runs: TrainingRun) -> None:
    for run in runs:
        store.write(lambda cursor, run=run: insert_run(cursor, run), "training_runs")


def _dataset(store: Store, dataset_id: str, content: str) -> None:
    store.execute(
        "INSERT INTO datasets (dataset_id, loop_id, name, content_hash, reward_design_id, n_train, n_heldout, "
        "n_users_train, n_users_heldout, dropped, latest_signal_at, created_at) "
        "VALUES (?, 'loop', ?, ?, NULL, 20, 5, 2, 1, '{}', NULL, ?)",
        [dataset_id, f"set {dataset_id}", content, NOW],
        "datasets",
    )


def test_a_run_is_read_back_as_it_was_written(store: Store) -> None:
    _insert(store, RUN)
    assert read_run(store, "r1") == RUN
    with pytest.raises(InputError, match="no run has the id 'r9'"):
        read_run(store, "r9")


def test_one_run_is_claimed_at_a_time(store: Store) -> None:
    _insert(store, RUN, replace(RUN, run_id="r2"))
    claims = [store.write(lambda c, run=run: claim_run(c, run, NOW), "training_runs") for run in ("r1", "r1", "r2")]
    assert claims == [True, False, False]
    update_run(store, "r1", {"status": "done"})
    assert store.write(lambda cursor: claim_run(cursor, "r2", NOW), "training_runs") is True
    assert [run.run_id for run in read_active_runs(store)] == ["r2"]
    assert read_run(store, "r2").started_at == NOW


def test_progress_moves_the_version_of_its_own_table_only(store: Store) -> None:
    _insert(store, RUN)
    others = ("interactions", "model_versions", "eval_runs", "datasets", "alias_events")
    before, own = store.version(*others), store.version("training_runs")
    update_run(store, "r1", {"step": 3, "total_steps": 9, "loss": 1.5, "tokens_per_second": 900.0})
    assert (store.version(*others), store.version("training_runs")) == (before, own + 1)
    assert (read_run(store, "r1").step, read_run(store, "r1").loss) == (3, 1.5)
    with pytest.raises(ValueError, match="never change"):
        update_run(store, "r1", {"config": "{}"})


def test_as_many_are_claimed_as_the_cap_says_and_a_cluster_waits_for_nobody(store: Store) -> None:
    runs = ("r1", "r2", "r3")
    _insert(store, *(replace(RUN, run_id=run_id) for run_id in runs), replace(RUN, run_id="far", place="ray://host"))

    def claim(run_id: str) -> bool:
        taken: bool = store.write(lambda cursor: claim_run(cursor, run_id, NOW, 2), "training_runs")
        return taken

    assert [claim(run_id) for run_id in runs] == [True, True, False]
    assert claim("far")
    update_run(store, "r1", {"status": "paused"})
    assert claim("r3")


def test_a_name_has_one_holder_in_its_loop(store: Store) -> None:
    _insert(store, replace(RUN, name="first"))
    with store.cursor() as cursor:
        assert find_named(cursor, "loop", "first") == "r1"
        assert find_named(cursor, "loop", "second") is None
        assert find_named(cursor, "other", "first") is None


def test_only_runs_done_here_whose_time_is_known_tell_how_long_one_takes(store: Store) -> None:
    done = replace(RUN, status=RunStatus.DONE, seconds=9.0, finished_at=NOW)
    _insert(
        store,
        done,
        replace(done, run_id="newer", finished_at=NOW + timedelta(hours=1)),
        replace(done, run_id="untimed", seconds=None),
        replace(done, run_id="far", place="ray://host"),
        replace(done, run_id="other", recipe="dpo"),
        replace(done, run_id="failed", status=RunStatus.FAILED),
    )
    assert [run.run_id for run in read_done_runs(store, "sft", 5)] == ["newer", "r1"]
    assert [run.run_id for run in read_done_runs(store, "sft", 1)] == ["newer"]


def test_a_twin_has_the_same_rows_and_settings_and_is_active(store: Store) -> None:
    for dataset_id, content in [("d1", "x"), ("d2", "x"), ("d3", "y")]:
        _dataset(store, dataset_id, content)
    _insert(store, RUN)
    with store.cursor() as cursor:
        assert find_twin(cursor, replace(RUN, run_id="r2", dataset_id="d2")) == "r1"
        assert find_twin(cursor, RUN) is None
        assert find_twin(cursor, replace(RUN, run_id="r2", dataset_id="d3")) is None
        assert find_twin(cursor, replace(RUN, run_id="r2", config={"epochs": 4, "base": "b"})) is None
    update_run(store, "r1", {"status": "failed"})
    with store.cursor() as cursor:
        assert find_twin(cursor, replace(RUN, run_id="r2")) is None


def test_runs_are_listed_newest_first_with_the_names_around_them(store: Store) -> None:
    _dataset(store, "d1", "x")
    _insert(store, RUN, replace(RUN, run_id="r2", created_at=NOW + timedelta(hours=1)))
    runs = read_runs(store, "loop")
    assert list(runs["run_id"]) == ["r2", "r1"]
    assert list(runs["dataset_name"]) == ["set d1", "set d1"]
    assert runs["version_name"].isna().all()
    assert read_runs(store, "other").empty


def test_a_dataset_tells_its_name_and_hash(store: Store) -> None:
    _dataset(store, "d1", "x")
    assert tuple(read_dataset_header(store, "d1")) == ("loop", "set d1", "x", "sft")
    with pytest.raises(InputError, match="no training set has the id 'd9'"):
        read_dataset_header(store, "d9")
