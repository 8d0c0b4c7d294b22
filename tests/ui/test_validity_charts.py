"""The charts of "Is this the right reward?": a mark a figure that is known, in the color of its word."""

import pandas as pd
import pytest

from organism.digest.predictions import Word
from ui.charts import DARK, LIGHT
from ui.validity_charts import calibration, components, correlations, inks

ROWS = pd.DataFrame(
    {
        "name": ["signed", "quality (people)", "sold"],
        "word": [str(Word.PREDICTS), str(Word.SPURIOUS), str(Word.CANNOT_SAY)],
        "within": [0.3, 0.0, None],
        "within_low": [0.2, -0.1, None],
        "within_high": [0.4, 0.1, None],
        "overall": [0.25, 0.5, 0.1],
        "overall_low": [0.2, 0.4, None],
        "overall_high": [0.3, 0.6, None],
    }
)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_each_correlation_that_is_known_is_a_mark_in_its_words_color(palette):
    marks = [trace for trace in correlations(ROWS, palette).data if trace.type == "scatter"]
    overall, *within = marks
    assert list(overall.x) == [0.25, 0.5, 0.1]
    assert {trace.name: list(trace.x) for trace in within} == {
        "Within versions: predicts": [0.3],
        "Within versions: spurious": [0.0],
    }
    assert within[1].marker.color == inks(palette)[Word.SPURIOUS] == palette.bad


def test_the_axis_holds_every_interval_and_zero():
    low, high = correlations(ROWS, LIGHT).layout.xaxis.range
    assert low < -0.1
    assert high > 0.6


def test_calibration_and_components_draw_what_they_are_given():
    tenths = pd.DataFrame(
        {
            "bin": [1, 10],
            "score_low": [0.1, 0.8],
            "score_mean": [0.2, 0.9],
            "score_high": [0.3, 1.0],
            "n_rows": [50, 50],
            "mean": [0.4, 0.7],
            "low": [0.3, None],
            "high": [0.5, None],
        }
    )
    assert list(calibration(tenths, LIGHT, "signed", 0.55).data[0].y) == [0.4, 0.7]
    parts = pd.DataFrame({"signal": ["accepted"], "weight_share": [1.0], "variance_share": [None]})
    assert components(parts, LIGHT).data[0].name == "Share of the weight"
