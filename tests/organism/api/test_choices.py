"""Choices and off-policy previews over HTTP: what is written is there, what is wrong is 422 with a sentence."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from organism.api import choices, off_policy
from organism.api.app import create_api
from organism.digest.design_files import from_link
from tests.organism.digest.routed import serve_experiment

KEY = "a-key-for-tests"
LOOP = {"loop": "notes"}


@pytest.fixture
def http(store, events) -> Iterator[TestClient]:
    serve_experiment(store, events)
    api = create_api(lambda: store, KEY, routers=[choices.router, off_policy.router])
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_a_person_is_asked_answers_and_finds_the_weights(http):
    assert http.get("/choices", params=LOOP).json() == {"choices": [], "voters": []}
    for number in range(8):
        pair = http.get("/choices/next", params={**LOOP, "actor": "Ana"}).json()["pair"]
        assert "variant" not in pair["left"], "the versions' names are hidden until the choice"
        left, right = pair["left"], pair["right"]
        better = "left" if left["signals"]["retained_char_rate"] > right["signals"]["retained_char_rate"] else "right"
        body = {"left": left["id"], "right": right["id"], "chosen": better if number else "skip", "actor": "Ana"}
        kept = http.post("/choices", params=LOOP, json=body)
        assert kept.status_code == 201
        assert kept.json()["left_variant"] in ("base", "scribe-1", "scribe-2")
    listed = http.get("/choices", params=LOOP).json()
    assert [voter["n_choices"] for voter in listed["voters"]] == [7]
    found = http.get("/choices/weights", params=LOOP).json()
    assert (found["n_pairs"], found["n_left_out"]) == (7, 1)
    by_signal = {weight["signal"]: weight for weight in found["weights"]}
    assert by_signal["retained_char_rate"]["weight"] > 0
    assert found["draft"]["signals"]
    assert from_link(found["link"]).name == found["draft"]["name"]
    assert found["strengths"]["sentence"]


def test_a_router_gets_its_estimate_and_an_untried_version_a_refusal(http):
    asked = {"policy": "region:north=scribe-1,*=base"}
    found = http.post("/rewards/off-policy", params=LOOP, json=asked).json()
    assert found["refusal"] is None
    assert {estimate["method"] for estimate in found["estimates"]} == {"dr", "snips", "ips", "clipped_ips", "dm"}
    assert found["check"]["effective"] > 10
    refused = http.post("/rewards/off-policy", params=LOOP, json={"policy": "always:scribe-2"}).json()
    assert "No overlap" in refused["refusal"]
    assert [estimate["is_model_based"] for estimate in refused["estimates"]] == [True]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/choices", {"left": "a", "right": "b", "chosen": "left", "actor": "Ana"}, "no interaction of this loop"),
        ("/choices", {"left": "a", "right": "a", "chosen": "left", "actor": "Ana"}, "on both sides"),
        ("/choices", {"left": "a", "right": "b", "chosen": "both", "actor": "Ana"}, "chosen"),
        ("/choices", {"left": "a", "right": "b", "chosen": "left", "actor": "  "}, "the name of who chose"),
        ("/rewards/off-policy", {"policy": "sometimes"}, "is no policy"),
        ("/rewards/off-policy", {"policy": "always:ghost"}, "there are: base, scribe-1"),
        ("/rewards/off-policy", {"policy": "always:base", "design": "nobody"}, "nobody"),
    ],
)
def test_bad_input_is_a_sentence(http, path: str, body: dict, said: str):
    answer = http.post(path, params=LOOP, json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_weights_without_a_choice_are_a_sentence_and_strangers_need_the_key(http):
    answer = http.get("/choices/weights", params=LOOP)
    assert answer.status_code == 422
    assert "no choice to learn weights from" in answer.json()["error"]
    assert http.get("/choices", params=LOOP, headers={"Authorization": "Bearer x"}).status_code == 401
