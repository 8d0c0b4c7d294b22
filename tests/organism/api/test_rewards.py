"""Reward designs over HTTP: what goes out as JSON or TOML comes back as the same design; refusals are sentences."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from organism.api import rewards
from organism.api.app import create_api
from organism.digest.designs import DEFAULT_DESIGN
from organism.store.database import Store

TOML = {"content-type": "application/toml"}


@pytest.fixture
def api(store: Store, events) -> Iterator[TestClient]:
    for n in range(12):
        events.answered(f"a{n}", 40 + n, variant_id="base", latency_ms=900.0 + n, cost_usd=0.0002 + n / 1e5)
        events.answered(f"b{n}", 70 + n, variant_id="tuned", latency_ms=1200.0 + n, cost_usd=0.0003 + n / 1e5)
    events.write()
    app = create_api(lambda: store, "k", routers=[rewards.router])
    headers = {"Authorization": "Bearer k"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        client.params = {"loop": "notes"}
        yield client


@pytest.mark.parametrize("form", ["json", "toml"])
def test_a_design_goes_out_and_comes_back_the_same(api: TestClient, form: str) -> None:
    sent = api.get("/reward-designs/quality", params={"format": form})
    assert sent.headers["content-type"].startswith(f"application/{form}")
    identity = api.get("/reward-designs/quality").json()["reward_design_id"]
    headers = {"content-type": f"application/{form}; charset=utf-8"}
    tried = api.post("/rewards/what-if", content=sent.content, headers=headers).json()
    assert tried["design_id"] == identity
    saved = api.post("/reward-designs", content=sent.content, headers=headers)
    assert (saved.status_code, saved.json()) == (201, {"reward_design_id": identity, "version": 1, "is_new": True})
    again = api.post("/reward-designs", content=sent.content, headers=headers)
    assert (again.status_code, again.json()["is_new"]) == (200, False)
    assert api.get("/reward-designs/live").json()["reward_design_id"] == identity


def test_what_if_answers_in_the_agreed_words(api: TestClient) -> None:
    found = api.post("/rewards/what-if", params={"control": "tuned"}, json={"price": 0, "quality": 1}).json()
    assert found["control"] == "tuned"
    assert [set(row) for row in found["variants"]] == [{"variant", "n_users", "n_interactions", "mean", "ci"}] * 2
    (only,) = found["differences"]
    assert set(only) == {"variant", "control", "effect", "ci", "p_value"}
    assert only["ci"][0] < only["effect"] < only["ci"][1] < 0
    assert {"nearest_flip", "coverage", "constraints", "warnings"} <= set(found)
    assert api.get("/reward-designs").json()["saved"] == []


def test_three_weights_still_move_the_live_design(api: TestClient) -> None:
    saved = api.post("/reward-designs", json={"price": 0.9, "note": "cheaper", "author": "Ana"}).json()
    live = api.get("/reward-designs").json()["live"]
    assert (live["reward_design_id"], live["version"]) == (saved["reward_design_id"], 1)
    assert live["weights"] == {"price": 0.9, "performance": 0.2, "quality": 0.6}
    assert (live["note"], live["author"]) == ("cheaper", "Ana")
    asked = api.get("/rewards", params={"performance": 0}).json()
    assert asked["design"]["weights"] == {"price": 0.9, "performance": 0.0, "quality": 0.6}
    assert [row["variant"] for row in asked["variants"]] == ["base", "tuned"]


def test_the_list_holds_live_saved_and_presets(api: TestClient) -> None:
    found = api.get("/reward-designs").json()
    assert (found["live"]["reward_design_id"], found["live"]["version"]) == (DEFAULT_DESIGN.id, None)
    assert list(found["presets"]) == ["price", "performance", "quality", "balanced"]
    api.post("/reward-designs", json={"price": 0.9, "note": "cheaper"})
    (row,) = api.get("/reward-designs").json()["saved"]
    assert api.post("/rewards/what-if", json=row).json()["design_id"] == row["reward_design_id"]
    assert (row["version"], row["note"], row["created_at"][-1]) == (1, "cheaper", "Z")


def test_a_diff_is_in_words(api: TestClient) -> None:
    found = api.get("/reward-designs/price/diff/performance").json()
    assert found["changes"] == ["cost_usd 0.60 → 0.10", "latency_ms 0.10 → 0.60"]
    assert api.get("/reward-designs/live/diff/live").json()["changes"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"price": 0.9}, "has no note"),
        ({"price": 0.9, "note": " "}, "has no note"),
        ({"price": "high", "note": "x"}, "price is the text 'high'"),
        ({"price": -1, "note": "x"}, "the weight of price is -1"),
        ({"price": 0, "performance": 0, "quality": 0, "note": "x"}, "no signal a positive weight"),
        ({"note": "x"}, "has no signals"),
        ({"note": "x", "signals": []}, "no signal a positive weight"),
        (
            {"note": "x", "signals": [{"signal": "accepted", "weight": 1, "worst": 1, "best": 1}]},
            "two different numbers",
        ),
        ({"note": "x", "signals": [{"signal": "applause", "weight": 1, "worst": 0, "best": 1}]}, "nothing measures"),
        ({"note": "x", "signals": [{"signal": "accepted", "weight": 1, "worst": 0}]}, "lacks best"),
        ({"note": "x", "colour": 1, "signals": []}, "unknown key 'colour'"),
        ([1], "wanted one JSON object"),
    ],
)
def test_bad_input_is_422_with_one_sentence_and_nothing_is_saved(api: TestClient, body: object, said: str) -> None:
    answer = api.post("/reward-designs", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert api.get("/reward-designs").json()["saved"] == []


def test_bad_text_and_unknown_names_are_422_too(api: TestClient) -> None:
    for content, headers, said in (
        (b"weight = ", TOML, "is not TOML"),
        (b"\xff\xfe", TOML, "not UTF-8"),
        (b'{"signals": [{"signal": "accepted", "weight": NaN, "worst": 0, "best": 1}]}', {}, "the weight nan"),
        (b"{", {}, "is not JSON"),
        (b"", {}, "is not JSON"),
        (b"x" * 70_000, TOML, "longer than 64 KB"),
    ):
        answer = api.post("/rewards/what-if", content=content, headers={"content-type": "application/json", **headers})
        assert answer.status_code == 422
        assert said in answer.json()["error"]
    assert "v1" not in api.get("/reward-designs/nobody").json()["error"]
    assert api.get("/reward-designs/nobody").status_code == 422
    assert api.get("/reward-designs/live", params={"format": "yaml"}).status_code == 422
    assert api.post("/rewards/what-if", params={"control": "x"}, json={"price": 1}).status_code == 422


def test_toml_comes_in_only_where_designs_do(api: TestClient) -> None:
    refused = api.post("/interactions", content=b"a = 1", headers=TOML)
    assert (refused.status_code, refused.json()["error"].split("; ")[1]) == (415, "send application/json.")
    plain = api.post("/reward-designs", content=b"a = 1", headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    assert plain.json()["error"].endswith("send application/json or application/toml.")


def test_the_docs_name_the_fields_of_a_design(api: TestClient) -> None:
    routes = api.get("/openapi.json").json()["paths"]
    content = routes["/rewards/what-if"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/toml"}
    assert "signals" in content["application/json"]["schema"]["properties"]
    assert api.get("/reward-designs", headers={"Authorization": "Bearer x"}).status_code == 401
