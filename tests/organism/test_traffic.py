"""Drafts through an experiment: the variant's version writes, its instruction before, and the exposure is on record."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api import drafts as drafts_api
from organism.api.app import create_api
from organism.api.parts import Parts
from organism.config import Workspace
from organism.deploy.flow import promote, register_version
from organism.deploy.serving import DraftServer
from organism.errors import DesignError, InputError
from organism.experiment.assign_flow import assign_user, set_holdout
from organism.records import ModelVersion, Variant, new_id
from organism.store.database import Store
from organism.store.experiments import insert_experiment
from organism.store.exposures import count_exposures, read_first_exposures
from organism.traffic import instructed, run_simulated_traffic, serve_draft
from tests.organism.conftest import START, Events

PROMPT, INSTRUCTION = "Patient 3 takes drug 3 mg.", "Note: drug 7 mg. Patient 7."
KEY = "a-key-for-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DraftServer]:
    with DraftServer(Workspace(tmp_path_factory.mktemp("workspace"))) as server:
        yield server


@pytest.fixture
def version(store: Store, events: Events, tiny_base: Path) -> ModelVersion:
    """One live version; both variants of the experiment are it, one with an instruction."""
    made = register_version(store, events.loop_id, name="tiny", base_path=str(tiny_base), now=START)
    promote(store, events.loop_id, made.model_version_id, actor="Ana", reason="first", now=START, force=True)
    return made


@pytest.fixture
def experiment_id(store: Store, events: Events, version: ModelVersion) -> str:
    return start(store, events, version.model_version_id, version.model_version_id)


def start(store: Store, events: Events, control: str | None, treatment: str | None, **columns: Any) -> str:
    experiment_id = new_id(START)
    row = {
        "experiment_id": experiment_id,
        "loop_id": events.loop_id,
        "name": "instructed",
        "hypothesis": "",
        "started_at": START,
        "is_synthetic": True,
        **columns,
    }
    variants = (
        Variant(name="plain", share=0.5, model_version_id=control),
        Variant(name="instructed", share=0.5, model_version_id=treatment, prompt=INSTRUCTION),
    )
    insert_experiment(store, row, variants, {})
    return experiment_id


def a_user(store: Store, experiment_id: str, variant: str) -> str:
    """Somebody who was assigned this variant."""
    users = (f"user-{n}" for n in range(100))
    return next(user for user in users if assign_user(store, experiment_id, user, START).variant == variant)


def serve(store: Store, server: DraftServer, **asked: Any) -> Any:
    return serve_draft(store, server, prompt=PROMPT, loop="notes", max_new_tokens=12, **asked)


@pytest.mark.parametrize(("variant", "instruction"), [("plain", None), ("instructed", INSTRUCTION)])
def test_the_variant_writes_with_its_instruction_before_the_prompt(
    store: Store,
    server: DraftServer,
    version: ModelVersion,
    experiment_id: str,
    variant: str,
    instruction: str | None,
) -> None:
    user = a_user(store, experiment_id, variant)
    served = serve(store, server, user_key=user, experiment_id=experiment_id, attributes={"region": "north", "age": 40})
    (alone,) = server.drafts(
        version, [PROMPT if instruction is None else f"{INSTRUCTION}\n\n{PROMPT}"], max_new_tokens=12
    )
    assert (served.draft.text, served.draft.input_tokens) == (alone.text, alone.input_tokens)
    assert (served.version, served.assigned.variant, served.assigned.probability) == ("tiny", variant, 0.5)
    logged = store.rows(
        "SELECT interaction_id::VARCHAR, experiment_id, variant_id, model_version_id, user_key, prompt, region, "
        "attributes->>'age' FROM interactions"
    )
    assert logged == [
        (served.interaction_id, experiment_id, variant, version.model_version_id, user, PROMPT, "north", "40")
    ]
    met = read_first_exposures(store, experiment_id)
    assert met[["user_key", "variant", "is_recorded"]].to_numpy().tolist() == [[user, variant, True]]


def test_whom_the_experiment_leaves_out_is_served_like_everybody(
    store: Store, server: DraftServer, events: Events, experiment_id: str
) -> None:
    set_holdout(store, events.loop_id, 0.5, "Ana", now=START)
    out = next(u for n in range(50) if assign_user(store, experiment_id, u := f"new-{n}", START).variant is None)
    served = serve(store, server, user_key=out, experiment_id=experiment_id)
    assert (served.version, served.assigned.variant, served.assigned.reason) == ("tiny", None, "holdout")
    assert store.rows("SELECT experiment_id, variant_id FROM interactions") == [(None, "tiny")]
    assert read_first_exposures(store, experiment_id).empty


def test_what_cannot_be_drafted_is_a_sentence(
    store: Store, server: DraftServer, events: Events, experiment_id: str
) -> None:
    own = start(store, events, None, None)
    with pytest.raises(DesignError, match="is the product's own system, so no draft of it can be written here"):
        serve(store, server, user_key="ann", experiment_id=own)
    with pytest.raises(InputError, match="name one of them"):
        serve(store, server, user_key="ann", experiment_id=experiment_id, version_name="tiny")
    with pytest.raises(InputError, match="no user was named"):
        serve(store, server, experiment_id=experiment_id)
    assert store.rows("SELECT count(*) FROM interactions") == [(0,)]


def test_an_instruction_stands_before_the_prompt() -> None:
    assert instructed(None, "a") == "a"
    assert instructed("Be brief.", "a") == "Be brief.\n\na"


class TwoVisits:
    """Four people with two visits each, who use every draft as it is."""

    def fresh_visits(self, n_per_user: int, *, seed: int) -> list[Any]:
        return [
            SimpleNamespace(
                user_key=f"person-{person}",
                encounter_id=f"{seed}-{person}-{visit}",
                prompt=PROMPT,
                region="north" if person % 2 else "south",
                consent=True,
                attributes={"tags": ["a"]},
            )
            for person in range(8)
            for visit in range(n_per_user)
        ]

    def respond(self, visit: Any, draft: str, *, interaction_id: str, now: Any) -> tuple[list[Any], list[Any]]:
        answer = {"source": "people", "external_id": interaction_id, "interaction_id": interaction_id}
        return [{**answer, "kind": "accept", "final_text": draft, "occurred_at": now}], []


def test_simulated_people_are_served_by_variant_and_only_the_targeted_ones(
    store: Store, server: DraftServer, events: Events, version: ModelVersion
) -> None:
    same = version.model_version_id
    one = start(store, events, same, same, targeting={"region": ["north"]})
    assert run_simulated_traffic(store, server, one, TwoVisits(), visits_per_user=2) == 8
    rows = store.rows("SELECT DISTINCT user_key, variant_id, region, input_tokens FROM interactions")
    assert {region for *_, region, _ in rows} == {"north"}
    assert len(rows) == 4
    arms = dict(store.rows("SELECT user_key, variant_id FROM assignments"))
    assert {user: variant for user, variant, *_ in rows} == arms
    by_variant = {variant: tokens for _, variant, _, tokens in rows}
    assert by_variant["instructed"] > by_variant["plain"]
    assert sum(count.n_recorded for count in count_exposures(store, one)) == 4


@pytest.fixture
def http(store: Store, server: DraftServer, tmp_path: Path) -> Iterator[httpx.Client]:
    bound = socket.create_server(("127.0.0.1", 0))
    api = create_api(lambda: store, KEY, routers=[drafts_api.router], hosts=["127.0.0.1"])
    api.state.parts = Parts(Workspace(tmp_path / "w"), lambda: server)
    uv = uvicorn.Server(
        uvicorn.Config(Starlette(routes=[Mount("/v1", api)]), log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=uv.run, kwargs={"sockets": [bound]})
    thread.start()
    while not uv.started:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        yield client
    uv.should_exit = True
    thread.join()


def test_both_routes_take_an_experiment(http: httpx.Client, store: Store, experiment_id: str) -> None:
    user = a_user(store, experiment_id, "instructed")
    asked = {"loop": "notes", "prompt": PROMPT, "user_key": user, "experiment_id": experiment_id, "max_new_tokens": 4}
    own = http.post("/drafts", json=asked).json()
    assert (own["version"], own["experiment"]["variant"], own["experiment"]["reason"]) == ("tiny", "instructed", "kept")
    chat = {"messages": [{"role": "user", "content": PROMPT}], "user": user, "experiment_id": experiment_id}
    open_ai = http.post("/chat/completions", params={"loop": "notes"}, json=chat | {"max_tokens": 4}).json()
    assert open_ai["choices"][0]["message"]["content"] == own["text"]
    assert open_ai["experiment"]["variant"] == "instructed"
    plain = http.post("/drafts", json={"loop": "notes", "prompt": PROMPT, "max_new_tokens": 4}).json()
    assert "experiment" not in plain
    refused = http.post("/drafts", json=asked | {"experiment_id": "nowhere"})
    assert (refused.status_code, "no experiment has the id" in refused.json()["error"]) == (422, True)
