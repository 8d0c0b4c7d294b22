"""Win rate, regressions, lost facts and losses of rows whose overlap can be seen."""

import math
from typing import Any

import pytest
from scipy.stats import norm, t
from statsmodels.stats.proportion import proportion_confint

from organism.optimize.paired import (
    agreement,
    change_by_user,
    facts_changed,
    loss_figures,
    metric_figures,
    outcome,
    win_rate,
    worst_first,
)

FACTS = [
    {"kind": "drug_dose", "any_of": ["5 mg", "5mg"], "before": True, "after": False},
    {"kind": "age", "any_of": ["41"], "before": False, "after": True},
]


def row(before: int, after: int, *, user: str = "ann", **measures: Any) -> dict[str, Any]:
    """A row whose drafts and final text have 100 characters, of which so many are retained."""
    counts = {"chars_before": 100, "retained_before": before, "chars_after": 100, "retained_after": after}
    texts = {"prompt": "p", "before": "b", "after": "final", "final_text": "final"}
    return {"user_key": user, **texts, "measures": {**counts, "final_chars": 100, "facts": [], **measures}}


def test_agreement_counts_both_ways_so_that_a_short_draft_does_not_win() -> None:
    short = row(50, 20, chars_after=20)
    assert agreement(short) == pytest.approx((0.5, 2 * 20 / 120))
    assert outcome(short) == -1
    assert agreement(row(0, 0, chars_before=0, final_chars=0)).before == 1.0


def test_a_difference_that_nobody_would_see_is_a_tie() -> None:
    assert [outcome(row(50, after)) for after in (49, 50, 51, 52)] == [-1, 0, 1, 1]
    assert outcome(row(500, 504, chars_before=1000, chars_after=1000, final_chars=1000)) == 0


def test_the_win_rate_counts_a_tie_half_and_two_users_say_little() -> None:
    rows = [row(0, 1), row(0, 1), row(0, 1), row(0, 1, user="bob")]
    found = win_rate(rows, [1, 1, 0, -1])
    assert (found["wins"], found["ties"], found["losses"]) == (2, 1, 1)
    assert found["rate"] == pytest.approx(2.5 / 4)
    assert found["ci"][0] < 0.05
    assert found["ci"][1] > 0.95
    assert win_rate(rows[:3], [1, 1, 1])["ci"] is None, "one user"


def test_the_win_rate_of_five_users_who_agree_is_not_certain() -> None:
    rows = [row(0, 1, user=f"user {place % 5}") for place in range(40)]
    low, high = proportion_confint(5, 5, method="wilson")
    assert win_rate(rows, [1] * 40)["ci"] == pytest.approx([low, high])


def test_the_win_rate_of_one_row_a_user_is_wilsons() -> None:
    """statsmodels 0.15, the rows counted as users less one and Student's t in place of z."""
    rows = [row(0, 1, user=f"user {place}") for place in range(200)]
    worth = 199 * (norm.ppf(0.975) / t.ppf(0.975, 199)) ** 2
    expected = proportion_confint(0.7 * worth, worth, method="wilson")
    assert win_rate(rows, [1] * 140 + [-1] * 60)["ci"] == pytest.approx(list(expected))


def test_the_worst_comes_first_and_of_equals_the_one_that_lost_facts() -> None:
    rows = [row(10, 90), row(90, 10), row(50, 50), row(50, 50, facts=FACTS[:1])]
    assert worst_first(rows) == [1, 3, 2, 0]


def test_lost_facts_are_listed_with_what_had_to_be_said() -> None:
    found = facts_changed([row(1, 1), row(1, 1, user="bob", facts=FACTS)])
    assert (found["n_facts_lost"], found["n_facts_won"]) == (1, 1)
    assert found["facts_lost"] == [{"row": 1, "user_key": "bob", "kind": "drug_dose", "wanted": "5 mg"}]


def test_losses_are_nats_a_token_over_the_rows_that_were_scored() -> None:
    scored = [
        row(1, 1, loss_before=10.0, loss_after=4.0, loss_tokens=2),
        row(1, 1, user="bob", loss_before=2.0, loss_after=2.0, loss_tokens=4),
    ]
    found = loss_figures([*scored, row(1, 1)], seed=0)
    assert (found["loss_before"], found["loss_after"]) == (2.0, 1.0)
    assert found["perplexity_after"] == pytest.approx(math.e)
    assert found["loss_gain_ci"] == pytest.approx([-3.0, 0.0])
    assert set(loss_figures([row(1, 1)], seed=0).values()) == {None}


def test_likeness_is_told_before_and_after_with_the_interval_of_the_change() -> None:
    found = metric_figures([row(1, 1), row(1, 1, user="bob")], seed=0)
    assert found["exact_match"] == {"before": 0.0, "after": 1.0, "gain_ci": [1.0, 1.0]}
    assert set(found) == {"rouge_l", "chrf", "edit_similarity", "exact_match"}
    assert metric_figures([], seed=0) == {}


def test_the_change_of_a_ratio_keeps_the_pair_of_a_user_together() -> None:
    rows = [row(1, 1), row(1, 1, user="bob")]
    change = change_by_user(rows, [1, 2], [10, 10], [2, 3], [10, 10], seed=0)
    assert change == pytest.approx((0.1, 0.1, 0.1))
