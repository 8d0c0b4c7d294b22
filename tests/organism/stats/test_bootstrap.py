import numpy as np
import pytest

from organism.stats import bootstrap
from organism.stats.bootstrap import paired_bootstrap, ratio_bootstrap, ratios_bootstrap
from organism.stats.compare import interval, ratio_of_sums
from organism.stats.moments import moments


def talkative_users(rng: np.random.Generator, users: int = 80) -> tuple[np.ndarray, ...]:
    rows = rng.integers(2, 12, size=users)
    cluster = np.repeat(np.arange(users), rows)
    habit = np.repeat(rng.normal(0, 0.08, size=users), rows)
    den = rng.integers(200, 400, size=len(cluster)).astype(float)
    before = den * np.clip(0.5 + habit + rng.normal(0, 0.05, len(cluster)), 0, 1)
    after = den * np.clip(0.65 + habit + rng.normal(0, 0.05, len(cluster)), 0, 1)
    return before, after, den, cluster


def test_a_ratios_interval_agrees_with_the_delta_method_over_users():
    rng = np.random.default_rng(1)
    before, _, den, cluster = talkative_users(rng)
    found = ratio_bootstrap(before, den, cluster, rng=rng, n=4000)
    sums = np.column_stack([np.bincount(cluster, before), np.bincount(cluster, den)])
    exact = interval(ratio_of_sums(moments(sums)))
    assert found.estimate == pytest.approx(exact.estimate, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.006)


def test_pairing_and_clustering_both_matter():
    rng = np.random.default_rng(2)
    before, after, den, cluster = talkative_users(rng)
    paired = paired_bootstrap(before, den, after, den, cluster, rng=rng)
    assert paired.estimate == pytest.approx((after.sum() - before.sum()) / den.sum())
    assert paired.low < 0.15 < paired.high
    alone = ratio_bootstrap(after, den, cluster, rng=rng)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    by_row = ratio_bootstrap(after, den, rng=rng)
    assert by_row.high - by_row.low < 0.7 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval_whatever_the_cluster_names():
    before, after, den, cluster = talkative_users(np.random.default_rng(3))
    named = [f"user-{c}" for c in cluster]
    one = paired_bootstrap(before, den, after, den, cluster, rng=np.random.default_rng(9))
    assert paired_bootstrap(before, den, after, den, named, rng=np.random.default_rng(9)) == one


def test_blocks_keep_memory_small_and_change_nothing_about_coverage(monkeypatch):
    before, _, den, cluster = talkative_users(np.random.default_rng(4))
    whole = ratio_bootstrap(before, den, cluster, rng=np.random.default_rng(5))
    monkeypatch.setattr(bootstrap, "MAX_CELLS", 800)
    assert ratio_bootstrap(before, den, cluster, rng=np.random.default_rng(5)) == whole


def test_one_user_gives_no_interval_and_no_denominator_gives_nothing():
    rng = np.random.default_rng(6)
    assert ratio_bootstrap([1, 2], [4, 4], ["a", "a"], rng=rng) == (0.375, None, None)
    assert ratio_bootstrap([0, 0], [0, 0], rng=rng) == (None, None, None)
    assert paired_bootstrap([1], [2], [1], [0], rng=rng) == (None, None, None)


def test_a_cluster_name_is_wanted_for_each_row():
    with pytest.raises(ValueError, match="one cluster a row"):
        ratio_bootstrap([1, 2], [4, 4], ["a"], rng=np.random.default_rng(0))


def test_several_ratios_from_the_same_resamples_are_each_as_alone():
    before, after, den, cluster = talkative_users(np.random.default_rng(3))
    nothing = np.zeros(len(den))
    pairs = [(before, den), (after, den), (before, nothing)]
    together = ratios_bootstrap(pairs, cluster, rng=np.random.default_rng(0), n=300)
    for (num, by), found in zip(pairs, together, strict=True):
        assert found == pytest.approx(ratio_bootstrap(num, by, cluster, rng=np.random.default_rng(0), n=300))
    assert together[2] == (None, None, None)
    assert ratios_bootstrap([([], [])], rng=np.random.default_rng(0)) == [(None, None, None)]
