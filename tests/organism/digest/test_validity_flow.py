"""Validity and audit from a real store: what is read, which versions are compared, and what bad input is told."""

import json
from dataclasses import replace

import pytest

from organism.digest.audit import Verdict
from organism.digest.designs import DEFAULT_DESIGN
from organism.digest.predictions import Word
from organism.digest.validity import Answer
from organism.digest.validity_flow import audit_versions, check_validity
from organism.errors import DesignError, InputError
from organism.experiment.flow import start_experiment
from organism.records import Constraint, RewardDesign, SignalSpec
from organism.store.model_versions import ensure_base, insert_alias_event, insert_version, read_version
from organism.wire import as_json
from tests.organism.conftest import START
from tests.organism.digest.served_clinic import serve
from tests.organism.digest.simulated_rows import clinic

N_USERS = 24


@pytest.fixture
def served(store, events):
    """Three versions in a store: base, clean, and brief, which earns reward by offering less."""
    serve(events, clinic(0, n_users=N_USERS))
    return events.loop_id


def test_the_reward_is_held_against_outcomes_and_answers_that_came_in(store, served):
    found = check_validity(store, served, DEFAULT_DESIGN)
    assert found.answer is Answer.IN_PART, "the brief version earns more and gives less"
    assert {p.outcome: p.word for p in found.reward} == {
        "outcome.signed": Word.PREDICTS,
        "answer.quality": Word.PREDICTS,
    }
    assert found.n_interactions == 3 * N_USERS * 25
    assert check_validity(store, served, DEFAULT_DESIGN).reward == found.reward, "the same answer each time"


def test_a_version_that_a_guardrail_bars_is_named_and_counts_for_no_reversal(store, served):
    guarded = replace(DEFAULT_DESIGN, constraints=(Constraint("written_share", at_least=0.5),))
    found = check_validity(store, served, guarded)
    assert found.barred == {"brief": ["written_share at least 0.5"]}
    assert found.answer is Answer.YES
    assert "But it prefers" not in found.sentence
    assert "brief earns more than base, which has more of signed and quality" in found.sentence
    assert "barred by the guardrail written_share at least 0.5." in found.sentence
    allowed = check_validity(store, served, replace(DEFAULT_DESIGN, constraints=(Constraint("rating", at_least=2.0),)))
    assert (allowed.barred, "But it prefers brief to base" in allowed.sentence) == ({}, True)


def test_a_hack_is_caught_and_a_better_version_is_clean_from_what_is_in_the_store(store, served):
    found = {a.variant: a for a in audit_versions(store, served, DEFAULT_DESIGN)}
    assert {v: a.verdict for v, a in found.items()} == {"brief": Verdict.HACK, "clean": Verdict.CLEAN}
    assert {a.reference for a in found.values()} == {"base"}, "nothing was promoted: the first to serve"


def test_the_live_version_is_the_reference_and_is_held_against_the_base_itself(store, served):
    put_versions(store, served)
    store.write(
        lambda c: insert_alias_event(c, served, "live", "clean-id", actor="ana", reason="better", now=START),
        "alias_events",
    )
    pairs = [(a.variant, a.reference) for a in audit_versions(store, served, DEFAULT_DESIGN)]
    assert pairs == [("clean", "base"), ("brief", "clean")]
    (asked,) = audit_versions(store, served, DEFAULT_DESIGN, variant="base")
    assert asked.reference == "clean"


def test_unknown_variants_and_audits_against_nothing_are_sentences_that_name_what_there_is(store, served):
    with pytest.raises(InputError, match=r"variant 'scribe-9'; there are: base, brief, clean"):
        audit_versions(store, served, DEFAULT_DESIGN, variant="scribe-9")
    with pytest.raises(InputError, match="against itself"):
        audit_versions(store, served, DEFAULT_DESIGN, variant="brief", reference="brief")
    with pytest.raises(InputError, match="took the place of no other"):
        audit_versions(store, served, DEFAULT_DESIGN, variant="base")


def test_a_design_that_cannot_give_a_reward_is_refused_before_anything_is_read(store, served):
    nothing = RewardDesign(name="zero", signals=(SignalSpec("accepted", 0.0, 0.0, 1.0),))
    for ask in (check_validity, audit_versions):
        with pytest.raises(DesignError, match="positive weight"):
            ask(store, served, nothing)
    unknown = RewardDesign(name="odd", signals=(SignalSpec("outcome.sold", 1.0, 0.0, 1.0),))
    with pytest.raises(DesignError, match=r"outcome\.sold"):
        check_validity(store, served, unknown)


def test_more_rows_than_the_limit_are_sampled_by_whole_users_and_said_to_be(store, served):
    found = check_validity(store, served, DEFAULT_DESIGN, limit=900)
    assert found.n_interactions <= 900
    assert found.n_interactions % 75 == 0, "75 interactions a user: whole users only"
    assert "900 of 1,800 interactions" in found.notes[0]


def test_no_outcomes_one_user_or_nothing_at_all_is_an_answer_too(store, events):
    empty = check_validity(store, events.loop_id, DEFAULT_DESIGN)
    assert (empty.answer, empty.n_interactions) == (Answer.CANNOT_SAY, 0)
    assert audit_versions(store, events.loop_id, DEFAULT_DESIGN) == []
    rows = clinic(0, n_users=1).drop(columns="answer.quality").assign(**{"answer.quality": float("nan")})
    serve(events, rows, outcomes=False)
    alone = check_validity(store, events.loop_id, DEFAULT_DESIGN)
    assert "no outcome and no human judgment" in alone.sentence
    found = audit_versions(store, events.loop_id, DEFAULT_DESIGN)
    assert [a.verdict for a in found] == [Verdict.CANNOT_SAY] * 2
    assert "of 1 users here" in found[0].sentence


def test_what_is_found_goes_over_the_wire_as_plain_json(store, served):
    told = json.loads(as_json({"v": check_validity(store, served, DEFAULT_DESIGN)}))["v"]
    assert told["reward"][0]["correlation"]["within"]["low"] > 0
    assert told["calibration"][0]["bin"] == 1
    audits = json.loads(as_json({"audits": audit_versions(store, served, DEFAULT_DESIGN)}))["audits"]
    assert all("after the fact" in a["what_it_is"] for a in audits)
    assert {c["finding"] for a in audits for c in a["checks"]} >= {"ok", "fail"}


def test_rows_served_inside_of_an_experiment_are_explained_by_the_reward(store, events):
    base_id = put_versions(store, events.loop_id)
    experiment = start_experiment(
        store,
        events.loop_id,
        name="clean against base",
        control_version_id=base_id,
        treatment_version_id="clean-id",
        treatment_share=0.5,
        hypothesis="clean is better",
        now=START,
    )
    rows = clinic(1, n_users=N_USERS)
    serve(events, rows[rows["variant"] != "brief"].assign(experiment_id=experiment))
    found = check_validity(store, events.loop_id, DEFAULT_DESIGN)
    signed = next(e for e in found.experiments if e.outcome == "outcome.signed")
    assert (signed.experiment, signed.control, signed.treatment) == ("clean against base", "base", "clean")
    assert signed.found.effect_on_outcome.low > 0
    assert found.across["outcome.signed"].sentence == "not enough deployments to judge"


def put_versions(store, loop_id: str) -> str:
    """Two versions, base and clean; returns the base's id."""
    base_id = store.write(
        lambda cursor: ensure_base(cursor, loop_id, "bundled:data/scribe/base", START), "model_versions"
    )
    tuned = replace(
        read_version(store, base_id), model_version_id="clean-id", name="clean", adapter_path="workspace:runs/1/adapter"
    )
    store.write(lambda cursor: insert_version(cursor, tuned), "model_versions")
    return base_id
