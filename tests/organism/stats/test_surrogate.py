"""The reward as a surrogate: golden numbers from statsmodels, and what is said when it cannot be judged."""

import json
from pathlib import Path

import numpy as np
import pytest

from organism.stats.surrogate import NOT_ENOUGH, UNBOUNDED, UNSTABLE, across_deployments, surrogate

CASES = json.loads((Path(__file__).parents[2] / "reference" / "loop_cases.json").read_text())["cases"]
CASE = next(case for case in CASES if case["id"] == "surrogate_prentice_pte")


def test_the_reference_case_of_prentice_and_freedman_is_reproduced():
    given, wanted = CASE["input"], CASE["expected"]
    found = surrogate(given["Z"], given["S"], given["T"], rng=np.random.default_rng(0))
    mine = {
        "effect_on_T": found.effect_on_outcome.estimate,
        "p_effect_on_T": found.p_effect_on_outcome,
        "effect_on_S": found.effect_on_reward,
        "p_effect_on_S": found.p_effect_on_reward,
        "S_coef_in_T_given_Z": found.reward_slope,
        "p_S": found.p_reward_slope,
        "residual_effect_of_Z_given_S": found.residual_effect,
        "p_residual": found.p_residual_effect,
        "PTE": found.pte.estimate,
        "RE_relative_effect": found.relative_effect,
        "spearman_S_T": found.spearman,
        "pearson_adjusted_for_Z": found.adjusted_association,
    }
    assert mine == pytest.approx(wanted, rel=CASE["tolerance"], abs=CASE["tolerance"])
    assert found.prentice == (True, True, True, True)
    assert found.pte.low < found.pte.estimate < found.pte.high
    assert UNBOUNDED in found.warnings, "the case's proportion is 1.17"


def simulated(share_through_reward: float, *, seed: int, n_users: int = 300, per_user: int = 6, effect: float = 1.0):
    """Users in two arms; this share of the effect on the outcome goes through the reward."""
    rng = np.random.default_rng(seed)
    z = np.repeat(np.arange(n_users) % 2, per_user)
    own = np.repeat(rng.normal(size=n_users), per_user)
    s = effect * z + own + rng.normal(size=len(z))
    t = share_through_reward * s + (1 - share_through_reward) * effect * z + own + rng.normal(size=len(z))
    return z, s, t, np.repeat(np.arange(n_users), per_user)


def test_an_effect_that_goes_through_the_reward_is_explained_and_one_beside_it_is_not():
    z, s, t, users = simulated(0.0, seed=3)
    rng = np.random.default_rng(1)
    t_only_through = 0.9 * s + np.random.default_rng(9).normal(size=len(s))
    through = surrogate(z, s, t_only_through, users=users, rng=rng)
    beside = surrogate(z, np.random.default_rng(5).normal(size=len(s)), z + t, users=users, rng=rng)
    assert through.pte.low < 1 < through.pte.high
    assert through.prentice == (True, True, True, True)
    assert beside.pte.high < 0.2
    assert beside.prentice[3] is False


def test_p_counts_users_and_not_rows():
    rng = np.random.default_rng(0)
    false_alarms = {True: 0, False: 0}
    for _ in range(200):
        z = np.repeat(np.arange(40) % 2, 15)
        own = np.repeat(rng.normal(size=40), 15)
        s, t = own + rng.normal(size=600), own + rng.normal(size=600)
        for clustered in false_alarms:
            users = np.repeat(np.arange(40), 15) if clustered else None
            found = surrogate(z, s, t, users=users, rng=rng, n=2)
            false_alarms[clustered] += found.p_effect_on_outcome < 0.05
    assert false_alarms[True] < 22
    assert false_alarms[False] > 60


def test_no_effect_to_explain_is_said_in_words():
    z, s, t, users = simulated(0.5, seed=2, effect=0.0)
    found = surrogate(z, s, t, users=users, rng=np.random.default_rng(0))
    assert UNSTABLE in found.warnings


def test_one_arm_or_a_constant_outcome_cannot_be_judged():
    rng = np.random.default_rng(0)
    values = rng.normal(size=20)
    assert surrogate(np.zeros(20), values, values, rng=rng) is None
    assert surrogate(np.arange(20) % 2, values, np.ones(20), rng=rng) is None
    assert surrogate([], [], [], rng=rng) is None
    assert surrogate(np.arange(20) % 2, np.arange(20) % 2, values, rng=rng) is None, "reward and arm are one thing"


def test_fewer_than_eight_deployments_say_so_and_more_are_ranked():
    pairs = [(float(k), 2.0 * k) for k in range(7)]
    assert across_deployments(pairs).sentence == NOT_ENOUGH == "not enough deployments to judge"
    found = across_deployments([*pairs, (7.0, 3.0)])
    assert found.spearman == pytest.approx(1 - 6 * (5 * 1 + 25) / (8 * 63))
    assert "Over 8 deployments" in found.sentence
