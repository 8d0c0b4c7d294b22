"""The charts of a vote: shares that add up, inks that give no model away, an interval only where there is one."""

import pandas as pd

from ui.charts import DARK, LIGHT
from ui.vote_charts import by_prompt, preference

ROW = {"left": "Model 1", "right": "Model 2", "n_left": 2, "n_ties": 2, "n_right": 6}


def test_the_bar_is_all_votes_and_the_mark_its_share() -> None:
    row = pd.DataFrame([{**ROW, "share": 0.7, "low": 0.4, "high": 0.9}])
    figure = preference(row, LIGHT, True)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [bar.x[0] for bar in bars] == [0.6, 0.2, 0.2]
    assert [bar.marker.color for bar in bars] == [LIGHT.treatment, LIGHT.line, LIGHT.control]
    (mark,) = (trace for trace in figure.data if trace.type == "scatter")
    assert mark.x == (0.7,)
    assert round(mark.error_x.array[0] + mark.error_x.arrayminus[0], 6) == 0.5


def test_hidden_models_wear_neither_ink_and_an_unknown_interval_is_not_drawn() -> None:
    row = pd.DataFrame([{**ROW, "share": 0.7, "low": None, "high": None}])
    figure = preference(row, DARK, False)
    assert all(trace.type == "bar" for trace in figure.data)
    assert not {DARK.treatment, DARK.control} & {trace.marker.color for trace in figure.data}


def test_votes_of_each_prompt_stand_on_their_own_side() -> None:
    frame = pd.DataFrame({"label": ["Visit 1", "Visit 2"], "n_left": [0, 3], "n_right": [5, 1]})
    figure = by_prompt(frame, LIGHT, ("base", "tuned"))
    left, right = figure.data
    assert list(left.x) == [-3, 0]
    assert list(right.x) == [1, 5]
    assert figure.layout.xaxis.range[1] == 5.5
