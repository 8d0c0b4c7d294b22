"""Blind votes over HTTP: opened, judged by several people, closed, and blind until then."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from organism.api import votes
from organism.api.app import create_api
from organism.deploy.serving import Draft
from organism.records import ModelVersion
from organism.store.database import Store
from tests.organism.conftest import Events
from tests.organism.digest.test_votes_flow import START, evaluate, version

KEY = "a-key-for-tests"
LOOP = {"loop": "notes"}


@pytest.fixture
def http(store: Store, events: Events) -> Iterator[TestClient]:
    base, tuned = version(store, events.loop_id, "base", tuned=False), version(store, events.loop_id, "tuned-1")
    evaluate(store, tuned, base)
    api = create_api(lambda: store, KEY, routers=[votes.router])
    api.state.parts = None  # drafts are only asked for where prompts are recent
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_people_vote_and_the_names_are_said_at_the_end(http: TestClient) -> None:
    made = http.post("/ballots", params=LOOP, json={"version": "tuned-1", "n_items": 5, "seed": 3})
    assert made.status_code == 201
    ballot_id = made.json()["ballot_id"]
    assert made.json()["path"] == f"/vote?ballot={ballot_id}"
    for voter in ("ann", "bob", "cem"):
        while (item := http.get(f"/ballots/{ballot_id}/next", params={"voter": voter}).json()["item"]) is not None:
            chosen = "first" if item["first"].startswith("tuned") else "second"
            sent = {"ballot_id": ballot_id, "item_number": item["item_number"], "voter": voter, "chosen": chosen}
            assert http.post("/votes", json=sent).status_code == 201
    hidden = http.get(f"/ballots/{ballot_id}").json()
    assert (hidden["left"], hidden["is_revealed"], hidden["n_left"] + hidden["n_right"]) == ("Model 1", False, 15)
    assert http.get("/votes", params={"ballot_id": ballot_id}).json() == {"votes": []}
    told = http.post(f"/ballots/{ballot_id}/close").json()
    assert (told["right"], told["n_right"], told["share"]["share"]) == ("tuned-1", 15, 1.0)
    assert told["share"]["low"] < 1
    listed = http.get("/votes", params={"ballot_id": ballot_id}).json()["votes"]
    assert {vote["version"] for vote in listed} == {"tuned-1"}
    assert [row["n_voters"] for row in http.get("/ballots", params=LOOP).json()["ballots"]] == [3]


class Pens:
    """Drafts at once, where a test asks for no model: the version's name and the prompt."""

    def get_drafts(self) -> "Pens":
        return self

    def drafts(self, side: ModelVersion, prompts: Sequence[str]) -> list[Draft]:
        return [Draft(f"{side.name} on {prompt}", 1, 1, 1.0, "stop", 0.0) for prompt in prompts]


def test_a_ballot_of_recent_prompts_has_forty_pairs_unless_told_otherwise(http: TestClient, events: Events) -> None:
    for n in range(60):
        events.draft(f"user {n}", START + timedelta(minutes=n), prompt=f"visit {n:02}")
    events.write()
    http.app.state.parts = Pens()
    asked = {"version": "tuned-1", "source": "recent"}
    assert http.post("/ballots", params=LOOP, json=asked).json()["n_items"] == 40
    assert http.post("/ballots", params=LOOP, json={**asked, "n_items": 3}).json()["n_items"] == 3


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/ballots", {"version": "tuned-9"}, "known versions: base, tuned-1"),
        ("/ballots", {"version": "tuned-1", "n_items": 0}, "n_items: input should be greater"),
        ("/ballots", {"version": "tuned-1", "n_item": 3}, "n_item: extra inputs are not permitted"),
        ("/votes", {"ballot_id": "x", "item_number": 0, "voter": "ann", "chosen": "left"}, "chosen: input should be"),
        ("/votes", {"ballot_id": "x", "item_number": 0, "voter": "ann", "chosen": "tie"}, "no ballot has the id 'x'"),
    ],
)
def test_what_is_wrong_is_422_and_one_sentence(http: TestClient, path: str, body: dict[str, object], said: str) -> None:
    refused = http.post(path, params=LOOP, json=body)
    assert refused.status_code == 422
    assert said in refused.json()["error"]


def test_nobody_without_the_key_votes_over_http(http: TestClient) -> None:
    assert http.get("/ballots", params=LOOP, headers={"Authorization": "Bearer no"}).status_code == 401
