import json

import numpy as np
import pytest

from organism.config import ROOT
from organism.stats.off_policy import Logged, estimates, importance_weights, weight_check

CASES = {
    case["id"]: case for case in json.loads((ROOT / "tests" / "reference" / "loop_cases.json").read_text())["cases"]
}
METHODS = ("ips", "snips", "dm", "dr", "sndr")


def logged_of(case: dict) -> Logged:
    given = case["input"]
    return Logged(given["reward"], given["action"], given["pscore"], given["target_action_probs"], given["q_hat"])


@pytest.mark.parametrize("name", ["ope_8_rows", "ope_obp_synthetic_120", "ope_no_overlap"])
def test_every_estimator_gives_the_number_of_open_bandit_pipeline(name: str):
    case = CASES[name]
    logged, expected, tolerance = logged_of(case), case["expected"], case["tolerance"]
    found = estimates(logged, rng=np.random.default_rng(0), clip=2.0, n=50)
    said = {method: found[method].estimate for method in METHODS} | {
        "clipped_ips_lambda_2": found["clipped_ips"].estimate,
        "switch_dr_lambda_2": found["switch_dr"].estimate,
    }
    wanted = {key: expected[key] for key in said if key in expected}
    assert len(wanted) == len(said)
    assert {key: said[key] for key in wanted} == pytest.approx(wanted, abs=tolerance)
    check = weight_check(logged)
    assert check.effective == pytest.approx(expected["ess_closed_form"], abs=tolerance)
    assert check.max_weight == pytest.approx(expected["max_weight"], abs=tolerance)


def test_snips_is_the_normalized_capped_estimate_of_contextualbandits():
    case = CASES["ncis_equals_snips"]
    given, n = case["input"], len(case["input"]["reward"])
    taken = np.array(given["target_prob_of_logged_action"])
    logged = Logged(
        given["reward"], np.zeros(n, int), given["pscore"], np.column_stack([taken, 1 - taken]), np.zeros((n, 2))
    )
    found = estimates(logged, rng=np.random.default_rng(0), n=10)
    assert found["snips"].estimate == pytest.approx(case["expected"]["ncis"], abs=case["tolerance"])


def simulated(n_users: int, per_user: int, seed: int) -> tuple[Logged, np.ndarray]:
    """Two actions by a fair coin a user; users differ by more than their rows do, action 1 earns 0.2 more."""
    rng = np.random.default_rng(seed)
    arm, habit = rng.integers(0, 2, n_users), rng.normal(0, 0.2, n_users)
    user = np.repeat(np.arange(n_users), per_user)
    reward = 0.4 + 0.2 * arm[user] + habit[user] + rng.normal(0, 0.1, len(user))
    target = np.tile([0.0, 1.0], (len(user), 1))
    return Logged(reward, arm[user], np.full(len(user), 0.5), target, np.full((len(user), 2), 0.5)), user


def test_intervals_by_user_cover_the_truth_where_intervals_by_row_do_not():
    by_user = by_row = 0
    for seed in range(40):
        logged, user = simulated(60, 15, seed)
        rng = np.random.default_rng(seed)
        low, high = estimates(logged, user, rng=rng, n=120)["dr"][1:]
        by_user += low <= 0.6 <= high
        low, high = estimates(logged, rng=rng, n=120)["dr"][1:]
        by_row += low <= 0.6 <= high
    assert by_user >= 34
    assert by_row < 28


def test_the_effective_sample_counts_users_and_not_their_rows():
    logged, user = simulated(40, 25, 0)
    n_matched = len({u for u, a in zip(user, np.asarray(logged.action), strict=True) if a == 1})
    check = weight_check(logged, user)
    assert check.effective == pytest.approx(n_matched)
    assert check.largest_share == pytest.approx(1 / n_matched)
    assert check.n_clusters == 40
    assert weight_check(logged).effective == pytest.approx(25 * n_matched)


def test_a_policy_that_is_the_logged_one_earns_the_logged_mean():
    logged, user = simulated(30, 4, 1)
    same = logged._replace(target=np.full((len(user), 2), 0.5))
    assert importance_weights(same) == pytest.approx(np.ones(len(user)))
    found = estimates(same, user, rng=np.random.default_rng(0), n=50)
    assert found["ips"].estimate == pytest.approx(np.mean(np.asarray(logged.reward)))
    assert found["snips"].estimate == pytest.approx(np.mean(np.asarray(logged.reward)))
