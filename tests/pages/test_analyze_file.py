"""Analyze a file: drop it or take the example, compare, read; a mistake is a sentence."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest

from tests.pages.test_every_page import said

Visit = Callable[..., AppTest]


def table() -> bytes:
    draw = np.random.default_rng(3)
    number = np.arange(400)
    rows = pd.DataFrame(
        {
            "user_id": number,
            "variant": np.where(number % 2, "new", "control"),
            "reward": draw.normal(1, 0.2, 400) + 0.2 * (number % 2),
            "land": np.where(number % 4 < 2, "north", "south"),
        }
    )
    return rows.to_csv(index=False).encode()


def words(app: AppTest) -> str:
    return said(app).replace("\\", "")


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_without_a_file_the_page_says_what_to_drop(empty: Path, visit: Visit) -> None:
    app = visit("analyze_file")
    assert not app.exception
    assert app.title[0].value == "Analyze a file"
    assert "Drop a CSV, Parquet or JSON lines file" in app.info[0].value


def test_a_dropped_file_is_guessed_and_compared(empty: Path, visit: Visit) -> None:
    app = visit("analyze_file")
    app.file_uploader[0].upload("results.csv", table()).run()
    assert not app.exception
    picked = {box.label: box.value for box in app.selectbox}
    assert (picked["Unit"], picked["Variant"], picked["Control"]) == ("user_id", "variant", "control")
    next(box for box in app.multiselect if box.label == "Segments").set_value(["land"])
    press(app, "Compare")
    assert not app.exception
    assert not app.error
    assert ":green[Better]" in [header.value for header in app.header]
    assert "new is better than control on reward" in words(app)
    assert {metric.label: metric.value for metric in app.metric}["Units"] == "400"
    assert app.dataframe[0].value["metric"].tolist() == ["reward"]
    assert "after Benjamini" in words(app)
    assert app.code[0].value == (
        "organism analyze results.csv --control control --unit user_id --metric reward --segment land"
    )
    assert "Synthetic" not in words(app)


def test_the_example_is_labeled_as_synthetic(empty: Path, visit: Visit) -> None:
    app = visit("analyze_file")
    press(app, "Try an example")
    press(app, "Compare")
    assert not app.exception
    assert not app.error
    assert "synthetic-example.csv" in words(app)
    assert "Synthetic example" in words(app)


def test_a_mistake_is_a_sentence_and_another_try_mends_it(empty: Path, visit: Visit) -> None:
    app = visit("analyze_file")
    app.file_uploader[0].upload("results.csv", table()).run()
    metrics = next(box for box in app.multiselect if box.label == "Means")
    metrics.set_value([]).run()
    press(app, "Compare")
    assert not app.exception
    assert "no metric is asked for" in app.error[0].value.replace("\\", "")
    next(box for box in app.multiselect if box.label == "Means").set_value(["reward"]).run()
    press(app, "Compare")
    assert not app.error
    assert ":green[Better]" in [header.value for header in app.header]


def test_a_file_that_is_no_table_is_a_sentence(empty: Path, visit: Visit) -> None:
    app = visit("analyze_file")
    app.file_uploader[0].upload("results.parquet", b"PAR1 and no more").run()
    assert not app.exception
    assert "results.parquet cannot be read" in app.error[0].value.replace("\\", "").lower()


def test_a_broken_split_blocks_the_page(empty: Path, visit: Visit) -> None:
    rows = pd.DataFrame({"user_id": range(400), "variant": ["a"] * 100 + ["b"] * 300, "x": range(400)})
    app = visit("analyze_file")
    app.file_uploader[0].upload("results.csv", rows.to_csv(index=False).encode()).run()
    press(app, "Compare")
    assert not app.exception
    assert ":violet[Blocked]" in [header.value for header in app.header]
    assert "Sample ratio mismatch" in words(app)
    assert "No effect is shown" in words(app)
    assert not app.dataframe
    assert [button.label for button in app.get("download_button")] == ["JSON"]


def test_a_large_file_is_read_with_a_bar_and_then_shown(empty: Path, visit: Visit, monkeypatch) -> None:
    from ui import any_file

    monkeypatch.setattr(any_file, "LARGE", 0)
    app = visit("analyze_file")
    app.file_uploader[0].upload("results.csv", table()).run()
    press(app, "Compare")
    reading = app.session_state["analyze_reading"]
    while reading.errand.is_running:
        time.sleep(0.01)
    app.run()
    assert not app.exception
    assert ":green[Better]" in [header.value for header in app.header]


def test_a_slide_shows_the_finding_and_no_form(empty: Path, visit: Visit) -> None:
    app = visit("analyze_file")
    app.file_uploader[0].upload("results.csv", table()).run()
    press(app, "Compare")
    press(app, "Present")
    assert not app.exception
    assert not app.file_uploader
    assert not app.multiselect
    assert "new is better than control" in words(app)
    assert "Leave presentation" in [button.label for button in app.button]
