"""The Pareto plot: a panel an axis that was measured, hollow marks for beaten tracks, a star for the chosen."""

import math

import pandas as pd
import pytest

from organism.optimize.seen import SeenRow
from ui.charts import LIGHT
from ui.token_preview import learned_runs
from ui.track_charts import front


def track(number: int, recipe: str | None, **other: object) -> dict:
    figures = {"quality": 0.8, "quality_low": 0.75, "quality_high": 0.85, "tokens": 100, "tokens_low": 90}
    figures |= {"tokens_high": 115, "latency_ms": math.nan, "latency_ms_low": math.nan, "latency_ms_high": math.nan}
    known = {"number": number, "label": f"track {number}", "recipe": recipe, "on_front": True, "to_experiment": False}
    return {**known, **figures, **other}


def test_marks_say_who_is_beaten_and_who_goes_to_an_experiment():
    rows = [track(1, None), track(2, "Imitate", to_experiment=True), track(3, "Imitate", on_front=False)]
    figure = front(pd.DataFrame(rows), LIGHT, "Quality")
    points = [trace for trace in figure.data if trace.mode == "markers+text"]
    assert [point.marker.symbol for point in points] == ["circle", "star", "circle-open"]
    assert points[0].error_x.array[0] == pytest.approx(15)
    assert points[0].error_y.arrayminus[0] == pytest.approx(0.05)
    assert points[0].marker.color == LIGHT.control != points[1].marker.color == points[2].marker.color
    assert {trace.name for trace in figure.data if trace.mode == "markers"} == {"base", "Imitate"}


def test_latency_has_a_panel_once_it_was_measured():
    rows = [track(1, None), track(2, "Imitate", latency_ms=300.0)]
    figure = front(pd.DataFrame(rows), LIGHT, "Quality")
    points = [trace for trace in figure.data if trace.mode == "markers+text"]
    assert [(point.xaxis, point.x[0]) for point in points] == [("x", 100), ("x", 100), ("x2", 300.0)]
    assert points[2].error_x.array[0] == 0, "an unknown interval has no whisker"


def test_learned_tokens_that_touch_are_one_run_of_text():
    tokens, learned = ["Fe", "ver", ": ", "no", "."], [False, False, False, True, True]
    row = SeenRow(0, "i", "completion", tokens, learned, 5, 2, None)
    assert learned_runs(row) == [(7, 10)]
    assert learned_runs(row._replace(is_learned=[True, False, True, True, False])) == [(0, 2), (5, 9)]
