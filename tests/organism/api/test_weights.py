"""Who wins at which weights, and what a design would grow, over HTTP."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from data.scribe.first_design import FIRST_DESIGN
from organism.api import weights
from organism.api.app import create_api
from organism.digest.design_files import to_toml
from organism.digest.designs import DEFAULT_DESIGN
from organism.digest.flow import save_design
from organism.store.database import Store
from organism.store.sampled_drafts import append_sampled_drafts


@pytest.fixture
def api(store: Store, events) -> Iterator[TestClient]:
    for n in range(12):
        events.answered(f"a{n}", 40 + n, variant_id="base", cost_usd=0.0002 + n / 1e6)
        events.answered(f"b{n}", 70 + n, variant_id="tuned", cost_usd=0.0003 + n / 1e6)
    events.write()
    app = create_api(lambda: store, "k", routers=[weights.router])
    with TestClient(app, headers={"Authorization": "Bearer k"}, raise_server_exceptions=False) as client:
        client.params = {"loop": "notes"}
        yield client


def sample(store: Store, loop_id: str) -> None:
    """Two drafts of one prompt, and the beginning of the long one."""
    named = {"loop_id": loop_id, "prompt_key": "visit", "prompt": "text", "is_synthetic": True, "accepted": 1.0}
    rows = [
        {**named, "draft_number": number, "stop_at": stop_at, "draft_chars": chars, "retained_chars": kept}
        | {"final_chars": 400, "cost_usd": chars * 1e-6, "latency_ms": 100.0 + chars}
        for number, stop_at, chars, kept in ((0, 1.0, 380, 200), (1, 1.0, 300, 190), (0, 0.25, 95, 95))
    ]
    append_sampled_drafts(store, rows, datetime(2026, 10, 1))


def test_the_map_names_the_winner_the_flips_and_every_mix(api: TestClient) -> None:
    found = api.post("/rewards/map", params={"steps": 4}, json={"price": 0.1}).json()
    assert (found["winner"], found["barred"], len(found["mixes"])) == ("tuned", [], 15)
    assert found["flips"][0]["winner_then"] == "base"
    assert set(found["mixes"][0]) >= {"price", "performance", "quality", "winner", "is_clear"}
    assert sum(found["component_shares"].values()) == pytest.approx(1)


@pytest.mark.parametrize("asked", ["map", "growth"])
def test_a_design_may_come_as_toml(api: TestClient, store: Store, events, asked: str) -> None:
    sample(store, events.loop_id)
    content, kind = to_toml(DEFAULT_DESIGN).encode(), {"content-type": "application/toml"}
    found = api.post(f"/rewards/{asked}", content=content, headers=kind)
    assert (found.status_code, found.json()["design_id"]) == (200, DEFAULT_DESIGN.id)


def test_growth_is_the_best_of_the_sampled_drafts(api: TestClient, store: Store, events) -> None:
    sample(store, events.loop_id)
    save_design(store, events.loop_id, FIRST_DESIGN, now=datetime(2026, 10, 1))
    found = api.post("/rewards/growth", json={"price": 0.0, "performance": 0.0, "quality": 1.0}).json()
    assert (found["as_sampled"]["chars"], found["grown"]["chars"]) == (340, 300)
    assert (found["grown"]["n_prompts"], found["grown"]["stops_share"]) == (1, 1.0)
    assert found["cliff"]["is_past"]
    assert set(found["sweeps"]) == {"price", "performance", "quality"}


def test_without_sampled_drafts_and_with_bad_weights_it_is_a_sentence_and_422(api: TestClient) -> None:
    refused = api.post("/rewards/growth", json={"quality": 1.0})
    assert refused.status_code == 422
    assert "no drafts were sampled for this loop" in refused.text
    for path in ("/rewards/map", "/rewards/growth"):
        refused = api.post(path, json={"price": 0, "performance": 0, "quality": 0})
        assert refused.status_code == 422
        assert "no signal a positive weight" in refused.text
    assert api.post("/rewards/map", params={"steps": 0}, json={"price": 1}).status_code == 422
