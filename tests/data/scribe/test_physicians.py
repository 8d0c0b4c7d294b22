"""Simulated physicians have habits, answer by rules, and are the same every time."""

import random
from collections import Counter
from datetime import datetime

import pytest

from data.scribe import physicians
from data.scribe.encounters import encounter
from data.scribe.notes import generic_note
from data.scribe.physicians import FeedbackKind
from organism.measures.acceptance import measure

MORNING = datetime(2026, 1, 5, 9)
STAFF = physicians.physicians()


def answers(draft_of, n=600):
    """(physician, visit, draft, answer) of n visits, every physician in turn."""
    rows = []
    for number in range(n):
        who, visit = STAFF[number % len(STAFF)], encounter(70_000_000 + number)
        draft = draft_of(who, visit)
        rng = random.Random(f"answer {number}")
        rows.append((who, visit, draft, physicians.answer(who, visit, draft, rng=rng, at=MORNING)))
    return rows


def judged(draft_of, *, is_beginning, n=300):
    """The share of drafts that are not rejected, told that each only begins the note, or not."""
    used = 0
    for number in range(n):
        who, visit = STAFF[number % len(STAFF)], encounter(71_000_000 + number)
        own = own_note(who, visit)
        rng = random.Random(f"judge {number}")
        kind = physicians.judge(who, visit, draft_of(own), own, rng=rng, is_beginning=is_beginning)
        used += kind is not FeedbackKind.REJECT
    return used / n


def own_note(who, visit):
    return physicians.final_note(who, visit, random.Random(f"another day {visit.seed}"))


@pytest.fixture(scope="module")
def to_generic():
    return answers(lambda who, visit: generic_note(visit))


@pytest.fixture(scope="module")
def to_own():
    return answers(own_note)


def test_there_are_sixty_and_four_do_not_consent():
    assert [who.user_key for who in STAFF][:2] == ["physician-00", "physician-01"]
    assert len({who.user_key for who in STAFF}) == 60
    assert sum(not who.consents for who in STAFF) == 4


def test_traits_depend_on_the_index_alone():
    assert physicians.physicians() == STAFF
    assert len({who.accept_at for who in STAFF}) == 60


def test_a_case_load_leans_to_the_usual_complaints():
    who = STAFF[7]
    visits = [physicians.draw_visit(who, random.Random(n), 80_000_000 + 64 * n) for n in range(200)]
    usual = sum(visit.complaint.written in who.usual for visit in visits)
    assert 0.45 < usual / 200 < 0.75


def test_equal_rngs_give_equal_answers():
    visit = encounter(5)
    drafts = [physicians.answer(STAFF[3], visit, "A note.", rng=random.Random(1), at=MORNING) for _ in range(2)]
    assert drafts[0] == drafts[1]


def test_a_beginning_is_judged_by_the_part_that_it_reaches():
    def beginning(own):
        return own[: len(own) // 4]

    assert judged(beginning, is_beginning=True) > 0.9
    assert judged(beginning, is_beginning=False) < 0.1


def test_a_wrong_fact_counts_in_a_beginning_too():
    def wrong_age(own):
        return own[: len(own) // 2].translate(str.maketrans("0123456789", "1234567890"))

    def right(own):
        return own[: len(own) // 2]

    assert judged(wrong_age, is_beginning=True) < judged(right, is_beginning=True) - 0.2


def test_most_but_not_all_drafts_are_answered(to_generic):
    answered = sum(answer.kind is not None for *_, answer in to_generic) / len(to_generic)
    assert 0.70 < answered < 0.88


def test_a_faithful_generic_draft_is_edited_and_keeps_too_little(to_generic):
    kinds = Counter(answer.kind for *_, answer in to_generic)
    assert kinds[FeedbackKind.EDIT] > 10 * kinds[FeedbackKind.ACCEPT]
    pairs = [measure(draft, answer.final_text) for _, _, draft, answer in to_generic if answer.final_text]
    assert 0.35 < sum(p.retained_chars for p in pairs) / sum(p.draft_chars for p in pairs) < 0.60


def test_a_draft_in_their_own_hand_is_mostly_accepted_and_near_the_ceiling(to_own):
    kinds = Counter(answer.kind for *_, answer in to_own)
    assert kinds[FeedbackKind.ACCEPT] > 4 * kinds[FeedbackKind.EDIT]
    pairs = [measure(draft, answer.final_text) for _, _, draft, answer in to_own if answer.final_text]
    assert 0.93 < sum(p.retained_chars for p in pairs) / sum(p.draft_chars for p in pairs) < 0.98


def test_a_better_draft_is_less_work_and_is_signed_sooner(to_generic, to_own):
    def means(rows):
        return (
            sum(answer.seconds for *_, answer in rows) / len(rows),
            sum(answer.signed_after_s <= physicians.HOUR_S for *_, answer in rows) / len(rows),
        )

    (slow, few), (quick, many) = means(to_generic), means(to_own)
    assert quick < 0.6 * slow
    assert many > few + 0.1


def test_wrong_facts_are_rejected_far_more_often(to_generic):
    wrong = answers(lambda who, visit: generic_note(visit).replace(" mg", "0 mg"))
    assert rejects(wrong) > 3 * rejects(to_generic)


def test_a_rejected_draft_shows_a_final_text_only_sometimes():
    rejected = [answer for *_, answer in answers(lambda who, visit: "None.") if answer.kind is FeedbackKind.REJECT]
    shown = sum(answer.final_text is not None for answer in rejected) / len(rejected)
    assert 0.2 < shown < 0.5


def test_every_note_is_signed_on_its_own_day():
    late = datetime(2026, 1, 11, 22, 30)
    visit = encounter(9)
    for number in range(50):
        answer = physicians.answer(STAFF[0], visit, generic_note(visit), rng=random.Random(number), at=late)
        assert answer.signed_after_s < 1.5 * 3600


def test_physicians_stay_where_drafts_save_work():
    def share_staying(saved):
        return sum(physicians.keeps_using(saved, random.Random(n)) for n in range(4000)) / 4000

    assert share_staying(0.8) > share_staying(0.0) + 0.02
    assert share_staying(-1.0) > 0.94


def rejects(rows):
    kinds = Counter(answer.kind for *_, answer in rows)
    return kinds[FeedbackKind.REJECT] / sum(kinds[kind] for kind in FeedbackKind)
