"""Which judge a run asks: by name, by address, the loop's newest; and how far a judge agrees with people."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from organism.config import Workspace
from organism.deploy.flow import register_version
from organism.errors import DesignError, InputError, ModelError
from organism.lm.judge import Preference
from organism.optimize.agreement import agreement, longer_is_chosen, prefer_by_length
from organism.optimize.configs import GrpoConfig, RlaifConfig, SftConfig
from organism.optimize.judges import judge_address, require_judge, with_judge
from organism.optimize.runs import Pair
from organism.records import Role
from organism.store.database import Store
from organism.store.loops import ensure_loop

NOW = datetime(2026, 9, 7, 8)


@pytest.fixture
def loop_id(store: Store) -> str:
    return ensure_loop(store, "notes", NOW)


def _register(store: Store, loop_id: str, name: str, role: Role, hour: int) -> None:
    now = NOW + timedelta(hours=hour)
    register_version(
        store, loop_id, name=name, base_path="b", adapter_path=f"workspace:runs/{name}/adapter", role=role, now=now
    )


def test_a_judge_is_found_by_its_name_and_the_newest_without_one(store: Store, loop_id: str) -> None:
    for hour, (name, role) in enumerate([("judge-1", Role.JUDGE), ("judge-2", Role.JUDGE), ("notes-1", Role.WRITER)]):
        _register(store, loop_id, name, role, hour)
    assert judge_address(store, loop_id, "version:judge-1") == "workspace:runs/judge-1/adapter"
    assert with_judge(store, loop_id, RlaifConfig(judge="judge-1")).judge == "workspace:runs/judge-1/adapter"
    assert with_judge(store, loop_id, RlaifConfig()).judge == "workspace:runs/judge-2/adapter"
    assert with_judge(store, loop_id, GrpoConfig()).judge == ""
    assert with_judge(store, loop_id, SftConfig()) == SftConfig()
    with pytest.raises(DesignError, match="'notes-1' writes drafts and is no judge"):
        judge_address(store, loop_id, "notes-1")
    with pytest.raises(InputError, match="no model version is named 'judge-9'"):
        judge_address(store, loop_id, "judge-9")


def test_addresses_stay_as_they_are_and_a_loop_without_a_judge_says_how_to_get_one(store: Store, loop_id: str) -> None:
    for address in ("http://127.0.0.1:9/v1#m", "workspace:runs/r/adapter", "/srv/judge"):
        assert judge_address(store, loop_id, address) == address
    with pytest.raises(DesignError, match="rlaif needs a judge, and this loop has none: train one"):
        with_judge(store, loop_id, RlaifConfig())


@pytest.mark.parametrize(
    "address", ["http://", "http://host", "http://host/v1#", "http://host:port/v1#m", "http://[::1#m", "http://a b#m"]
)
def test_an_endpoint_without_a_host_or_a_model_is_refused_before_the_start(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="names no model; write http://HOST:PORT/v1#MODEL"):
        require_judge(Workspace(tmp_path), address)


def test_a_folder_that_is_no_judge_is_refused_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    with pytest.raises(ModelError, match=r"is no judge: it has no judge\.json"):
        require_judge(Workspace(tmp_path), "workspace:adapter")
    with pytest.raises(ModelError, match="no model folder at"):
        require_judge(Workspace(tmp_path), "workspace:nowhere")
    require_judge(Workspace(tmp_path), "http://127.0.0.1:9/v1#m")
    require_judge(Workspace(tmp_path), "")


def test_grpo_asks_no_endpoint(store: Store, loop_id: str) -> None:
    with pytest.raises(DesignError, match="name a reward model as its judge, not an endpoint"):
        with_judge(store, loop_id, GrpoConfig(judge="http://127.0.0.1:9/v1#m"))


def test_agreement_counts_ties_half_and_stands_beside_length_alone() -> None:
    pairs = [Pair("p", "long text" if n % 4 else "s", "short", f"u{n % 5}", "") for n in range(20)]
    said = [Preference.FIRST] * 14 + [Preference.TIE] * 4 + [Preference.SECOND] * 2
    found = agreement(pairs, said, longer_wins=longer_is_chosen(pairs), seed=0).summary()
    assert (found["n"], found["n_users"], found["n_ties"]) == (20, 5, 4)
    assert found["agreement"] == pytest.approx(0.8)
    assert found["kappa"] == pytest.approx(0.6)
    assert found["length_alone"] == pytest.approx(0.75)
    assert found["over_length"] == pytest.approx(0.05)
    assert found["ci"][0] < 0.8 < found["ci"][1]
    assert prefer_by_length("a", "b", longer_wins=True) is Preference.TIE


def test_no_pairs_give_no_agreement() -> None:
    found = agreement([], [], longer_wins=True, seed=0).summary()
    assert found["n"] == 0
    assert [found[name] for name in ("agreement", "ci", "kappa", "length_alone")] == [None] * 4
