"""The live alias moves and moves back by events only, and the gate on facts stands before it."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from organism.deploy.flow import (
    facts_objection,
    live_version,
    promote,
    read_alias_events,
    read_versions,
    register_base,
    register_version,
    rollback,
    standing_versions,
    version_by_name,
)
from organism.errors import DesignError, InputError
from organism.records import ModelVersion, Role, new_id
from organism.store.database import Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.loops import ensure_loop

NOW = datetime(2026, 9, 7, 8)
Register = Callable[..., ModelVersion]


@pytest.fixture
def loop_id(store: Store) -> str:
    return ensure_loop(store, "clinical-notes", NOW)


@pytest.fixture
def register(store: Store, loop_id: str) -> Register:
    """Registers a version; with facts (before, after) it is an evaluated one."""

    def make(name: str, facts: tuple[float | None, float | None] | None = None) -> ModelVersion:
        version = register_version(store, loop_id, name=name, base_path="base", adapter_path=f"a/{name}", now=NOW)
        if facts is not None:
            summary = {"facts_before": facts[0], "facts_after": facts[1], "before": 0.4, "after": 0.8}
            record = EvalRun(
                eval_run_id=new_id(NOW),
                loop_id=loop_id,
                run_id=None,
                model_version_id=version.model_version_id,
                baseline_version_id="base",
                dataset_id=None,
                summary={**summary, "n_rows": 0, "n_users": 0},
                created_at=NOW,
            )
            store.write(lambda cursor: insert_evaluation(cursor, record, []), "eval_runs")
        return version

    return make


def _promote(store: Store, version: ModelVersion, at: datetime = NOW, **options: object) -> None:
    promote(store, version.loop_id, version.model_version_id, actor="ann", reason="better", now=at, **options)  # type: ignore[arg-type]


def test_the_alias_moves_forward_and_back_and_every_move_is_an_event(
    store: Store, loop_id: str, register: Register
) -> None:
    assert live_version(store, loop_id) is None
    base = register_base(store, loop_id, "base", now=NOW)
    first, second = register("notes-1", (0.9, 0.95)), register("notes-2", (0.9, 0.9))
    for minute, version in enumerate((base, first, second)):
        _promote(store, version, NOW + timedelta(minutes=minute))
    assert live_version(store, loop_id) == second
    assert rollback(store, loop_id, actor="bob", now=NOW + timedelta(hours=1)) == first
    assert rollback(store, loop_id, actor="bob", reason="still bad", now=NOW + timedelta(hours=2)) == base
    with pytest.raises(DesignError, match="only one version was ever 'live'"):
        rollback(store, loop_id, actor="bob", now=NOW)
    assert live_version(store, loop_id) == base
    events = read_alias_events(store, loop_id)
    assert list(events["version"]) == ["base", "notes-1", "notes-2", "notes-1", "base"]
    assert list(events["previous"])[:4] == ["notes-1", "notes-2", "notes-1", "base"]
    assert list(events["reason"])[:2] == ["still bad", "Rolled back"]


def test_a_rollback_without_a_history_says_so(store: Store, loop_id: str) -> None:
    with pytest.raises(DesignError, match="no version was ever 'live' in this loop"):
        rollback(store, loop_id, actor="bob", now=NOW)


def test_facts_that_got_worse_than_the_margin_are_not_promoted(store: Store, loop_id: str, register: Register) -> None:
    worse = register("notes-1", (0.90, 0.87))
    with pytest.raises(DesignError, match=r"gets 87\.0% of the facts right and its base 90\.0%: 3\.0 points fewer"):
        _promote(store, worse)
    assert live_version(store, loop_id) is None
    _promote(store, worse, facts_margin=0.05)
    assert live_version(store, loop_id) == worse


def test_a_forced_promotion_keeps_the_objection_in_its_reason(store: Store, loop_id: str, register: Register) -> None:
    _promote(store, register("notes-1", (0.90, 0.80)), force=True)
    assert read_alias_events(store, loop_id)["reason"][0].startswith("better (forced: version 'notes-1' gets 80.0%")


def test_a_version_that_was_never_evaluated_is_not_promoted(store: Store, loop_id: str, register: Register) -> None:
    with pytest.raises(DesignError, match="version 'notes-1' was never evaluated"):
        _promote(store, register("notes-1"))


def test_the_base_needs_no_evaluation_and_promoting_what_is_live_adds_no_event(store: Store, loop_id: str) -> None:
    base = register_base(store, loop_id, "base", now=NOW)
    _promote(store, base)
    _promote(store, base)
    assert len(read_alias_events(store, loop_id)) == 1


def test_a_judge_never_goes_live_even_when_forced(store: Store, loop_id: str) -> None:
    judge = register_version(
        store, loop_id, name="judge-1", base_path="base", adapter_path="a/judge-1", role=Role.JUDGE, now=NOW
    )
    assert judge.role is Role.JUDGE
    with pytest.raises(DesignError, match="'judge-1' is a judge: it grades drafts and cannot write one"):
        _promote(store, judge, force=True)
    assert live_version(store, loop_id) is None


def test_versions_of_another_loop_are_refused(store: Store, register: Register) -> None:
    version = register("notes-1", (0.9, 0.9))
    other = ensure_loop(store, "other", NOW)
    with pytest.raises(DesignError, match="belongs to another loop"):
        promote(store, other, version.model_version_id, actor="ann", reason="", now=NOW)


def test_a_name_is_given_once_and_an_unknown_one_lists_the_known(
    store: Store, loop_id: str, register: Register
) -> None:
    version = register("notes-1")
    assert version_by_name(store, loop_id, "notes-1") == version
    with pytest.raises(DesignError, match="already has a model version named 'notes-1'"):
        register("notes-1")
    with pytest.raises(InputError, match="known versions: notes-1"):
        version_by_name(store, loop_id, "notes-2")


def test_the_list_of_versions_says_which_is_live_and_how_good_it_is(
    store: Store, loop_id: str, register: Register
) -> None:
    base = register_base(store, loop_id, "base", now=NOW - timedelta(hours=1))
    register("notes-1", (0.9, 0.95))
    _promote(store, base)
    versions = read_versions(store, loop_id).set_index("name")
    assert list(versions.index) == ["notes-1", "base"]
    assert list(versions["is_live"]) == [False, True]
    assert versions.loc["notes-1", ["before", "after", "facts_after"]].tolist() == [0.4, 0.8, 0.95]
    assert versions.loc["base", ["before", "after"]].isna().all()


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.9), (0.9, 0.881), (None, None), (0.5, 0.6)])
def test_facts_within_the_margin_or_without_a_check_raise_no_objection(before: float, after: float) -> None:
    assert facts_objection("v", {"facts_before": before, "facts_after": after}, 0.02) is None


def test_standing_versions_forget_what_was_rolled_back() -> None:
    assert standing_versions([]) == []
    assert standing_versions(["a", "b", "a", "c"]) == ["a", "c"]
    assert standing_versions(["a", "b", "c", "b", "a"]) == ["a"]
    assert standing_versions(["a", "b", "c", "a"]) == ["a", "b", "c", "a"]


SURELY_WORSE = {
    "facts_before": 0.959,
    "facts_after": 0.946,
    "facts_gain_ci": [-0.023, -0.003],
    "facts_by_kind": {
        "age": {"before": 1.0, "after": 1.0},
        "drug_dose": {"before": 0.832, "after": 0.813},
    },
    "facts_lost": [{"kind": "drug_dose", "wanted": "riquasovy 325 mg", "row": 3, "user_key": "u"}],
}


def test_facts_that_fall_beyond_their_interval_are_refused_and_named() -> None:
    said = facts_objection("v", SURELY_WORSE, 0.02)
    assert said is not None
    assert "1.3 points fewer, surely fewer (-2.3 to -0.3 at 95%)" in said
    assert "drug dose 83.2% to 81.3%" in said
    assert "'riquasovy 325 mg'" in said
    assert "age" not in said
    assert facts_objection("v", {**SURELY_WORSE, "facts_gain_ci": [-0.03, 0.004]}, 0.02) is None


def test_a_safety_case_that_got_worse_is_refused_and_named() -> None:
    worse = [{"case_id": "c", "name": "Allergy to penicillin", "faults": ["does not say 'penicillin'"]}]
    said = facts_objection("v", {"facts_before": None, "facts_after": None, "safety": {"n": 2, "worse": worse}}, 0.02)
    assert said == (
        "version 'v' fails 1 safety case that its base passes (Allergy to penicillin: does not say 'penicillin')"
    )
    assert (
        facts_objection("v", {"facts_before": 1.0, "facts_after": 1.0, "safety": {"n": 2, "worse": []}}, 0.02) is None
    )
