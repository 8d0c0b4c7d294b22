import json
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from organism.stats.heterogeneity import cochran_q

CASE = next(
    case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
    if case["id"] == "segments_heterogeneity"
)


def test_the_segments_of_the_reference_equal_statsmodels():
    wanted = CASE["expected"][0]["values"]
    found = cochran_q(CASE["inputs"]["effects"], CASE["inputs"]["variances"])
    assert found.q == pytest.approx(wanted["Q"], rel=1e-9)
    assert found.p_value == pytest.approx(wanted["p_Q"], rel=1e-9)
    assert found.i2 == pytest.approx(wanted["i2"], rel=1e-9)
    assert found.pooled == pytest.approx(wanted["fixed"], rel=1e-9)
    assert found.variance**0.5 == pytest.approx(wanted["se_fixed"], rel=1e-9)
    # statsmodels stops its iteration 1.5e-6 short of the root; ours is the root, to the last digit.
    assert found.tau2 == pytest.approx(wanted["tau2"], rel=2e-6)
    w = 1 / (np.array(CASE["inputs"]["variances"]) + found.tau2)
    y = np.array(CASE["inputs"]["effects"])
    assert w @ (y - w @ y / w.sum()) ** 2 == pytest.approx(2, rel=1e-12)


def test_twenty_segments_equal_statsmodels():
    rng = np.random.default_rng(7)
    variances = rng.uniform(0.5, 2, 20)
    effects = rng.normal(0.3, 1.5, 20)
    wanted = combine_effects(effects, variances, method_re="iterated", atol=1e-14)
    found = cochran_q(effects.tolist(), variances.tolist())
    assert found.q == pytest.approx(wanted.q, rel=1e-9)
    assert found.i2 == pytest.approx(wanted.i2, rel=1e-9)
    assert found.tau2 == pytest.approx(wanted.tau2, rel=1e-5)


def test_equal_effects_show_no_heterogeneity_at_all():
    found = cochran_q([0.2, 0.2, 0.2], [0.1, 0.3, 0.2])
    assert (found.q, found.i2, found.tau2) == pytest.approx((0, 0, 0), abs=1e-12)
    assert found.p_value == pytest.approx(1.0)


def test_segments_without_an_effect_are_left_out_and_one_alone_says_nothing():
    whole = cochran_q([0.1, None, 0.4, 0.3], [0.01, 0.02, 0.01, None])
    assert whole == cochran_q([0.1, 0.4], [0.01, 0.01])
    assert whole.degrees == 1
    assert cochran_q([0.1, 0.2], [0.01, 0.0]) is None
    assert cochran_q([], []) is None
    with pytest.raises(ValueError, match="2 effects and 1 variances"):
        cochran_q([0.1, 0.2], [0.01])
