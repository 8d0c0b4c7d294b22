"""The A/A self-test on the experiments page: a button, the finding of both tests, or one sentence."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import Workspace
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.experiment.running import NOW, run

Visit = Callable[..., AppTest]


def card(experiment_id: str) -> None:
    from organism.config import utcnow
    from organism.experiment.flow import analyze
    from organism.store.experiments import read_experiment
    from ui import runtime, self_test

    store = runtime.store()
    self_test.section(analyze(store, experiment_id, utcnow()), read_experiment(store, experiment_id))


def settled(app: AppTest) -> AppTest:
    """After the errand, however long it takes on a busy machine."""
    for _ in range(20):
        if not app.get("progress"):
            break
        app.run()
    assert not app.exception
    return app


def test_the_button_says_how_often_both_tests_cry_wolf(full: Path, visit: Visit) -> None:
    app = visit("experiments", detail="Split and trust")
    assert not [one for one in app.metric if "False alarms" in one.label]
    app.button(key="selftest_run").click().run()
    settled(app)
    shown = {one.label: one for one in app.metric if "False alarms" in one.label}
    assert set(shown) == {"False alarms, by user", "False alarms, by request"}
    ours = float(shown["False alarms, by user"].value.rstrip("%"))
    assert 2 < ours < 9
    assert any("were split at random" in one.value for one in app.markdown)
    assert "self_test" in str(
        [one.key for one in app.get("download_button")] + [one.key for one in app.get("plotly_chart")]
    )
    app.selectbox(key="selftest_metric").set_value("written_share").run()
    assert not [one for one in app.metric if "False alarms" in one.label], "another question has no answer yet"


def test_where_nobody_has_the_metric_it_is_a_sentence(empty: Path) -> None:
    store = open_store(Workspace(empty).database)
    experiment_id = run(store, ensure_loop(store, "notes", NOW), primary="retained_char_rate")
    store.close()
    app = AppTest.from_function(card, args=(experiment_id,), default_timeout=60).run()
    app.button(key="selftest_run").click().run()
    settled(app)
    assert "Nobody has this metric yet" in app.error[0].value
    assert not app.metric
