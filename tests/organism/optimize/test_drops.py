"""Rows that cannot be learned from: why, how many, and when too few are left."""

import pytest

from organism.errors import DesignError
from organism.optimize.drops import Reason, added, in_words, sift, why_dropped
from organism.optimize.runs import Example, Labeled, Pair

ROW = Example("prompt", "text", "u", "i")


@pytest.mark.parametrize(
    ("row", "n_tokens", "reason"),
    [
        (ROW, 10, None),
        (ROW, 11, Reason.TOO_LONG),
        (ROW._replace(completion=" \n"), 3, Reason.EMPTY),
        (Pair("p", "a", "b", "u", "i"), 10, None),
        (Pair("p", "a ", "a", "u", "i"), 10, Reason.EQUAL),
        (Pair("p", "a", "", "u", "i"), 10, Reason.EMPTY),
        (Labeled("p", "", True, "u", "i"), 1, Reason.EMPTY),
    ],
)
def test_a_row_is_left_out_for_one_reason(row: Example | Pair | Labeled, n_tokens: int, reason: Reason | None) -> None:
    assert why_dropped(row, n_tokens, longest=10) is reason


def test_what_is_left_out_is_counted_by_reason() -> None:
    rows = [ROW] * 20 + [ROW._replace(completion="")] * 3 + [ROW] * 2
    sifted = sift(rows, [5] * 23 + [50] * 2, 10)
    assert sifted.places == list(range(20))
    assert sifted.dropped == {Reason.EMPTY: 3, Reason.TOO_LONG: 2}
    assert sifted.n_too_long == 2
    assert in_words(sifted.dropped) == "3 without a text, 2 longer than the model may read"


def test_what_two_passes_leave_out_is_summed() -> None:
    """Prompts that are too long to draft for, then drafts that are too long to learn."""
    assert added({Reason.TOO_LONG: 3, Reason.TIED: 1}, {Reason.TOO_LONG: 2}) == {Reason.TOO_LONG: 5, Reason.TIED: 1}
    assert added({Reason.TIED: 1}, None) == {Reason.TIED: 1}


def test_too_few_rows_are_refused_with_the_counts() -> None:
    with pytest.raises(DesignError, match=r"19 of 21 training rows can be learned from \(2 longer than .* 10 tokens"):
        sift([ROW] * 21, [5] * 19 + [11] * 2, 10)
