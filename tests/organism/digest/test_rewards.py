from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.digest.designs import DEFAULT_DESIGN, check_design, group_weights, weighted
from organism.digest.rewards import reward, reward_difference, rewards_by_variant, utility
from organism.errors import DesignError
from organism.records import RewardDesign, SignalSpec
from organism.stats.moments import moments

KNOWN = ("accepted", "cost_usd", "latency_ms", "retained_char_rate")


def design(*signals: SignalSpec) -> RewardDesign:
    return RewardDesign(name="draft", signals=signals)


@pytest.mark.parametrize(
    ("spec", "value", "wanted"),
    [
        (SignalSpec("latency_ms", 1, 2000, 200), 200, 1.0),
        (SignalSpec("latency_ms", 1, 2000, 200), 1100, 0.5),
        (SignalSpec("latency_ms", 1, 2000, 200), 9000, 0.0),
        (SignalSpec("accepted", 1, 0, 1), 1, 1.0),
        (SignalSpec("accepted", 1, 0, 1), None, None),
        (SignalSpec("accepted", 1, 0, 1, missing=0.3), None, 0.3),
        (SignalSpec("accepted", 1, 0, 1), nan, None),
        (SignalSpec("accepted", 1, 0, 1), inf, None),
    ],
)
def test_utility_runs_from_worst_to_best_and_missing_stays_missing(spec, value, wanted):
    assert utility(spec, value) == wanted


def test_a_reward_is_the_weighted_mean_of_the_utilities():
    made = design(SignalSpec("accepted", 3, 0, 1), SignalSpec("latency_ms", 1, 2000, 0))
    assert reward(made, {"accepted": 1.0, "latency_ms": 1000.0}) == pytest.approx((3 + 0.5) / 4)
    assert reward(made, {"accepted": None, "latency_ms": 1000.0}) is None


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (design(), "gives no signal a positive weight; give at least one of: accepted"),
        (design(SignalSpec("accepted", 0, 0, 1)), "no signal a positive weight; give at least one of: accepted"),
        (design(SignalSpec("accepted", -0.1, 0, 1)), "weight -0.1; give 0 or more"),
        (design(SignalSpec("accepted", nan, 0, 1)), "weight nan; give 0 or more"),
        (design(SignalSpec("accepted", 1, 1, 1)), "two different numbers"),
        (design(SignalSpec("accepted", 1, 0, inf)), "two different numbers"),
        (design(SignalSpec("applause", 1, 0, 1)), "'applause', which nothing measures; use one of: accepted"),
        (design(SignalSpec("accepted", 1, 0, 1, missing=2)), "a utility from 0 to 1"),
        (design(SignalSpec("accepted", 1, 0, 1), SignalSpec("accepted", 2, 0, 1)), "accepted twice"),
    ],
)
def test_an_impossible_design_says_how_to_mend_it(made, said):
    with pytest.raises(DesignError, match=said):
        check_design(made, KNOWN)


def test_three_sliders_move_the_groups_and_keep_the_shares_within():
    moved = weighted(DEFAULT_DESIGN, price=0.5, performance=0.2, quality=0.3)
    assert group_weights(moved) == pytest.approx({"price": 0.5, "performance": 0.2, "quality": 0.3})
    by_name = {s.signal: s.weight for s in moved.signals}
    assert by_name["retained_char_rate"] == pytest.approx(2 * by_name["accepted"])
    emptied = weighted(moved, price=1, performance=0, quality=0)
    assert weighted(emptied, price=0.5, performance=0.2, quality=0.3).id == moved.id


def test_the_default_design_is_sound_and_equal_recipes_have_equal_ids():
    check_design(DEFAULT_DESIGN, KNOWN)
    turned = RewardDesign(name="other name", signals=DEFAULT_DESIGN.signals[::-1], note="said otherwise")
    assert turned.id == DEFAULT_DESIGN.id
    assert weighted(DEFAULT_DESIGN, price=0.1, performance=0.2, quality=0.7).id != DEFAULT_DESIGN.id


weights = st.lists(st.floats(0, 10), min_size=2, max_size=2).filter(lambda w: sum(w) > 1e-3)
users = st.lists(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5), min_size=2, max_size=8)


def sums(rows: list) -> np.ndarray:
    return np.array([[sum(a for a, _ in user), sum(b for _, b in user), len(user)] for user in rows])


@given(weights, users, users)
def test_any_weights_on_the_moments_equal_brute_force_on_the_rows(w, base, tuned):
    made = design(SignalSpec("accepted", w[0], 0, 1), SignalSpec("cost_usd", w[1], 0, 1))
    by_variant = {"base": moments(sums(base)), "tuned": moments(sums(tuned))}
    found = {row.variant: row for row in rewards_by_variant(by_variant, made)}
    for variant, rows in (("base", base), ("tuned", tuned)):
        per_user = [[(w[0] * a + w[1] * b) / sum(w) for a, b in user] for user in rows]
        values = [value for user in per_user for value in user]
        assert found[variant].mean == pytest.approx(np.mean(values), abs=1e-9)
        assert found[variant].n_interactions == len(values)
        if found[variant].low is not None:
            n = len(rows)
            linear = np.array([sum(v - np.mean(values) for v in user) for user in per_user]) / (len(values) / n)
            # The centre is the interval's middle; its reach comes from the spread over users.
            reach = (found[variant].high - found[variant].low) / 2
            spread = linear.std(ddof=1) / np.sqrt(n)
            assert (found[variant].high + found[variant].low) / 2 == pytest.approx(np.mean(values), abs=1e-9)
            assert reach >= 1.95 * spread - 1e-9
    effect = reward_difference(by_variant, made, control="base", treatment="tuned").effect
    assert effect == pytest.approx(found["tuned"].mean - found["base"].mean, abs=1e-9)


def test_moments_of_other_signals_are_refused_and_an_absent_variant_is_none():
    by_variant = {"base": moments(sums([[(1.0, 0.5)], [(0.0, 1.0)]]))}
    with pytest.raises(DesignError, match="read the moments again"):
        rewards_by_variant(by_variant, DEFAULT_DESIGN)
    made = design(SignalSpec("accepted", 1, 0, 1), SignalSpec("cost_usd", 1, 0, 1))
    assert reward_difference(by_variant, made, control="base", treatment="tuned").effect is None
