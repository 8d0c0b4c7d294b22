import numpy as np
import pytest

from organism.experiment.novelty import read_novelty
from organism.store.experiment_days import PeriodPart, Periods

N_PERIODS = 5


def arm(variant: str, effect: np.ndarray, seed: int, n: int = 80):
    """One variant's part, and the users it is made of: numerators and denominators, (n, periods)."""
    rng = np.random.default_rng(seed)
    den = rng.integers(0, 4, (n, N_PERIODS)) * 100.0
    num = den * np.clip(0.5 + effect + rng.normal(0, 0.1, (n, 1)) + rng.normal(0, 0.05, den.shape), 0, 1)
    return part(variant, num, den), (num, den)


def part(variant: str, num: np.ndarray, den: np.ndarray) -> PeriodPart:
    ratios = num.sum(axis=0) / den.sum(axis=0)
    residuals = num - ratios * den
    return PeriodPart(
        variant,
        len(num),
        tuple((den > 0).sum(axis=0).tolist()),
        tuple(den.sum(axis=0).tolist()),
        tuple(ratios.tolist()),
        tuple(tuple(row) for row in (residuals.T @ residuals).tolist()),
    )


def slope_of(arms) -> float:
    """The weighted line through the effects by numpy, harmonic means of the denominators as weights."""
    (num_c, den_c), (num_t, den_t) = arms
    totals = np.array([den_c.sum(axis=0), den_t.sum(axis=0)])
    effects = num_t.sum(axis=0) / totals[1] - num_c.sum(axis=0) / totals[0]
    weight = totals.prod(axis=0) / totals.sum(axis=0)
    return float(np.polyfit(np.arange(N_PERIODS) + 0.5, effects, 1, w=np.sqrt(weight))[0])


def test_the_slope_is_the_weighted_line_and_its_error_that_of_users_left_out_one_by_one():
    flat = np.zeros(N_PERIODS)
    (control, c), (treated, t) = arm("base", flat, 1), arm("new", 0.1 - 0.02 * np.arange(N_PERIODS), 2)
    found = read_novelty(Periods(1, (control, treated)), "base", "new", 0.05)
    assert found.slope == pytest.approx(slope_of((c, t)), rel=1e-9)
    half = (found.slope_high - found.slope_low) / 2
    left = (
        [slope_of((tuple(np.delete(one, n, axis=0) for one in c), t)) for n in range(80)],
        [slope_of((c, tuple(np.delete(one, n, axis=0) for one in t))) for n in range(80)],
    )
    jackknife = np.sqrt(sum(79 * np.var(one) for one in left))
    assert half / 1.975 == pytest.approx(jackknife, rel=0.05)
    assert found.sentence.startswith("The effect wears off as users get used to it")


def test_an_effect_that_stays_shows_no_sign_of_a_change():
    (control, _), (treated, _) = arm("base", np.zeros(N_PERIODS), 3), arm("new", np.full(N_PERIODS, 0.1), 4)
    found = read_novelty(Periods(2, (control, treated)), "base", "new", 0.05)
    assert found.slope_low < 0 < found.slope_high
    assert "No sign that the effect changes" in found.sentence
    assert [day.day for day in found.days] == [0, 2, 4, 6, 8]
    assert all(day.low < day.effect < day.high for day in found.days)


def test_the_slope_test_keeps_its_error_rate_though_users_stand_in_every_period():
    false = 0
    for n in range(400):
        (control, _), (treated, _) = (
            arm(name, np.zeros(N_PERIODS), 2 * n + i) for i, name in enumerate(("base", "new"))
        )
        false += read_novelty(Periods(1, (control, treated)), "base", "new", 0.05).slope_p < 0.05
    assert 0.02 < false / 400 < 0.085


def test_one_period_or_one_variant_tells_no_trend():
    num, den = np.array([[50.0], [60.0]]), np.full((2, 1), 100.0)
    found = read_novelty(Periods(1, (part("base", num, den), part("new", num + 5, den))), "base", "new", 0.05)
    assert found.slope is None
    assert found.days[0].effect == pytest.approx(0.05)
    assert "no trend can be told" in found.sentence
    assert read_novelty(Periods(1, (part("base", num, den),)), "base", "new", 0.05) is None
    assert read_novelty(None, "base", "new", 0.05) is None


def test_a_period_has_the_degrees_of_freedom_of_its_own_users():
    effect = np.zeros(N_PERIODS)
    (control, (num, den)), (treated, _) = arm("base", effect, 5), arm("new", effect, 6)
    num, den = num.copy(), den.copy()
    num[4:, 3], den[4:, 3] = 0.0, 0.0
    den[:4, 3] = 100.0
    control = part("base", num, den)
    assert control.n_users[3] == 4
    found = read_novelty(Periods(1, (control, treated)), "base", "new", 0.05).days[3]
    alone = [
        part(one.variant, *(both[both[:, 1] > 0][:, [0]], both[both[:, 1] > 0][:, [1]]))
        for one, both in ((control, np.column_stack([num[:, 3], den[:, 3]])), (treated, _third(6)))
    ]
    wanted = read_novelty(Periods(1, tuple(alone)), "base", "new", 0.05).days[0]
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)


def _third(seed: int) -> np.ndarray:
    num, den = arm("new", np.zeros(N_PERIODS), seed)[1]
    return np.column_stack([num[:, 3], den[:, 3]])
