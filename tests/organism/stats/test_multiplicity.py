import json
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from organism.stats.multiplicity import Correction, adjusted

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
PEER = {
    Correction.HOLM: "holm",
    Correction.HOCHBERG: "simes-hochberg",
    Correction.BH: "fdr_bh",
    Correction.BY: "fdr_by",
}


@pytest.mark.parametrize("method", Correction)
def test_the_example_of_benjamini_and_hochberg_equals_statsmodels(method):
    case = CASES["multiple_testing_bh1995"]
    wanted = next(e for e in case["expected"] if f"'{PEER[method]}'" in e["call"])["values"]
    found = adjusted(case["inputs"]["p"], method)
    assert found == pytest.approx(wanted["adjusted"], rel=1e-9)
    assert [p <= case["inputs"]["alpha"] for p in found] == wanted["reject"]


@pytest.mark.parametrize("method", Correction)
def test_three_metrics_equal_statsmodels(method):
    case = CASES["multiple_testing_three"]
    assert adjusted(case["inputs"]["p"], method) == pytest.approx(case["expected"][0]["values"][PEER[method]], rel=1e-9)


@pytest.mark.parametrize("method", Correction)
def test_any_p_values_in_any_order_equal_statsmodels(method):
    rng = np.random.default_rng(4)
    for n in (1, 2, 7, 40):
        p = np.round(rng.random(n) ** 3, 2)  # with ties, zeros and ones
        assert adjusted(p.tolist(), method) == pytest.approx(multipletests(p, method=PEER[method])[1], rel=1e-12)


@pytest.mark.parametrize("method", Correction)
def test_what_the_data_could_not_say_stays_none_and_costs_the_others_nothing(method):
    known = adjusted([0.01, 0.04, 0.2], method)
    assert adjusted([None, 0.01, 0.04, None, 0.2], method) == [None, known[0], known[1], None, known[2]]
    assert adjusted([None, None], method) == [None, None]
    assert adjusted([], method) == []


def test_a_single_test_is_left_as_it_is():
    assert [adjusted([0.03], method) for method in Correction] == [[0.03]] * 4


def test_what_is_no_p_value_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjusted([0.2, 1.2], Correction.HOLM)
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjusted([float("nan")], Correction.BH)
