"""Notes state the visit's facts in any style, and physicians' notes lie as far apart as the demo needs."""

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq

from data.scribe.encounters import Encounter, Topic, encounter, facts_to_check, part, symptoms_right
from data.scribe.notes import (
    HOUSE_STYLE,
    MOST_HOUSE_BLOCKS,
    Style,
    generic_note,
    physician_note,
    physician_style,
    random_style,
    styled_note,
)
from organism.measures.facts import right_facts

N_PHYSICIANS = 60
VISITS = [encounter(seed) for seed in range(400)]
seeds = st.integers(min_value=0, max_value=2**41)


def _retained_share(pairs: Iterable[tuple[str, str]]) -> float:
    """Characters of the drafts in runs of six or more that the final texts share in order, of all draft characters."""
    retained = length = 0
    for draft, final in pairs:
        runs = [op.src_end - op.src_start for op in LCSseq.opcodes(draft, final) if op.tag == "equal"]
        retained += sum(run for run in runs if run >= 6)
        length += len(draft)
    return retained / length


def _physician(visit: Encounter, shift: int = 0) -> int:
    return (visit.seed + shift) % N_PHYSICIANS


def _finals(rng_seed: int, shift: int = 0) -> list[str]:
    rng = random.Random(rng_seed)
    return [physician_note(visit, _physician(visit, shift), rng) for visit in VISITS]


def _generic(visit: Encounter, rng: random.Random) -> str:
    return generic_note(visit)


def _random(visit: Encounter, rng: random.Random) -> str:
    return styled_note(visit, random_style(rng), rng)


def _physicians(visit: Encounter, rng: random.Random) -> str:
    return physician_note(visit, rng.randrange(N_PHYSICIANS), rng)


@pytest.mark.parametrize("write", [_generic, _random, _physicians])
def test_notes_of_every_style_state_every_fact(write: Callable[[Encounter, random.Random], str]) -> None:
    rng = random.Random(1)
    for visit in VISITS:
        note = write(visit, rng)
        assert all(right_facts(note, facts_to_check(visit)))
        assert symptoms_right(visit, note) == (len(visit.symptoms), len(visit.symptoms))


@given(seeds, st.integers(min_value=1, max_value=11))
def test_the_note_of_a_part_keeps_to_its_topics(seed: int, n_topics: int) -> None:
    visit = part(seed, n_topics)
    note = styled_note(visit, random_style(random.Random(seed)), random.Random(seed))
    assert all(right_facts(note, facts_to_check(visit)))
    assert (f"{visit.prescriptions[0].drug} " in note) == (Topic.PRESCRIPTIONS in visit.topics)
    assert note


def test_equal_seeds_give_equal_notes() -> None:
    assert _finals(3) == _finals(3)
    assert _finals(3) != _finals(4)


def test_a_perfect_generic_draft_keeps_about_half_in_the_clinics_style() -> None:
    drafts = [generic_note(visit) for visit in VISITS]
    assert 0.35 < _retained_share(zip(drafts, _finals(1), strict=True)) < 0.50


def test_a_physician_agrees_with_themselves_but_not_wholly() -> None:
    assert 0.93 < _retained_share(zip(_finals(1), _finals(2), strict=True)) < 0.97


def test_physicians_of_the_clinic_agree_well_with_each_other() -> None:
    share = _retained_share(zip(_finals(1), _finals(2, shift=17), strict=True))
    assert 0.88 < share < 0.95


def test_another_patients_note_keeps_little() -> None:
    finals = _finals(1)
    assert _retained_share(pairwise(finals)) < 0.5


def test_a_physicians_habits_are_stable_and_differ_between_physicians() -> None:
    styles = [physician_style(index) for index in range(N_PHYSICIANS)]
    assert styles == [physician_style(index) for index in range(N_PHYSICIANS)]
    assert len(set(styles)) > 15


def test_random_styles_hold_the_house_styles_blocks_but_never_the_house_style() -> None:
    rng = random.Random(2)
    styles = [random_style(rng) for _ in range(3000)]
    names = [name for name in Style.__slots__ if name != "complaint_label"]
    for name in names:
        assert any(getattr(style, name) == getattr(HOUSE_STYLE, name) for style in styles), name
    shared = [sum(getattr(style, name) == getattr(HOUSE_STYLE, name) for name in Style.__slots__) for style in styles]
    assert max(shared) <= MOST_HOUSE_BLOCKS < len(Style.__slots__)
    assert len(set(styles)) == len(styles)
