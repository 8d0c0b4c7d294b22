from math import isnan
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.digest.designs import group_of, weighted
from organism.digest.reward_forms import differences_at, reward_forms, rewards_at
from organism.digest.rewards import (
    RewardMoments,
    moments_of_users,
    reward_difference,
    rewards_by_variant,
    weight_shares,
)
from organism.digest.weight_space import Flip, clear_edges, flips, nearest_flip, ternary, winner
from organism.errors import DesignError
from organism.records import RewardDesign, SignalSpec

SIGNALS = ("accepted", "cost_usd", "latency_ms", "retained_char_rate")


def design(*weights: float, signals: tuple[str, ...] = SIGNALS) -> RewardDesign:
    specs = tuple(SignalSpec(name, weight, 0, 1) for name, weight in zip(signals, weights, strict=True))
    return RewardDesign(name="draft", signals=specs)


def history(seed: int, n_users: int = 12, variants: str = "abcd", signals: tuple[str, ...] = SIGNALS) -> RewardMoments:
    """Random users of whom some saw several variants, each variant with its own strengths."""
    rng = np.random.default_rng(seed)
    strengths = rng.uniform(0, 0.6, (len(variants), len(signals)))
    rows = []
    for user in range(n_users):
        taste = rng.uniform(0, 0.4, len(signals))
        for at, variant in enumerate(variants):
            if rng.random() < 0.6:
                n = int(rng.integers(1, 6))
                utilities = np.clip(strengths[at] + taste + rng.normal(0, 0.1, (n, len(signals))), 0, 1)
                rows.append([variant, user, *utilities.sum(axis=0), n])
    columns = ["variant", "user_key", *signals, "n_rows"]
    return moments_of_users(pd.DataFrame(rows, columns=columns), list(signals))


def planted(**rewards: tuple[float, ...]) -> RewardMoments:
    """Five users a variant, each with these mean utilities give or take: figures that one can follow by hand."""
    rows = [
        [variant, f"{variant}{user}", *(np.array(means) + 0.01 * (user - 2)), 1]
        for variant, means in rewards.items()
        for user in range(5)
    ]
    names = SIGNALS[: len(next(iter(rewards.values())))]
    return moments_of_users(pd.DataFrame(rows, columns=["variant", "user_key", *names, "n_rows"]), list(names))


def leader(users: RewardMoments, made: RewardDesign) -> str:
    return max(rewards_by_variant(users, made), key=lambda row: row.mean).variant


seeds = st.integers(0, 10_000)
four_weights = st.lists(st.floats(0.01, 5), min_size=4, max_size=4)


@given(seeds, four_weights, st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_the_forms_give_the_same_means_and_p_values_as_one_design_at_a_time(seed, weights, n_users):
    users, made = history(seed, n_users), design(*weights)
    forms = reward_forms(users)
    shares = weight_shares(users, made)[None, :]
    assert rewards_at(forms, shares)[0] == pytest.approx(
        [row.mean for row in rewards_by_variant(users, made)], abs=1e-12
    )
    for b in range(len(forms.variants)):
        for a in range(len(forms.variants)):
            if a == b:
                continue
            found = differences_at(forms, shares, control=b, treatment=a)
            one = reward_difference(users, made, control=forms.variants[b], treatment=forms.variants[a])
            assert found.effect[0] == pytest.approx(one.effect, abs=1e-12)
            if one.p_value is None:
                assert isnan(found.p_value[0])
            else:
                assert found.p_value[0] == pytest.approx(one.p_value, rel=1e-6, abs=1e-12)


@given(seeds, four_weights)
@settings(max_examples=20, deadline=None)
def test_the_map_says_of_each_mix_what_the_design_of_that_mix_says(seed, weights):
    users, made = history(seed), design(*weights)
    frame = ternary(users, made, steps=4)
    assert len(frame) == 15
    for row in frame.itertuples():
        mix = weighted(made, price=row.price, performance=row.performance, quality=row.quality)
        ranking = sorted(rewards_by_variant(users, mix), key=lambda found: -found.mean)
        assert row.winner == ranking[0].variant
        if len(ranking) > 1:
            assert row.runner_up == ranking[1].variant
            one = reward_difference(users, mix, control=row.runner_up, treatment=row.winner)
            assert row.effect == pytest.approx(one.effect, abs=1e-9)
            assert row.is_clear == (one.p_value is not None and one.p_value < 0.05)


def test_the_shipped_map_has_325_mixes_that_sum_to_one_and_draws_in_an_instant():
    users, made = history(1, n_users=300), design(1, 1, 1, 1)
    frame = ternary(users, made)
    assert len(frame) == 325
    assert frame[["price", "performance", "quality"]].sum(axis=1).to_numpy() == pytest.approx(np.ones(325))
    quickest = min(_timed(lambda: ternary(users, made)) for _ in range(5))
    assert quickest < 0.05


def test_a_weight_move_costs_the_same_whatever_the_number_of_users():
    made = design(1, 2, 3, 4)
    times = []
    for n_users in (20, 2_000):
        users = history(5, n_users)

        def move(users: RewardMoments = users) -> None:
            rewards_by_variant(users, made)
            reward_difference(users, made, control="a", treatment="b")
            nearest_flip(users, made)

        times.append(min(_timed(move) for _ in range(9)))
    assert max(times) < 0.02  # 0.7 ms on an idle core; the limit leaves room for a busy machine
    assert times[1] < 5 * times[0]


def _timed(work) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def test_a_flip_is_where_the_lines_cross():
    users = planted(base=(0.2, 0.8), tuned=(0.6, 0.5))
    made = design(2.0, 1.0, signals=SIGNALS[:2])
    # Tuned leads by 0.4 * accepted - 0.3 * cost: a tie where cost weighs 4/3 of accepted.
    found = {(flip.name, flip.is_group): flip for flip in flips(users, made)}
    assert winner(users, made) == "tuned"
    assert found["cost_usd", False] == Flip(
        "cost_usd",
        False,
        pytest.approx(1.0),
        pytest.approx(8 / 3),
        pytest.approx(1 / 3),
        pytest.approx(4 / 7),
        "tuned",
        "base",
    )
    assert found["accepted", False].weight_then == pytest.approx(0.75)
    assert found["price", True].weight_then == pytest.approx(8 / 3)
    assert nearest_flip(users, made).name == "accepted"  # as near as cost, and first by name


@given(seeds, four_weights)
@settings(max_examples=40, deadline=None)
def test_no_other_variant_wins_before_the_flip_and_the_named_one_wins_behind_it(seed, weights):
    users, made = history(seed), design(*weights)
    if len(users.variants) < 2:
        return
    now = leader(users, made)
    found = flips(users, made)
    for name in SIGNALS:
        mine = [flip for flip in found if flip.name == name and not flip.is_group]
        for flip in mine:
            assert (flip.winner_now, winner(users, made)) == (now, now)
            step = (flip.weight_then - flip.weight_now) * 1e-6
            assert leader(users, moved(made, name, flip.weight_then + step)) == flip.winner_then
            assert leader(users, moved(made, name, flip.weight_then - step)) == now
        low = max([flip.weight_then for flip in mine if flip.weight_then < flip.weight_now], default=0.0)
        high = min([flip.weight_then for flip in mine if flip.weight_then > flip.weight_now], default=1e4)
        for weight in np.linspace(low, high, 23)[1:-1]:
            assert leader(users, moved(made, name, weight)) == now


def moved(made: RewardDesign, name: str, weight: float) -> RewardDesign:
    signals = tuple(spec._replace(weight=weight) if spec.signal == name else spec for spec in made.signals)
    return RewardDesign(name="moved", signals=signals)


@given(seeds, four_weights)
@settings(max_examples=30, deadline=None)
def test_a_group_moves_as_its_slider_does(seed, weights):
    users, made = history(seed), design(*weights)
    for flip in (flip for flip in flips(users, made) if flip.is_group):
        groups = dict.fromkeys(("price", "performance", "quality"), 0.0)
        for spec in made.signals:
            groups[group_of(spec.signal)] += spec.weight
        assert flip.weight_now == pytest.approx(groups[flip.name])
        step = (flip.weight_then - flip.weight_now) * 1e-6
        assert leader(users, weighted(made, **{**groups, flip.name: flip.weight_then + step})) == flip.winner_then
        assert leader(users, weighted(made, **{**groups, flip.name: flip.weight_then - step})) == flip.winner_now
        assert flip.share_then == pytest.approx(
            flip.weight_then / (sum(groups.values()) - groups[flip.name] + flip.weight_then)
        )


def test_flips_come_nearest_first_and_only_those_of_the_control_when_one_is_named():
    users = planted(a=(0.9, 0.1, 0.5), b=(0.5, 0.55, 0.5), c=(0.1, 0.9, 0.5))
    made = design(3.0, 1.0, 1.0, signals=SIGNALS[:3])
    found = flips(users, made)
    moves = [abs(flip.share_then - flip.share_now) for flip in found]
    assert moves == sorted(moves)
    assert {flip.winner_then for flip in found} == {"b"}
    assert {(flip.winner_now, flip.winner_then) for flip in flips(users, made, control="c")} == {("a", "c")}
    assert {flip.winner_then for flip in flips(users, made, excluded=["b"])} == {"c"}
    assert nearest_flip(users, made, excluded=["b", "c"]) is None
    assert nearest_flip(users, made, control="absent") is None


def test_of_tied_variants_the_first_by_name_wins_and_equal_ones_never_flip():
    users = planted(tuned=(0.5, 0.5), base=(0.5, 0.5))
    made = design(1.0, 1.0, signals=SIGNALS[:2])
    assert winner(users, made) == "base"
    assert flips(users, made) == []
    assert set(ternary(users, made, steps=3)["winner"].dropna()) == {"base"}


def test_a_variant_that_is_better_in_everything_never_flips():
    users = planted(base=(0.2, 0.3), tuned=(0.6, 0.5))
    assert flips(users, design(1.0, 1.0, signals=SIGNALS[:2])) == []


def test_the_only_weight_cannot_flip_anything_but_the_others_can():
    users = planted(base=(0.2, 0.8), tuned=(0.6, 0.5))
    found = flips(users, design(1.0, 0.0, signals=SIGNALS[:2]))
    assert {flip.name for flip in found} == {"cost_usd", "price"}
    assert found[0].share_now == 0.0


def test_one_variant_or_none_has_a_map_without_runner_up_or_no_map():
    made = design(1.0, 1.0, signals=SIGNALS[:2])
    alone = planted(base=(0.2, 0.8))
    frame = ternary(alone, made, steps=3)
    known = frame.dropna(subset=["winner"])
    assert set(known["winner"]) == {"base"}
    assert known[["runner_up", "effect", "p_value"]].isna().all(axis=None)
    assert not frame["is_clear"].any()
    assert nearest_flip(alone, made) is None
    assert clear_edges(alone, made) == []
    nobody = RewardMoments(alone.signals, {}, {})
    assert (winner(nobody, made), len(ternary(nobody, made)), flips(nobody, made)) == (None, 0, [])
    assert winner(alone, made, excluded=["base"]) is None
    assert list(ternary(nobody, made).columns) == list(frame.columns)


def test_a_mix_on_groups_without_a_signal_has_no_winner():
    users = planted(base=(0.2, 0.8), tuned=(0.6, 0.5))
    frame = ternary(users, design(1.0, 1.0, signals=SIGNALS[:2]), steps=2).set_index(["price", "performance"])
    assert frame.loc[(0.0, 1.0), "winner"] is None or pd.isna(frame.loc[(0.0, 1.0), "winner"])
    assert frame.loc[(1.0, 0.0), "winner"] == "base"
    assert frame.loc[(0.0, 0.0), "winner"] == "tuned"


def test_one_user_a_variant_has_a_winner_that_is_never_clear():
    rows = [[variant, 1, value, 1] for variant, value in (("base", 0.1), ("tuned", 0.9))]
    users = moments_of_users(pd.DataFrame(rows, columns=["variant", "user_key", "accepted", "n_rows"]), ["accepted"])
    frame = ternary(users, design(1.0, signals=SIGNALS[:1]), steps=2).dropna(subset=["winner"])
    assert set(frame["winner"]) == {"tuned"}
    assert frame["p_value"].isna().all()
    assert not frame["is_clear"].any()


def test_weights_that_are_all_zero_are_a_sentence():
    users = planted(base=(0.2, 0.8), tuned=(0.6, 0.5))
    for ask in (ternary, flips, nearest_flip, winner, clear_edges):
        with pytest.raises(DesignError, match="no signal a positive weight; give at least one of: accepted, cost_usd"):
            ask(users, design(0.0, 0.0, signals=SIGNALS[:2]))


@given(seeds, four_weights)
@settings(max_examples=15, deadline=None)
def test_the_edge_of_a_clear_lead_is_where_its_p_value_crosses_five_percent(seed, weights):
    users, made = history(seed, n_users=25), design(*weights)
    for edge in (edge for edge in clear_edges(users, made) if not edge.is_group):
        assert edge.winner == leader(users, made)
        rest = sum(spec.weight for spec in made.signals if spec.signal != edge.name)
        for side, is_clear in ((-1e-4, edge.is_clear_now), (1e-4, not edge.is_clear_now)):
            share = edge.share_then + side * np.sign(edge.share_then - edge.share_now)
            if abs(edge.share_then - edge.share_now) < 1e-3 or not 0 < share < 1:
                continue
            there = moved(made, edge.name, share / (1 - share) * rest)
            ranking = sorted(rewards_by_variant(users, there), key=lambda found: -found.mean)
            one = reward_difference(users, there, control=ranking[1].variant, treatment=ranking[0].variant)
            assert (one.p_value < 0.05) == is_clear
