"""How turns of the loop are named."""

import math

import pytest

from ui.vitals import cycle_name


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_turn_without_a_version_yet_is_called_by_its_training_set(missing: object) -> None:
    assert cycle_name({"version": missing, "dataset": "week 4"}) == "week 4"
    assert cycle_name({"version": "scribe-1", "dataset": "week 4"}) == "scribe-1"
