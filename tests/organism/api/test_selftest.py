"""Self-test and simulation over HTTP: plain figures, a sentence and 422 for what cannot be, a cap on work."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from fastapi.testclient import TestClient

from organism.api.app import create_api
from organism.api.selftest import MOST_WORK, router
from organism.store.database import Store
from tests.organism.conftest import Events
from tests.organism.experiment.running import NOW, run

KEY = "a-key-for-tests"


@pytest.fixture
def client(store: Store) -> Iterator[httpx.Client]:
    api = create_api(lambda: store, KEY, routers=(router,), hosts=["testserver"])
    with TestClient(api, headers={"Authorization": f"Bearer {KEY}"}) as opened:
        yield opened


@pytest.fixture
def experiment_id(store: Store, events: Events) -> str:
    made = run(store, events.loop_id, primary="retained_char_rate")
    for user in range(70):
        for day in range(5):
            at = NOW + timedelta(days=day, minutes=user)
            events.answered(f"u{user}", 20 + user, at, experiment_id=made, variant_id="ab"[user % 2])
    events.write()
    return made


def test_a_self_test_comes_as_plain_data(client: httpx.Client, experiment_id: str) -> None:
    found = client.get(f"/experiments/{experiment_id}/selftest", params={"permutations": 500}).json()
    assert (found["n_users"], found["n_control"], found["n_requests"]) == (70, 35, 350)
    assert found["ours"]["low"] < 0.05 < found["ours"]["high"]
    assert found["naive"]["low"] > 0.2, "all drafts of a user keep the same"
    assert sum(one["ours"] for one in found["histogram"]) == 500
    assert "saw a difference" in found["sentence"]


def test_what_cannot_be_tested_is_one_sentence(client: httpx.Client, store: Store, events: Events) -> None:
    nobody = run(store, events.loop_id)
    for address in (f"/experiments/{nobody}/selftest", "/experiments/nope/selftest"):
        answer = client.get(address)
        assert answer.status_code == 422
        assert "\n" not in answer.text
    assert client.get(f"/experiments/{nobody}/selftest", params={"permutations": 90_000}).status_code == 422


def test_a_simulation_comes_as_plain_data(client: httpx.Client) -> None:
    asked = {"users": 100, "experiments": 500, "looks": 10, "kind": "mean", "methods": ["fixed", "sequence"]}
    found = client.post("/simulate", json=asked).json()
    assert found["measures"] == "false-positive rate"
    assert [one["method"] for one in found["outcomes"]] == ["fixed", "sequence"]
    assert found["outcomes"][0]["called"]["estimate"] > found["outcomes"][1]["called"]["estimate"]
    assert found["setting"]["looks"] == 10


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"users": 1}, "wanted"),
        ({"looks": 400}, "looks"),
        ({"kind": "median"}, "mean"),
        ({"user": 5}, "user"),
        ({"users": 100_000, "experiments": 100_000}, "organism simulate"),
    ],
)
def test_a_bad_simulation_is_refused_with_a_sentence(client: httpx.Client, asked: dict[str, object], word: str) -> None:
    answer = client.post("/simulate", json=asked)
    assert answer.status_code == 422
    assert word in answer.text


def test_the_cap_names_a_number_of_experiments_that_is_let_through(client: httpx.Client) -> None:
    said = client.post("/simulate", json={"users": 1000, "experiments": 1_000_000}).text
    allowed = int(said.split("at most ")[1].split(" experiments")[0].replace(",", ""))
    assert allowed * (2 * 1000 + 20) <= MOST_WORK
