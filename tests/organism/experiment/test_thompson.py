"""Thompson sampling: by the chance to be best, never under the floor, and the logged probability is the one dealt."""

import json
from pathlib import Path

import numpy as np
import pytest

from organism.errors import DesignError
from organism.experiment.assignment import deal
from organism.experiment.plan import Plan
from organism.experiment.thompson import BURN_IN_USERS, FLOOR, check_policy, floored, play
from organism.records import Variant
from organism.stats.compare import Estimate

CASES = json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
THREE = next(case for case in CASES if case["id"] == "thompson_pbest")["expected"][0]["values"]


def rate(successes: int, n: int) -> Estimate:
    """A rate over users with one answer each."""
    p = successes / n
    return Estimate(p, p * (1 - p) / n, n)


def test_bernoulli_arms_are_dealt_by_the_reference_chance_to_be_best_mixed_with_the_floor():
    found = play([rate(*arm) for arm in THREE["arms"]], (0.4, 0.3, 0.3), "accepted")
    assert found.best == pytest.approx(THREE["probability_best"], rel=1e-6)
    assert found.probabilities == pytest.approx(floored(THREE["probability_best"], FLOOR), abs=1e-4)
    assert sum(found.probabilities) == pytest.approx(1)


def test_drafts_of_one_user_that_resemble_each_other_count_for_less():
    alone = play([rate(40, 100), rate(60, 100)], (0.5, 0.5), "accepted")
    alike = [Estimate(one.value, one.variance * 10, one.n) for one in (rate(40, 100), rate(60, 100))]
    assert alone.best[1] > 0.99
    assert 0.6 < play(alike, (0.5, 0.5), "accepted").best[1] < 0.9


@pytest.mark.parametrize(("metric", "winner"), [("retained_char_rate", 1), ("latency_ms", 0), ("cost_usd", 0)])
def test_the_better_direction_is_the_metrics_own(metric, winner):
    found = play([Estimate(0.5, 0.001, 50), Estimate(0.6, 0.001, 50)], (0.5, 0.5), metric)
    assert found.best[winner] > 0.9


def test_a_signal_of_the_teams_own_is_followed_downward_where_its_design_says_that_less_is_better():
    arms = [Estimate(0.5, 0.001, 50), Estimate(0.6, 0.001, 50)]
    assert play(arms, (0.5, 0.5), "complaints", better=-1).best[0] > 0.9
    assert play(arms, (0.5, 0.5), "complaints").best[1] > 0.9, "more, where nobody says"


def test_equal_arms_are_dealt_equally():
    assert play([Estimate(5.0, 1.0, 50)] * 4, (0.25,) * 4, "reward").probabilities == pytest.approx([0.25] * 4)


@pytest.mark.parametrize(
    "arms",
    [
        [None, rate(5, 50)],
        [rate(3, BURN_IN_USERS - 1), rate(5, 50)],
        [Estimate(1.0, 0.0, 50), Estimate(2.0, 0.0, 50)],
    ],
)
def test_the_planned_shares_hold_until_the_users_can_tell(arms):
    found = play(arms, (0.3, 0.7), "retained_char_rate")
    assert (found.probabilities, found.best) == ((0.3, 0.7), None)
    assert found.why.startswith("The planned shares hold:")


def test_an_arm_whose_users_all_agree_borrows_a_spread():
    found = play([Estimate(1.0, 0.0, 20), Estimate(1.1, 0.04, 20)], (0.5, 0.5), "retained_char_rate")
    assert 0.5 < found.best[1] < 0.8


def test_a_hopeless_arm_keeps_the_floor_also_among_fifty():
    best = [rate(190, 200), *[rate(10, 200)] * 2]
    assert min(play(best, (0.4, 0.3, 0.3), "accepted").probabilities) == pytest.approx(FLOOR)
    fifty = play([rate(190, 200), *[rate(10, 200)] * 49], (0.02,) * 50, "accepted")
    assert min(fifty.probabilities) == pytest.approx(0.01)
    assert sum(fifty.probabilities) == pytest.approx(1)


def test_the_logged_probability_is_exactly_how_often_the_hash_deals_it():
    found = play([rate(*arm) for arm in THREE["arms"]], (0.4, 0.3, 0.3), "accepted")
    assert all(round(one * 10_000) == pytest.approx(one * 10_000) for one in found.probabilities)
    variants = [Variant(name=name, share=1 / 3) for name in "abc"]
    arms = [deal("salt", f"u{n}", variants, found.probabilities) for n in range(20_000)]
    for place, name in enumerate("abc"):
        mine = [arm for arm in arms if arm.variant == name]
        assert len(mine) / len(arms) == pytest.approx(found.probabilities[place], abs=0.012)
        assert {arm.probability for arm in mine} == {found.probabilities[place]}


@pytest.mark.parametrize(
    ("policy", "primary", "said"),
    [
        ("greedy", "accepted", "the policies are hash and thompson"),
        ("thompson", "latency_ms.p95", "is a quantile"),
        ("thompson", "output_tokens", "nobody says whether more or less"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(policy, primary, said):
    with pytest.raises(DesignError, match=said):
        check_policy(policy, Plan(primary=(primary,)))


def test_the_best_arm_is_found_and_nothing_is_given_up_that_later_estimates_need():
    """Simulated: 400 users by Thompson on true rates 0.3 and 0.5; the weighted mean of the logged draws is unbiased."""
    rng, variants, truth = np.random.default_rng(0), [Variant(name=n, share=0.5) for n in "ab"], (0.3, 0.5)
    estimates, late = [], []
    for trial in range(60):
        heard: list[list[float]] = [[], []]
        weighed = 0.0
        probabilities = (0.5, 0.5)
        for n in range(400):
            if n % 20 == 0:
                arms = [rate(int(sum(one)), len(one)) if one else None for one in heard]
                probabilities = play(arms, (0.5, 0.5), "accepted").probabilities
            arm = deal(f"trial {trial}", f"u{n}", variants, probabilities)
            place = "ab".index(arm.variant)
            answer = float(rng.random() < truth[place])
            heard[place].append(answer)
            weighed += answer / arm.probability if place == 0 else 0.0
            if n >= 300:
                late.append(place)
        estimates.append(weighed / 400)
    assert np.mean(late) > 0.85
    assert np.mean(estimates) == pytest.approx(0.3, abs=3 * np.std(estimates) / np.sqrt(60))
