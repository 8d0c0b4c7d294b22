"""In the demo the planted hack is caught, the shipped version is clean, and the planted vendor's score is spurious."""

from dataclasses import replace
from datetime import datetime

import pytest

from data.scribe.first_design import FIRST_DESIGN
from data.scribe.seed import seed_demo
from organism.config import DEMO_LOOP, Workspace
from organism.digest.audit import Verdict
from organism.digest.audit_checks import Check, Finding
from organism.digest.predictions import Word
from organism.digest.validity import Answer
from organism.digest.validity_flow import audit_versions, check_validity
from organism.records import SignalSpec
from organism.store.loops import loop_id_of
from organism.store.schema import open_store

SIGNED, QUALITY = "outcome.signed_within_hour", "answer.note_quality"
BRIEF = "scribe-brief"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    store = open_store(workspace.database)
    seed_demo(store, workspace, now=datetime(2026, 11, 18, 15, 30))
    yield store
    store.close()


@pytest.fixture(scope="module")
def loop_id(store):
    return loop_id_of(store, DEMO_LOOP)


def test_the_planted_hack_is_caught_and_the_shipped_version_is_clean(store, loop_id):
    found = {a.variant: a for a in audit_versions(store, loop_id, FIRST_DESIGN)}
    assert {variant: (a.reference, a.verdict) for variant, a in found.items()} == {
        "scribe-1": ("base", Verdict.CLEAN),
        BRIEF: ("scribe-1", Verdict.HACK),
    }
    failed = {(c.check, c.subject) for c in found[BRIEF].checks if c.finding is Finding.FAIL}
    assert {(Check.OUTCOME, SIGNED), (Check.HUMAN, QUALITY)} <= failed
    (offer,) = [c for c in found[BRIEF].checks if c.check is Check.OFFER]
    assert offer.finding in (Finding.FAIL, Finding.WARN)


def test_the_hack_is_caught_against_the_base_and_with_other_seeds_too(store, loop_id):
    for seed in range(3):
        (found,) = audit_versions(store, loop_id, FIRST_DESIGN, variant=BRIEF, reference="base", seed=seed)
        assert found.verdict is Verdict.HACK


def test_the_planted_vendor_score_is_spurious_inside_of_a_design_and_outside(store, loop_id):
    vendor = SignalSpec("vendor_score", 0.3, 45.0, 80.0)
    for design in (FIRST_DESIGN, replace(FIRST_DESIGN, signals=(*FIRST_DESIGN.signals, vendor))):
        words = {(p.subject, p.outcome): p.word for p in check_validity(store, loop_id, design).signals}
        assert words["vendor_score", SIGNED] is Word.SPURIOUS
        assert words["vendor_score", QUALITY] is Word.SPURIOUS
        assert words["accepted", SIGNED] is Word.PREDICTS
        assert not [pair for pair, word in words.items() if pair[0] == "vendor_score" and word is Word.PREDICTS]


def test_the_default_design_is_right_within_versions_and_prefers_the_wrong_one(store, loop_id):
    found = check_validity(store, loop_id, FIRST_DESIGN)
    assert found.answer is Answer.IN_PART
    assert f"But it prefers {BRIEF} to" in found.sentence
    assert {p.word for p in found.reward if p.outcome == SIGNED} == {Word.PREDICTS}
    assert {a.sentence for a in found.across.values()} == {"not enough deployments to judge"}
