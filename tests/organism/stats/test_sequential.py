import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from organism.stats.compare import Estimate, standard_error
from organism.stats.sequential import (
    Alternative,
    confidence_sequence,
    critical_value,
    one_sided_sequence,
    rho,
)

# Golden numbers from gbstats at growthbook 8f1db445 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


def peer(case: str, call: str) -> dict:
    return next(e for e in CASES[case]["expected"] if call in e["call"])["values"]


def arm(n: int, total: float, squares: float) -> Estimate:
    mean = total / n
    return Estimate(mean, (squares - n * mean**2) / (n - 1) / n, n)


def arms(case: str) -> tuple[Estimate, Estimate]:
    return tuple(
        arm(side["n"], side["sum"], side["sum_squares"])
        for side in (CASES[case]["inputs"]["control"], CASES[case]["inputs"]["treatment"])
    )


def sequence_of(control: Estimate, treatment: Estimate, **options):
    error = sqrt(control.variance + treatment.variance)
    return confidence_sequence(treatment.value - control.value, error, control.n + treatment.n, **options)


@pytest.mark.parametrize(("call", "tuning"), [("SequentialTwoSidedTTest absolute, N*=5000", 5000), ("N*=1000", 1000)])
def test_the_sequence_equals_growthbooks(call, tuning):
    wanted = peer("sequential_asymptotic_cs", call)
    found = sequence_of(*arms("sequential_asymptotic_cs"), tuning=tuning)
    assert (found.low, found.high) == pytest.approx(tuple(wanted["ci"]), rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)


def test_the_sequence_of_a_relative_effect_and_of_proportions_equal_growthbooks():
    control, treatment = arms("sequential_asymptotic_cs")
    wanted = peer("sequential_asymptotic_cs", "relative")
    error = sqrt(treatment.variance / control.value**2 + control.variance * treatment.value**2 / control.value**4)
    assert error == pytest.approx(wanted["se"], rel=1e-9)
    found = confidence_sequence(treatment.value / control.value - 1, error, control.n + treatment.n)
    assert (found.low, found.high) == pytest.approx(tuple(wanted["ci"]), rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    wanted = peer("sequential_asymptotic_cs", "proportions")
    shares = [Estimate(k / n, k / n * (1 - k / n) / n, n) for k, n in ((312, 2400), (356, 2350))]
    found = sequence_of(*shares)
    assert (found.low, found.high) == pytest.approx(tuple(wanted["ci"]), rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)


def test_rho_and_the_half_widths_equal_growthbooks():
    wanted = peer("sequential_asymptotic_cs", "sequential_rho")
    assert rho() == pytest.approx(wanted["two_sided_default"], rel=1e-9)
    assert rho(one_sided=True) == pytest.approx(wanted["one_sided_default"], rel=1e-9)
    assert rho(1000) == pytest.approx(wanted["two_sided_1000"], rel=1e-9)
    assert rho(alpha=0.01) == pytest.approx(wanted["two_sided_a01"], rel=1e-9)
    for case in peer("sequential_asymptotic_cs", "half widths"):
        for side in ("two_sided", "one_sided"):
            critical = critical_value(
                case["n"], alpha=case["alpha"], tuning=case["tuning"], one_sided=side == "one_sided"
            )
            assert critical * sqrt(case["s2"] / case["n"]) == pytest.approx(case[side], rel=1e-9)


@pytest.mark.parametrize(("side", "sign"), [(Alternative.GREATER, 1), (Alternative.LESS, -1)])
def test_the_one_sided_bound_equals_growthbooks(side, sign):
    control, treatment = arms("sequential_one_sided")
    wanted = peer("sequential_one_sided", "Greater")
    found = one_sided_sequence(sign * wanted["effect"], wanted["se"], control.n + treatment.n, alternative=side)
    assert found.bound == pytest.approx(sign * wanted["ci"][0], rel=1e-9)


def test_the_one_sided_p_is_the_root_that_growthbooks_bisection_nears():
    # GrowthBook bisects alpha in [1e-5, 0.4999] until its bound is within 1e-6 of 0, and then halves once more: with
    # its steps our bound gives its figure to every digit, and the closed form is 2e-5 of it away.
    wanted = peer("sequential_one_sided", "Greater")
    n = (
        CASES["sequential_one_sided"]["inputs"]["control"]["n"]
        + CASES["sequential_one_sided"]["inputs"]["treatment"]["n"]
    )
    x = n * rho(one_sided=True) ** 2

    def bound(alpha: float) -> float:
        return wanted["effect"] - wanted["se"] * sqrt(2 * (x + 1) / x * np.log(1 + sqrt(x + 1) / (2 * alpha)))

    low, high, alpha, distance = 1e-5, 0.4999, 0.5 * (1e-5 + 0.4999), 1.0
    while abs(distance) >= 1e-6:
        distance = bound(alpha)
        low, high = (alpha, high) if distance < 0 else (low, alpha)
        alpha = (low + high) / 2
    found = one_sided_sequence(wanted["effect"], wanted["se"], n)
    assert abs(bound(found.p_value)) < 1e-12
    assert found.p_value == pytest.approx(wanted["p_value"], rel=3e-5)
    assert alpha == pytest.approx(wanted["p_value"], rel=1e-5)


def test_a_margin_moves_the_null_and_not_the_bound():
    plain = one_sided_sequence(0.1, 0.05, 4000)
    shifted = one_sided_sequence(0.1, 0.05, 4000, margin=-0.2)
    assert shifted.bound == plain.bound
    assert shifted.p_value == pytest.approx(one_sided_sequence(0.3, 0.05, 4000).p_value, rel=1e-12)
    assert shifted.p_value < plain.p_value


def test_the_sequence_is_tightest_near_its_tuning():
    widths = {n: critical_value(n, tuning=2000) for n in (100, 500, 1000, 2000, 4000, 10_000, 100_000)}
    assert min(widths, key=widths.__getitem__) == 2000


def test_few_users_an_arm_widen_the_sequence_by_students_t():
    control, treatment = Estimate(0.0, 1.0, 3), Estimate(4.0, 0.01, 20_000)
    error, degrees = standard_error(control, treatment)
    plain = confidence_sequence(4.0, error, 20_003)
    careful = confidence_sequence(4.0, error, 20_003, degrees=degrees)
    assert careful.high - careful.low > plain.high - plain.low
    assert careful.high - 4.0 > 4.2 * error
    assert careful.p_value > plain.p_value


@pytest.mark.parametrize(
    ("effect", "error", "n"),
    [(None, 0.1, 100), (0.1, None, 100), (0.1, 0.0, 100), (0.1, 0.1, 1), (np.inf, 0.1, 100), (0.1, np.nan, 100)],
)
def test_where_the_data_cannot_say_all_is_none(effect, error, n):
    assert confidence_sequence(effect, error, n) == (None, None, None)
    assert one_sided_sequence(effect, error, n) == (None, None)


def test_no_effect_has_p_1_and_a_huge_one_p_0_without_a_warning():
    assert confidence_sequence(0.0, 1.0, 1000).p_value == 1.0
    assert one_sided_sequence(0.0, 1.0, 1000).p_value == 1.0
    assert one_sided_sequence(-1e9, 1.0, 1000).p_value == 1.0
    assert confidence_sequence(1e9, 1.0, 1000).p_value == 0.0
    assert one_sided_sequence(1e9, 1.0, 1000).p_value < 1e-300


def test_a_level_that_is_none_is_refused():
    with pytest.raises(ValueError, match="alpha must lie between"):
        confidence_sequence(0.1, 0.1, 100, alpha=0.7)
    with pytest.raises(ValueError, match="tuning above 0"):
        confidence_sequence(0.1, 0.1, 100, tuning=0)


def test_thirty_looks_at_nothing_raise_few_alarms():
    # 400 A/A experiments here; bench/false_alarms.py has 4,000. A z-test at every look raises over 100 of them.
    rng = np.random.default_rng(1)
    looks = np.linspace(200, 6000, 30).astype(int)
    alarms = naive = 0
    for _ in range(400):
        y = rng.normal(size=(2, 3000)).cumsum(axis=1)[:, looks // 2 - 1]
        effects, errors = (y[1] - y[0]) / (looks // 2), np.sqrt(4 / looks)
        found = [confidence_sequence(d, s, n) for d, s, n in zip(effects, errors, looks, strict=True)]
        alarms += any(one.p_value <= 0.05 for one in found)
        naive += bool((np.abs(effects / errors) > 1.96).any())
    assert alarms <= 20
    assert naive > 80
