"""Evaluations as runs of the queue and as rows: what is refused, what is written, what old ones and pairs can say."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from organism.config import Workspace
from organism.errors import DesignError, InputError, ModelError
from organism.optimize.evaluation_flow import (
    compare_versions,
    describe_evaluation,
    evaluate_by_name,
    read_evaluations,
    worst_rows,
)
from organism.optimize.flow import clone_run, read_run, retry_run, stop_run
from organism.optimize.registration import register
from organism.optimize.runs import RunFolder, write_json
from organism.optimize.safety_flow import add_safety_cases, read_safety_cases, remove_safety_case
from organism.records import Recipe, Role, RunStatus
from organism.store.database import Store
from organism.store.evaluations import read_evaluation, read_results
from organism.store.loops import ensure_loop
from organism.store.model_versions import version_by_name
from organism.store.votes import read_paired_drafts
from tests.organism.conftest import Events
from tests.organism.optimize.measured_clinic import HELDOUT, NOW, Clinic


@pytest.fixture
def clinic(store: Store, events: Events, tiny_base: Path) -> Clinic:
    return Clinic(store, events, tiny_base)


def test_an_evaluation_is_a_run_with_everything_frozen(store: Store, clinic: Clinic, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    line = {"name": "Dose", "prompt": "visit", "must_say": ["5 mg"], "must_not_say": []}
    add_safety_cases(store, clinic.loop_id, [line], now=NOW)
    run_id = evaluate_by_name(store, workspace, clinic.loop_id, "notes-1", judge="http://judge/v1#m", now=NOW)
    folder = RunFolder(workspace.runs / run_id)
    description = folder.description()
    assert read_run(store, run_id).recipe == Recipe.EVALUATE
    assert (len(folder.heldout()), len(folder.examples())) == (HELDOUT, 2)
    assert folder.heldout()[1].segments == {"region": "north"}
    assert description["models"]["before"]["adapter"] is None
    assert description["models"]["after"]["name"] == "notes-1"
    assert (description["judge"], description["safety"][0]["must_say"]) == ("http://judge/v1#m", [["5 mg"]])
    with pytest.raises(DesignError, match="already at work"):
        evaluate_by_name(store, workspace, clinic.loop_id, "notes-1", judge="http://judge/v1#m", now=NOW)
    other = evaluate_by_name(store, workspace, clinic.loop_id, "base", against="notes-1", now=NOW)
    assert other != run_id
    stop_run(store, workspace, run_id)
    assert retry_run(store, workspace, run_id, now=NOW) != run_id


def test_a_clone_of_an_evaluation_measures_the_same_versions(store: Store, clinic: Clinic, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run_id = evaluate_by_name(store, workspace, clinic.loop_id, "notes-1", now=NOW)
    for name in ("version", "against", "judge", "base"):
        with pytest.raises(DesignError, match=f"a clone cannot change {name}; start another evaluation"):
            clone_run(store, workspace, run_id, {name: "http://host/v1#m"}, now=NOW)
    assert read_run(store, clone_run(store, workspace, run_id, {"seed": 7}, now=NOW)).config["seed"] == 7


def test_what_cannot_be_measured_is_a_sentence(store: Store, clinic: Clinic, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    clinic.version("judge-1", Role.JUDGE)

    def start(version: str, **options: Any) -> str:
        return evaluate_by_name(store, workspace, clinic.loop_id, version, now=NOW, **options)

    with pytest.raises(DesignError, match="'base' is a base itself; name the version to measure it against"):
        start("base")
    with pytest.raises(DesignError, match="measured against itself"):
        start("notes-1", against="notes-1")
    with pytest.raises(DesignError, match="'judge-1' is a judge and writes no drafts"):
        start("judge-1")
    with pytest.raises(DesignError, match="'notes-1' writes drafts and is no judge"):
        start("notes-1", judge="notes-1")
    with pytest.raises(InputError, match="no model version is named 'nobody'"):
        start("nobody")
    with pytest.raises(InputError, match="no training set has the id 'nope'"):
        start("notes-1", dataset_id="nope")
    store.execute("UPDATE model_versions SET adapter_path = '/nowhere' WHERE name = 'notes-1'", [], "model_versions")
    with pytest.raises(ModelError, match="no model folder at /nowhere"):
        start("notes-1")
    store.execute("UPDATE datasets SET n_heldout = 0", [], "datasets")
    with pytest.raises(DesignError, match="holds rows of the kind sft out"):
        start("base", against="notes-1")
    assert not workspace.runs.exists()


def test_a_finished_evaluation_becomes_a_row_and_no_version(store: Store, clinic: Clinic, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run_id = evaluate_by_name(store, workspace, clinic.loop_id, "base", against="notes-1", name="Back", now=NOW)
    folder, rows = RunFolder(workspace.runs / run_id), []
    summary = {"n_rows": 0, "n_users": 0}
    ids = {"model_version_id": clinic.base_id, "baseline_version_id": clinic.tuned_id}
    write_json(folder.evaluation, {"summary": summary, "rows": rows, "dataset_id": clinic.dataset_id, **ids})
    register(store, read_run(store, run_id), folder, {"status": str(RunStatus.DONE)}, NOW)
    [row] = read_evaluations(store, clinic.loop_id).to_dict("records")
    assert (row["version"], row["baseline"], row["name"], row["run_id"]) == ("base", "notes-1", "Back", run_id)
    assert store.rows("SELECT count(*) FROM model_versions") == [(2,)]


def test_evaluations_are_comparable_rows_and_the_one_against_the_base_counts(store: Store, clinic: Clinic) -> None:
    first = clinic.measured(clinic.tuned_id, clinic.perfect())
    other = clinic.version("notes-2")
    later = clinic.measured(clinic.tuned_id, ["nothing"] * HELDOUT, NOW + timedelta(hours=1), against=other)
    found = read_evaluations(store, clinic.loop_id).set_index("eval_run_id")
    assert list(found.index) == [later, first]
    assert list(found["baseline"]) == ["notes-2", "base"]
    assert (found.loc[first, "after"], found.loc[later, "after"]) == (1.0, 0.0)
    assert found.loc[first, ["win_rate", "win_rate_high", "n_facts_lost"]].tolist() == [1.0, 1.0, 0]
    assert found.loc[first, "win_rate_low"] < 0.9, "few users who agree are not certain"
    assert found.loc[first, ["safety_n", "judge"]].isna().all()
    counted = read_evaluation(store, clinic.tuned_id)
    assert counted is not None
    assert counted["eval_run_id"] == first


def test_an_old_evaluation_says_what_its_rows_allow(store: Store, clinic: Clinic) -> None:
    old = clinic.measured(clinic.tuned_id, clinic.perfect(), old=True)
    found = describe_evaluation(store, old)
    assert found.header["version"] == "notes-1"
    assert found.figures["win_rate"]["rate"] == 1.0
    assert {part["value"] for part in found.figures["slices"] if part["dimension"] == "region"} == {"north", "south"}
    assert found.figures["contamination"]["n_overlapping"] == 2, "two of the prompts were trained on"
    assert found.figures["loss_before"] is None
    assert "safety" not in found.figures
    with pytest.raises(InputError, match="no evaluation has the id 'nope'"):
        describe_evaluation(store, "nope")


def test_two_versions_are_compared_by_the_drafts_that_they_share(store: Store, clinic: Clinic) -> None:
    other = clinic.version("notes-2")
    with pytest.raises(DesignError, match="run `organism evaluate notes-2 --against notes-1` first"):
        compare_versions(store, clinic.loop_id, "notes-2", "notes-1")
    clinic.measured(clinic.tuned_id, clinic.perfect())
    worse = [text.replace("mg", "ml") for text in clinic.perfect()]
    clinic.measured(other, worse, NOW + timedelta(hours=1))
    found = compare_versions(store, clinic.loop_id, "notes-2", "notes-1")
    assert found.figures["n_rows"] == HELDOUT
    assert (found.figures["facts_before"], found.figures["facts_after"]) == (1.0, 0.0)
    assert (found.figures["n_facts_lost"], found.figures["win_rate"]["wins"]) == (HELDOUT, 0)
    assert worst_rows(found.results, 1)[0]["agreement"]["before"] == 1.0
    back = compare_versions(store, clinic.loop_id, "notes-1", "notes-2")
    assert back.figures["gain"] == pytest.approx(-found.figures["gain"])
    assert compare_versions(store, clinic.loop_id, "notes-1", "base").figures["after"] == 1.0
    with pytest.raises(DesignError, match="compared with itself"):
        compare_versions(store, clinic.loop_id, "base", "base")


def test_what_people_chose_from_for_a_judge_is_no_draft_of_its_base(store: Store, clinic: Clinic) -> None:
    clinic.measured(clinic.tuned_id, clinic.perfect())
    judge = clinic.version("judge-1", Role.JUDGE)
    clinic.measured(judge, ["chosen"] * HELDOUT, NOW + timedelta(hours=1))
    store.execute(
        """UPDATE eval_results SET measures = '{"judge_agrees": true, "facts": []}' WHERE after = 'chosen'""",
        [],
        "eval_runs",
    )
    found = compare_versions(store, clinic.loop_id, "notes-1", "base")
    assert (found.figures["n_rows"], found.figures["after"]) == (HELDOUT, 1.0)
    with pytest.raises(DesignError, match="have drafted no held-out row in common"):
        compare_versions(store, clinic.loop_id, "judge-1", "notes-1")
    assert read_paired_drafts(store, clinic.base_id, judge).empty
    assert len(read_paired_drafts(store, clinic.base_id, clinic.tuned_id)) == HELDOUT


def test_drafts_that_were_checked_for_other_facts_are_not_compared(store: Store, clinic: Clinic) -> None:
    clinic.measured(clinic.tuned_id, clinic.perfect())
    clinic.examples[0] = clinic.examples[0]._replace(facts=())  # an outcome was corrected since
    clinic.measured(clinic.version("notes-2"), clinic.perfect(), NOW + timedelta(hours=1))
    found = compare_versions(store, clinic.loop_id, "notes-2", "notes-1")
    assert found.figures["n_rows"] == HELDOUT - 1


def test_rows_keep_their_interaction(store: Store, clinic: Clinic) -> None:
    results = read_results(store, clinic.measured(clinic.tuned_id, clinic.perfect()))
    assert list(results["interaction_id"]) == [row.interaction_id for row in clinic.examples]


GOOD = {"name": "Dose", "prompt": "visit", "must_say": ["5 mg", ["a", "b"]], "must_not_say": ["50 mg"]}


def test_safety_cases_come_in_all_or_none_and_go_out_of_use(store: Store) -> None:
    loop_id = ensure_loop(store, "notes", NOW)
    [case_id] = add_safety_cases(store, loop_id, [GOOD], now=NOW)
    [case] = read_safety_cases(store, loop_id).to_dict("records")
    assert (case["must_say"], case["must_not_say"], case["is_synthetic"]) == ([["5 mg"], ["a", "b"]], ["50 mg"], False)
    remove_safety_case(store, loop_id, case_id, NOW)
    assert read_safety_cases(store, loop_id).empty
    with pytest.raises(InputError, match="no safety case"):
        remove_safety_case(store, loop_id, case_id, NOW)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": " "}, "case 2 has no name"),
        ({"prompt": 3}, "case 2 has no prompt"),
        ({"must_say": "5 mg"}, "must_say is no list"),
        ({"must_say": [[]]}, "must_say takes words"),
        ({"must_not_say": [5]}, "must_not_say takes words"),
        ({"must_say": [], "must_not_say": []}, "case 2 asks for nothing"),
    ],
)
def test_a_case_that_cannot_be_used_is_named_and_none_is_kept(store: Store, change: dict[str, Any], said: str) -> None:
    loop_id = ensure_loop(store, "notes", NOW)
    with pytest.raises(InputError, match=said):
        add_safety_cases(store, loop_id, [GOOD, {**GOOD, **change}], now=NOW)
    assert read_safety_cases(store, loop_id).empty
    with pytest.raises(InputError, match="there is no safety case"):
        add_safety_cases(store, loop_id, [], now=NOW)


def test_a_base_is_known_by_its_name(store: Store, clinic: Clinic) -> None:
    assert version_by_name(store, clinic.loop_id, "base").model_version_id == clinic.base_id
