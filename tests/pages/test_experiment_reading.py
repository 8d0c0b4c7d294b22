"""An experiment's page asks the store once, says metrics by their labels, and says what a long first reading does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from organism.experiment.plan import Plan
from organism.store import experiment_units
from ui import scorecards
from ui.planning_sizes import READING
from ui.planning_versions import in_words

Visit = Callable[..., AppTest]


def test_the_scorecard_and_its_track_are_made_of_one_reading(
    full: Path, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, read_sums = list[str](), experiment_units.read_sums

    def counted(store, experiment, ask):
        asked.append(experiment.experiment_id)
        return read_sums(store, experiment, ask)

    monkeypatch.setattr(experiment_units, "read_sums", counted)
    app = visit("experiments")
    assert not app.exception
    assert len(asked) == len(set(asked)) == 1
    visit("experiments")
    assert len(asked) == 1, "kept until the data changes"


def test_a_plan_s_terms_are_labels() -> None:
    plan = Plan(primary=("latency_ms.p95", "accepted"), minimum_effect=20.0, covariates=("retained_char_rate",))
    said = dict(scorecards.plan_lines(plan.plain()))
    assert said["Primary"] == "Latency p95, Drafts used"
    assert said["Guardrails"].startswith("Written share by 2.0 pt; Latency by 50%")
    assert said["Own past as covariate"] == "Retained characters"
    lines = " ".join(in_words(plan))
    assert "Decides: Latency p95, Drafts used, least gain 20 ms of latency p95" in lines
    assert "retained_char_rate" not in lines
    assert "latency_ms" not in lines


def test_the_first_reading_of_a_loop_s_past_says_what_it_does(
    full: Path, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, spinner = list[str](), st.spinner

    def noted(text, **options):
        said.append(text)
        return spinner(text, **options)

    monkeypatch.setattr(st, "spinner", noted)
    app = visit("plan_experiment")
    assert not app.exception
    assert READING in said
