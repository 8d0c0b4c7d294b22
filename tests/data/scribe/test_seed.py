"""A new workspace is full after seeding: every table has rows, times end last Sunday, a second start adds nothing."""

import json
from datetime import datetime, timedelta

import pytest

from data.scribe import physicians
from data.scribe.first_design import FIRST_DESIGN
from data.scribe.seed import HISTORY, PILOT, seed_demo, weeks_to
from data.scribe.weeks import FIRST_MONDAY, N_WEEKS, WEEK
from organism.config import DEMO_LOOP, ROOT, Workspace
from organism.deploy.flow import live_version
from organism.digest.flow import live_design
from organism.errors import InputError
from organism.optimize.flow import read_eval_results, read_evaluation, read_progress, read_runs
from organism.store.datasets import read_dataset_rows
from organism.store.decisions import read_decisions
from organism.store.experiments import read_experiments
from organism.store.loops import loop_id_of
from organism.store.model_versions import read_alias_events, version_by_name
from organism.store.schema import open_store
from organism.store.signal_table import refresh_signals

NOW = datetime(2026, 11, 18, 15, 30)  # a Wednesday
LAST_MONDAY = datetime(2026, 11, 16)
NOT_BY_SEEDING = {"sweeps", "quarantine", "audit_log", "exposures", "holdouts"}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """(store, workspace, loop_id, what went in)."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    store = open_store(workspace.database)
    counts = seed_demo(store, workspace, now=NOW)
    yield store, workspace, loop_id_of(store, DEMO_LOOP), counts
    store.close()


def count(store, table):
    return store.rows(f"SELECT count(*) FROM {table}")[0][0]


def test_every_table_has_rows(seeded):
    store, *_ = seeded
    tables = [
        name
        for (name,) in store.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' AND table_type = 'BASE TABLE'"
        )
    ]
    assert {name for name in tables if count(store, name) == 0} <= NOT_BY_SEEDING


def test_all_rows_of_the_history_and_the_pilot_are_in(seeded):
    store, _, _, counts = seeded
    lived, tried = (json.loads((folder / "manifest.json").read_text())["n_rows"] for folder in (HISTORY, PILOT))
    wanted = {f"n_{name}": lived[name] + tried[name] for name in ("interactions", "feedback", "outcomes")}
    wanted["n_feedback"] += tried["reviews"]
    assert counts._asdict() == wanted
    assert (counts.n_interactions, counts.n_feedback, counts.n_outcomes) == (
        count(store, "interactions"),
        count(store, "feedback_events"),
        count(store, "outcomes"),
    )


def test_a_second_start_adds_nothing(seeded):
    store, workspace, _, counts = seeded
    assert seed_demo(store, workspace, now=NOW + WEEK) == (0, 0, 0)
    assert count(store, "interactions") == counts.n_interactions
    assert count(store, "loops") == 1


def test_the_last_week_is_the_last_complete_one(seeded):
    store, *_ = seeded
    [(first, last)] = store.rows("SELECT min(occurred_at), max(occurred_at) FROM interactions")
    [(latest,)] = store.rows("SELECT max(occurred_at) FROM outcomes")
    assert LAST_MONDAY - N_WEEKS * WEEK <= first < LAST_MONDAY - (N_WEEKS - 1) * WEEK
    assert last < LAST_MONDAY
    assert LAST_MONDAY - timedelta(hours=3) < latest < LAST_MONDAY


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (datetime(2026, 11, 16), datetime(2026, 11, 16)),
        (datetime(2026, 11, 22, 23, 59), datetime(2026, 11, 16)),
        (datetime(2026, 11, 23, 0, 1), datetime(2026, 11, 23)),
        (datetime(2025, 7, 1, 12), datetime(2025, 6, 30)),
    ],
)
def test_time_moves_by_whole_weeks(now, end):
    assert FIRST_MONDAY + N_WEEKS * WEEK + weeks_to(now) == end


def test_every_interaction_names_its_version_and_says_that_it_is_synthetic(seeded):
    store, *_ = seeded
    rows = store.rows("""
        SELECT i.variant_id, v.name, bool_and(i.is_synthetic), count(*) FROM interactions i
        LEFT JOIN model_versions v USING (model_version_id) GROUP BY ALL ORDER BY ALL
    """)
    assert [row[:3] for row in rows] == [
        ("base", "base", True),
        ("scribe-1", "scribe-1", True),
        ("scribe-brief", "scribe-1", True),
    ]


def test_scribe_1_is_live_with_its_lineage_and_the_adapter_is_shipped(seeded):
    store, workspace, loop_id, _ = seeded
    version = version_by_name(store, loop_id, "scribe-1")
    assert live_version(store, loop_id) == version
    assert (workspace.locate(version.adapter_path) / "adapter_model.safetensors").is_file()
    assert version.adapter_path == "bundled:data/scribe/versions/scribe-1"
    assert read_alias_events(store, loop_id)["version"].tolist() == ["scribe-1", "base"]
    config = json.loads((workspace.locate(version.adapter_path) / "adapter_config.json").read_text())
    assert str(ROOT) not in json.dumps(config)


def test_the_run_shows_its_curve_its_rows_and_its_evaluation(seeded):
    store, workspace, loop_id, _ = seeded
    [run] = read_runs(store, loop_id).to_dict("records")
    assert (run["status"], run["version_name"]) == ("done", "scribe-1")
    progress = read_progress(workspace, run["run_id"])
    assert len(progress) == run["total_steps"]
    assert progress["loss"].iloc[-1] < progress["loss"].iloc[0]
    evaluation = read_evaluation(store, run["model_version_id"])
    assert evaluation["after"] > evaluation["before"] + 0.05
    assert evaluation["ceiling"] > 0.93
    assert len(read_eval_results(store, run["model_version_id"])) == evaluation["n_rows"]


def test_nobody_who_refused_is_trained_on_and_no_physician_is_on_both_sides(seeded):
    store, _, loop_id, _ = seeded
    [run] = read_runs(store, loop_id).to_dict("records")
    rows = read_dataset_rows(store, run["dataset_id"])
    sides = {split: set(of_split["user_key"]) for split, of_split in rows.groupby("split")}
    refusers = {who.user_key for who in physicians.physicians() if not who.consents}
    assert not (sides["train"] | sides["heldout"]) & refusers
    assert not sides["train"] & sides["heldout"]


def test_the_experiment_is_decided_and_its_arms_are_the_hash_of_the_salt(seeded):
    store, _, loop_id, _ = seeded
    [experiment] = read_experiments(store, loop_id).to_dict("records")
    assert (experiment["verdict"], experiment["actor"]) == ("ship", "simulated lead")
    assert experiment["is_synthetic"]
    mismatched = store.rows("""
        SELECT count(*) FROM interactions i JOIN assignments a USING (experiment_id, user_key)
        WHERE a.variant_id <> i.variant_id
    """)[0][0]
    assert mismatched == 0
    [decision] = read_decisions(store, experiment["experiment_id"]).to_dict("records")
    assert json.loads(decision["scorecard"])["ci_low"] > 0


def test_the_default_design_is_saved(seeded):
    store, _, loop_id, _ = seeded
    assert live_design(store, loop_id).id == FIRST_DESIGN.id
    assert count(store, "reward_designs") == 1


def test_hundreds_of_new_answers_wait_for_the_next_turn(seeded):
    store, *_ = seeded
    refresh_signals(store)
    [(waiting,)] = store.rows(
        "SELECT count(*) FROM signals WHERE variant_id = 'scribe-1' AND experiment_id IS NULL AND answer <> 'reject'"
    )
    assert waiting > 400


def test_a_missing_history_is_one_sentence(tmp_path):
    workspace = Workspace(tmp_path)
    store = open_store(workspace.database)
    with pytest.raises(InputError, match=r"turn\.json is missing"):
        seed_demo(store, workspace, now=NOW, folder=tmp_path)
    store.close()
