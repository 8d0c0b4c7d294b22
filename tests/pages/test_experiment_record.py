"""What leaves an experiment's page: its report, its record, and the record judged anew."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.store.experiments import read_experiments
from organism.store.loops import loop_id_of
from tests.pages import experiment_places
from ui import runtime

Visit = Callable[..., AppTest]


def test_a_decided_experiment_is_taken_away_and_replayed(full: Path, visit: Visit) -> None:
    app = visit("experiments")
    assert downloads(app) == ["Report", "Record"]
    replay = next(one for one in app.button if one.label == "Replay the record")
    replay.click().run()
    assert not app.exception
    assert "Same bytes" in app.success[0].value


def test_a_changed_record_is_an_error_on_the_page_and_an_old_decision_has_none(full: Path, visit: Visit) -> None:
    visit("experiments")
    store = runtime.store()
    change = "UPDATE decisions SET record = replace(record, '\"n_in_both\":0', '\"n_in_both\":7')"
    store.write(lambda cursor: cursor.execute(change), "decisions")
    app = visit("experiments")
    next(one for one in app.button if one.label == "Replay the record").click().run()
    assert "changed after it was kept" in app.error[0].value
    store.write(lambda cursor: cursor.execute("UPDATE decisions SET record = NULL"), "decisions")
    app = visit("experiments")
    assert downloads(app) == ["Report"]
    assert any("before records were kept" in one.value for one in app.caption)


def test_a_running_experiment_has_a_report_and_a_record_as_of_now_and_a_draft_a_report(
    full: Path, visit: Visit
) -> None:
    visit("experiments")
    store = runtime.store()
    running = experiment_places.three(store, utcnow())
    app = visit("experiments", exp=running)
    assert downloads(app) == ["Report", "Record"]
    assert not [one for one in app.button if one.label == "Replay the record"]
    planned = experiment_places.planned(store, utcnow())
    app = visit("experiments", exp=planned)
    assert not app.exception
    assert downloads(app) == ["Report"]
    assert len(read_experiments(store, loop_id_of(store, DEMO_LOOP))) == 3


def downloads(app: AppTest) -> list[str]:
    """The names of the page's download buttons other than those of charts."""
    return [one.proto.label for one in app.get("download_button") if one.proto.label != "CSV"]
