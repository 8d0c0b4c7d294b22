import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from organism.stats.compare import Estimate, difference, mean_of
from organism.stats.margins import equivalent, non_inferior
from organism.stats.moments import moments
from organism.stats.proportion import Count, share_of

# Golden numbers from statsmodels 0.15.0, gbstats 8f1db445, spotify-confidence 4.1.0 (named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
INPUTS = CASES["non_inferiority"]["inputs"]
CONTROL, TREATMENT = (share_of(Count(INPUTS[arm]["successes"], INPUTS[arm]["n"])) for arm in ("control", "treatment"))


def expected(peer: str, call: str) -> dict:
    found = [e for e in CASES["non_inferiority"]["expected"] if e["peer"].startswith(peer) and call in e["call"]]
    return found[0]["values"]


def test_an_absolute_margin_equals_statsmodels_and_gbstats():
    z = non_inferior(CONTROL, TREATMENT, INPUTS["margin_abs"], better=1, use_t=False)
    assert z.p_value == pytest.approx(expected("statsmodels", "test_proportions_2indep")["p_value"], rel=1e-8)
    t, wanted = non_inferior(CONTROL, TREATMENT, INPUTS["margin_abs"], better=1), expected("gbstats", "OneSided")
    assert t.p_value == pytest.approx(wanted["p_value"], rel=1e-8)
    assert t.bound == pytest.approx(wanted["ci"][0], rel=1e-8)
    assert t.holds


def test_a_margin_in_percent_of_a_control_taken_for_known_equals_spotify():
    wanted = expected("spotify", "non_inferiority_margins")
    found = non_inferior(CONTROL, TREATMENT, INPUTS["margin_rel"] * CONTROL.value, better=1, use_t=False)
    assert found.p_value == pytest.approx(wanted["p-value"], rel=1e-8)
    assert found.bound == pytest.approx(wanted["ci_lower"], rel=1e-8)
    # Ours tests T - 0.95 C, since the control's value is an estimate too.
    ours = non_inferior(CONTROL, TREATMENT, INPUTS["margin_rel"], better=1, is_relative=True, use_t=False)
    error = (TREATMENT.variance + 0.95**2 * CONTROL.variance) ** 0.5
    assert ours.p_value == pytest.approx(norm.sf((TREATMENT.value - 0.95 * CONTROL.value) / error), rel=1e-9)


def test_two_one_sided_tests_equal_statsmodels():
    found = equivalent(CONTROL, TREATMENT, -INPUTS["tost"], INPUTS["tost"], use_t=False)
    assert found.p_value == pytest.approx(expected("statsmodels", "tost_proportions_2indep"), rel=1e-8)
    assert found.holds
    arrays = CASES["welch_small"]["inputs"]["arrays"]
    arms = [mean_of(moments([[v] for v in arrays[arm]])) for arm in ("control", "treatment")]
    assert equivalent(*arms, -0.6, 0.6).p_value == pytest.approx(expected("statsmodels", "ttost_ind")[0], rel=1e-8)


def test_the_better_side_says_which_way_is_worse():
    slower = Estimate(1.0, 0.0001, 500), Estimate(1.08, 0.0001, 500)
    assert not non_inferior(*slower, 0.05, better=-1).holds
    assert non_inferior(*slower, 0.05, better=1).holds
    assert non_inferior(*slower, 0.15, better=-1).holds


def test_what_cannot_be_said_is_none():
    known, alone = Estimate(1.0, 0.1, 9), Estimate(1.0, None, 1)
    assert non_inferior(known, alone, 0.1, better=1) is None
    assert non_inferior(None, known, 0.1, better=1, is_relative=True) is None
    assert equivalent(alone, alone, -1, 1) is None
    near_zero = Estimate(0.1, 1.0, 9)
    assert non_inferior(near_zero, known, 0.1, better=1, is_relative=True) is None


def test_margins_that_bound_nothing_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        non_inferior(CONTROL, TREATMENT, 0.0, better=1)
    with pytest.raises(ValueError, match="lower one first"):
        equivalent(CONTROL, TREATMENT, 1.0, -1.0)


values = st.floats(0.5, 20)
variances = st.floats(1e-4, 2.0)


@settings(deadline=None)
@given(
    values, values, variances, variances, st.floats(0.01, 0.9), st.sampled_from([-1, 1]), st.booleans(), st.booleans()
)
def test_p_is_below_alpha_exactly_when_the_bound_is_inside_the_margin(
    c, t, var_c, var_t, margin, better, relative, neg
):
    sign = -1 if neg else 1
    arms = Estimate(sign * c, var_c, 30), Estimate(sign * t, var_t, 40)
    found = non_inferior(*arms, margin, better=better, is_relative=relative)
    assume(found is not None and abs(found.p_value - 0.05) > 1e-9)
    assert found.holds == (found.bound > -margin if better > 0 else found.bound < margin)
    assert found.holds == (found.p_value <= 0.05)


@settings(deadline=None)
@given(values, values, variances, variances)
def test_equivalence_holds_exactly_when_the_interval_at_90_percent_lies_between_the_margins(c, t, var_c, var_t):
    arms = Estimate(c, var_c, 30), Estimate(t, var_t, 40)
    found, interval = equivalent(*arms, -1.0, 2.0), difference(*arms, 0.9)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.ci_low, interval.ci_high))
    assume(abs(found.p_value - 0.05) > 1e-9)
    assert found.holds == (interval.ci_low > -1.0 and interval.ci_high < 2.0)


@settings(deadline=None)
@given(values, values, variances, variances, st.floats(0.01, 0.9), st.sampled_from([1e-3, 40.0]))
def test_a_relative_margin_does_not_depend_on_the_unit(c, t, var_c, var_t, margin, scale):
    plain = non_inferior(Estimate(c, var_c, 30), Estimate(t, var_t, 40), margin, better=-1, is_relative=True)
    scaled = non_inferior(
        Estimate(c * scale, var_c * scale**2, 30),
        Estimate(t * scale, var_t * scale**2, 40),
        margin,
        better=-1,
        is_relative=True,
    )
    assert (plain is None) == (scaled is None)
    if plain and scaled:
        assert scaled[:3] == pytest.approx(plain[:3], rel=1e-6, abs=1e-12)
