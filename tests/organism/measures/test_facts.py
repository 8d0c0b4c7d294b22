"""Facts are found in any style, and only whole."""

import pytest

from organism.measures.facts import fact_accuracy, right_facts
from organism.records import FactCheck

DOSE = FactCheck("drug_dose", ("amoxicillin 875 mg",))
AGE = FactCheck("age", ("54-year-old", "54 y.o.", "54M "))


@pytest.mark.parametrize(
    ("text", "wording", "found"),
    [
        ("Start Amoxicillin 875mg twice daily", "amoxicillin 875 mg", True),
        ("start amoxicillin\n  875 mg", "amoxicillin 875mg", True),
        ("start amoxicillin 8750 mg", "amoxicillin 875", False),
        ("take 875 mg", "5 mg", False),
        ("temp 98.6", "98", False),
        ("temp 98.", "98", True),
        ("BP 118/76.", "BP 118/76", True),
        ("BP 118/760", "BP 118/76", False),
        ("BP 118/76", "118", False),
        ("154-year-old", "54-year-old", False),
        ("A 54m presents", "54M ", True),
        ("", "875 mg", False),
    ],
)
def test_a_wording_is_found_whole_or_not_at_all(text: str, wording: str, found: bool) -> None:
    assert right_facts(text, [FactCheck("any", (wording,))]) == [found]


def test_any_wording_of_a_fact_is_enough() -> None:
    assert right_facts("54 y.o. on amoxicillin 500 mg", [AGE, DOSE]) == [True, False]


def test_accuracy_is_the_share_over_all_rows_and_can_be_read_by_kind() -> None:
    texts = ["54-year-old, amoxicillin 875 mg", "54 y.o., amoxicillin 500 mg"]
    assert fact_accuracy(texts, [[AGE, DOSE], [AGE, DOSE]]) == 0.75
    assert fact_accuracy(texts, [[AGE, DOSE], [AGE, DOSE]], "drug_dose") == 0.5


def test_no_facts_to_check_is_missing_and_not_zero() -> None:
    assert fact_accuracy(["text"], [[AGE]], "vitals") is None
    assert fact_accuracy([], []) is None
