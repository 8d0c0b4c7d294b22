"""The planning page: sized while it is filled in, kept as a draft, started, changed in the open."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.experiment.plan import plan_of
from organism.experiment.plan_flow import Proposal, plan_experiment, start_planned, variants_of
from organism.store.experiments import read_experiment, read_experiments
from organism.store.loops import ensure_loop, loop_id_of
from organism.store.plans import read_plan_versions
from ui import runtime

Visit = Callable[..., AppTest]


def test_a_plan_is_sized_by_the_loop_as_it_is_filled_in(full: Path, visit: Visit) -> None:
    app = visit("plan_experiment")
    assert not app.exception
    assert app.multiselect(key="plan_new_variants").value == ["scribe-1", "base"], "the live one against the other"
    users = figure(app, "Users needed")
    assert "with 80% power" in said(app)
    app.number_input(key="plan_new_least_True").set_value(1.0).run()
    assert not app.exception
    assert int(figure(app, "Users needed").replace(",", "")) > int(users.replace(",", ""))
    assert "You will not get there" in headers(app)
    assert any("Ask for a bigger effect" in text.value for text in app.markdown)
    app.number_input(key="plan_new_least_True").set_value(20.0)
    app.number_input(key="plan_new_margin_written_share").set_value(0.002).run()
    assert "A guardrail would stay open" in headers(app), "so the banner is not green"
    assert "but the guardrail on written share (its margin of 0.2 points takes" in said(app).replace("\\", "")
    assert "Widen the margin of the guardrail to " in said(app)
    app.multiselect(key="plan_new_guards").set_value([]).run()
    assert "You will get there" in headers(app)


def test_bad_input_is_one_sentence_and_the_form_stays(full: Path, visit: Visit) -> None:
    app = visit("plan_experiment")
    app.multiselect(key="plan_new_variants").set_value(["base"]).run()
    assert not app.exception
    assert "Found 1 variant" in app.error[0].value.replace("\\", "")
    app.multiselect(key="plan_new_variants").set_value(["base", "scribe-1"]).run()
    app.text_input(key="plan_new_targeting").set_value("{").run()
    assert not app.exception
    assert "is not JSON" in app.error[0].value.replace("\\", "")
    app.text_input(key="plan_new_targeting").set_value("").run()
    app.number_input(key="plan_new_margin_latency_ms").set_value(0.0).run()
    assert "give one above 0" in app.error[0].value.replace("\\", "")


def test_a_draft_is_kept_opened_by_its_link_and_started(full: Path, visit: Visit) -> None:
    app = visit("plan_experiment")
    app.text_area(key="plan_new_hypothesis").set_value("It keeps more")
    app.multiselect(key="plan_new_variants").set_value(["base", "scribe-1", "outside-model"]).run()
    app.text_input(key="plan_who").set_value("Ana")
    press(app, "Keep the draft")
    assert not app.exception
    assert "is kept" in app.success[0].value
    (draft,) = drafts()
    assert app.query_params["plan"] == draft
    kept = read_experiment(runtime.store(), draft)
    assert [one.name for one in kept.variants] == ["scribe-1", "base", "outside-model"], "the control first"
    assert kept.variants[2].model_version_id is None
    assert kept.is_synthetic
    app = visit("plan_experiment", plan=draft)
    assert app.text_area(key=f"plan_{draft}_hypothesis").value == "It keeps more"
    press(app, "Start the experiment")
    running = read_experiment(runtime.store(), draft)
    assert running.status == "running"
    assert plan_of(running.plan).n_users is None, "the demo's sixty physicians do not bring that many users"
    assert "without a size. You will not get there" in read_plan_versions(runtime.store(), draft)[0].why


def test_a_running_plan_changes_in_the_open(full: Path, visit: Visit) -> None:
    visit("plan_experiment")
    experiment = started()
    app = visit("plan_experiment", plan=experiment)
    assert not app.exception
    next(one for one in app.multiselect if one.label == "Primary metrics").set_value(["accepted"])
    next(one for one in app.text_input if one.label == "In one sentence, why?").set_value("It says more")
    app.text_input[0].set_value("Ben")
    press(app, "Change the plan")
    assert not app.exception
    assert "changed after start" in said(app)
    versions = read_plan_versions(runtime.store(), experiment)
    assert [(one.version, one.actor, one.why) for one in versions[1:]] == [(2, "Ben", "It says more")]
    press(app, "Change the plan")
    assert "Nothing would change" in app.error[0].value


def test_a_draft_is_dropped(full: Path, visit: Visit) -> None:
    visit("plan_experiment")
    draft = plan_experiment(runtime.store(), loop_id(), usual(), now=utcnow()).experiment_id
    app = visit("plan_experiment", plan=draft)
    press(app, "Drop the draft")
    assert not app.exception
    assert drafts() == []
    assert "plan" not in app.query_params


def test_a_loop_with_no_answers_is_planned_for_without_a_number(empty: Path, visit: Visit) -> None:
    visit("plan_experiment")
    ensure_loop(runtime.store(), "mails", utcnow())
    app = visit("plan_experiment")
    assert not app.exception
    app.multiselect(key="plan_new_variants").set_value(["gpt", "claude"]).run()
    assert not app.exception
    assert "Cannot be computed yet" in headers(app)
    assert "no interactions" in said(app).replace("\\", "")


def test_a_link_to_nothing_says_so(full: Path, visit: Visit) -> None:
    app = visit("plan_experiment", plan="gone")
    assert "gone" in app.warning[0].value
    assert not app.exception


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()


def figure(app: AppTest, label: str) -> str:
    return next(one.value for one in app.metric if one.label == label)


def headers(app: AppTest) -> str:
    return " ".join(one.value for one in app.header)


def said(app: AppTest) -> str:
    return "\n".join(str(one.value) for kind in (app.markdown, app.caption, app.success) for one in kind)


def drafts() -> list[str]:
    found = read_experiments(runtime.store(), loop_id())
    return list(found.loc[found["status"] == "planned", "experiment_id"])


def usual() -> Proposal:
    return Proposal(variants=variants_of(runtime.store(), loop_id(), [{"name": "base"}, {"name": "scribe-1"}]))


def started() -> str:
    kept = plan_experiment(runtime.store(), loop_id(), usual(), is_synthetic=True, now=utcnow())
    return start_planned(runtime.store(), kept.experiment_id, actor="Ana", now=utcnow()).experiment_id


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)
