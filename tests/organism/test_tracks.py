"""Tracks from plan to experiment, on a real store: sets frozen, runs queued, measured figures compared."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from organism.config import Workspace
from organism.deploy.flow import register_base, register_version
from organism.errors import DesignError, InputError
from organism.experiment.flow import read_experiment
from organism.optimize.flow import read_run
from organism.optimize.sweep_choice import Quality
from organism.optimize.sweeps import plan_from
from organism.records import RunStatus
from organism.store.database import Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.training_runs import update_run
from organism.tracks import (
    preview_sweep,
    read_sweep,
    read_sweep_results,
    read_sweeps,
    send_to_experiment,
    start_sweep,
    stop_sweep,
)

NOW = datetime(2026, 10, 1)
USERS = [f"user-{n:02d}" for n in range(40)]


@pytest.fixture
def place(events, tmp_path: Path) -> Workspace:
    """A workspace whose loop has 120 answered drafts of forty users."""
    for n in range(120):
        kind = "reject" if n % 3 == 0 else "edit"
        events.answered(USERS[n % 40], at=NOW - timedelta(hours=n), kind=kind, output=f"draft {n}")
    events.write()
    return Workspace(tmp_path)


def plan(tiny_base: Path, **asked: object):
    cuts = [{"max_rows": 25}, {"max_rows": 40}]
    return plan_from({"name": "rows", "recipes": ["sft"], "cuts": cuts, "changes": {"base": str(tiny_base)}, **asked})


def measured(store: Store, run_id: str, name: str, kept: int, tokens: int) -> None:
    """What the supervisor leaves when a run is done: a version, and ten users' held-out rows."""
    run = read_run(store, run_id)
    base = register_base(store, run.loop_id, run.config["base"], now=NOW)
    version = register_version(
        store, run.loop_id, name=name, base_path=base.base_path, adapter_path="a", run_id=run_id, now=NOW
    )
    rows = []
    for number, user in enumerate(USERS[:10]):
        counts = {"chars_before": 100, "retained_before": 50 + number % 3, "tokens_before": 30}
        counts |= {"chars_after": 100, "retained_after": kept + number % 3, "tokens_after": tokens}
        texts = {"user_key": user, "prompt": "p", "before": "b", "after": "a", "final_text": "f"}
        rows.append({**texts, "measures": {**counts, "final_chars": 120, "facts": []}})
    gain = (kept - 50) / 100
    summary = {
        "before": 0.51,
        "after": 0.51 + gain,
        "gain": gain,
        "gain_ci": [gain - 0.02, gain + 0.02],
        "written_share_before": 0.42,
        "written_share_after": 0.42 + gain,
        "written_share_gain_ci": [gain - 0.02, gain + 0.02],
        "facts_before": None,
        "facts_after": None,
        "facts_gain_ci": None,
        "n_users": 10,
        "n_rows": 10,
    }
    record = EvalRun(
        eval_run_id=f"eval of {run_id}",
        loop_id=run.loop_id,
        run_id=run_id,
        model_version_id=version.model_version_id,
        baseline_version_id=base.model_version_id,
        dataset_id=run.dataset_id,
        summary=summary,
        created_at=NOW,
    )
    store.write(lambda cursor: insert_evaluation(cursor, record, rows), "eval_runs")
    update_run(store, run_id, {"status": str(RunStatus.DONE), "model_version_id": version.model_version_id})


def test_every_track_is_a_run_measured_on_the_same_rows(store, events, place, tiny_base):
    sweep = read_sweep(store, start_sweep(store, place, events.loop_id, plan(tiny_base), NOW))
    runs = [read_run(store, track["run_id"]) for track in sweep.tracks]
    assert [run.sweep_id for run in runs] == [sweep.sweep_id] * 2
    assert len({run.eval_dataset_id for run in runs}) == 1
    assert len({run.dataset_id for run in runs}) == 2
    held = {run.run_id: (place.runs / run.run_id / "heldout.jsonl").read_text() for run in runs}
    assert len(set(held.values())) == 1
    trained = {json.loads(line)["user_key"] for run in runs for line in _lines(place, run.run_id, "data.jsonl")}
    judged = {json.loads(line)["user_key"] for line in _lines(place, runs[0].run_id, "heldout.jsonl")}
    assert not trained & judged
    assert read_sweeps(store, events.loop_id)[["n_runs", "n_active"]].values.tolist() == [[2, 2]]


def _lines(place: Workspace, run_id: str, name: str) -> list[str]:
    return (place.runs / run_id / name).read_text().splitlines()


def test_results_have_intervals_and_send_the_sure_gain_to_an_experiment(store, events, place, tiny_base):
    sweep_id = start_sweep(store, place, events.loop_id, plan(tiny_base), NOW)
    few, many = (track["run_id"] for track in read_sweep(store, sweep_id).tracks)
    measured(store, many, "notes-1", kept=80, tokens=40)
    found = read_sweep_results(store, sweep_id).set_index("label")
    assert found.loc["base", ["quality", "tokens"]].tolist() == [pytest.approx(0.509), 30]
    assert found.loc["base", "why"].startswith("The base as it is")
    tuned = found.iloc[2]
    assert tuned["quality_low"] < tuned["quality"] < tuned["quality_high"]
    assert tuned["quality"] == pytest.approx(0.809)
    assert (tuned["to_experiment"], tuned["version"]) == (True, "notes-1")
    assert found.iloc[1]["why"] == "Not measured: Waiting for its turn."
    written = read_sweep_results(store, sweep_id, Quality.WRITTEN).iloc[2]
    assert written["quality"] == pytest.approx(0.809 / 1.2)
    experiment = read_experiment(store, send_to_experiment(store, events.loop_id, many, NOW))
    assert (experiment.control, experiment.treatment, experiment.is_synthetic) == ("base", "notes-1", True)
    with pytest.raises(DesignError, match="left no version"):
        send_to_experiment(store, events.loop_id, few, NOW)
    assert stop_sweep(store, place, sweep_id) == 1
    assert read_run(store, few).status is RunStatus.STOPPED


def test_a_track_that_was_judged_no_goes_to_an_experiment_only_by_force(store, events, place, tiny_base):
    sweep_id = start_sweep(store, place, events.loop_id, plan(tiny_base), NOW)
    poor, _ = (track["run_id"] for track in read_sweep(store, sweep_id).tracks)
    measured(store, poor, "notes-1", kept=45, tokens=40)
    with pytest.raises(DesignError, match=r"judged No: it writes less .* force it"):
        send_to_experiment(store, events.loop_id, poor, NOW)
    forced = send_to_experiment(store, events.loop_id, poor, NOW, force=True)
    assert read_experiment(store, forced).treatment == "notes-1"


def test_a_track_that_cannot_start_is_kept_with_its_reason_and_the_others_go_on(store, events, place, tiny_base):
    asked = plan(tiny_base, cuts=[{"max_rows": 25}, {"max_rows": 5}, {"max_rows": 25, "until": "2027-01-01"}])
    seen = preview_sweep(store, events.loop_id, asked)
    assert [track.n_train for track in seen] == [25, 5, 25]
    assert "wanted at least 20" in str(seen[1].objection)
    sweep_id = start_sweep(store, place, events.loop_id, asked, NOW)
    found = read_sweep_results(store, sweep_id)
    assert list(found["status"]) == ["queued", "not started", "not started"]
    assert "wanted at least 20" in found["why"][1]
    assert "the very rows of 'Imitate expert edits, 25 rows'" in found["why"][2]
    assert read_sweeps(store, events.loop_id)["n_refused"].tolist() == [2]


def test_when_no_track_can_start_nothing_is_left(store, events, place, tiny_base):
    with pytest.raises(DesignError, match="no track could start"):
        start_sweep(store, place, events.loop_id, plan(tiny_base, cuts=[{"max_rows": 5}]), NOW)
    assert read_sweeps(store, events.loop_id).empty


def test_a_name_is_given_once(store, events, place, tiny_base):
    start_sweep(store, place, events.loop_id, plan(tiny_base), NOW)
    with pytest.raises(DesignError, match="already has tracks named 'rows'"):
        start_sweep(store, place, events.loop_id, plan(tiny_base), NOW)
    with pytest.raises(InputError, match="no reward design is called 'greed'"):
        start_sweep(store, place, events.loop_id, plan(tiny_base, designs=["greed"]), NOW)
