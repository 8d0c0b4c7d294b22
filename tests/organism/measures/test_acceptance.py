"""Character acceptance against hand-counted tables and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.measures.acceptance import Acceptance, measure, null_floor, retained_chars

words = st.text(alphabet="ab cdé.", max_size=60)


@pytest.mark.parametrize(
    ("draft", "final", "retained"),
    [
        ("", "", 0),
        ("Patient denies fever.", "", 0),
        ("", "Patient denies fever.", 0),
        ("Patient denies fever.", "Patient denies fever.", 21),
        ("Ok.", "Ok.", 3),
        ("abcdefXghijkl", "abcdefYghijkl", 12),
        ("abcdeXfghij", "abcdeYfghij", 0),
        ("abcdefXghijk", "abcdefYghijk", 6),
        ("Take 5 mg daily.", "Take 10 mg daily.", 10),
        ("naïve café now", "naïve café later", 11),
    ],
)
def test_retained_characters_are_those_counted_by_hand(draft: str, final: str, retained: int) -> None:
    assert retained_chars(draft, final) == retained


def test_shorter_runs_count_when_asked_for() -> None:
    assert retained_chars("abcdeXfghij", "abcdeYfghij", min_run=5) == 10


def test_unrelated_texts_share_almost_nothing() -> None:
    draft = "Assessment: the patient is a 54-year-old man with hypertension, started on lisinopril 10 mg."
    final = "She slipped on ice last winter; her wrist has healed, and physiotherapy continues weekly."
    assert retained_chars(draft, final) / len(draft) < 0.1


@given(words)
def test_a_draft_kept_as_it_was_keeps_every_character(text: str) -> None:
    assert measure(text, text) == Acceptance(len(text), len(text), len(text))


@given(words, words)
def test_no_more_is_retained_than_either_text_has(draft: str, final: str) -> None:
    assert 0 <= retained_chars(draft, final) <= min(len(draft), len(final))


@given(words, words, st.integers(1, 9))
def test_asking_for_longer_runs_never_retains_more(draft: str, final: str, run: int) -> None:
    assert retained_chars(draft, final, run + 1) <= retained_chars(draft, final, run) or draft == final


@given(words, words)
def test_text_added_at_the_end_takes_nothing_away_from_a_kept_draft(draft: str, added: str) -> None:
    if len(draft) >= 6:
        assert retained_chars(draft, draft + "|" + added) == len(draft)


def test_the_null_floor_never_pairs_a_draft_with_its_own_final() -> None:
    texts = [letter * 12 for letter in "abcdefgh"]
    assert null_floor(texts, texts, rng=np.random.default_rng(0)) == 0.0


def test_the_null_floor_of_one_house_style_is_what_the_style_scores() -> None:
    texts = ["Plan: rest and fluids. " + letter * 23 for letter in "abcdef"]
    assert null_floor(texts, texts, rng=np.random.default_rng(0)) == pytest.approx(0.5)


def test_the_null_floor_is_missing_where_there_is_no_other_row() -> None:
    assert null_floor(["one draft"], ["one final"], rng=np.random.default_rng(0)) is None
    assert null_floor(["", ""], ["a", "b"], rng=np.random.default_rng(0)) is None


def test_drafts_and_finals_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="2 drafts but 1 finals"):
        null_floor(["a", "b"], ["a"], rng=np.random.default_rng(0))
