import json
from itertools import permutations
from math import inf, nan, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from organism.digest.designs import DEFAULT_DESIGN, check_design, group_weights, ordered, weighted
from organism.digest.rewards import (
    RewardMoments,
    component_shares,
    effective_signals,
    merge_moments,
    moments_of_users,
    reward_difference,
    rewards_by_variant,
)
from organism.errors import DesignError
from organism.measures.draft_reward import reward, utility
from organism.records import RewardDesign, SignalSpec

KNOWN = ("accepted", "cost_usd", "latency_ms", "retained_char_rate", "written_share")


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
    assert by_name["written_share"] == pytest.approx(2 * by_name["accepted"])
    emptied = weighted(moved, price=1, performance=0, quality=0)
    assert weighted(emptied, price=0.5, performance=0.2, quality=0.3).id == moved.id


def test_the_default_design_is_sound_and_equal_recipes_have_equal_ids():
    check_design(DEFAULT_DESIGN, KNOWN)
    turned = RewardDesign(name="other name", signals=DEFAULT_DESIGN.signals[::-1], note="said otherwise")
    assert turned.id == DEFAULT_DESIGN.id
    assert weighted(DEFAULT_DESIGN, price=0.1, performance=0.2, quality=0.7).id != DEFAULT_DESIGN.id


VARIANTS = ("base", "scribe-1", "tuned")
PEERS = json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]


class Row(NamedTuple):
    """One interaction: who saw which variant, and two utilities of which either may be missing."""

    variant: str
    user: int
    accepted: float | None
    cost: float | None


def moments_of(rows: list[Row], made: RewardDesign) -> RewardMoments:
    """What one scan would bring: per variant and user the sums over rows on which every utility is known."""
    specs = ordered(made.signals)
    kept: dict[tuple[str, int], list[list[float]]] = {}
    for row in rows:
        values = {"accepted": row.accepted, "cost_usd": row.cost}
        found = [utility(spec, values[spec.signal]) for spec in specs]
        if None not in found:
            kept.setdefault((row.variant, row.user), []).append([*found, 1.0])
    names = [*(spec.signal for spec in specs), "n_rows"]
    table = [[variant, user, *np.sum(mine, axis=0)] for (variant, user), mine in sorted(kept.items())]
    return moments_of_users(pd.DataFrame(table, columns=["variant", "user_key", *names]), names[:-1])


def rewards_of(rows: list[Row], made: RewardDesign, variant: str) -> dict[int, list[float]]:
    """By user the rewards of this variant's rows, row by row."""
    found: dict[int, list[float]] = {}
    for row in rows:
        value = reward(made, {"accepted": row.accepted, "cost_usd": row.cost})
        if row.variant == variant and value is not None:
            found.setdefault(row.user, []).append(value)
    return found


def linearized(users: dict[int, list[float]]) -> dict[int, float]:
    """Each user's part of the error of the mean reward, with the small-sample factor."""
    values = [value for mine in users.values() for value in mine]
    mean, n = np.mean(values), len(users)
    return {user: sqrt(n / (n - 1)) * sum(v - mean for v in mine) / len(values) for user, mine in users.items()}


def two_signals(w: list[float], missing: list[float | None]) -> RewardDesign:
    return design(
        SignalSpec("cost_usd", w[1], 1, 0, missing=missing[1]), SignalSpec("accepted", w[0], 0, 1, missing=missing[0])
    )


shares = st.floats(0, 1, allow_subnormal=False).map(lambda x: round(x, 6))
rows_of_anyone = st.lists(
    st.builds(Row, st.sampled_from(VARIANTS), st.integers(0, 7), st.none() | shares, st.none() | shares),
    min_size=1,
    max_size=60,
)
designs = st.builds(
    two_signals,
    st.lists(st.floats(0, 10), min_size=2, max_size=2).filter(lambda w: sum(w) > 1e-3),
    st.lists(st.none() | shares, min_size=2, max_size=2),
)


@given(rows_of_anyone, designs)
@settings(deadline=None)
def test_means_variances_and_intervals_equal_brute_force_from_the_rows(rows, made):
    found = {row.variant: row for row in rewards_by_variant(moments_of(rows, made), made)}
    for variant in VARIANTS:
        users = rewards_of(rows, made, variant)
        values = [value for mine in users.values() for value in mine]
        if not values:
            assert variant not in found
            continue
        assert found[variant].mean == pytest.approx(np.mean(values), abs=1e-9)
        assert (found[variant].n_interactions, found[variant].n_users) == (len(values), len(users))
        variance = sum(e * e for e in linearized(users).values()) if len(users) > 1 else 0.0
        if found[variant].low is None:
            assert variance < 1e-12
        else:
            reach = student.ppf(0.975, len(users) - 1) * sqrt(variance)
            assert found[variant].low == pytest.approx(np.mean(values) - reach, abs=1e-9)
            assert found[variant].high == pytest.approx(np.mean(values) + reach, abs=1e-9)


@given(rows_of_anyone, designs)
@settings(deadline=None)
def test_a_difference_over_shared_users_equals_brute_force_from_the_rows(rows, made):
    users = moments_of(rows, made)
    for control, treatment in permutations(VARIANTS, 2):
        found = reward_difference(users, made, control=control, treatment=treatment)
        a, b = (rewards_of(rows, made, name) for name in (control, treatment))
        if not a or not b:
            assert found.effect is None
            continue
        means = [np.mean([value for mine in arm.values() for value in mine]) for arm in (a, b)]
        assert found.effect == pytest.approx(means[1] - means[0], abs=1e-9)
        if len(a) < 2 or len(b) < 2:
            assert (found.ci_low, found.p_value) == (None, None)
            continue
        errors = [linearized(arm) for arm in (a, b)]
        squares = {u: (errors[1].get(u, 0.0) - errors[0].get(u, 0.0)) ** 2 for u in {*a, *b}}
        variance = sum(squares.values())
        if found.ci_low is None:
            assert variance < 1e-12
            continue
        kept = [(len(arm) - 1) / len(arm) for arm in (a, b)]
        groups = [(a.keys() - b.keys(), kept[0]), (b.keys() - a.keys(), kept[1]), (a.keys() & b, sqrt(np.prod(kept)))]
        parts = [(sum(squares[u] for u in group), len(group) * share) for group, share in groups if group]
        degrees = variance**2 / sum(part**2 / d for part, d in parts)
        reach = student.ppf(0.975, degrees) * sqrt(variance)
        if variance > 1e-10:  # below it the degrees rest on differences of rounding errors
            assert found.ci_low == pytest.approx(found.effect - reach, abs=1e-9, rel=1e-7)
            assert found.ci_high == pytest.approx(found.effect + reach, abs=1e-9, rel=1e-7)
            assert (found.p_value < 0.05) == (found.ci_low > 0 or found.ci_high < 0)


@given(rows_of_anyone, designs, st.lists(st.integers(0, 2), min_size=8, max_size=8))
@settings(deadline=None)
def test_shards_by_user_merge_to_the_whole(rows, made, shard):
    whole = moments_of(rows, made)
    parts = [moments_of([row for row in rows if shard[row.user] == k], made) for k in range(3)]
    merged = merge_moments(parts[2], merge_moments(parts[0], parts[1]))
    assert merged.variants.keys() == whole.variants.keys()
    assert merged.shared.keys() == whole.shared.keys()
    for one, other in zip(rewards_by_variant(whole, made), rewards_by_variant(merged, made), strict=True):
        assert one[:3] == other[:3]
        assert one.mean == pytest.approx(other.mean, abs=1e-12)
    for pair, both in whole.shared.items():
        assert np.array(merged.shared[pair].cross) == pytest.approx(np.array(both.cross), abs=1e-9)


def test_shards_of_other_signals_do_not_merge():
    users = RewardMoments(("accepted",), {}, {})
    with pytest.raises(DesignError, match="one shard sums accepted and the other rating; read both for one design"):
        merge_moments(users, RewardMoments(("rating",), {}, {}))


def test_a_reward_over_apart_users_equals_gbstats_ratio_metric_on_per_user_sums():
    case = next(case for case in PEERS if case["id"] == "ratio_delta")
    wanted = next(e["values"] for e in case["expected"] if e["call"] == "RatioStatistic TwoSidedTTest absolute")
    # A user's summed utility is the characters kept, the rows are the characters suggested: the reward is the ratio.
    table = [
        [arm, f"{arm} {user}", kept, offered]
        for arm in ("control", "treatment")
        for user, (kept, offered) in enumerate(
            zip(case["inputs"][arm]["accepted"], case["inputs"][arm]["suggested"], strict=True)
        )
    ]
    users = moments_of_users(pd.DataFrame(table, columns=["variant", "user_key", "u0", "n_rows"]), ["accepted"])
    made = design(SignalSpec("accepted", 0.3, 0, 1))
    found = reward_difference(users, made, control="control", treatment="treatment")
    assert found.effect == pytest.approx(wanted["effect"], rel=1e-9)
    assert (found.ci_low, found.ci_high) == pytest.approx(wanted["ci"], rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)


def test_users_who_saw_both_versions_make_the_difference_surer():
    rng = np.random.default_rng(3)
    taste = rng.uniform(0, 1, 40)
    rows = [
        (variant, user, float(np.clip(taste[user] * 0.8 + lift + rng.normal(0, 0.02), 0, 1)))
        for variant, lift in (("base", 0.05), ("tuned", 0.1))
        for user in range(40)
    ]
    made = design(SignalSpec("accepted", 1, 0, 1), SignalSpec("cost_usd", 0, 1, 0, missing=0.0))
    same = moments_of([Row(variant, user, value, None) for variant, user, value in rows], made)
    apart = moments_of(
        [Row(variant, user + 100 * (variant == "tuned"), value, None) for variant, user, value in rows], made
    )
    paired, welch = (reward_difference(m, made, control="base", treatment="tuned") for m in (same, apart))
    assert apart.shared == {}
    assert paired.effect == pytest.approx(welch.effect)
    assert paired.p_value < 1e-6 < welch.p_value
    back = reward_difference(same, made, control="tuned", treatment="base")
    assert (back.ci_low, back.ci_high) == pytest.approx((-paired.ci_high, -paired.ci_low))


def test_one_user_or_one_variant_is_none_and_never_zero():
    made = two_signals([1.0, 1.0], [None, None])
    alone = moments_of([Row("base", 1, 0.5, 0.2), Row("base", 1, 0.9, 0.2), Row("tuned", 1, 1.0, 0.2)], made)
    (base, tuned) = rewards_by_variant(alone, made)
    assert (base.low, base.high, tuned.low) == (None, None, None)
    found = reward_difference(alone, made, control="base", treatment="tuned")
    assert found.effect == pytest.approx(0.15)
    assert (found.ci_low, found.p_value) == (None, None)
    assert (component_shares(alone, made), effective_signals(alone, made)) == ({}, None)
    silent = moments_of([Row("base", 1, 0.5, None)], made)
    assert rewards_by_variant(silent, made) == []
    assert reward_difference(alone, made, control="base", treatment="absent").effect is None
    with pytest.raises(DesignError, match="'base' stands on both sides; name two different variants"):
        reward_difference(alone, made, control="base", treatment="base")


def test_users_who_all_earn_the_same_have_a_mean_and_no_interval():
    made = two_signals([0.3, 0.7], [None, None])
    rows = [Row(variant, user, 0.1, 0.3) for variant in ("base", "tuned") for user in range(7) for _ in range(user + 1)]
    users = moments_of(rows, made)
    assert [(row.mean, row.low) for row in rewards_by_variant(users, made)] == [(pytest.approx(0.52), None)] * 2
    found = reward_difference(users, made, control="base", treatment="tuned")
    assert (found.effect, found.p_value) == (pytest.approx(0, abs=1e-12), None)
    assert effective_signals(users, made) is None


@pytest.mark.parametrize(
    ("weight", "said"),
    [(nan, "gives accepted the weight nan; give 0 or more"), (-1.0, "weight -1.0"), (0.0, "no signal a positive")],
)
def test_weights_that_give_no_reward_are_a_sentence(weight, said):
    users = moments_of([Row("base", 1, 0.5, 0.5)], two_signals([1.0, 1.0], [None, None]))
    with pytest.raises(DesignError, match=said):
        rewards_by_variant(users, two_signals([weight, 0.0], [None, None]))


def test_moments_of_other_signals_are_refused():
    users = moments_of([Row("base", 1, 0.5, 0.5)], two_signals([1.0, 1.0], [None, None]))
    with pytest.raises(DesignError, match=r"are for accepted, cost_usd, and .* read the moments again"):
        rewards_by_variant(users, DEFAULT_DESIGN)


@given(rows_of_anyone, designs)
@settings(deadline=None)
def test_component_shares_split_the_variance_between_users_within_variants(rows, made):
    users = moments_of(rows, made)
    specs = ordered(made.signals)
    total = sum(spec.weight for spec in specs)
    parts = dict.fromkeys((spec.signal for spec in specs), 0.0)
    for variant in VARIANTS:
        kept: dict[int, list[list[float]]] = {}
        for row in rows:
            values = {"accepted": row.accepted, "cost_usd": row.cost}
            found = [utility(spec, values[spec.signal]) for spec in specs]
            if row.variant == variant and None not in found:
                kept.setdefault(row.user, []).append([u * s.weight / total for u, s in zip(found, specs, strict=True)])
        if len(kept) > 1:
            mean = np.mean([one for mine in kept.values() for one in mine], axis=0)
            residuals = np.array([np.sum(np.array(mine) - mean, axis=0) for mine in kept.values()])
            for column, spec in enumerate(specs):
                parts[spec.signal] += float(residuals[:, column] @ residuals.sum(axis=1))
    shares = component_shares(users, made)
    whole = sum(parts.values())
    if whole < 1e-9:
        return
    assert shares == pytest.approx({name: part / whole for name, part in parts.items()}, abs=1e-6)
    sizes = np.abs(list(shares.values())) / np.abs(list(shares.values())).sum()
    assert effective_signals(users, made) == pytest.approx(1 / np.sum(sizes**2))
    assert 1 <= effective_signals(users, made) + 1e-9 <= 2 + 1e-8


def test_one_signal_that_varies_steers_alone():
    rows = [Row("base", user, user / 10, 0.5) for user in range(9)]
    made = two_signals([0.1, 0.9], [None, None])
    assert component_shares(moments_of(rows, made), made) == pytest.approx({"accepted": 1.0, "cost_usd": 0.0})
    assert effective_signals(moments_of(rows, made), made) == pytest.approx(1.0)
