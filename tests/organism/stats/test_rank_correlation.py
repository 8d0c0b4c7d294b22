"""Spearman's rho over all rows, within groups and by user: against scipy, and against resampling by copying rows."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from organism.stats.rank_correlation import calibration, rank_correlation, rank_correlation_change


def table(seed: int, n: int = 400, n_users: int = 30):
    """Rows with ties on both sides, in three groups of different size."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, n).astype(float)
    y = (x + rng.normal(scale=6, size=n) > 6).astype(float)
    return x, y, rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]), rng.integers(0, n_users, n), rng


@pytest.mark.parametrize("seed", range(5))
def test_estimates_equal_scipy_over_all_and_as_the_weighted_mean_within_groups(seed):
    x, y, groups, users, rng = table(seed)
    found = rank_correlation(x, y, groups=groups, users=users, rng=rng, n=50)
    assert found.overall.estimate == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    own = {g: spearmanr(x[groups == g], y[groups == g]).statistic for g in "abc"}
    assert {g: found.groups[g].estimate for g in "abc"} == pytest.approx(own, abs=1e-12)
    counts = np.array([(groups == g).sum() for g in "abc"])
    assert found.within.estimate == pytest.approx(counts @ np.array(list(own.values())) / 400, abs=1e-12)
    assert (found.n_rows, found.n_users) == (400, len(set(users)))


def test_a_resample_is_ranked_anew_exactly_as_if_its_rows_were_copied():
    x, y, groups, users, _ = table(7, n=120, n_users=9)
    found = rank_correlation(x, y, groups=groups, users=users, rng=np.random.default_rng(3), n=40)
    codes, names = pd.factorize(users)
    drawn = np.random.default_rng(3).integers(0, len(names), size=(len(names), 40))
    copied = []
    for resample in drawn.T:
        rows = np.concatenate([np.flatnonzero(codes == user) for user in resample])
        copied.append(spearmanr(x[rows], y[rows]).statistic)
    assert (found.overall.low, found.overall.high) == pytest.approx(np.quantile(copied, [0.025, 0.975]), abs=1e-12)


def test_a_correlation_that_is_only_between_groups_is_seen_over_all_and_not_within():
    rng = np.random.default_rng(0)
    groups = np.repeat(["old", "new"], 600)
    lift = (groups == "new") * 2.0
    x, y = lift + rng.normal(size=1200), lift + rng.normal(size=1200)
    found = rank_correlation(x, y, groups=groups, users=rng.integers(0, 80, 1200), rng=rng, n=300)
    assert found.overall.low > 0.3
    assert found.within.low < 0 < found.within.high


def test_rows_of_one_user_are_drawn_together_so_that_a_loud_user_is_no_evidence():
    rng = np.random.default_rng(1)
    values = rng.normal(size=20)
    users = np.repeat(np.arange(20), 50)
    other = rng.normal(size=20)
    x, y = values[users] + rng.normal(scale=0.01, size=1000), other[users] + rng.normal(scale=0.01, size=1000)
    clustered = rank_correlation(x, y, groups=np.zeros(1000), users=users, rng=rng, n=300).overall
    alone = rank_correlation(x, y, groups=np.zeros(1000), users=np.arange(1000), rng=rng, n=300).overall
    assert clustered.high - clustered.low > 4 * (alone.high - alone.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(150):
        own = rng.normal(size=(60, 2))
        users = np.repeat(np.arange(60), 8)
        x, y = own[users, 0] + rng.normal(size=480), own[users, 1] + rng.normal(size=480)
        found = rank_correlation(x, y, groups=np.zeros(480), users=users, rng=rng, n=200).overall
        hits += found.low <= 0 <= found.high
    assert hits / 150 > 0.88


def test_the_change_between_arms_is_the_difference_of_their_correlations():
    rng = np.random.default_rng(4)
    arm = np.repeat([False, True], 500)
    x = rng.normal(size=1000)
    y = np.where(arm, rng.normal(size=1000), x + rng.normal(size=1000))
    users = rng.integers(0, 60, 1000)
    control, treatment, change = rank_correlation_change(x, y, is_treatment=arm, users=users, rng=rng, n=300)
    assert control.low > 0.5
    assert treatment.low < 0 < treatment.high
    assert change.estimate == pytest.approx(treatment.estimate - control.estimate)
    assert change.high < -0.4
    assert rank_correlation_change(x, y, is_treatment=arm * 0, users=users, rng=rng)[2].estimate is None


def test_what_cannot_be_said_is_none_and_missing_rows_are_left_out():
    rng = np.random.default_rng(0)
    nothing = rank_correlation([], [], groups=[], users=[], rng=rng)
    assert (nothing.overall, nothing.within, nothing.n_rows) == ((None, None, None), (None, None, None), 0)
    flat = rank_correlation([1, 2, 3], [5, 5, 5], groups=["a"] * 3, users=[1, 2, 3], rng=rng)
    assert flat.overall.estimate is None
    alone = rank_correlation([1, 2, 3], [1, 2, 3], groups=["a"] * 3, users=[1, 1, 1], rng=rng)
    assert alone.overall == (pytest.approx(1), None, None)
    holes = rank_correlation([1, np.nan, 3, 2], [1, 7, 3, np.inf], groups=["a"] * 4, users=range(4), rng=rng)
    assert (holes.n_rows, holes.overall.estimate) == (2, pytest.approx(1))
    with pytest.raises(ValueError, match="equal numbers"):
        rank_correlation([1, 2], [1], groups=["a"], users=[1], rng=rng)


def test_calibration_gives_the_mean_outcome_by_tenth_and_keeps_ties_together():
    rng = np.random.default_rng(0)
    score = np.round(rng.uniform(size=2000), 2)
    outcome = (rng.uniform(size=2000) < score).astype(float)
    found = calibration(score, outcome, users=rng.integers(0, 80, 2000))
    assert found["n_rows"].sum() == 2000
    assert (found["score_low"].iloc[1:].to_numpy() > found["score_high"].iloc[:-1].to_numpy()).all()
    assert ((found["low"] < found["score_mean"]) & (found["score_mean"] < found["high"])).sum() >= 8
    tied = calibration(np.repeat([0.0, 1.0], [900, 100]), np.arange(1000) % 2, users=np.arange(1000))
    assert tied["n_rows"].tolist() == [900, 100]
    assert calibration([], [], users=[]).empty
    assert pd.isna(calibration([1.0, 2.0], [0, 1], users=["a", "a"])["low"]).all()


def test_a_thousand_resamples_of_the_demo_s_size_take_under_two_seconds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=3300)
    began = time.process_time()
    rank_correlation(x, x + rng.normal(size=3300), groups=x > 0, users=rng.integers(0, 60, 3300), rng=rng, n=1000)
    assert time.process_time() - began < 2
