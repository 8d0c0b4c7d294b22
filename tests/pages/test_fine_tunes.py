"""The fine-tunes page: start with a reason, follow, pause, stop, clone; judge, promote, roll back."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.deploy.flow import live_version, register_version
from organism.optimize.configs import SftConfig
from organism.optimize.sweeps import plan_from
from organism.records import RunStatus, new_id
from organism.store.experiments import read_experiments
from organism.store.loops import loop_id_of
from organism.store.sweeps import Sweep, append_sweep, read_sweeps
from organism.store.training_runs import TrainingRun, insert_run, read_run, read_runs, update_run
from ui import runtime

Visit = Callable[..., AppTest]


def test_a_finished_run_shows_its_figures_between_floor_and_ceiling(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes")
    figures = {metric.label: metric.value for metric in app.metric}
    assert {"Retained characters", "Written share", "Facts right", "Draft length", "Loss"} <= set(figures)
    assert any("unrelated texts share" in caption.value for caption in app.caption)
    drawn = " ".join(chart.key for chart in app.get("plotly_chart"))
    assert all(f"chart_{name}" in drawn for name in ("loss", "training_set", "evaluation_scribe-1"))


def test_a_living_run_can_be_paused_resumed_and_stopped_before_it_starts(full: Path, visit: Visit) -> None:
    visit("fine_tunes")
    run_id = waiting_run()
    app = visit("fine_tunes", run=run_id)
    assert not app.exception
    for button, status in (("pause", RunStatus.PAUSED), ("stop", RunStatus.STOPPED)):
        app.button(key=f"{button}_{run_id}").click().run()
        assert not app.exception
        assert read_run(runtime.store(), run_id).status is status
        app = visit("fine_tunes", run=run_id) if status is RunStatus.STOPPED else app
        if status is RunStatus.PAUSED:
            update_run(runtime.store(), run_id, {"status": "queued"})
            app = visit("fine_tunes", run=run_id)
    assert app.button(key=f"resume_{run_id}")


def test_a_refused_action_is_a_sentence_and_the_page_goes_on(full: Path, visit: Visit) -> None:
    visit("fine_tunes")
    run_id = waiting_run(RunStatus.STOPPED)
    app = visit("fine_tunes", run=run_id)
    app.button(key=f"resume_{run_id}").click().run()
    assert not app.exception
    assert "is gone" in app.error[0].value
    assert app.button(key=f"resume_{run_id}")


def test_a_goal_suggests_a_recipe_says_why_and_starts_it(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes")
    runtime.opened().supervisor.close()
    app.button(key="new_run_button").click().run()
    assert not app.exception
    assert any("Imitate expert edits: an expert's own text" in plain(text.value) for text in app.markdown)
    assert any("to learn from" in box.value for box in app.success)
    app.button(key="run_start").click().run()
    assert not app.exception
    newest = read_runs(runtime.store(), loop_id()).iloc[0]
    assert (newest["status"], newest["recipe"], newest["preset"]) == ("queued", "sft", "quick")
    assert newest["run_id"] in app.query_params["run"]


def test_a_base_that_is_not_there_is_a_sentence_and_nothing_starts(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes")
    runtime.opened().supervisor.close()
    app.button(key="new_run_button").click().run()
    app.text_input(key="run_base").set_value("/no/such/folder").run()
    app.button(key="run_start").click().run()
    assert not app.exception
    assert "No model folder at /no/such/folder" in plain(app.error[0].value)
    assert len(read_runs(runtime.store(), loop_id())) == 1


def test_a_goal_without_enough_data_says_what_is_short(full: Path, visit: Visit) -> None:
    visit("fine_tunes")
    store = runtime.store()
    store.execute("DELETE FROM feedback_events", [], "feedback_events")
    app = visit("fine_tunes")
    app.button(key="new_run_button").click().run()
    assert not app.exception
    assert "wanted at least 20" in plain(app.warning[0].value)
    assert app.button(key="run_start").disabled


def test_a_clone_learns_from_the_same_rows_with_another_knob(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes")
    runtime.opened().supervisor.close()
    app.button(key="new_run_button").click().run()
    app.button(key="run_start").click().run()
    first = read_runs(runtime.store(), loop_id()).iloc[0]
    app.session_state["run_form"] = first["run_id"]
    app.run()
    app.select_slider(key=f"knob_clone_{first['run_id']}_epochs").set_value(5).run()
    app.button(key="clone_start").click().run()
    assert not app.exception
    clone = read_run(runtime.store(), str(read_runs(runtime.store(), loop_id())["run_id"].iloc[0]))
    assert (clone.parent_run_id, clone.config["epochs"]) == (first["run_id"], 5)
    assert clone.dataset_id == first["dataset_id"]


def test_rolling_back_moves_the_alias_to_the_version_before(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes", view="Versions")
    app.button(key="roll_back").click().run()
    assert not app.exception
    assert live_name() == "base"
    app = visit("fine_tunes")
    app.button(key="promote").click().run()
    assert live_name() == "scribe-1"


def test_an_unjudged_version_is_not_promoted_and_the_page_says_why(full: Path, visit: Visit) -> None:
    visit("fine_tunes")
    run_id = waiting_run(RunStatus.DONE)
    version = register_version(
        runtime.store(), loop_id(), name="scribe-2", base_path="x", adapter_path="y", run_id=run_id, now=utcnow()
    )
    update_run(runtime.store(), run_id, {"model_version_id": version.model_version_id})
    app = visit("fine_tunes", run=run_id)
    app.button(key="promote").click().run()
    assert not app.exception
    assert "never evaluated" in app.error[0].value
    assert live_name() == "scribe-1"


def test_a_link_to_an_unknown_run_shows_the_latest_and_says_so(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes", run="run-999")
    assert not app.exception
    assert "run\\-999" in app.warning[0].value


def plain(text: str) -> str:
    """A text without the signs that keep Markdown from reading it."""
    return text.replace("\\", "")


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def live_name() -> str:
    live = live_version(runtime.store(), loop_id())
    assert live is not None
    return live.name


def waiting_run(status: RunStatus = RunStatus.QUEUED) -> str:
    """A run in the store that no supervisor starts: its folder does not exist."""
    runtime.opened().supervisor.close()
    store, now = runtime.store(), utcnow()
    run = TrainingRun(
        run_id=new_id(now),
        loop_id=loop_id(),
        dataset_id=str(read_runs(store, loop_id())["dataset_id"].iloc[0]),
        reward_design_id=None,
        recipe="sft",
        config=asdict(SftConfig()),
        status=status,
        message="Waiting for its turn",
        created_at=now,
    )
    store.write(lambda cursor: insert_run(cursor, run), "training_runs")
    return run.run_id


def test_tracks_are_previewed_started_together_and_stand_in_a_table(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes", view="Tracks")
    runtime.opened().supervisor.close()
    assert "side by side" in app.info[0].value
    app.button(key="new_tracks_button").click().run()
    app.text_input(key="tracks_name").set_value("rows").run()
    assert not app.exception
    assert app.button(key="tracks_start").label == "Start 2 tracks"
    app.button(key="tracks_start").click().run()
    assert not app.exception
    [sweep] = read_sweeps(runtime.store(), loop_id()).itertuples()
    assert (sweep.name, sweep.n_active) == ("rows", 2)
    assert any("appears once the first track was measured" in caption.value for caption in app.caption)
    app.button(key="stop_tracks").click().run()
    assert not app.exception
    assert read_sweeps(runtime.store(), loop_id())["n_active"].tolist() == [0]


def test_a_measured_track_goes_to_an_experiment_with_its_reason(full: Path, visit: Visit) -> None:
    visit("fine_tunes")
    runtime.opened().supervisor.close()
    sweep_id = sweep_of_the_finished_run()
    app = visit("fine_tunes", view="Tracks", sweep=sweep_id)
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1
    said = [plain(text.value) for text in app.markdown]
    assert any("Yes: it keeps more than the base" in text for text in said)
    run_id = str(read_runs(runtime.store(), loop_id())["run_id"].iloc[0])
    app.button(key=f"experiment_{run_id}").click().run()
    assert not app.exception
    assert not app.error
    started = read_experiments(runtime.store(), loop_id())
    assert "running" in set(started["status"])


def test_a_version_has_a_card_and_an_export_that_cannot_be_made_says_why(full: Path, visit: Visit) -> None:
    app = visit("fine_tunes")
    assert any("It is an adapter on" in text.value for text in app.markdown), "the card, from the facts"
    key = next(button.key for button in app.button if str(button.key).startswith("export_"))
    app.button(key=key).click().run()
    errand = runtime.errands()[key.replace("export_", "export ")]
    while errand.is_running:
        time.sleep(0.1)
    app = visit("fine_tunes")
    assert not app.exception
    assert "adapter" in plain(app.error[0].value), "the clinic's run never made one"
    assert app.button(key=key)


def sweep_of_the_finished_run() -> str:
    """The clinic's one finished run as the only track of a sweep."""
    store, now = runtime.store(), utcnow()
    run_id = str(read_runs(store, loop_id())["run_id"].iloc[0])
    plan = plan_from({"name": "one", "recipes": ["sft"]})
    track = {"label": "Imitate expert edits", "recipe": "sft", "design": None, "design_id": None, "cut": "all answers"}
    track |= {"seed": 0, "run_id": run_id, "dataset_id": "d", "why": None}
    append_sweep(store, Sweep("sweep-1", loop_id(), "one", plan.spec(), [track], now))
    store.execute("UPDATE training_runs SET sweep_id = 'sweep-1' WHERE run_id = ?", [run_id], "training_runs")
    return "sweep-1"
