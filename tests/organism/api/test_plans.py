"""Plans over HTTP: sized, kept, put anew, started, changed, and refused in one sentence."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from organism.api import plans
from organism.api.app import create_api
from organism.records import ModelVersion
from organism.store.database import Store
from organism.store.model_versions import insert_version
from tests.organism.conftest import START, Events

KEY = "a-key-for-tests"
LOOP = {"loop": "notes"}
TWO = [{"name": "base"}, {"name": "tuned"}]


@pytest.fixture
def http(store: Store, events: Events) -> Iterator[TestClient]:
    for name in ("base", "tuned"):
        version = ModelVersion(
            model_version_id=f"id-{name}", loop_id=events.loop_id, name=name, base_path="bundled:x", adapter_path=None,
            run_id=None, dataset_id=None, reward_design_id=None, created_at=START,
        )  # fmt: skip
        store.write(lambda cursor, version=version: insert_version(cursor, version), "model_versions")
    for user in range(30):
        for week in range(9):
            events.answered(f"user-{user}", 40 + user, START + timedelta(weeks=week, minutes=user))
    events.write()
    api = create_api(lambda: store, KEY, routers=[plans.router])
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_a_plan_goes_from_a_size_to_a_changed_version(http: TestClient) -> None:
    body = {"variants": TWO, "hypothesis": "It learned", "plan": {"minimum_effect": 0.08}, "actor": "ana"}
    sized = http.post("/plans/size", params=LOOP, json=body).json()["sizing"]
    assert sized["n_users"] > 20
    assert http.get("/plans", params=LOOP).json()["plans"] == []
    answer = http.post("/plans", params=LOOP, json=body)
    assert answer.status_code == 201
    experiment = answer.json()["experiment_id"]
    assert answer.json()["sizing"] == sized
    again = body | {"name": "Notes that are kept", "plan": {"minimum_effect": 0.1, "primary": ["written_share"]}}
    assert http.put(f"/plans/{experiment}", json=again).json()["name"] == "Notes that are kept"
    started = http.post(f"/plans/{experiment}/start", json={"actor": "ben"}).json()
    assert started["plan"]["primary"] == ["written_share"]
    assert [guard["metric"] for guard in started["plan"]["guardrails"]] == ["latency_ms", "cost_usd"]
    assert started["plan"]["n_users"] == started["sizing"]["n_users"]
    change = {"plan": {"primary": ["accepted"], "watched": []}, "actor": "ben", "why": "Nobody writes"}
    made = http.post(f"/plans/{experiment}/changes", json=change)
    assert made.status_code == 201
    assert made.json()["flagged"] == ["primary metrics: Written share → Drafts used (changed after start)"]
    found = http.get(f"/plans/{experiment}").json()
    assert found["experiment"]["plan_version"] == 2
    assert found["changes"] == [made.json()]
    assert [one["actor"] for one in found["versions"]] == ["ben", "ben"]


def test_a_draft_is_dropped_and_a_running_one_is_not(http: TestClient) -> None:
    first, second = (http.post("/plans", params=LOOP, json={"variants": TWO}).json()["experiment_id"] for _ in "ab")
    assert http.delete(f"/plans/{first}").json() == {"dropped": first, "name": "tuned against base"}
    http.post(f"/plans/{second}/start", json={})
    refused = http.delete(f"/plans/{second}")
    assert refused.status_code == 422
    assert "running already" in refused.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"variants": []}, "found 0 variant"),
        ({"variants": TWO[:1]}, "found 1 variant"),
        ({"variants": [*TWO, {"name": "gone"}]}, "no version 'gone'; it has"),
        ({"variants": TWO, "control": "x"}, "the control 'x' is not among the variants"),
        ({"variants": TWO, "plan": {"guardrails": [{"metric": "error", "margin": 0}]}}, "give one above 0"),
        ({"variants": TWO, "plan": {"watched": ["speed"]}}, "no metric of this loop is called 'speed'"),
        ({"variants": [TWO[0] | {"share": 0.5}, TWO[1] | {"share": 0.4}]}, "shares of 0.5, 0.4"),
        ({"variants": TWO, "layer_low": 0.5}, "a range needs a layer"),
        ({"variants": TWO, "effect": 1}, "effect"),
    ],
)
def test_what_cannot_be_planned_is_422_with_one_sentence(http: TestClient, body: dict[str, object], said: str) -> None:
    for path in ("/plans/size", "/plans"):
        answer = http.post(path, params=LOOP, json=body)
        assert answer.status_code == 422
        assert said in answer.json()["error"]
    assert http.get("/plans", params=LOOP).json()["plans"] == []


def test_the_metrics_that_a_plan_can_name_are_listed(http: TestClient) -> None:
    assert {"accepted", "latency_ms"} <= set(http.get("/plans", params=LOOP).json()["metrics"])
