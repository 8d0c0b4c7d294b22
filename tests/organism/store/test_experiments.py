from datetime import datetime

import pytest

from organism.errors import InputError
from organism.records import Variant
from organism.store.decisions import read_decisions
from organism.store.experiment_tables import Ask, row_columns
from organism.store.experiment_units import read_sums
from organism.store.experiments import insert_experiment, read_experiment, read_experiments

NOW = datetime(2026, 9, 7, 8)
COLUMNS = ("experiment_id", "name", "control", "treatment", "status", "verdict", "decided_at")


def test_an_empty_workspace_gives_the_columns_and_a_sentence(store, events):
    found = read_experiments(store, events.loop_id)
    assert found.empty
    assert set(COLUMNS) <= set(found.columns)
    assert list(read_decisions(store, "e").columns)[:2] == ["decision_id", "verdict"]
    with pytest.raises(InputError, match="no experiment has the id 'e'; known: none yet"):
        read_experiment(store, "e")


def test_sums_leave_out_what_is_silent_metric_by_metric(store, events):
    row = {"experiment_id": "e", "loop_id": events.loop_id, "name": "n", "started_at": NOW, "is_synthetic": True}
    insert_experiment(store, row, [Variant(name="base", share=0.5), Variant(name="scribe-1", share=0.5)], {})
    kept = events.draft("u", experiment_id="e", latency_ms=None)
    events.answer(kept, retained_chars=60, final_chars=120)
    refused = events.draft("u", experiment_id="e", latency_ms=300.0)
    events.answer(refused, "reject")
    events.draft("u", experiment_id="e", latency_ms=500.0)
    events.draft("u", experiment_id="e", variant_id="somebody else")
    events.write()
    names = ("retained_char_rate", "written_share", "accepted", "latency_ms")
    asked = Ask(row_columns(store, events.loop_id, names, None), {}, {}, (), (), names[0])
    found = read_sums(store, read_experiment(store, "e"), asked)
    assert (found.n_users, found.n_interactions) == ({"base": 1, "scribe-1": 0}, 3)
    assert found.n_foreign == 1
    assert {name: found.metrics[name]["base"].mean for name in names} == {
        "retained_char_rate": (60, 200), "written_share": (60, 120), "accepted": (1, 2), "latency_ms": (800, 2),
    }  # fmt: skip
