"""Many comparisons at once say what the one at a time says."""

import numpy as np
import pytest

from organism.stats.compare import difference, ratio_of_sums, standard_error
from organism.stats.many import Sums, contrasts, p_values, widening
from organism.stats.moments import moments


def sums(table: np.ndarray) -> Sums:
    num, den = table.T
    found = (len(num), num.sum(), den.sum(), (num * num).sum(), (num * den).sum(), (den * den).sum())
    return Sums(*(np.array([float(one)]) for one in found))


@pytest.mark.parametrize("use_t", [True, False])
def test_an_array_of_sums_gives_the_effect_error_and_p_of_the_single_comparison(use_t: bool) -> None:
    rng = np.random.default_rng(4)
    for n in (5, 40, 300):
        arms = [np.column_stack([rng.normal(3 + k, 2, n + k), rng.integers(1, 9, n + k)]) for k in (0, 1)]
        one, other = (ratio_of_sums(moments(arm)) for arm in arms)
        expected, told = difference(one, other, use_t=use_t), standard_error(one, other)
        found = contrasts(sums(arms[0]), sums(arms[1]))
        assert told is not None
        assert found.effect[0] == pytest.approx(expected.effect, rel=1e-9)
        assert (found.error[0], found.degrees[0]) == pytest.approx(told, rel=1e-9)
        assert p_values(found, use_t=use_t)[0] == pytest.approx(expected.p_value, rel=1e-8)


def test_one_unit_no_denominator_and_no_spread_are_unknown_and_never_a_p_of_1() -> None:
    arm = sums(np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 1.0]]))
    flat = sums(np.array([[2.0, 1.0], [2.0, 1.0]]))
    for bad in (sums(np.array([[1.0, 1.0]])), sums(np.array([[0.0, 0.0], [1.0, 0.0]]))):
        assert np.isnan(p_values(contrasts(arm, bad))).all()
    assert np.isnan(p_values(contrasts(flat, flat))).all()


def test_few_degrees_widen_more() -> None:
    wide = widening(np.array([3.0, 30.0, 1e9]), 0.05)
    assert wide == pytest.approx([3.182446 / 1.959964, 2.042272 / 1.959964, 1.0], rel=1e-5)
