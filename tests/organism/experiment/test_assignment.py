import json
from pathlib import Path

import numpy as np
import pytest

from organism.errors import DesignError
from organism.experiment.assignment import assign, bucket
from organism.records import Variant

# GrowthBook SDK conformance vectors, packages/sdk-js/test/cases.json specVersion 5 (MIT).
CASES = json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
VECTORS = next(case for case in CASES if case["id"] == "hash_bucketing")["expected"][0]["values"]


@pytest.mark.parametrize(("seed", "value", "version", "wanted"), VECTORS)
def test_the_hash_is_growthbooks(seed, value, version, wanted):
    if wanted is None:
        with pytest.raises(ValueError, match="use 1 or 2"):
            bucket(seed, value, version)
    else:
        assert bucket(seed, value, version) == wanted


def two(share):
    return Variant(name="control", share=1 - share), Variant(name="treatment", share=share)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_users_fall_into_the_arms_by_the_shares_and_stay_there(share):
    arms = [assign("notes", f"user-{n}", two(share)) for n in range(20_000)]
    treated = np.mean([arm.variant == "treatment" for arm in arms])
    assert treated == pytest.approx(share, abs=0.012)
    assert arms == [assign("notes", f"user-{n}", two(share)) for n in range(20_000)]
    assert {arm.probability for arm in arms if arm.variant == "control"} == {1 - share}
    assert {arm.probability for arm in arms if arm.variant == "treatment"} == {share}


def test_another_salt_deals_anew():
    agree = np.mean([assign("one", f"u{n}", two(0.5)) == assign("two", f"u{n}", two(0.5)) for n in range(5_000)])
    assert agree == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 1.0, -1, 2])
def test_a_share_that_empties_an_arm_is_refused(share):
    with pytest.raises(DesignError, match="between 0 and 1"):
        assign("notes", "user", two(share))
