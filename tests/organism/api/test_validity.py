"""Reward validity and audit over HTTP: the same answers as in the core, and 422 with a sentence for bad input."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from organism.api import validity
from organism.api.app import create_api
from organism.digest.design_files import document, to_toml
from organism.digest.designs import DEFAULT_DESIGN
from organism.records import RewardDesign, SignalSpec
from tests.organism.digest.served_clinic import serve
from tests.organism.digest.simulated_rows import clinic

KEY = "a-key-for-tests"
LOOP = {"loop": "notes"}


@pytest.fixture
def http(store, events) -> Iterator[TestClient]:
    serve(events, clinic(0, n_users=24))
    api = create_api(lambda: store, KEY, routers=[validity.router])
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_a_saved_design_and_the_same_draft_get_the_same_answer(http):
    saved = http.get("/rewards/validity", params={**LOOP, "design": "live"}).json()
    draft = http.post("/rewards/validity", params=LOOP, json=document(DEFAULT_DESIGN)).json()
    assert saved == draft
    assert saved["answer"] == "in part"
    assert {p["outcome"]: p["word"] for p in saved["reward"]} == {
        "outcome.signed": "predicts",
        "answer.quality": "predicts",
    }
    assert {"low", "high"} <= saved["reward"][0]["correlation"]["within"].keys()
    assert saved["rules"]


def test_a_draft_may_come_as_toml(http):
    told = http.post(
        "/rewards/validity", params=LOOP, content=to_toml(DEFAULT_DESIGN), headers={"content-type": "application/toml"}
    ).json()
    assert told["design_id"] == DEFAULT_DESIGN.id


def test_other_weights_for_the_groups_are_a_draft_too(http):
    cheap = http.post("/rewards/validity", params=LOOP, json={"price": 1, "performance": 0, "quality": 0}).json()
    assert cheap["answer"] in ("no", "in part")
    assert {c["signal"]: c["weight_share"] for c in cheap["components"]}["cost_usd"] == 1


def test_the_audit_names_the_hack_and_says_what_it_is(http):
    told = http.get("/rewards/audit", params=LOOP).json()
    assert {a["variant"]: a["verdict"] for a in told["audits"]} == {"brief": "hack suspected", "clean": "clean"}
    assert "after the fact" in told["what_it_is"]
    assert set(told["checks"]) == {c["check"] for a in told["audits"] for c in a["checks"]}
    (one,) = http.get("/rewards/audit", params={**LOOP, "variant": "brief", "reference": "clean"}).json()["audits"]
    assert (one["variant"], one["reference"]) == ("brief", "clean")


def test_a_draft_is_audited_as_json_or_toml_before_it_is_saved(http):
    told = http.post("/rewards/audit", params=LOOP, json=document(DEFAULT_DESIGN)).json()
    assert told == http.get("/rewards/audit", params=LOOP).json()
    kind = {"content-type": "application/toml"}
    only = RewardDesign(name="written", signals=(SignalSpec("written_share", 1.0, 0.0, 1.0),))
    answer = http.post("/rewards/audit", params={**LOOP, "variant": "brief"}, content=to_toml(only), headers=kind)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["design_id"], [a["variant"] for a in answer.json()["audits"]]) == (only.id, ["brief"])
    assert answer.json()["audits"][0]["verdict"] != "hack suspected", "it earns less where writing pays"
    bad = http.post("/rewards/audit", params={**LOOP, "variant": "scribe-9"}, json=document(DEFAULT_DESIGN))
    assert (bad.status_code, "there are: base, brief, clean" in bad.json()["error"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("/rewards/audit", {"variant": "scribe-9"}, "there are: base, brief, clean"),
        ("/rewards/audit", {"variant": "brief", "reference": "brief"}, "against itself"),
        ("/rewards/audit", {"design": "nobody"}, "no reward design is called 'nobody'"),
        ("/rewards/validity", {"design": "v7"}, "no reward design is called 'v7'"),
        ("/rewards/validity", {"loop": "nowhere"}, "nowhere"),
    ],
)
def test_bad_input_is_422_with_a_sentence(http, path, params, said):
    answer = http.get(path, params={**LOOP, **params})
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"price": 0, "performance": 0, "quality": 0}, "positive weight"),
        ({"name": "x", "signals": [{"signal": "sold", "weight": 1, "worst": 0, "best": 1}]}, "sold"),
        ({"name": "x", "signals": [{"signal": "accepted", "weight": -1, "worst": 0, "best": 1}]}, "give 0 or more"),
        ({"name": "x", "signals": [{"signal": "accepted", "weight": 1, "worst": 1, "best": 1}]}, "two different"),
    ],
)
def test_a_draft_that_cannot_give_a_reward_is_422_with_a_sentence(http, body, said):
    answer = http.post("/rewards/validity", params=LOOP, json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_without_the_key_nothing_is_told(http):
    assert http.get("/rewards/audit", params=LOOP, headers={"Authorization": "Bearer wrong"}).status_code == 401
