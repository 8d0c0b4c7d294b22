"""A scorecard over a real server: everything that the page shows, and a sentence for what cannot be."""

import ast
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from organism.api import experiments
from organism.api.app import create_api
from organism.experiment.flow import start_variants
from organism.experiment.plan import Guard, Plan
from organism.records import Variant
from organism.store.database import Store
from organism.store.experiments import read_experiment
from tests.organism.conftest import START, Events

KEY = "a-key-for-tests"


@pytest.fixture
def http(store: Store) -> httpx.Client:
    api = create_api(lambda: store, KEY, routers=[experiments.router], hosts=["testserver"])
    return TestClient(
        Starlette(routes=[Mount("/v1", api)]), base_url="http://testserver", headers={"Authorization": f"Bearer {KEY}"}
    )


@pytest.fixture
def lived(store: Store, events: Events) -> str:
    """Three variants with 24 users each over five days; returns the experiment's id."""
    variants = [Variant(name="base", share=1 / 3), Variant(name="a", share=1 / 3), Variant(name="b", share=1 / 3)]
    plan = Plan(guardrails=(Guard("latency_ms.p50", 0.2),), n_users=72, segments=("region",))
    experiment_id = start_variants(store, events.loop_id, "three", variants, plan=plan, now=START)
    for n in range(72):
        name = ("base", "a", "b")[n % 3]
        for day in range(5):
            kept = 40 + (n * 7 + day) % 19 + {"base": 0, "a": 2, "b": 20}[name]
            at = START + timedelta(days=day, minutes=n)
            sent = {"region": ("north", "south")[n // 3 % 2], "latency_ms": 400.0 + (n * 11 + day * 17) % 60}
            events.answered(f"u{n}", kept, at, experiment_id=experiment_id, variant_id=name, **sent)
    events.write()
    return experiment_id


def test_the_scorecard_holds_all_that_the_page_shows(http: httpx.Client, lived: str) -> None:
    found = http.get(f"/v1/experiments/{lived}").json()
    card = found["scorecard"]
    assert (card["treatment"], card["verdict"], card["interval_kind"]) == (
        "b", "ship", "fixed-horizon, at the planned size",
    )  # fmt: skip
    assert card["n_users"] == {"base": 24, "a": 24, "b": 24}
    assert {row["variant"] for row in card["guardrails"]} == {"a", "b"}
    assert len(card["segments"]) == 4
    assert len(card["novelty"]["days"]) == 5
    assert card["srm"]["blocked"] is False
    assert card["plan"]["n_users"] == 72
    assert "CREATE TEMP TABLE" in card["sql"]
    assert len(found["track"]) == 5
    assert set(found["track"][0]) == {
        "day", "effect", "low", "high", "always_low", "always_high", "n_users", "n_interactions",
    }  # fmt: skip
    assert found["track"][-1]["effect"] == pytest.approx(card["effect"])


def test_the_track_ends_in_the_scorecard_s_own_interval_at_the_level_of_holm_s_step(
    http: httpx.Client, lived: str
) -> None:
    found = http.get(f"/v1/experiments/{lived}").json()
    card, last = found["scorecard"], found["track"][-1]
    assert (last["low"], last["high"]) == pytest.approx((card["ci_low"], card["ci_high"]))
    fixed, always = card["fixed"], card["always"]
    assert last["low"] < fixed[0], "two comparisons: wider than at 95%"
    assert last["always_low"] < always[0]


def test_the_exact_sql_is_all_that_was_asked_and_runs_again(http: httpx.Client, store: Store, lived: str) -> None:
    sql = http.get(f"/v1/experiments/{lived}").json()["scorecard"]["sql"]
    for words in ("quantile_cont", "WINDOW so_far", "experiment_periods a", "first_at::DATE", "FROM experiment_served"):
        assert words in sql
    asked = [one for one in sql.split(";\n") if one.strip()]
    assert len(asked) >= 15
    with store.cursor() as cursor:
        cursor.begin()
        for one in asked:
            note, _, statement = one.strip().partition("\n") if one.strip().startswith("-- ") else ("", "", one)
            cursor.execute(statement, _bound(note))
        cursor.rollback()


def _bound(note: str) -> list[Any]:
    """What a statement's comment says was bound to it."""
    return [ast.literal_eval(value) for value in re.split(r",? ?\$\d+ = ", note.removeprefix("-- "))[1:]]


def test_the_track_of_another_treatment_is_asked_for_by_name(http: httpx.Client, lived: str) -> None:
    ours, other = (
        http.get(f"/v1/experiments/{lived}", params=asked).json()["track"] for asked in ({}, {"treatment": "a"})
    )
    assert other[-1]["effect"] < ours[-1]["effect"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("none", "no experiment has the id 'none'"), ("{lived}?treatment=c", "'c' is no treatment of this experiment")],
)
def test_what_is_not_there_is_a_sentence(http: httpx.Client, lived: str, path: str, said: str) -> None:
    answer = http.get(f"/v1/experiments/{path.format(lived=lived)}")
    assert answer.status_code == 422
    assert said in answer.text


def test_a_planned_experiment_has_no_scorecard_yet(http: httpx.Client, store: Store, lived: str) -> None:
    store.execute("UPDATE experiments SET started_at = NULL, status = 'planned'", [], "experiments")
    answer = http.get(f"/v1/experiments/{lived}")
    assert answer.status_code == 422
    assert "is planned and has not started" in answer.text


def test_a_decision_to_stop_leaves_the_live_version_and_closes_the_experiment(http: httpx.Client, lived: str) -> None:
    decided = {"verdict": "stop", "note": "no gain", "actor": "Ann"}
    answer = http.post(f"/v1/experiments/{lived}/decide", json=decided)
    said = answer.json()["sentence"]
    assert said.startswith(
        "Recorded: stop. The live version stays as it is. The rules say: ship. Ship b: it is the best"
    )
    assert http.post(f"/v1/experiments/{lived}/decide", json=decided).status_code == 422


def test_shipping_a_variant_that_the_product_serves_moves_nothing_here(http: httpx.Client, lived: str) -> None:
    decided = {"verdict": "ship", "note": "it keeps more", "actor": "Ann"}
    answer = http.post(f"/v1/experiments/{lived}/decide", json=decided).json()
    assert (answer["live"], "switch it there" in answer["sentence"]) == (None, True)
    assert "The rules say" not in answer["sentence"], "they say the same"


def test_a_decision_against_the_rules_says_what_they_say(
    http: httpx.Client, store: Store, events: Events, lived: str
) -> None:
    for n in range(90):
        events.answered(f"late{n}", 50, START + timedelta(days=3), experiment_id=lived, variant_id="b")
    events.write()
    decided = {"verdict": "ship", "note": "it keeps more", "actor": "Ann"}
    said = http.post(f"/v1/experiments/{lived}/decide", json=decided).json()["sentence"]
    assert said.startswith("Recorded: ship. ")
    assert "The rules say: blocked. Do not read this experiment: " in said


def test_blocked_is_no_decision_and_hold_lets_it_go_on(http: httpx.Client, store: Store, lived: str) -> None:
    decided = {"note": "wait for the split", "actor": "Ann"}
    refused = http.post(f"/v1/experiments/{lived}/decide", json={**decided, "verdict": "blocked"})
    assert refused.status_code == 422
    assert "no decision; decide ship" in refused.text
    held = http.post(f"/v1/experiments/{lived}/decide", json={**decided, "verdict": "hold"})
    assert held.json()["sentence"].startswith("Recorded: keep running. The live version stays as it is.")
    assert read_experiment(store, lived).status == "running"
