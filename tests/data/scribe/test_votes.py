"""Simulated voters prefer what they would keep, and say so the same way every time."""

import random

from data.scribe import notes, physicians, votes
from data.scribe.encounters import encounter
from organism.digest.votes import Answer

SEEDS = range(40)


def test_a_voter_prefers_a_note_like_their_own_wherever_it_stands() -> None:
    for who in votes.voters():
        mine = other = 0
        for seed in SEEDS:
            visit = encounter(seed)
            own = physicians.final_note(who, visit, random.Random(f"another draw {seed}"))
            generic = notes.generic_note(visit)
            place = str(seed)
            mine += votes.answer(who, seed, own, generic, place) is Answer.FIRST
            other += votes.answer(who, seed, generic, own, place) is Answer.SECOND
        assert mine > 0.8 * len(SEEDS)
        assert other > 0.8 * len(SEEDS)


def test_equal_texts_are_mostly_a_tie_and_equal_questions_get_equal_answers() -> None:
    who = votes.voters()[0]
    said = [votes.answer(who, seed, "the same", "the same", "0") for seed in SEEDS]
    assert said == [votes.answer(who, seed, "the same", "the same", "0") for seed in SEEDS]
    ties = [votes.answer(who, 1, "the same", "the same", str(place)) for place in SEEDS].count(Answer.TIE)
    assert 0.35 < ties / len(SEEDS) < 0.85


def test_wrong_facts_count_against_a_draft() -> None:
    visit = encounter(5)
    own = notes.generic_note(visit)
    wrong = "".join("7" if sign.isdigit() else sign for sign in own)
    assert votes.worth(visit, own, own) > votes.worth(visit, wrong, own) + 0.1
