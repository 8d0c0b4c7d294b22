"""Which track goes to an experiment: the front, its guardrails, and the sentence that says why."""

import math

import pandas as pd

from organism.optimize.sweep_choice import Quality, choose

KEPT = Quality.RETAINED


def track(label: str, quality: float, tokens: float, low: float | None = 0.02, **other: object) -> dict:
    """One measured track; its gain's interval is 4 points wide."""
    gain_low = math.nan if low is None else low
    known = {"run_id": label, "label": label, "status": "done", "message": ""}
    known |= dict.fromkeys(("latency_ms", "latency_ms_low", "latency_ms_high"), math.nan)
    figures = {"quality": quality, "tokens": tokens, "gain_low": gain_low, "gain_high": gain_low + 0.04}
    return {**known, **figures, "written_low": 0.01, "written_high": 0.03, **other}


def chosen(*tracks: dict, quality: Quality = KEPT, **objections: str) -> pd.DataFrame:
    return choose(pd.DataFrame(list(tracks)), objections, quality).set_index("label")


def test_a_sure_gain_that_nobody_beats_goes_to_an_experiment():
    found = chosen(track("long", 0.85, 120), track("short", 0.80, 90), track("poor", 0.78, 130))
    assert found["on_front"].to_dict() == {"long": True, "short": True, "poor": False}
    assert found["to_experiment"].to_dict() == {"long": True, "short": True, "poor": False}
    assert found.loc["poor", "why"].startswith("No: 'long' is at least as good in everything")
    assert "+2.0 to +6.0 points of what it writes" in found.loc["long", "why"]


def test_a_gain_whose_interval_holds_zero_does_not():
    found = chosen(track("luck", 0.85, 120, low=-0.01))
    assert found.loc["luck", "on_front"]
    assert not found.loc["luck", "to_experiment"]
    assert "may be nothing (-1.0 to +3.0 points" in found.loc["luck", "why"]


def test_the_collapsed_model_beats_nobody():
    hack = track("stub", 0.99, 37, written_low=-0.5, written_high=-0.4)
    found = chosen(hack, track("honest", 0.85, 120))
    assert found["to_experiment"].to_dict() == {"stub": False, "honest": True}
    assert found["on_front"].to_dict() == {"stub": False, "honest": True}
    assert "writes less of what experts needed" in found.loc["stub", "why"]


def test_facts_that_fell_keep_a_track_out_and_off_the_front():
    found = chosen(track("wrong", 0.95, 80), track("right", 0.85, 120), wrong="its facts fell")
    assert found["on_front"].to_dict() == {"wrong": False, "right": True}
    assert found.loc["wrong", "why"] == "No: its facts fell."


def test_the_base_stands_for_itself_and_is_never_sent():
    base = track("base", 0.5, 60, low=None, run_id=None, written_low=math.nan, written_high=math.nan)
    found = chosen(base, track("tuned", 0.85, 120))
    assert found.loc["base", ["on_front", "to_experiment"]].tolist() == [True, False]


def test_what_was_not_measured_says_where_it_stands():
    waiting = track("waiting", math.nan, math.nan, low=None, status="queued", message="Waiting for its turn.")
    found = chosen(waiting, track("done", 0.85, 120))
    assert found.loc["waiting", "why"] == "Not measured: Waiting for its turn."
    assert not found.loc["waiting", "on_front"]
    alone = chosen(track("one user", 0.85, 120, low=None))
    assert "too few held-out users" in alone.loc["one user", "why"]


def timed(label: str, quality: float, tokens: float, low: float, high: float) -> dict:
    times = {"latency_ms": (low + high) / 2, "latency_ms_low": low, "latency_ms_high": high}
    return track(label, quality, tokens, **times)


def test_latency_counts_where_two_intervals_are_apart():
    alike = chosen(timed("a", 0.80, 120, 290, 330), timed("b", 0.79, 125, 280, 320))
    assert alike["on_front"].to_dict() == {"a": True, "b": False}
    apart = chosen(timed("a", 0.80, 120, 290, 330), timed("b", 0.79, 125, 200, 240))
    assert apart["on_front"].to_dict() == {"a": True, "b": True}
    assert chosen(timed("a", 0.80, 120, 290, 330), track("b", 0.80, 120))["on_front"].all()
