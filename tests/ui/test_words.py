"""How figures and texts are said."""

from datetime import timedelta

import pytest

from ui.words import ago, between, code, counted, literal, note, percent, points, span


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (percent(0.8342), "83.4%"),
        (percent(None), None),
        (percent(float("nan")), None),
        (points(0.042), "+4.2 pt"),
        (points(-0.0421), "-4.2 pt"),
        (points(-0.0001), "+0.0 pt"),
        (percent(-0.0001), "0.0%"),
        (span(timedelta(days=3, hours=5)), "3.2 d"),
        (span(timedelta(minutes=12, seconds=20)), "12 min"),
        (span(timedelta(seconds=8)), "8 s"),
        (ago(None), "never came"),
        (ago(-3.0), "0 s ago"),
        (between(0.1, 0.2, percent), "10.0% to 20.0%"),
        (between(None, 0.2, percent), "interval unknown"),
        (counted(1, "run"), "1 run"),
        (counted(2000, "run"), "2,000 runs"),
    ],
)
def test_figures_are_said_in_the_houses_way(value: str | None, said: str | None) -> None:
    assert value == said


def test_text_of_strangers_cannot_become_markup() -> None:
    for sign in ("*bold*", "[x](http://evil)", ":red[x]", "$x$", "<b>", "`code`", "# head"):
        assert all(
            f"\\{character}" in literal(sign) for character in sign if not character.isalnum() and character not in " /"
        )


def test_kept_runs_are_marked_line_by_line_and_the_rest_stays_as_it_is() -> None:
    marked = note("Cough for\nthree days. Rest.", [(0, 21)], "green")
    assert marked == ":green-background[Cough for]  \n:green-background[three days\\.] Rest\\."


def test_the_rest_can_be_struck_through() -> None:
    assert note("keep drop", [(0, 4)], "green", strike_rest=True) == ":green-background[keep] ~~drop~~"


def test_a_text_without_marks_loses_nothing() -> None:
    text = "a_b * c\n\n- d: 5 mg"
    assert note(text, [], "green").replace("\\", "").replace("  \n", "\n") == text


def test_a_word_out_of_an_address_stays_code_whatever_is_in_it() -> None:
    assert code("exp-999") == "`exp-999`"
    assert code("`x` [a](http://b)\n\n# y`") == "`'x' [a](http://b) # y'`"
    assert len(code("a" * 3000)) == 82


def test_a_name_cannot_turn_the_writing_of_the_sentence_around_it() -> None:
    assert literal("new\u202e one\u2066!") == "new one\\!"
    assert literal("مرحبا") == "مرحبا", "letters that are written from the right stay"
