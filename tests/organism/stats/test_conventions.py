import json
import re

import numpy as np
import pytest

from organism.config import ROOT
from organism.stats.off_policy import Logged, estimates, weight_check

CASES = {
    case["id"]: case
    for case in json.loads((ROOT / "tests" / "reference" / "experiment_cases.json").read_text())["cases"]
}
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs" / "conventions.md").read_text(), re.MULTILINE))
# Simulated there; simulated here by bench and by the tests of each method.
BEHAVIOR = "behaviour_aa"


def test_every_reference_case_has_a_row_in_the_conventions_and_no_row_is_without_a_case():
    assert len(CASES) == 43
    assert set(ROWS) == set(CASES)


@pytest.mark.parametrize("name", sorted(set(CASES) - {BEHAVIOR}))
def test_a_case_is_tested_by_its_name_or_said_not_to_be_shipped(name):
    tests = [path for path in (ROOT / "tests" / "organism").rglob("test_*.py") if path.name != "test_conventions.py"]
    is_tested = name == "ope" or any(re.search(rf"[\"']{name}[\"']", path.read_text()) for path in tests)
    assert is_tested or "not shipped" in ROWS[name]


def test_off_policy_estimates_equal_open_bandit_pipelines():
    given, wanted = CASES["ope"]["inputs"], CASES["ope"]["expected"][0]["values"]
    logged = Logged(given["reward"], given["action"], given["pscore"], given["pi_e"], given["qhat"])
    found = estimates(logged, rng=np.random.default_rng(0), clip=1.5, n=20)
    names = {"ips": "ipw", "snips": "snipw", "dm": "dm", "dr": "dr", "switch_dr": "switch_dr_lambda1.5"}
    for ours, theirs in names.items():
        assert found[ours].estimate == pytest.approx(wanted[theirs], rel=1e-9)
    check = weight_check(logged)
    assert (check.effective, check.max_weight) == pytest.approx((wanted["ess"], wanted["max_weight"]), rel=1e-9)
