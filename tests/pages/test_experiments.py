"""The experiments page: deep links, the verdict, the decision."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.deploy.flow import live_version, version_by_name
from organism.experiment.flow import start_experiment
from organism.store.decisions import read_decisions
from organism.store.experiments import read_experiments
from organism.store.loops import loop_id_of
from ui import runtime

Visit = Callable[..., AppTest]


def test_the_link_to_an_experiment_shows_that_one_even_when_it_is_not_the_latest(full: Path, visit: Visit) -> None:
    visit("experiments")
    first, second = first_id(), start_second()
    app = visit("experiments", exp=first)
    assert app.selectbox(key="exp_pick").value == first
    assert app.query_params["exp"] == first
    assert visit("experiments").query_params["exp"] == second, "without a link the latest, and its id in the address"


def test_a_link_to_nothing_says_so_and_shows_the_latest(full: Path, visit: Visit) -> None:
    app = visit("experiments", exp="exp-999")
    assert "exp-999" in app.warning[0].value
    assert app.selectbox(key="exp_pick").value == first_id()


def test_the_verdict_comes_with_its_sentence_and_the_wrong_p_is_struck_through(full: Path, visit: Visit) -> None:
    app = visit("experiments")
    assert "Ship it" in app.header[0].value
    assert any("~~By single draft" in text.value for text in app.markdown)
    assert [metric.label for metric in app.metric][:1] == ["Difference"]


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


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def first_id() -> str:
    return str(read_experiments(runtime.store(), loop_id())["experiment_id"].iloc[-1])


def start_second() -> str:
    """A running experiment without users, of the same two versions the other way round."""
    store = runtime.store()
    versions = [version_by_name(store, loop_id(), name).model_version_id for name in ("scribe-1", "base")]
    return start_experiment(store, loop_id(), "base against scribe-1", *versions, is_synthetic=True, now=utcnow())
