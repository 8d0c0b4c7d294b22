"""Made-up experiments: rates at a fixed seed lie where theory puts them, and bad settings are a sentence."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from organism.errors import DesignError
from organism.experiment.simulate import Kind, Method, Outcome, Setting, draw_requests, simulate
from organism.stats.power import Design, sample_size

USUAL = Setting(users=200, experiments=1000)


def outcomes(setting: Setting) -> dict[Method, Outcome]:
    return {one.method: one for one in simulate(setting).outcomes}


@pytest.mark.parametrize("kind", list(Kind))
def test_without_an_effect_ours_keeps_alpha_and_the_naive_does_not(kind: Kind) -> None:
    found = outcomes(replace(USUAL, kind=kind))
    assert found[Method.FIXED].called.low < 0.05 < found[Method.FIXED].called.high
    assert found[Method.NAIVE].called.low > 0.15
    assert found[Method.SEQUENCE].called.high < 0.05
    assert found[Method.FIXED].stopped_early.estimate == 0
    assert found[Method.FIXED].users_at_stop.estimate == 400


def test_peeking_breaks_the_fixed_test_and_not_the_sequence() -> None:
    found = outcomes(replace(USUAL, looks=20))
    assert found[Method.FIXED].called.low > 0.15
    assert found[Method.FIXED].called_at_end.low < 0.05 < found[Method.FIXED].called_at_end.high
    assert found[Method.SEQUENCE].called.low < 0.05
    assert found[Method.FIXED].users_at_stop.high < 400


@pytest.mark.parametrize("kind", list(Kind))
def test_power_rises_with_the_effect_and_users_are_saved(kind: Kind) -> None:
    setting = replace(USUAL, kind=kind, looks=10, baseline=0.3)
    effects = (0.0, 0.1, 0.2) if kind is not Kind.PROPORTION else (0.0, 0.05, 0.1)
    found = [outcomes(replace(setting, effect=effect)) for effect in effects]
    for method in Method:
        rates = [one[method].called.estimate for one in found]
        assert rates == sorted(rates)
        assert rates[0] < rates[-1]
        users = [one[method].users_at_stop.estimate for one in found]
        assert users == sorted(users, reverse=True)
    assert found[2][Method.SEQUENCE].called.estimate > 0.4


def test_one_look_has_the_power_that_the_design_promises() -> None:
    n = sample_size(Design(variance=1.0), 0.3)
    assert n is not None
    found = outcomes(Setting(users=round(n / 2), requests=1, effect=0.3, methods=(Method.FIXED,), experiments=4000))
    assert found[Method.FIXED].called.low < 0.8 < found[Method.FIXED].called.high + 0.01


def test_correlation_and_requests_are_as_asked() -> None:
    drawn = draw_requests(np.random.default_rng(0), 13.6, 200_000)
    assert drawn.min() == 1
    assert drawn.mean() == pytest.approx(13.6, rel=0.02)
    alone = outcomes(replace(USUAL, correlation=0.0))[Method.NAIVE].called
    assert alone.low < 0.05 < alone.high, "without correlation requests may be counted"


def test_progress_ends_at_all_of_them_and_the_seed_decides() -> None:
    told: list[float] = []
    first = simulate(USUAL, lambda stage, share, text: told.append(share))
    assert told[-1] == 1
    assert first == simulate(USUAL)
    assert first != simulate(replace(USUAL, seed=1))


@pytest.mark.parametrize(
    "change",
    [
        {"users": 1}, {"looks": 0}, {"users": 20, "looks": 11}, {"experiments": 5}, {"requests": 0.5},
        {"requests": nan}, {"baseline": 0.0}, {"correlation": 1.1}, {"alpha": 0.5}, {"effect": inf},
        {"kind": Kind.PROPORTION, "effect": 0.95},
        {"methods": ()}, {"methods": (Method.FIXED, Method.FIXED)}, {"seed": -1}, {"tuning": 0.0},
    ],
)  # fmt: skip
def test_a_bad_setting_is_one_sentence(change: dict[str, object]) -> None:
    with pytest.raises(DesignError) as told:
        simulate(replace(USUAL, **change))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("correlation", [0.0, 1.0])
def test_both_ends_of_the_correlation_can_be_drawn(correlation: float) -> None:
    for kind in Kind:
        found = outcomes(replace(USUAL, kind=kind, correlation=correlation, methods=(Method.FIXED,), baseline=0.3))
        assert found[Method.FIXED].called.low < 0.05 < found[Method.FIXED].called.high
