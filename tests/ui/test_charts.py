"""The charts: one color for each role, nothing drawn for what is unknown."""

import pandas as pd

from ui import charts, evaluation_charts
from ui.charts import DARK, LIGHT

WEEKS = pd.DataFrame(
    {
        "week": pd.to_datetime(["2026-01-05", "2026-01-12", "2026-01-12"]),
        "variant": ["base", "base", "scribe-1"],
        "retained_char_rate": [0.45, 0.44, 0.88],
        "low": [0.40, 0.41, None],
        "high": [0.50, 0.47, None],
        "n_interactions": [100, 90, 4],
    }
)


def test_the_base_is_slate_and_the_live_version_teal_in_both_themes() -> None:
    for palette in (LIGHT, DARK):
        colors = charts.colors_by_variant(["base", "scribe-1", "scribe-2"], "scribe-2", palette)
        assert colors["base"] == palette.control
        assert colors["scribe-2"] == palette.treatment
        assert colors["scribe-1"] not in (palette.control, palette.treatment)


def test_without_a_live_version_the_newest_is_teal_and_a_lone_base_stays_slate() -> None:
    assert charts.colors_by_variant(["base", "a", "b"], None, LIGHT)["b"] == LIGHT.treatment
    assert charts.colors_by_variant(["base"], "base", LIGHT) == {"base": LIGHT.control}


def test_many_versions_never_run_out_of_inks() -> None:
    names = [f"scribe-{n}" for n in range(40)]
    assert set(charts.colors_by_variant(names, None, LIGHT)) == set(names)


def test_floor_and_ceiling_are_drawn_when_they_are_known() -> None:
    known = charts.retained_by_week(WEEKS, LIGHT, "scribe-1", 0.4, 0.95)
    assert [note.text for note in known.layout.annotations] == ["Null floor 40%", "Ceiling 95%"]
    assert not charts.retained_by_week(WEEKS, LIGHT, "scribe-1").layout.annotations


def test_an_unknown_interval_leaves_a_gap_and_never_a_band_to_zero() -> None:
    figure = charts.retained_by_week(WEEKS, LIGHT, "scribe-1")
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert [len(band.x) for band in bands] == [4, 0]


def test_backgrounds_are_transparent_so_that_the_theme_shines_through() -> None:
    assert charts.loss(pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]}), DARK).layout.paper_bgcolor == charts.CLEAR


def test_an_axis_of_figures_that_are_all_alike_still_spans_ten_points() -> None:
    rows = pd.DataFrame(
        {"name": ["a", "b"], "gain": [-0.001, 0.0], "gain_low": -0.002, "gain_high": 0.001, "n_rows": 9}
    ).assign(is_worse=False)
    assert list(evaluation_charts.slices(rows, LIGHT).layout.xaxis.autorangeoptions.include) == [-0.05, 0.05]
    alike = charts.least_range(pd.Series([0.801, None, 0.803]), 0.1)["autorangeoptions"]["include"]
    assert [round(edge, 3) for edge in alike] == [0.752, 0.852]
    assert charts.least_range(pd.Series([], dtype=float), 0.1)["autorangeoptions"]["include"] == [-0.05, 0.05]
