import numpy as np
import pytest

from organism.experiment.analysis import settings_of
from organism.experiment.evidence import Design
from organism.experiment.reward_flips import read_flips
from organism.experiment.rules import judge
from organism.records import SignalSpec
from organism.stats.compare import difference, ratio_of_sums
from organism.stats.moments import combine, moments
from tests.organism.experiment.made_evidence import evidence, users

SIGNALS = ("accepted", "cost_usd", "latency_ms")
WEIGHTS = (0.5, 0.2, 0.3)


def drawn(seed: int, shift: tuple[float, ...]):
    """60 users of some rows each, with utilities around one half that this much moves."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(3, 12, 60).astype(float)
    utilities = [rows * np.clip(rng.normal(0.5 + by, 0.08, 60), 0, 1) for by in shift]
    return moments(np.column_stack([*utilities, rows]))


@pytest.fixture
def made():
    design = Design("id", "mine", tuple(SignalSpec(s, w, 0.0, 1.0) for s, w in zip(SIGNALS, WEIGHTS, strict=True)))
    reward = {"base": drawn(1, (0, 0, 0)), "new": drawn(2, (0.10, -0.12, 0.02))}
    return evidence({"base": users(60, 50), "new": users(60, 50, seed=1)}, design=design, reward=reward)


def reward_of(made, weights, level=0.95):
    """The reward compared directly, by the delta method on the weighted sum: the oracle."""
    share = np.array(weights) / sum(weights)
    arms = [
        ratio_of_sums(combine(made.sums.reward[name], [[*share, 0.0], [0.0] * len(weights) + [1.0]]))
        for name in ("base", "new")
    ]
    return difference(*arms, level)


def test_the_composite_has_the_effect_and_error_of_the_weighted_sum(made):
    found, wanted = read_flips(made, settings_of(made), "new"), reward_of(made, WEIGHTS)
    assert found.effect == pytest.approx(wanted.effect, rel=1e-9)
    assert found.low < wanted.ci_low < wanted.ci_high < found.high
    assert judge(made).weights_flip == found


def test_at_the_flipping_weight_the_effect_is_zero_and_beyond_it_turns(made):
    flips = {flip.signal: flip for flip in read_flips(made, settings_of(made), "new").flips}
    cost = flips["cost_usd"]
    assert cost.utility_effect < 0
    assert reward_of(made, (0.5, cost.zero_at, 0.3)).effect == pytest.approx(0, abs=1e-12)
    assert (
        reward_of(made, (0.5, cost.zero_at * 1.1, 0.3)).effect
        < 0
        < reward_of(made, (0.5, cost.zero_at * 0.9, 0.3)).effect
    )
    assert flips["latency_ms"].zero_at is None


def test_at_the_weight_where_it_stops_being_sure_the_interval_ends_at_zero(made):
    found = read_flips(made, settings_of(made), "new")
    reach = (found.high - found.effect) / ((found.high - found.low) / 2)
    assert reach == pytest.approx(1)
    fixed = reward_of(made, WEIGHTS)
    wider = (found.high - found.low) / (fixed.ci_high - fixed.ci_low)
    for place, flip in enumerate(found.flips):
        if flip.unsure_at is None:
            continue
        weights = list(WEIGHTS)
        weights[place] = flip.unsure_at
        there = reward_of(made, weights)
        half = wider * (there.ci_high - there.ci_low) / 2
        assert abs(there.effect) == pytest.approx(half, rel=0.02)
    assert any(flip.unsure_at is not None for flip in found.flips)
    assert "weight of" in found.sentence


def test_without_a_design_nothing_is_said():
    bare = evidence({"base": users(20, 50), "new": users(20, 50, seed=1)})
    assert read_flips(bare, settings_of(bare), "new") is None
