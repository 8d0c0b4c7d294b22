"""The simulated clinic brings visits that nobody has seen and answers in the shape that ingest takes."""

from datetime import datetime

import pytest

from data.scribe.environment import FRESH_FIRST_SEED, ScribeEnvironment
from data.scribe.notes import generic_note

NOW = datetime(2026, 3, 2, 10)


@pytest.fixture(scope="module")
def visits():
    return ScribeEnvironment(n_physicians=10).fresh_visits(6, seed=0)


def test_every_physician_brings_as_many_visits_as_asked(visits):
    assert len(visits) == 60
    assert {visit.user_key for visit in visits} == {f"physician-{index:02d}" for index in range(10)}
    assert len({visit.encounter_id for visit in visits}) == 60
    assert len({visit.prompt for visit in visits}) == 60


def test_another_seed_brings_other_visits_and_the_same_seed_the_same(visits):
    clinic = ScribeEnvironment(n_physicians=10)
    assert [visit.prompt for visit in clinic.fresh_visits(6, seed=0)] == [visit.prompt for visit in visits]
    other = {visit.prompt for visit in clinic.fresh_visits(6, seed=1)}
    assert not other & {visit.prompt for visit in visits}


def test_fresh_visits_lie_beyond_the_seeds_of_the_history(visits):
    assert min(visit.attributes["encounter_seed"] for visit in visits) >= FRESH_FIRST_SEED


def test_attributes_say_simulated_and_carry_checks_that_a_faithful_note_passes(visits):
    for visit in visits:
        assert visit.attributes["simulated"] is True
        text = generic_note(visit.encounter)
        for fact in visit.attributes["facts"]:
            assert any(wording in text for wording in fact["any_of"]), fact


def test_an_answer_is_a_feedback_row_about_the_interaction_and_an_outcome_about_the_encounter(visits):
    clinic = ScribeEnvironment(n_physicians=10)
    answered = [
        (visit, clinic.respond(visit, generic_note(visit.encounter), interaction_id=f"id-{place}", now=NOW))
        for place, visit in enumerate(visits)
    ]
    with_feedback = [feedback for _, (feedback, _) in answered if feedback]
    assert 30 < len(with_feedback) < 60
    for place, (visit, (feedback, outcomes)) in enumerate(answered):
        [outcome] = outcomes
        assert (outcome["business_key"], outcome["name"]) == (visit.encounter_id, "signed_within_hour")
        assert outcome["occurred_at"] == NOW
        for row in feedback:
            assert row["interaction_id"] == f"id-{place}"
            assert (row["actor_key"], row["actor_kind"]) == (visit.user_key, "code")


def test_respond_is_repeatable(visits):
    clinic = ScribeEnvironment()
    first, second = (clinic.respond(visits[0], "A note.", interaction_id="x", now=NOW) for _ in range(2))
    assert first == second
