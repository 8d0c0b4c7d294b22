import json
from pathlib import Path

import numpy as np
import pytest

from organism.stats.power import power_of, users_needed
from organism.stats.srm import srm_p_value

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}


@pytest.mark.parametrize("case", CASES["srm_chi2"]["expected"][0]["values"], ids=lambda c: str(c["counts"]))
def test_srm_equals_scipys_chi_square(case):
    assert srm_p_value(case["counts"], case["weights"]) == pytest.approx(case["p_value"], rel=1e-9)


def test_srm_has_nothing_to_contradict_without_users_and_refuses_nonsense():
    assert srm_p_value([0, 0], [0.5, 0.5]) == 1.0
    with pytest.raises(ValueError, match="one share an arm"):
        srm_p_value([3], [0.5, 0.5])
    with pytest.raises(ValueError, match="above 0"):
        srm_p_value([3, 4], [0.5, 0.0])


def test_users_needed_equals_statsmodels():
    wanted = CASES["sample_size_means"]["expected"][0]["values"]
    assert users_needed(0.2, 1, 1) == int(np.ceil(2 * wanted["n_d0_2"]))
    assert users_needed(0.5, 1, 1) == int(np.ceil(2 * wanted["n_d0_5"]))
    assert users_needed(0.2, 1, 1, share=0.75) == int(np.ceil(4 * wanted["n1_d0_2_ratio3"]))
    power = CASES["sample_size_means"]["expected"][2]["values"]["power"]
    assert power_of(0.05, 6000, 1, 1, share=0.5, alpha=0.05) == pytest.approx(power, rel=1e-6)


def test_no_number_of_users_is_enough_for_no_effect():
    assert users_needed(0.0, 1, 1) is None


@pytest.mark.parametrize("effect", [1e-3, 0.01, 3.0, 40.0])
def test_the_power_at_the_answer_is_the_power_asked_for(effect):
    n = users_needed(effect, 0.8, 1.3, share=0.3)
    assert power_of(effect, n, 0.8, 1.3, share=0.3, alpha=0.05) >= 0.8
    if n > 6:
        assert power_of(effect, n - 2, 0.8, 1.3, share=0.3, alpha=0.05) < 0.8
