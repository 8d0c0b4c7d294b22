"""An experiment's page asks the store once, says metrics by their labels, and says what a long first reading does."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.experiment.flow import analyze
from organism.experiment.plan import Plan
from organism.experiment.scorecard import Guardrail, GuardrailState
from organism.store import experiment_units
from organism.store.experiments import read_experiments
from organism.store.loops import loop_id_of
from ui import runtime, scorecards
from ui.experiment_details import relative_kind
from ui.experiment_views import all_in_words
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


def test_a_guardrail_that_holds_is_within_its_margin_however_much_worse_it_was_found() -> None:
    holds = Guardrail("latency_ms", "Latency, ms", 100.0, False, GuardrailState.HOLDS, 0.01, "tuned", worse=0.681)
    assert "within the margin: 0.681 ms worse" in scorecards.margin_words(holds).replace("\u00a0", " ")
    broken = holds._replace(state=GuardrailState.BROKEN, worse=150.0)
    assert "found 150 ms worse" in scorecards.margin_words(broken).replace("\u00a0", " ")


def test_a_track_says_that_the_verdict_reads_its_end_when_the_planned_users_came_early(
    full: Path, visit: Visit
) -> None:
    visit("experiments")
    store = runtime.store()
    card = analyze(store, str(read_experiments(store, loop_id_of(store, DEMO_LOOP))["experiment_id"].iloc[0]), utcnow())
    days = pd.date_range("2026-10-20", periods=9)
    track = pd.DataFrame({"day": days, "n_users": [10, 30, *[54] * 7]})
    said = all_in_words(card._replace(n_planned=54), track)
    assert said.startswith("The 54 planned users were all in by Oct 22;")
    assert said.endswith("the end of the line, Oct 28.")
    assert all_in_words(card._replace(n_planned=54), track.head(3)) == ""
    assert all_in_words(card._replace(n_planned=None), track) == ""


def test_no_tile_of_cuped_where_the_past_explains_nothing_and_no_interval_is_promised_that_is_not_drawn() -> None:
    table = pd.DataFrame({"effect": [0.1, 0.2], "low": [None, None]})
    assert "no interval for one look" in relative_kind(table)
    assert "a dot without a line" in relative_kind(table.assign(low=[0.05, None]))
    assert relative_kind(table.assign(low=0.0)).endswith("(Fieller).")


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
