import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.config import ROOT
from organism.stats.preferences import (
    PRIOR_L2,
    SEPARABLE_L2,
    UNCONNECTED_PENALTY,
    bradley_terry,
    connectivity,
    information,
    looseness,
    next_pair,
    pair_weights,
    shares,
)

CASES = {
    case["id"]: case for case in json.loads((ROOT / "tests" / "reference" / "loop_cases.json").read_text())["cases"]
}


def wins_of(case: dict) -> np.ndarray:
    played = case["input"]["wins_[winner,loser,count]"]
    n = 1 + max(max(winner, loser) for winner, loser, _ in played)
    wins = np.zeros((n, n))
    for winner, loser, count in played:
        wins[winner, loser] = count
    return wins


def test_three_items_get_the_strengths_of_choix():
    case = CASES["bradley_terry_3"]
    found, expected = bradley_terry(wins_of(case)), case["expected"]
    assert found.log_strengths == pytest.approx(expected["mle"], abs=case["tolerance"])
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], abs=case["tolerance"])
    a, b, _ = found.log_strengths
    assert 1 / (1 + np.exp(b - a)) == pytest.approx(expected["p_0_beats_1"], abs=case["tolerance"])
    penalized = bradley_terry(wins_of(case), 0.1)
    assert penalized.log_strengths == pytest.approx(expected["l2_penalty_0.1"], abs=case["tolerance"])
    assert sum(found.log_strengths) == pytest.approx(0, abs=1e-9)


def test_the_baseball_league_gets_agrestis_strengths():
    case = CASES["bradley_terry_baseball"]
    found = np.array(bradley_terry(wins_of(case)).log_strengths)
    assert found - found[-1] == pytest.approx(case["expected"]["relative_to_last"], abs=case["tolerance"])


def test_an_item_that_never_lost_is_named_and_only_a_penalty_fits():
    case = CASES["bradley_terry_not_connected"]
    links = connectivity(wins_of(case))
    assert (links.never_lost, links.never_won, links.never_compared) == ((0,), (2,), ())
    assert links.n_groups == 3
    with pytest.raises(ValueError, match="penalty"):
        bradley_terry(wins_of(case))
    found = bradley_terry(wins_of(case), UNCONNECTED_PENALTY)
    assert found.log_strengths == pytest.approx(case["expected"]["l2_penalty_0.01"], abs=case["tolerance"])


def test_the_standard_error_of_two_items_is_half_the_log_odds_one():
    found = bradley_terry([[0, 30], [10, 0]])
    assert found.log_strengths[0] * 2 == pytest.approx(np.log(3))
    assert found.standard_errors[0] * 2 == pytest.approx(np.sqrt(1 / 30 + 1 / 10), rel=1e-6)


def test_weights_from_pairs_are_those_of_statsmodels_and_scikit_learn():
    case = CASES["reward_weights_from_pairs"]
    x = np.array(case["input"]["features_left"]) - np.array(case["input"]["features_right"])
    chosen, expected = case["input"]["left_preferred"], case["expected"]
    found = pair_weights(x, chosen)
    assert found.weights == pytest.approx(expected["weights_mle"], abs=case["tolerance"])
    assert found.standard_errors == pytest.approx(expected["standard_errors"], abs=case["tolerance"])
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], abs=case["tolerance"])
    assert (found.l2, found.is_separable) == (0.0, False)
    ridged = pair_weights(x, chosen, l2=1.0)
    assert ridged.weights == pytest.approx(expected["weights_l2_C1"], abs=case["tolerance"])


def test_sixty_pairs_leave_most_weights_loose_and_say_how_many_more():
    case = CASES["reward_weights_from_pairs"]
    x = np.array(case["input"]["features_left"]) - np.array(case["input"]["features_right"])
    first, second, third = looseness(pair_weights(x, case["input"]["left_preferred"]))
    assert (first.holds_zero, first.is_wide) == (False, True)
    assert second.holds_zero
    assert third.holds_zero
    assert first.n_more < second.n_more < third.n_more


def test_the_profile_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(11)
    truth = np.array([1.5, -0.5])
    hits = 0
    for _ in range(60):
        x = rng.uniform(-1, 1, size=(80, 2))
        fit = pair_weights(x, rng.random(80) < 1 / (1 + np.exp(-x @ truth)))
        hits += fit.low[0] <= truth[0] <= fit.high[0]
    assert 52 <= hits <= 60


def test_choices_that_one_rule_explains_are_fitted_with_a_stated_penalty():
    x = np.array([[1.0, 0.2], [-0.5, 0.1], [0.7, -0.3], [-0.9, 0.4]])
    found = pair_weights(x, x[:, 0] > 0)
    assert found.is_separable
    assert found.l2 == SEPARABLE_L2
    assert np.isfinite(found.weights).all()
    assert found.high[0] is None or found.high[0] > found.weights[0]


def test_a_signal_that_never_differed_takes_the_penalty_and_stays_at_zero():
    x = np.array([[0.5, 0.0], [-0.5, 0.0], [0.3, 0.0], [0.2, 0.0]])
    found = pair_weights(x, [1, 0, 1, 0])
    assert (found.is_separable, found.l2) == (False, SEPARABLE_L2)
    assert found.weights[1] == pytest.approx(0, abs=1e-9)
    assert looseness(found)[1].n_more is None


def test_no_choice_at_all_is_refused():
    with pytest.raises(ValueError, match="one row a choice"):
        pair_weights(np.zeros((0, 3)), [])


def test_the_next_pair_is_the_one_that_raises_the_information_most():
    rng = np.random.default_rng(3)
    asked, candidates = rng.normal(size=(12, 3)), rng.normal(size=(50, 3))
    weights = np.array([1.0, 0.3, -0.4])
    known = information(asked, weights)
    chosen = next_pair(candidates, weights, known, rng=np.random.default_rng(0))
    gains = [
        np.linalg.slogdet(information([x], weights, 0.0) + known)[1] - np.linalg.slogdet(known)[1] for x in candidates
    ]
    assert chosen == int(np.argmax(gains))


def test_the_next_pair_is_the_same_for_the_same_seed_and_none_without_candidates():
    twins = np.ones((10, 2))
    known = information([], [0.0, 0.0])
    picks = {next_pair(twins, [0.0, 0.0], known, rng=np.random.default_rng(5)) for _ in range(3)}
    assert len(picks) == 1
    assert len({next_pair(twins, [0.0, 0.0], known, rng=np.random.default_rng(seed)) for seed in range(9)}) > 1
    assert next_pair(np.zeros((0, 2)), [0.0, 0.0], known, rng=np.random.default_rng(0)) is None


def test_shares_of_the_weights_sum_to_one_in_size_and_hold_their_estimates():
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, size=(300, 3))
    fit = pair_weights(x, rng.random(300) < 1 / (1 + np.exp(-x @ [3, 1, -1])))
    found = shares(fit, rng=np.random.default_rng(0))
    assert sum(abs(share) for share, _, _ in found) == pytest.approx(1)
    assert all(low < share < high for share, low, high in found)
    assert found[2][0] < 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_bradley_terry_wins_as_often_as_it_expects_to(seed: int):
    """The likelihood's own equations: expected wins equal the wins, for every item."""
    rng = np.random.default_rng(seed)
    wins = rng.integers(1, 20, size=(4, 4)).astype(float)
    np.fill_diagonal(wins, 0)
    theta = np.array(bradley_terry(wins).log_strengths)
    p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    assert ((wins + wins.T) * p).sum(axis=1) - np.diag((wins + wins.T) * p) == pytest.approx(wins.sum(axis=1), abs=1e-6)


def test_forty_asked_pairs_leave_smaller_errors_than_forty_drawn_ones():
    """The weights that foresee the answers are fitted under the prior: bare ones are too sure, and ask badly."""
    truth = np.array([3.0, 1.5, 1.0, 0.5])
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(6):
        for is_asked in errors:
            rng = np.random.default_rng(seed)
            x, y, weights = np.zeros((0, 4)), [], np.zeros(4)
            for number in range(40):
                candidates = rng.random((200, 4)) - rng.random((200, 4))
                if number and number % 8 == 0:
                    weights = np.array(pair_weights(x, y, l2=PRIOR_L2, profile=False).weights)
                pick = next_pair(candidates, weights, information(x, weights), rng=rng) if is_asked else 0
                x = np.vstack([x, candidates[pick]])
                y.append(rng.random() < 1 / (1 + np.exp(-candidates[pick] @ truth)))
            errors[is_asked].append(float(np.median(pair_weights(x, y, profile=False).standard_errors)))
    assert np.median(errors[True]) < 0.85 * np.median(errors[False])
