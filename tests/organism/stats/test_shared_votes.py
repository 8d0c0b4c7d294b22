"""The interval of votes that share voters and items: the variance of statsmodels, and the coverage that it promises."""

from math import sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from organism.stats.shared_votes import vote_share

N_ROOMS = 400


def _room(rng: np.random.Generator, n_voters: int, n_items: int, mean: float = 0.8) -> tuple[list[float], ...]:
    """Votes of people with tastes on items that differ: (votes, voters, items) and the truth is expit's mean."""
    logits = mean + 0.5 * rng.standard_normal((n_voters, 1)) + rng.standard_normal((1, n_items))
    votes = (rng.random((n_voters, n_items)) < expit(logits)).astype(float)
    voters, items = np.meshgrid(range(n_voters), range(n_items), indexing="ij")
    return votes.ravel().tolist(), voters.ravel().tolist(), items.ravel().tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_standard_error_is_that_of_statsmodels_clustered_two_ways(seed: int) -> None:
    """statsmodels 0.15: OLS on a constant, cov_type cluster with two groups."""
    rng = np.random.default_rng(seed)
    votes, voters, items = _room(rng, 9, 14)
    seen = rng.random(len(votes)) < 0.7
    votes, voters, items = (np.asarray(column)[seen] for column in (votes, voters, items))
    votes = np.where(rng.random(len(votes)) < 0.1, 0.5, votes)
    model = sm.OLS(votes, np.ones(len(votes)))
    both = np.column_stack([voters, items]).astype(int)
    errors = [
        model.fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0] for groups in (both, both[:, 0], both[:, 1])
    ]
    found = vote_share(votes.tolist(), voters.tolist(), items.tolist())
    assert found.share == pytest.approx(votes.mean())
    assert found.standard_error == pytest.approx(max(errors), rel=1e-9)
    assert (max(errors) == errors[0]) == (seed in (0, 3)), "both cases are among the seeds"


def test_the_interval_is_wilsons_with_the_effective_number_of_votes() -> None:
    found = vote_share(*_room(np.random.default_rng(5), 12, 10))
    assert found.n_effective is not None
    low, high = proportion_confint(found.share * found.n_effective, found.n_effective, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.n_effective < found.n


def test_the_interval_covers_what_other_voters_would_say_of_other_items_and_a_plain_one_does_not() -> None:
    rng = np.random.default_rng(7)
    truth = float(expit(0.8 + sqrt(1.25) * rng.standard_normal(400_000)).mean())
    covered = plain = 0
    for _ in range(N_ROOMS):
        votes, voters, items = _room(rng, 12, 12)
        found = vote_share(votes, voters, items)
        covered += found.low <= truth <= found.high
        low, high = proportion_confint(sum(votes), len(votes), method="wilson")
        plain += low <= truth <= high
    assert covered / N_ROOMS >= 0.93
    assert plain / N_ROOMS < 0.85, "as if each vote were of a new person on a new text"


def test_a_unanimous_room_is_worth_its_fewer_clusters_and_not_certain() -> None:
    votes, voters, items = [1.0] * 30, [n // 5 for n in range(30)], [n % 5 for n in range(30)]
    found = vote_share(votes, voters, items)
    assert found.share == found.high == 1.0
    assert found.low == pytest.approx(proportion_confint(5, 5, method="wilson")[0])
    assert vote_share([0.0] * 30, voters, items).high == pytest.approx(1 - found.low)


def test_sides_are_alike() -> None:
    votes, voters, items = _room(np.random.default_rng(9), 7, 8)
    one, other = vote_share(votes, voters, items), vote_share([1 - vote for vote in votes], voters, items)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_one_voter_is_measured_by_items_and_one_vote_by_nothing() -> None:
    one = vote_share([1, 1, 0, 1], ["ann"] * 4, [0, 1, 2, 3])
    assert one.low is not None
    assert one.low < 0.75 < one.high
    assert vote_share([1.0], ["ann"], [0])[:4] == (1.0, None, None, None)
    assert vote_share([], [], []) == (None, None, None, None, 0, None)
