"""The experiments page: deep links, the verdict, what a blocked one hides, drafts of plans, the slide, the decision."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.deploy.flow import live_version, version_by_name
from organism.experiment.flow import start_experiment, start_variants
from organism.experiment.plan import Plan
from organism.experiment.plan_flow import change_plan
from organism.ingest.flow import ingest
from organism.records import EventKind, Variant
from organism.store.decisions import read_decisions
from organism.store.experiments import read_experiment, read_experiments
from organism.store.loops import loop_id_of
from tests.pages import experiment_places
from ui import experiment_views, runtime

Visit = Callable[..., AppTest]


def test_the_link_to_an_experiment_shows_that_one_even_when_it_is_not_the_latest(full: Path, visit: Visit) -> None:
    visit("experiments")
    first, second = first_id(), start_second()
    app = visit("experiments", exp=first)
    assert app.selectbox(key="exp_pick").value == first
    assert app.query_params["exp"] == first
    assert visit("experiments").query_params["exp"] == second, "without a link the latest, and its id in the address"


def test_a_link_leads_to_the_experiment_s_own_loop_and_another_loop_picked_forgets_it(full: Path, visit: Visit) -> None:
    now = utcnow()
    ask = {"loop": "support", "source": "web", "external_id": "1", "user_key": "a", "prompt": "Hm?", "output": "Yes."}
    ingest(runtime.store(), EventKind.INTERACTIONS, [{**ask, "occurred_at": now.isoformat()}], now=now).result()
    variants = (Variant(name="old", share=0.5), Variant(name="new", share=0.5))
    elsewhere = start_variants(runtime.store(), loop_id_of(runtime.store(), "support"), "tone", variants, now=now)
    app = visit("experiments", exp=elsewhere)
    assert not app.warning
    assert app.selectbox(key="exp_pick").value == elsewhere
    assert app.sidebar.selectbox(key="loop_pick").value == "support"
    app.sidebar.selectbox(key="loop_pick").select(DEMO_LOOP).run()
    assert not app.warning
    assert app.selectbox(key="exp_pick").value == first_id()


def test_a_link_to_nothing_says_so_and_shows_the_latest(full: Path, visit: Visit) -> None:
    app = visit("experiments", exp="exp-999")
    assert "exp-999" in app.warning[0].value
    assert app.selectbox(key="exp_pick").value == first_id()


def test_an_empty_workspace_says_what_to_do_next(empty: Path, visit: Visit) -> None:
    for query in ({}, {"present": "1"}):
        app = visit("experiments", **query)
        assert "Plan one" in app.info[0].value
        assert app.title[0].value
        assert not app.exception
        assert not app.metric


def test_a_decided_experiment_says_first_what_was_decided_and_the_wrong_p_is_struck_through(
    full: Path, visit: Visit
) -> None:
    app = visit("experiments")
    assert "Decided: ship it" in app.header[0].value
    assert any("It held in both weeks" in text for text in said(app))
    assert any("~~By single draft" in text for text in said(app))
    assert app.metric[0].label == "Retained characters"
    assert app.metric[1].delta.startswith("decided")
    assert any("expected loss" in text and "flat prior" in text for text in said(app))


def test_a_blocked_experiment_shows_the_counts_and_no_effect(full: Path, visit: Visit) -> None:
    visit("experiments")
    app = visit("experiments", exp=experiment_places.blocked(runtime.store(), utcnow()))
    assert "Blocked" in app.header[0].value
    assert [metric.label for metric in app.metric] == ["Users", "Split as planned?"]
    assert app.metric[1].value == "No"
    assert "Measures" not in [tab.label for tab in app.tabs]
    counts = app.dataframe[0].value.set_index("Variant")
    assert list(counts["Users"]) == [70, 28]
    assert list(counts["Users expected"]) == [49, 49]
    assert not any(" pt" in text or "points" in text for text in said(app)), "no effect is said anywhere"


def test_three_variants_are_compared_and_either_treatment_can_be_looked_at(full: Path, visit: Visit) -> None:
    visit("experiments")
    app = visit("experiments", exp=experiment_places.three(runtime.store(), utcnow()))
    assert "All variants" in [header.value for header in app.header]
    assert app.metric[0].label.endswith("scribe\\-1")
    app.segmented_control(key="measures_of").set_value("short-prompt").run()
    assert not app.exception
    assert "short-prompt" in app.dataframe[0].value.columns


def test_a_planned_experiment_shows_its_plan_and_is_started_with_a_name(full: Path, visit: Visit) -> None:
    visit("experiments")
    exp = experiment_places.planned(runtime.store(), utcnow())
    assert visit("experiments", exp=exp, present="1").title[0].value
    app = visit("experiments", exp=exp)
    assert "Planned, not started" in app.header[0].value
    assert not app.metric
    app.text_input[0].set_value("Ana")
    app.button(key="FormSubmitter:start_planned-Start the experiment").click().run()
    assert not app.exception
    started = read_experiment(runtime.store(), exp)
    assert started.status == "running"
    assert started.started_at is not None
    assert "Keep running" in app.header[0].value


def test_a_change_of_the_plan_after_the_start_shows_at_the_top_and_in_the_plan(full: Path, visit: Visit) -> None:
    visit("experiments")
    exp = start_second()
    change_plan(runtime.store(), exp, {"watched": ["accepted"]}, actor="Ben", why="Length is noise", now=utcnow())
    app = visit("experiments", exp=exp, detail="Power and plan")
    assert any("Plan changed after the start" in text for text in said(app))
    assert any("Length is noise" in text for text in said(app))


@pytest.mark.parametrize("detail", ["Measures", "Segments", "Since exposure", "Power and plan", "Split and trust"])
def test_every_tab_is_drawn_from_its_link(full: Path, visit: Visit, detail: str) -> None:
    visit("experiments")
    plan = replace(Plan(), covariates=("retained_char_rate",))
    exp = experiment_places.three(runtime.store(), utcnow(), n_users=25, plan=plan)
    app = visit("experiments", exp=exp, detail=detail)
    assert not app.exception
    assert detail in [tab.label for tab in app.tabs]
    assert len(app.header) > 5


def test_the_exact_sql_is_written_out_when_it_is_opened(full: Path, visit: Visit) -> None:
    app = visit("experiments")
    assert not app.code
    app.session_state["exact_sql"] = True
    app.run()
    assert not app.exception
    assert "SELECT" in app.code[0].value


@pytest.mark.parametrize(
    ("words", "said", "title"),
    [
        ("Ship it", "Ship warm: it is better.", ":green[Ship warm]: it is better."),
        ("Keep running", "Keep running: nothing is clear yet.", ":green[Keep running]: nothing is clear yet."),
        ("Roll back", "Keep base: warm is worse.", ":green[Roll back]. Keep base: warm is worse."),
        ("Decided: stop", "Stop and keep base: no gain.", ":green[Decided to stop and keep base]: no gain."),
        ("Decided: ship it", "The rules say: stop.", ":green[Decided: ship it]. The rules say: stop."),
    ],
)
def test_a_slides_title_says_the_verdict_once(words: str, said: str, title: str) -> None:
    assert experiment_views.title_of("green", words, said).replace("\\", "") == title


def test_a_slide_shows_the_verdict_and_the_figures_and_no_form(full: Path, visit: Visit) -> None:
    app = visit("experiments", present="1")
    assert not app.exception
    assert "[Decided to ship " in app.title[0].value
    assert "ship it" not in app.title[0].value, "the sentence says it already"
    assert any("of 3 hold" in text for text in said(app))
    assert not app.text_input
    assert not app.selectbox


def test_a_decision_is_recorded_with_its_name_and_closes_the_experiment(full: Path, visit: Visit) -> None:
    visit("experiments")
    exp = start_second()
    app = visit("experiments", exp=exp)
    app.segmented_control[0].set_value("roll_back")
    app.text_input[0].set_value("Nobody came")
    app.text_input[1].set_value("Ana")
    app.button(key="FormSubmitter:decide-Record the decision").click().run()
    assert not app.exception
    kept = read_decisions(runtime.store(), exp).iloc[0]
    assert (kept["verdict"], kept["note"], kept["actor"]) == ("roll_back", "Nobody came", "Ana")
    assert "The live version stays as it is" in app.success[0].value
    live = live_version(runtime.store(), loop_id())
    assert live is not None
    assert live.name == "scribe-1"


def test_an_experiment_may_be_stopped(full: Path, visit: Visit) -> None:
    visit("experiments")
    exp = start_second()
    app = visit("experiments", exp=exp)
    app.segmented_control[0].set_value("stop")
    app.text_input[0].set_value("No gain worth its price")
    app.text_input[1].set_value("Ana")
    app.button(key="FormSubmitter:decide-Record the decision").click().run()
    assert not app.exception
    assert "Decided: stop" in app.header[0].value
    assert read_experiment(runtime.store(), exp).status == "decided"


def said(app: AppTest) -> list[str]:
    """All texts on the page, as they are written and not as Markdown escapes them."""
    return [element.value.replace("\\", "") for element in [*app.markdown, *app.caption, *app.title]]


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def first_id() -> str:
    return str(read_experiments(runtime.store(), loop_id())["experiment_id"].iloc[-1])


def start_second() -> str:
    """A running experiment without users, of the same two versions the other way round."""
    store = runtime.store()
    versions = [version_by_name(store, loop_id(), name).model_version_id for name in ("scribe-1", "base")]
    return start_experiment(store, loop_id(), "base against scribe-1", *versions, is_synthetic=True, now=utcnow())
