"""The A/A self-test: users stay whole, ours keeps its promise, the naive does not, and what cannot be said is said."""

from datetime import timedelta

import numpy as np
import pytest

from organism.errors import DesignError, InputError
from organism.experiment.flow import evidence_of
from organism.experiment.selftest import Question, labels, permuted, self_test
from organism.experiment.selftest_flow import self_test_experiment, self_test_loop
from organism.stats.compare import difference, mean_of, ratio_of_sums
from organism.stats.moments import moments
from organism.store.self_test_users import UserRows, UserSums
from tests.organism.experiment.conftest import NOW
from tests.organism.experiment.running import run

ASKED = Question("made up", "value")


def made(n_users: int = 300, correlation: float = 0.5, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Whose each request is, and its value; users have 1 to 20."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(n_users), rng.integers(1, 21, n_users))
    value = np.sqrt(correlation) * rng.normal(size=n_users)[owner]
    return owner, value + np.sqrt(1 - correlation) * rng.normal(size=len(owner))


def sums_of(owner: np.ndarray, value: np.ndarray) -> UserSums:
    left = value - value.mean()
    columns = [np.bincount(owner, part) for part in (left, left * 0 + 1, left * 0 + 1, left**2, left, left * 0 + 1)]
    return UserSums(np.column_stack(columns), float(value.mean()), 1.0)


def rows_of(owner: np.ndarray, value: np.ndarray, probability: float) -> UserRows:
    order = np.argsort(value)
    return UserRows(owner[order], value[order], int(owner.max()) + 1, probability)


def test_users_are_swapped_whole_and_both_tests_are_those_of_the_product() -> None:
    owner, value = made(40)
    found = permuted(sums_of(owner, value), 15, 100, seed=7)
    splits = labels(np.random.default_rng(7), 100, 40, 15)
    assert (splits.sum(axis=1) == 15).all()
    assert len({tuple(split) for split in splits.tolist()}) == 100
    for k in (0, 50, 99):
        masks = [splits[k][owner] == arm for arm in (0, 1)]
        assert not set(owner[masks[0]]) & set(owner[masks[1]]), "all requests of a user are in one arm"
        by_user = []
        for mask in masks:
            users, number = np.unique(owner[mask], return_inverse=True)
            assert len(users) in (15, 25)
            by_user.append(moments(np.column_stack([np.bincount(number, value[mask]), np.bincount(number)])))
        ours = difference(*(ratio_of_sums(arm) for arm in by_user))
        naive = difference(*(mean_of(moments(value[mask][:, None])) for mask in masks), use_t=False)
        assert found.ours[k] == pytest.approx(ours.p_value, rel=1e-6)
        assert found.naive[k] == pytest.approx(naive.p_value, rel=1e-6)


def test_by_user_the_promise_is_kept_and_by_request_it_is_not() -> None:
    found = self_test(sums_of(*made()), ASKED._replace(permutations=2000))
    assert found.ours.rate is not None
    assert 0.03 < found.ours.rate < 0.07
    assert found.naive.low is not None
    assert found.naive.low > 0.15
    assert found.design_effect is not None
    assert found.design_effect > 3
    assert "By user the promise of 5% is kept" in found.sentence
    assert "cries wolf" in found.sentence
    assert sum(one.ours for one in found.histogram) == sum(one.naive for one in found.histogram) == 2000
    assert found == self_test(sums_of(*made()), ASKED._replace(permutations=2000)), "the seed decides"


def test_requests_that_do_not_resemble_each_other_hurt_nobody() -> None:
    found = self_test(sums_of(*made(correlation=0.0)), ASKED)
    assert found.naive.rate is not None
    assert 0.02 < found.naive.rate < 0.09
    assert found.design_effect == pytest.approx(1, abs=0.2)


def test_a_quantile_clustered_by_user_keeps_its_promise() -> None:
    found = self_test(rows_of(*made(), 0.9), ASKED._replace(permutations=400))
    assert found.ours.rate is not None
    assert 0.02 < found.ours.rate < 0.10
    assert found.naive.low is not None
    assert found.naive.low > 0.12


def test_few_users_are_said_and_equal_values_are_refused() -> None:
    few = self_test(sums_of(*made(9)), ASKED)
    assert "Only 4 users" in few.notes[0]
    assert "only 126 ways" in few.notes[1]
    with pytest.raises(DesignError, match="at least two in each"):
        self_test(sums_of(*made(3)), ASKED)
    owner = np.repeat(np.arange(30), 3)
    for constant in (0.0, 0.3, 1e8):
        with pytest.raises(DesignError, match="no spread"):
            self_test(sums_of(owner, np.full(90, constant)), ASKED)


@pytest.mark.parametrize("change", [{"alpha": 0.0}, {"alpha": 0.7}, {"permutations": 5}, {"seed": -1}])
def test_bad_settings_are_a_sentence(change: dict[str, float]) -> None:
    with pytest.raises(DesignError, match="wanted"):
        self_test(sums_of(*made()), ASKED._replace(**change))


def test_an_experiment_is_tested_on_its_own_users_whatever_its_effect(store, experiment_id, traffic) -> None:
    traffic(80, 6, retained=(30, 80))
    found = self_test_experiment(store, experiment_id)
    card = evidence_of(store, experiment_id, NOW + timedelta(days=30))
    counts = [card.sums.metrics["retained_char_rate"][name].n for name in ("base", "scribe-2")]
    assert [found.n_control, found.n_treatment] == counts
    assert (found.n_requests, found.metric) == (480, "retained_char_rate")
    assert found.ours.rate is not None
    assert 0.03 < found.ours.rate < 0.075
    assert found.naive.low is not None
    assert found.naive.low > 0.3, "arms mixed anew: users differ, drafts repeat them"
    assert self_test_experiment(store, experiment_id, metric="latency_ms.p50", permutations=100).n_users == 80


def test_a_loop_is_tested_on_all_of_its_users_in_its_last_weeks(store, events) -> None:
    for user in range(30):
        for week in range(4):
            events.answered(f"u{user}", 20 + 2 * user, NOW + timedelta(weeks=week, minutes=user))
    events.write()
    found = self_test_loop(store, events.loop_id, weeks=2, now=NOW + timedelta(weeks=9))
    assert (found.n_users, found.n_requests) == (30, 60)
    assert found.source == "the loop's last 2 weeks"
    with pytest.raises(DesignError, match="no metric of this loop"):
        self_test_loop(store, events.loop_id, metric="nope", now=NOW)
    with pytest.raises(DesignError, match="weeks"):
        self_test_loop(store, events.loop_id, weeks=0, now=NOW)


def test_nobody_an_unknown_treatment_and_shares_that_followed_the_results_are_a_sentence(store, events) -> None:
    experiment_id = run(store, events.loop_id)
    with pytest.raises(DesignError, match="nobody has this metric"):
        self_test_experiment(store, experiment_id)
    with pytest.raises(InputError, match="it has b"):
        self_test_experiment(store, experiment_id, treatment="z")
    with pytest.raises(DesignError, match="followed its results"):
        self_test_experiment(store, run(store, events.loop_id, "second", versions=("c", "d"), policy="thompson"))


def test_a_median_of_few_values_is_no_surer_than_it_promises() -> None:
    owner, value = made(200, 0.5, seed=4)
    for n_values in (20, 30):
        steps = np.quantile(value, np.linspace(0, 1, n_values + 1)[1:-1])
        found = permuted(rows_of(owner, np.searchsorted(steps, value).astype(float), 0.5), 100, 200, seed=1)
        known = found.ours[np.isfinite(found.ours)]
        assert len(known) > 150
        assert (known <= 0.05).mean() <= 0.05
