"""What a run told over its steps becomes one figure a course; what it never told is left out."""

import pandas as pd

from organism.optimize.flow import PROGRESS_COLUMNS
from ui.charts import LIGHT
from ui.run_charts import course, courses, takeaway


def progress(*steps: dict) -> pd.DataFrame:
    return pd.DataFrame([{"step": place, **row} for place, row in enumerate(steps, 1)], columns=PROGRESS_COLUMNS)


def test_the_heldout_loss_is_drawn_with_the_training_loss():
    rows = progress({"loss": 2.0, "extra": {}}, {"loss": 1.0, "extra": {"heldout_loss": 1.5}})
    told = courses(rows)
    assert list(told) == ["Loss"]
    assert told["Loss"]["series"].tolist() == ["Training", "Training", "Held out"]
    figure = course(told["Loss"], LIGHT, "Loss")
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [("Training", [2.0, 1.0]), ("Held out", [1.5])]


def test_what_only_some_recipes_know_is_a_course_of_its_own():
    rows = progress(
        {"loss": 2.0, "learning_rate": 1e-3, "memory_mb": 900.0, "extra": {"reward": 0.1, "kl": 0.0, "note": "text"}},
        {"loss": 1.0, "learning_rate": 5e-4, "memory_mb": 950.0, "extra": {"reward": 0.3, "kl": 0.1}},
    )
    told = courses(rows)
    assert list(told) == ["Loss", "Reward", "Learning rate", "Memory, MB", "KL from the base"]
    assert told["Reward"]["value"].tolist() == [0.1, 0.3]
    assert takeaway("Reward", told["Reward"]) == "Reward went from 0.1 to 0.3 in 2 steps."


def test_an_older_run_without_extras_has_its_loss():
    assert list(courses(progress({"loss": 2.0}, {"loss": 1.0}))) == ["Loss"]
