"""Deciding among several treatments: what goes live is the best one, or the one that the person names."""

import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from organism.api import experiments
from organism.api.app import create_api
from organism.deploy.flow import live_version
from organism.errors import InputError
from organism.experiment.flow import analyze, start_variants
from organism.experiment.plan import Plan
from organism.experiment.record_flow import record_of, replay_decision
from organism.loop import decide_and_apply
from organism.records import ModelVersion, Variant, Verdict
from organism.store.database import Store
from organism.store.decisions import read_decisions
from organism.store.model_versions import insert_version
from tests.organism.conftest import START, Events

NAMES = ("base", "brief", "full")
KEY = "a-key-for-tests"


@pytest.fixture
def lived(store: Store, events: Events) -> str:
    """Three versions with 24 users each over three days; full, the last one, keeps most, brief a little more."""
    made = [
        ModelVersion(
            model_version_id=f"id-{name}", loop_id=events.loop_id, name=name, base_path="bundled:x", adapter_path=None,
            run_id=None, dataset_id=None, reward_design_id=None, created_at=START,
        )
        for name in NAMES
    ]  # fmt: skip
    store.write(lambda cursor: [insert_version(cursor, version) for version in made], "model_versions")
    variants = [Variant(name=name, share=1 / 3, model_version_id=f"id-{name}") for name in NAMES]
    plan = Plan(guardrails=(), n_users=72)
    experiment_id = start_variants(store, events.loop_id, "three", variants, plan=plan, now=START)
    for n in range(72):
        name = NAMES[n % 3]
        for day in range(3):
            kept = 40 + (n * 7 + day) % 19 + {"base": 0, "brief": 12, "full": 25}[name]
            events.answered(f"u{n}", kept, START, experiment_id=experiment_id, variant_id=name)
    events.write()
    return experiment_id


def live(store: Store, events: Events) -> str | None:
    found = live_version(store, events.loop_id)
    return found.name if found else None


def test_shipping_without_a_name_ships_the_treatment_that_the_scorecard_names(store, events, lived) -> None:
    assert analyze(store, lived).treatment == "full", "not the first treatment"
    done = decide_and_apply(store, lived, verdict=Verdict.SHIP, note="Best.", actor="Ana", now=START)
    assert (done.live, live(store, events)) == ("full", "full")
    assert read_decisions(store, lived)["treatment"].tolist() == ["full"]
    assert json.loads(record_of(store, lived).text)["decision"]["treatment"] == "full"


def test_the_treatment_that_a_person_names_is_shipped_recorded_and_replayed(store, events, lived) -> None:
    done = decide_and_apply(
        store, lived, verdict=Verdict.SHIP, note="Half the price.", actor="Ana", treatment="brief", now=START
    )
    assert (done.live, live(store, events)) == ("brief", "brief")
    decided = read_decisions(store, lived).iloc[0]
    assert (decided["treatment"], json.loads(decided["scorecard"])["treatment"]) == ("brief", "full")
    assert json.loads(record_of(store, lived).text)["decision"]["treatment"] == "brief"
    assert replay_decision(store, lived).is_same


def test_the_control_or_a_stranger_cannot_be_shipped_and_nothing_is_kept(store, events, lived) -> None:
    for name in ("base", "nobody"):
        with pytest.raises(InputError, match=f"'{name}' is no treatment of this experiment; it has brief, full"):
            decide_and_apply(store, lived, verdict=Verdict.SHIP, note="So.", actor="Ana", treatment=name, now=START)
    assert read_decisions(store, lived).empty
    assert live(store, events) is None


def test_the_treatment_is_named_over_http(store, events, lived) -> None:
    api = create_api(lambda: store, KEY, routers=[experiments.router], hosts=["testserver"])
    http: httpx.Client = TestClient(
        Starlette(routes=[Mount("/v1", api)]), base_url="http://testserver", headers={"Authorization": f"Bearer {KEY}"}
    )
    asked = {"verdict": "ship", "note": "Half the price.", "actor": "Ana", "treatment": "brief"}
    assert http.post(f"/v1/experiments/{lived}/decide", json=asked).json()["live"] == "brief"
    assert live(store, events) == "brief"
