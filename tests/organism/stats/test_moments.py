import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from organism.records import Moments
from organism.stats.moments import combine, empty, merge, merge_all, moments

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


def tables(columns: int = 3, least: int = 0) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(float, st.tuples(st.integers(least, 12), st.just(columns)), elements=numbers)


def same(a: Moments, b: Moments, tolerance: float = 1e-6) -> bool:
    return (
        a.n == b.n
        and np.allclose(a.mean, b.mean, atol=tolerance)
        and np.allclose(a.cross, b.cross, atol=tolerance * 1e3)
    )


@given(tables(), tables(), tables())
def test_merging_is_associative_and_order_free_and_equals_all_rows_at_once(a, b, c):
    left = merge(merge(moments(a), moments(b)), moments(c))
    assert same(left, merge(moments(a), merge(moments(b), moments(c))))
    assert same(left, merge_all([moments(c), moments(a), moments(b)]))
    assert same(left, moments(np.concatenate([a, b, c])))


@given(tables(least=2), hnp.arrays(float, (2, 3), elements=st.floats(-5, 5)))
def test_combining_columns_equals_combining_rows(rows, weights):
    assert same(combine(moments(rows), weights), moments(rows @ weights.T))


def test_no_units_merge_to_nothing():
    some = moments([[1.0, 2.0], [3.0, 5.0]])
    assert merge(empty(2), some) == some
    assert moments(np.zeros((0, 2))) == empty(2)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6, 1e8])
def test_an_offset_costs_no_digits_of_the_variance(offset):
    rows = np.random.default_rng(0).normal(size=(20_000, 1))
    parts = [moments(part + offset) for part in np.array_split(rows, 7)]
    whole = merge_all(parts)
    assert whole.cross[0][0] / (whole.n - 1) == pytest.approx(rows.var(ddof=1), rel=1e-6)


def test_a_row_instead_of_a_table_is_refused():
    with pytest.raises(ValueError, match="n units by k columns"):
        moments([1.0, 2.0])


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 1e200])
def test_a_value_that_cannot_be_squared_spoils_its_own_column_without_a_warning(odd):
    rows = np.array([[odd, 1.0], [2.0, 2.0], [3.0, 6.0]])
    found = moments(rows)
    assert (found.mean[1], found.cross[1][1]) == (3.0, 14.0)
    assert not np.isfinite(found.cross[0][0])
    both = merge(found, found)
    assert (both.n, both.mean[1], both.cross[1][1]) == (6, 3.0, 28.0)
    assert combine(both, [[0, 1]]).n == 6
