import json
from itertools import product
from math import nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.stats.pareto import hypervolume, nondominated

# Golden numbers from moocore 0.3.2 (named in the file).
CASES = json.loads((Path(__file__).parents[2] / "reference" / "loop_cases.json").read_text())["cases"]
CASE = next(case for case in CASES if case["id"] == "pareto_quality_cost")
POINTS, REFERENCE = CASE["input"]["points_[quality,cost]"], CASE["input"]["reference_[quality,cost]"]
QUALITY_UP_COST_DOWN = (True, False)


def test_the_front_of_quality_and_cost_equals_moocore():
    assert nondominated(POINTS, QUALITY_UP_COST_DOWN).tolist() == CASE["expected"]["nondominated"]
    assert hypervolume(POINTS, REFERENCE, QUALITY_UP_COST_DOWN) == pytest.approx(CASE["expected"]["hypervolume"])


def grids(columns: int):
    point = st.lists(st.integers(0, 4), min_size=columns, max_size=columns)
    return st.lists(point, min_size=0, max_size=8)


@settings(deadline=None)
@given(grids(3), st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_point_is_on_the_front_when_no_other_is_as_good_in_all_and_better_in_one(points, maximize):
    def beats(a, b):
        pairs = [(x, y) if up else (y, x) for x, y, up in zip(a, b, maximize, strict=True)]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    wanted = [not any(beats(other, point) for other in points) for point in points]
    assert nondominated(np.array(points, dtype=float).reshape(-1, 3), maximize).tolist() == wanted


@settings(deadline=None)
@given(grids(3))
def test_the_volume_is_the_number_of_unit_cells_that_some_point_covers(points):
    # Minimizing toward 0 with the reference at 4: a cell is covered when a point is at or below its lower corner.
    covered = sum(
        any(all(x <= corner for x, corner in zip(point, cell, strict=True)) for point in points)
        for cell in product(range(4), repeat=3)
    )
    table = np.array(points, dtype=float).reshape(-1, 3)
    assert hypervolume(table, [4, 4, 4], [False] * 3) == pytest.approx(covered)


def test_equal_points_stand_together_and_a_missing_value_is_neither_on_the_front_nor_in_the_volume():
    points = [[0.9, 4.0], [0.9, 4.0], [0.5, nan], [0.2, 9.0]]
    assert nondominated(points, QUALITY_UP_COST_DOWN).tolist() == [True, True, False, False]
    assert hypervolume([[nan, 1.0]], REFERENCE, QUALITY_UP_COST_DOWN) == 0.0
    assert nondominated([], QUALITY_UP_COST_DOWN).tolist() == []
    assert hypervolume([], REFERENCE, QUALITY_UP_COST_DOWN) == 0.0
