"""Visits are equal for equal seeds, say every fact aloud, and their checks tell a right note from a wrong one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.scribe.encounters import (
    Encounter,
    Topic,
    encounter,
    facts_to_check,
    is_made_up,
    is_reserved,
    part,
    symptoms_right,
)
from data.scribe.lexicon import NUMBER_WORDS
from data.scribe.notes import generic_note
from organism.measures.facts import right_facts

seeds = st.integers(min_value=0, max_value=2**41)


@given(seeds)
def test_equal_seeds_give_equal_visits(seed: int) -> None:
    assert encounter(seed) == encounter(seed)
    assert part(seed, 3) == part(seed, 3)


def test_thousand_seeds_give_thousand_visits() -> None:
    assert len({encounter(seed).transcript for seed in range(1000)}) == 1000


@given(seeds)
def test_every_fact_that_is_checked_was_said_aloud(seed: int) -> None:
    visit = encounter(seed)
    said = visit.transcript
    assert f"{visit.age} year old {visit.person}" in said
    for rx in visit.prescriptions:
        assert f" {rx.drug} {rx.dose_mg} milligrams " in said
        assert rx.days is None or f"for {rx.days} days" in said
    numbers = {
        "pressure": f"{visit.systolic} over {visit.diastolic}",
        "pulse": str(visit.heart_rate),
        "temperature": visit.temperature_c,
        "oxygen": f"{visit.oxygen_percent} percent",
    }
    assert all(numbers[name] in said for name in visit.vitals_taken)
    length = visit.duration.number
    assert str(length) in said or NUMBER_WORDS[length] in said


@given(seeds)
def test_yes_and_no_stand_beside_the_symptoms_they_are_about(seed: int) -> None:
    visit = encounter(seed)
    answers = re.findall(r"^P: (.*)$", visit.transcript, re.MULTILINE)
    for symptom in visit.symptoms:
        wording = r"^(Yes, |I have had )(?!no ).*{}" if symptom.present else r"[Nn]o {}"
        assert any(re.search(wording.format(symptom.name), answer) for answer in answers)


@given(seeds)
def test_every_line_names_its_speaker(seed: int) -> None:
    assert all(re.match(r"[DP]: \S", line) for line in encounter(seed).transcript.splitlines())


@given(seeds)
def test_diastolic_pressure_stays_below_systolic(seed: int) -> None:
    visit = encounter(seed)
    assert visit.diastolic < visit.systolic


def test_the_share_of_made_up_names_is_the_one_asked_for() -> None:
    def share(novel_share: float) -> float:
        drugs = [rx.drug for seed in range(800) for rx in encounter(seed, novel_share).prescriptions]
        return sum(map(is_made_up, drugs)) / len(drugs)

    assert share(0.0) == 0
    assert share(1.0) == 1
    assert share(0.3) == pytest.approx(0.3, abs=0.05)


def test_about_half_of_the_made_up_names_are_reserved_for_testing() -> None:
    drugs = [rx.drug for seed in range(800) for rx in encounter(seed, 1.0).prescriptions]
    assert sum(map(is_reserved, drugs)) / len(drugs) == pytest.approx(0.5, abs=0.06)


@given(seeds, st.integers(min_value=1, max_value=12))
def test_a_part_speaks_of_its_topics_only(seed: int, n_topics: int) -> None:
    visit = part(seed, n_topics)
    assert len(visit.topics) == n_topics
    assert ("milligrams" in visit.transcript) == (Topic.PRESCRIPTIONS in visit.topics)
    assert ("year old" in visit.transcript) == (Topic.COMPLAINT in visit.topics)
    kinds = {check.kind for check in facts_to_check(visit)}
    assert ("vitals" in kinds) == (Topic.VITALS in visit.topics)


def test_a_part_can_be_kept_to_chosen_topics() -> None:
    assert part(1, 1, among=[Topic.SYMPTOMS]).topics == {Topic.SYMPTOMS}


@given(seeds, seeds)
def test_the_right_note_states_all_facts_and_another_visits_does_not(seed: int, other: int) -> None:
    visit, stranger = encounter(seed), encounter(other)
    assert all(right_facts(generic_note(visit), facts_to_check(visit)))
    if {rx.drug for rx in visit.prescriptions}.isdisjoint(rx.drug for rx in stranger.prescriptions):
        drugs = [check for check in facts_to_check(visit) if check.kind == "drug_dose"]
        assert not any(right_facts(generic_note(stranger), drugs))


def _visit_with(names: dict[str, bool]) -> Encounter:
    """Some visit that asked for exactly these symptoms with these answers."""
    return next(
        visit for visit in map(encounter, range(200_000)) if {s.name: s.present for s in visit.symptoms} == names
    )


@pytest.mark.parametrize(
    ("story", "right"),
    [
        ("He reports shortness of breath. He denies fever and chest pain.", 3),
        ("Endorses SOB. Denies CP and fever.", 3),
        ("+SOB, -fever -CP.", 3),
        ("Notes SOB; no fever or CP.", 3),
        ("Positive for SOB. Negative for fever.", 2),
        ("Reports fever and chest pain. Denies shortness of breath.", 0),
        ("Reports shortness of breath, fever and chest pain.", 1),
        ("Fever was discussed.", 0),
        ("", 0),
    ],
)
def test_symptoms_count_only_on_their_own_side(story: str, right: int) -> None:
    visit = _visit_with({"shortness of breath": True, "fever": False, "chest pain": False})
    assert symptoms_right(visit, f"HPI: 40 y.o. man with wheezing. {story}") == (right, 3)
