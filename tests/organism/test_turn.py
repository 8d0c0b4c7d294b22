"""The loop as a whole, on the shipped demo: everything over HTTP and one small turn, with the real model."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from organism.api.product import create_product_api
from organism.cli.main import main
from organism.config import DEMO_LOOP, Workspace, utcnow
from organism.demo import demo_environment, open_workspace
from organism.deploy.flow import promote
from organism.deploy.serving import DraftServer
from organism.errors import DesignError
from organism.loop import TurnPlan, turn
from organism.optimize.flow import SftConfig
from organism.records import Verdict
from organism.store.database import Store
from organism.store.loops import loop_id_of
from organism.store.model_versions import version_by_name
from organism.traffic import run_simulated_traffic

SMALL = TurnPlan(max_rows=24, max_heldout_rows=8, visits_per_user=1, config=SftConfig(epochs=1))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("turn") / "workspace")


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> Iterator[Store]:
    with closing(open_workspace(workspace, demo=True)) as opened:
        yield opened


@pytest.fixture(scope="module")
def http(workspace: Workspace, store: Store) -> Iterator[httpx.Client]:
    bound = socket.create_server(("127.0.0.1", 0))
    with DraftServer(workspace) as drafts:
        api = create_product_api(workspace, lambda: store, lambda: drafts)
        root = Starlette(routes=[Mount("/v1", api)])
        server = uvicorn.Server(uvicorn.Config(root, log_level="error", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.005)
        headers = {"Authorization": f"Bearer {workspace.api_key()}"}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{bound.getsockname()[1]}/v1", headers=headers, timeout=60
        ) as client:
            yield client
        server.should_exit = True
        thread.join()


def test_the_demo_starts_with_one_finished_turn(http: httpx.Client) -> None:
    (experiment,) = http.get("/experiments").json()["experiments"]
    models = http.get("/models").json()
    card = http.get(f"/experiments/{experiment['experiment_id']}").json()["scorecard"]
    assert models["live"] == "scribe-1"
    assert {version["name"] for version in models["versions"]} == {"base", "scribe-1"}
    assert card["verdict"] == "ship"
    assert card["is_synthetic"] is True


def test_base_drafts_keep_at_most_sixty_percent_and_the_fine_tune_more(http: httpx.Client) -> None:
    (run,) = http.get("/runs").json()["runs"]
    evaluation = http.get(f"/runs/{run['run_id']}").json()["evaluation"]
    assert evaluation["before"] <= 0.60
    assert evaluation["before"] + 0.05 < evaluation["after"] < evaluation["ceiling"]
    assert evaluation["facts_after"] >= evaluation["facts_before"] - 0.02


def test_rewards_move_with_the_weights_and_zero_weights_are_refused(http: httpx.Client) -> None:
    def mean(**weights: float) -> float:
        variants = http.get("/rewards", params=weights).json()["variants"]
        return next(row["mean"] for row in variants if row["variant"] == "scribe-1")

    assert mean(price=0, performance=0, quality=1) != mean(price=1, performance=0, quality=0)
    refused = http.get("/rewards", params={"price": 0, "performance": 0, "quality": 0})
    assert refused.status_code == 422
    assert "positive weight" in refused.json()["error"]


def test_a_draft_is_written_by_the_live_version_and_logged(http: httpx.Client, store: Store) -> None:
    before = http.get("/health").json()["rows"]["interactions"]
    answer = http.post("/drafts", json={"prompt": "D: What brings you in?\nP: I have a bad cough.", "user_key": "me"})
    assert answer.status_code == 200
    assert answer.json()["version"] == "scribe-1"
    assert answer.json()["text"]
    assert http.get("/health").json()["rows"]["interactions"] == before + 1
    feedback = {
        "source": "t",
        "external_id": "f",
        "interaction_id": answer.json()["interaction_id"],
        "kind": "edit",
        "final_text": answer.json()["text"] + " Seen today.",
    }
    assert http.post("/feedback", json=feedback).json()["accepted"] == 1


def test_the_same_draft_comes_in_openais_shape(http: httpx.Client) -> None:
    prompt = "D: What brings you in?\nP: I have a bad cough."
    ours = http.post("/drafts", json={"prompt": prompt, "version": "base"}).json()
    theirs = http.post("/chat/completions", json={"model": "base", "messages": [{"role": "user", "content": prompt}]})
    assert theirs.json()["choices"][0]["message"]["content"] == ours["text"]
    assert http.post("/chat/completions", json={"messages": [{"role": "system", "content": "x"}]}).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/drafts", {"prompt": "  "}),
        ("/drafts", {"prompt": "hello", "loop": "nobody"}),
        ("/drafts", {"prompt": "hello", "version": "scribe-99"}),
        ("/runs", {"config": {"speed": "fast"}}),
        ("/experiments", {"name": "x", "control": "base", "treatment": "base"}),
        ("/models/scribe-99/promote", {"actor": "me", "reason": "why not"}),
        ("/experiments/none/decide", {"verdict": "ship", "note": "n", "actor": "a"}),
    ],
)
def test_bad_requests_get_one_sentence(http: httpx.Client, path: str, body: dict[str, object]) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].strip().count("\n") == 0


def test_without_the_key_nothing_is_told(http: httpx.Client) -> None:
    for path in ("/models", "/runs", "/experiments", "/vitals", "/rewards"):
        assert httpx.get(str(http.base_url).rstrip("/") + path).status_code == 401


def test_rolling_back_and_making_live_again_are_two_more_events(http: httpx.Client, store: Store) -> None:
    why = {"actor": "a test", "reason": "to see it move"}
    n_events = len(http.get("/models").json()["alias_events"])
    assert http.post("/models/rollback", json=why).json()["live"] == "base"
    refused = http.post("/models/scribe-1/promote", json=why)
    assert refused.status_code == 422
    assert "facts" in refused.json()["error"]
    assert http.get("/models").json()["live"] == "base"
    loop_id = loop_id_of(store, DEMO_LOOP)
    tuned = version_by_name(store, loop_id, "scribe-1")
    promote(store, loop_id, tuned.model_version_id, **why, now=utcnow(), force=True)
    after = http.get("/models").json()
    assert after["live"] == "scribe-1"
    assert len(after["alias_events"]) == n_events + 2


@pytest.mark.slow
def test_one_small_turn_trains_tests_and_decides(workspace: Workspace, store: Store, http: httpx.Client) -> None:
    said: list[str] = []
    loop_id = loop_id_of(store, DEMO_LOOP)
    environment = demo_environment()
    done = turn(
        store, workspace, loop_id, environment, plan=SMALL, progress=lambda stage, share, text: said.append(stage)
    )
    assert done.trained.version.name == "scribe-2"
    assert done.trained.evaluation["n_rows"] == 8
    assert done.scorecard.n_interactions > 0
    assert sum(done.scorecard.n_users.values()) == done.scorecard.n_planned == 60
    assert list(dict.fromkeys(said)) == ["digest", "optimize", "observe"]
    assert set(done.seconds) == {"digest", "optimize", "observe", "decide", "total"}
    kept = http.get(f"/experiments/{done.experiment_id}").json()["scorecard"]
    assert kept["effect"] == pytest.approx(done.scorecard.effect)

    with DraftServer(workspace) as drafts, pytest.raises(DesignError, match="ended"):
        run_simulated_traffic(store, drafts, done.experiment_id, _Strangers(), visits_per_user=1)
    assert done.decided.sentence
    assert done.scorecard.verdict in set(Verdict)
    assert version_by_name(store, loop_id, "scribe-2").run_id == done.trained.run_id
    vitals = http.get("/vitals").json()
    assert vitals["needs_you"] is not None
    assert utcnow() > store.rows("SELECT max(created_at) FROM interactions")[0][0]


class _Strangers:
    """Visits of somebody whom the ended experiment has never seen."""

    def fresh_visits(self, n_per_user: int, *, seed: int) -> list[object]:
        class Visit:
            user_key = "a stranger"
            region = "north"
            attributes: ClassVar[dict[str, str]] = {}

        return [Visit() for _ in range(n_per_user)]

    def respond(self, *args: object, **kwargs: object) -> tuple[list[object], list[object]]:
        raise AssertionError("nobody was served")


def test_a_loop_of_no_turns_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loop", "--turns", "0", "--workspace", str(tmp_path), "--json"]) == 2
    assert "--turns 0" in json.loads(capsys.readouterr().out)["error"]
