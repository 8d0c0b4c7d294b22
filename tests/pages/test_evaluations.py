"""The evaluations page: the open one in full, two versions compared, safety cases in and out."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.optimize.evaluation_flow import read_evaluations
from organism.optimize.safety_flow import add_safety_cases, read_safety_cases
from organism.records import Recipe, RunStatus
from organism.store.evaluations import EvalRun, insert_evaluation, read_header, read_results
from organism.store.loops import loop_id_of
from organism.store.training_runs import TrainingRun, insert_run
from ui import runtime

Visit = Callable[..., AppTest]
CASE = {"name": "Allergy *is* named", "prompt": "visit", "must_say": ["penicillin"], "must_not_say": ["NKDA"]}


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def headers(app: AppTest) -> list[str]:
    return [header.value for header in app.header]


def again(safety: dict | None = None, facts: tuple[float, float] | None = None) -> str:
    """A second evaluation of the tuned version with some figures changed; returns its id."""
    store, now = runtime.store(), utcnow()
    first = str(read_evaluations(store, loop_id())["eval_run_id"].iloc[0])
    header, rows = read_header(store, first), read_results(store, first).to_dict("records")
    summary = {**header["summary"], **({"safety": safety} if safety else {})}
    if facts:
        summary |= {"facts_before": facts[0], "facts_after": facts[1], "facts_gain_ci": [-0.2, -0.1]}
    record = EvalRun(
        eval_run_id="second",
        loop_id=loop_id(),
        run_id=None,
        model_version_id=header["model_version_id"],
        baseline_version_id=header["baseline_version_id"],
        dataset_id=header["dataset_id"],
        summary=summary,
        created_at=now,
    )
    store.write(lambda cursor: insert_evaluation(cursor, record, rows), "eval_runs")
    return record.eval_run_id


def test_the_newest_evaluation_is_open_with_all_that_its_rows_say(full: Path, visit: Visit) -> None:
    app = visit("evaluations")
    figures = {metric.label: metric.value for metric in app.metric}
    assert {"Retained characters", "Written share", "Facts right", "Win rate", "Draft length"} <= set(figures)
    assert figures["Win rate"] == "100%"
    assert any(header.startswith("Did it get better?") for header in headers(app))
    assert {"Slices", "Regressions, worst first", "Other measures"} <= set(headers(app))
    assert "starts with the second evaluation" in "\n".join(caption.value for caption in app.caption)


def test_two_evaluations_are_compared_over_time_and_a_link_opens_one(full: Path, visit: Visit) -> None:
    visit("evaluations")
    again(facts=(0.9, 0.7))
    app = visit("evaluations", evaluation="second")
    assert not app.exception
    assert "Over time" in headers(app)
    assert "surely fewer" not in app.warning[0].value, "beyond the margin is said as such"
    assert "20.0 points fewer" in app.warning[0].value.replace("\\", "")


def test_an_evaluation_that_waits_stands_on_the_page_with_its_status(full: Path, visit: Visit) -> None:
    visit("evaluations")
    runtime.opened().supervisor.close()
    store, now = runtime.store(), utcnow()
    header = read_header(store, str(read_evaluations(store, loop_id())["eval_run_id"].iloc[0]))
    run = TrainingRun(
        run_id="waits",
        loop_id=loop_id(),
        dataset_id=header["dataset_id"],
        reward_design_id=None,
        recipe=Recipe.EVALUATE,
        config={},
        status=RunStatus.QUEUED,
        created_at=now,
    )
    store.write(lambda cursor: insert_run(cursor, run), "training_runs")
    app = visit("evaluations")
    assert not app.exception
    texts = [element.value for element in app.markdown]
    assert any("Queued" in text for text in texts)
    assert any("Waiting for its turn" in text for text in texts)


def test_a_case_that_got_worse_is_named(full: Path, visit: Visit) -> None:
    visit("evaluations")
    case = {"case_id": "c", "name": "Allergy *is* named", "faults": ["does not say 'x'"], "prompt": "p"}
    again(safety={"n": 2, "before": 1.0, "after": 0.5, "n_better": 0, "worse": [{**case, "before": "b", "after": "a"}]})
    app = visit("evaluations")
    assert not app.exception
    assert "Safety cases" in headers(app)
    assert [expander.label for expander in app.expander if "Allergy" in expander.label]
    assert app.error[0].value.startswith("Passed 100%")


def test_an_unknown_evaluation_is_said_and_the_latest_shown(full: Path, visit: Visit) -> None:
    app = visit("evaluations", evaluation="nope")
    assert not app.exception
    assert "nope" in app.warning[0].value
    assert app.metric


def test_two_versions_are_compared_without_a_model(full: Path, visit: Visit) -> None:
    app = visit("evaluations", view="Compare two versions")
    assert not app.exception
    assert [box.label for box in app.selectbox[-2:]] == ["Version", "Against"]
    figures = {metric.label: metric.value for metric in app.metric}
    assert (figures["Win rate"], figures["Facts right"]) == ("100%", "100.0%")
    assert "whatever they were measured against" in "\n".join(caption.value for caption in app.caption)


def test_a_safety_case_is_taken_into_use_and_a_bad_one_is_a_sentence(full: Path, visit: Visit) -> None:
    app = visit("evaluations", view="Safety cases")
    assert not app.exception
    texts = {area.label: area for area in app.text_area}
    app.text_input[-1].set_value("Dose")
    texts["Prompt"].set_value("visit")
    app.button[-1].click().run()
    assert "asks for nothing" in app.error[0].value
    texts = {area.label: area for area in app.text_area}
    app.text_input[-1].set_value("Dose")
    texts["Prompt"].set_value("visit")
    texts["Must say"].set_value("5 mg | 5 milligrams")
    app.button[-1].click().run()
    assert not app.error
    assert list(read_safety_cases(runtime.store(), loop_id())["must_say"]) == [[["5 mg", "5 milligrams"]]]


def test_cases_in_use_are_listed(full: Path, visit: Visit) -> None:
    visit("evaluations")
    add_safety_cases(runtime.store(), loop_id(), [CASE], now=utcnow())
    app = visit("evaluations", view="Safety cases")
    assert list(app.dataframe[0].value["name"]) == ["Allergy *is* named"]
