"""The reward designer's charts: a color is a variant, gray is unclear, nothing is drawn for what is unknown."""

from itertools import product

import pandas as pd
import pytest

from ui import reward_charts
from ui.charts import CLEAR, DARK, LIGHT

VARIANTS = ["base", "scribe-1", "scribe-brief"]
MEANS = pd.DataFrame(
    {
        "variant": VARIANTS,
        "note": ["", "", "breaks a guardrail"],
        "live": [0.60, 0.70, 0.65],
        "live_low": [0.58, 0.68, None],
        "live_high": [0.62, 0.72, None],
        "draft": [0.61, 0.69, None],
        "draft_low": [0.59, 0.67, None],
        "draft_high": [0.63, 0.71, None],
    }
)
MIXES = pd.DataFrame(
    [(a / 4, b / 4, (4 - a - b) / 4) for a, b in product(range(5), range(5)) if a + b <= 4],
    columns=["price", "performance", "quality"],
).assign(winner="scribe-1", runner_up="base", effect=0.02, p_value=0.01, is_clear=True)
FRONT = pd.DataFrame(
    {
        "variant": VARIANTS,
        "on_front": [False, True, True],
        "cost_usd": [0.2, 0.2, 0.1],
        "cost_usd_low": [0.19, None, 0.09],
        "cost_usd_high": [0.21, None, 0.11],
        "latency_ms": [700.0, 650.0, None],
        "latency_ms_low": [680.0, 630.0, None],
        "latency_ms_high": [720.0, 670.0, None],
        "quality": [0.5, 0.7, 0.4],
        "quality_low": [0.48, 0.68, 0.37],
        "quality_high": [0.52, 0.72, 0.43],
    }
)
TITLES = {"cost_usd": "Cost", "latency_ms": "Latency"}
SWEEP = pd.DataFrame(
    {
        "weight": [0.0, 0.25, 0.5, 0.75, 1.0],
        "chars": [400.0, 380.0, 300.0, 90.0, 80.0],
        "written_share": [0.8, 0.8, 0.7, 0.3, 0.3],
        "stops_share": [0.0, 0.1, 0.4, 0.8, 0.9],
    }
)


def named(figure: object, name: str) -> list[object]:
    return [trace for trace in figure.data if trace.name == name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_means_are_hollow_under_the_live_design_and_filled_under_the_draft(palette: object) -> None:
    figure = reward_charts.mean_rewards(MEANS, palette, "scribe-1", "scribe-1")  # type: ignore[arg-type]
    live, draft = (next(t for t in figure.data if t.customdata is not None and t.marker.symbol == s) for s in SYMBOLS)
    assert list(live.x) == [0.60, 0.70, 0.65]
    assert list(draft.x) == [0.61, 0.69], "a variant that the draft cannot score has no mark, not one at 0"
    assert figure.layout.paper_bgcolor == CLEAR


SYMBOLS = ("circle-open", "circle")


def test_an_unknown_interval_is_not_drawn() -> None:
    figure = reward_charts.mean_rewards(MEANS, LIGHT)
    assert sum(trace.mode == "lines" for trace in figure.data) == 4


def test_the_winner_is_bold_and_a_broken_guardrail_is_written_under_the_name() -> None:
    labels = reward_charts.mean_rewards(MEANS, LIGHT, winner="scribe-1").layout.yaxis.ticktext
    assert labels[0] == "base"
    assert labels[1] == "<b>scribe-1</b>"
    assert "breaks a guardrail" in labels[2]


def test_the_map_is_gray_where_the_winner_is_not_clear() -> None:
    mixes = MIXES.assign(is_clear=MIXES["price"] < 0.5)
    figure = reward_charts.ternary(mixes, LIGHT, (0.2, 0.2, 0.6), (1, 0, 0), "scribe-1", VARIANTS)
    (clear,), (unclear,) = named(figure, "scribe-1"), named(figure, reward_charts.UNCLEAR)
    assert clear.marker.color == LIGHT.treatment  # type: ignore[attr-defined]
    assert unclear.marker.color == LIGHT.line  # type: ignore[attr-defined]
    assert len(clear.a) + len(unclear.a) == len(MIXES)  # type: ignore[attr-defined]
    assert not named(figure, "base"), "who wins nowhere has no line in the legend"


def test_the_map_says_where_you_are_and_where_live_is() -> None:
    figure = reward_charts.ternary(MIXES, DARK, (0.2, 0.3, 0.5), (0.1, 0.1, 0.8), None, VARIANTS)
    (here,), (live,) = named(figure, "You are here"), named(figure, "Live")
    assert (here.a[0], here.b[0], here.c[0]) == (0.2, 0.3, 0.5)  # type: ignore[attr-defined]
    assert live.c[0] == 0.8  # type: ignore[attr-defined]
    assert not named(figure, reward_charts.UNCLEAR)


def test_a_map_of_ties_and_missing_winners_is_drawn_gray() -> None:
    mixes = MIXES.assign(winner=None, runner_up=None, effect=None, p_value=None, is_clear=None)
    figure = reward_charts.ternary(mixes, LIGHT, (0, 0, 1), (0, 0, 1))
    assert len(named(figure, reward_charts.UNCLEAR)[0].a) == len(MIXES)  # type: ignore[attr-defined]


def test_the_front_has_a_panel_for_each_price_and_a_variant_only_where_it_was_measured() -> None:
    figure = reward_charts.front(FRONT, LIGHT, TITLES, "Quality", "scribe-1")
    panels = [trace.xaxis for trace in figure.data]
    assert (panels.count("x"), panels.count("x2")) == (3, 2)
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    hollow = {trace.name for trace in figure.data if trace.marker.symbol == "circle-open"}
    assert hollow == {"base"}
    assert not next(trace for trace in figure.data if trace.name == "scribe-1").error_x.visible


def test_one_panel_alone_takes_the_whole_width() -> None:
    figure = reward_charts.front(FRONT, LIGHT, {"cost_usd": "Cost"}, "Quality")
    assert tuple(figure.layout.xaxis.domain) == (0, 1)


def test_the_sweep_is_red_where_the_model_would_rather_stop_and_marks_draft_and_live() -> None:
    figure = reward_charts.sweep(SWEEP, LIGHT, "Price", 0.5, 0.2)
    (ground,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (ground.x0, ground.x1) == (0.625, 1.0)
    assert [note.text for note in figure.layout.annotations] == ["Live", "Your draft"]
    assert {trace.name for trace in figure.data} == {"Written", "Length"}, "what nobody measured has no line"


def test_a_safe_sweep_has_no_red_and_one_mark_where_draft_and_live_are_the_same() -> None:
    figure = reward_charts.sweep(SWEEP.assign(stops_share=0.1), LIGHT, "Price", 0.2, 0.2)
    assert [shape.type for shape in figure.layout.shapes] == ["line"]
    assert [note.text for note in figure.layout.annotations] == ["Your draft"]


def test_two_stretches_where_it_would_stop_are_two_red_grounds() -> None:
    figure = reward_charts.sweep(SWEEP.assign(stops_share=[0.9, 0.1, 0.1, 0.1, 0.9]), LIGHT, "Price", 0.5, 0.5)
    assert sum(shape.type == "rect" for shape in figure.layout.shapes) == 2
