import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.stats.compare import difference
from organism.stats.winsor import cap_rank, caps, trimmed_mean, winsorized

# Golden numbers from scipy 1.18.1 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
SQL = duckdb.connect()
ARRAYS = CASES["trimmed_winsorized"]["inputs"]["arrays"]


def test_capping_the_largest_tenth_equals_scipy():
    table = np.array(ARRAYS["control"])[:, None]
    found = winsorized(table, caps(table, 0.1))
    assert found[:, 0] == pytest.approx(CASES["trimmed_winsorized"]["expected"][1]["values"], rel=1e-9)


def test_yuens_trimmed_test_equals_scipy():
    wanted = CASES["trimmed_winsorized"]["expected"][0]["values"]
    found = difference(trimmed_mean(ARRAYS["control"], 0.1), trimmed_mean(ARRAYS["treatment"], 0.1))
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)


def test_one_cap_over_all_variants_keeps_an_order_that_a_cap_each_would_turn():
    control = np.array([1.0] * 19 + [9.0])
    treatment = np.array([1.0] * 18 + [20.0, 20.0])
    together = np.concatenate([control, treatment])[:, None]
    held = winsorized(together, caps(together, 0.05))[:, 0]
    assert held[20:].mean() > held[:20].mean()
    (cap,) = caps(together, 0.05)
    assert (cap.value, cap.n, cap.n_capped) == (9.0, 40, 2)
    assert cap.in_words("cost_usd") == (
        "cost_usd is capped at 9, so that the largest 5% of the values of all 40 users, all variants together, "
        "count as that: 2 were above it"
    )


def test_both_parts_of_a_ratio_are_capped_over_the_same_users():
    table = np.array([[1.0, 10.0], [2.0, np.nan], [3.0, 30.0], [np.inf, 5.0], [4.0, 40.0]])
    num, den = caps(table, 0.34)
    assert (num.n, den.n) == (3, 3)
    assert (num.value, den.value) == (3.0, 30.0)
    held = winsorized(table, [num, den])
    assert np.isnan(held[1, 1])
    assert held[4].tolist() == [3.0, 30.0]


def test_without_a_value_nothing_is_capped_and_it_says_so():
    (cap,) = caps(np.full((4, 1), np.nan), 0.01)
    assert cap.value is None
    assert cap.in_words("cost_usd") == "cost_usd is not capped: no user has a value"
    assert winsorized([[3.0]], [cap]).tolist() == [[3.0]]
    assert trimmed_mean([], 0.1) is None
    assert trimmed_mean([1.0, np.inf, 2.0], 0.1) is None


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match="share of 1"):
        cap_rank(10, 1.0)
    with pytest.raises(ValueError, match="wanted at least 0"):
        trimmed_mean([1.0, 2.0], 0.5)
    with pytest.raises(ValueError, match="n users by k columns"):
        caps([1.0, 2.0], 0.1)


numbers = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=60)


@settings(deadline=None)
@given(numbers, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_the_rank_gives_sql_the_same_cap(values, share):
    (cap,) = caps(np.array(values)[:, None], share)
    found = SQL.execute(
        "SELECT v FROM unnest(?::DOUBLE[]) AS t(v) ORDER BY v LIMIT 1 OFFSET ?",
        [values, cap_rank(len(values), share) - 1],
    ).fetchall()
    assert found == [(cap.value,)]


@settings(deadline=None)
@given(numbers, st.sampled_from([0.0, 0.05, 0.3]))
def test_at_most_the_share_is_capped_and_order_and_scale_are_kept(values, share):
    table = np.array(values)[:, None]
    (cap,) = caps(table, share)
    held = winsorized(table, [cap])[:, 0]
    assert cap.n_capped <= share * len(values) + 1e-9
    assert (np.diff(held[np.argsort(table[:, 0])]) >= 0).all()
    assert caps(table * 4, share)[0].value == cap.value * 4
