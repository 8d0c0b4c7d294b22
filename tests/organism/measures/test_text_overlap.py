"""The usual measures of likeness against values that their own projects publish."""

import pytest

from organism.measures.text_overlap import chrf, edit_similarity, exact_match, rouge_l


@pytest.mark.parametrize(
    ("draft", "final", "value"),
    [
        # Lin 2004, section 3.1, with the words of its example.
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        # rouge_score's own tests (testRougeLConsecutive, testRougeLNonConsecutive, testRougeEmpty).
        ("testing one", "testing one two", 4 / 5),
        ("testing two", "testing one two", 4 / 5),
        ("", "testing one two", 0.0),
        ("/", "w1 w2", 0.0),
        ("Testing, ONE two!", "testing one two", 1.0),
    ],
)
def test_rouge_l_is_that_of_the_paper_and_of_rouge_score(draft: str, final: str, value: float) -> None:
    assert rouge_l(draft, final) == pytest.approx(value)


@pytest.mark.parametrize(
    ("draft", "final", "value"),
    [
        # sacreBLEU's test/test_chrf.py, sentence level with beta 2; made by averaging F over the orders, not P and R.
        (
            "Co nás nejvíc trápí, protože lékaři si vybírají, kdo bude žít a kdo zemře.",
            "Nejvíce smutní jsme z toho, že musíme rozhodovat o tom, kdo bude žít a kdo zemře.",
            39.14078509,
        ),
        (
            "Nebo prostě nemají vybavení, které by jim pomohlo, uvedli lékaři.",
            "A někdy nemáme ani potřebný materiál, abychom jim pomohli, popsali lékaři.",
            31.22557079,
        ),
        (
            "Lapali po dechu, jejich životy skončily dřív, než skutečně začaly.",
            "Lapali po dechu a pak jejich život skončil - dřív, než skutečně mohl začít, připomněli.",
            57.15704367,
        ),
        # The same file, effective order.
        ("a", "a", 100.0),
        ("", "reference", 0.0),
        ("a b c", "abc", 100.0),
        ("aa", "ab", 25.0),
    ],
)
def test_chrf_is_that_of_sacrebleu(draft: str, final: str, value: float) -> None:
    assert 100 * chrf(draft, final) == pytest.approx(value, abs=1e-3)


def test_edit_similarity_counts_edits_over_the_longer_text() -> None:
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert (edit_similarity("", ""), edit_similarity("abc", "")) == (1.0, 0.0)


def test_an_exact_match_forgives_white_space_at_the_ends_and_nothing_else() -> None:
    assert [exact_match(text, "HR 70.\nBP 120/80.") for text in ("HR 70.\nBP 120/80.\n", "HR 70. BP 120/80.", "")] == [
        1.0,
        0.0,
        0.0,
    ]
