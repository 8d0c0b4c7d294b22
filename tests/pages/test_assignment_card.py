"""The assignment card: what is dealt in words, and who really met which variant."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from organism.config import Workspace
from organism.experiment.assign_flow import assign_user, record_exposures, set_holdout
from organism.store.exposures import Exposure
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.experiment.running import NOW, run


def card(experiment_id: str) -> None:
    from ui.assignment_cards import assignment_card

    assignment_card(experiment_id)


def shown(experiment_id: str) -> AppTest:
    app = AppTest.from_function(card, args=(experiment_id,), default_timeout=60).run()
    assert not app.exception
    return app


@pytest.fixture
def thompson(empty: Path) -> str:
    """A running experiment by Thompson sampling on 40% of a layer, with a holdout, four users and one exposure."""
    store = open_store(Workspace(empty).database)
    loop_id = ensure_loop(store, "notes", NOW)
    one = run(store, loop_id, policy="thompson", layer=("drafts", 0.0, 0.4), shares=(0.3, 0.7))
    run(store, loop_id, "neighbor", versions=("c", "d"), layer=("drafts", 0.4, 0.5))
    met = [assign_user(store, one, f"u{n}", NOW) for n in range(60)]
    user = next(f"u{n}" for n, found in enumerate(met) if found.variant)
    record_exposures(store, [Exposure(one, user, "", NOW, "test")])
    set_holdout(store, loop_id, 0.1, "Ana", now=NOW)
    store.close()
    return one


def test_policy_layer_and_holdout_are_figures_with_their_meaning(thompson: str) -> None:
    figures = {metric.label: metric for metric in shown(thompson).metric}
    assert figures["Policy"].value == "Thompson"
    assert figures["Layer"].value == "drafts [0, 0.4)"
    assert "Free: [0.5, 1)" in figures["Layer"].help
    assert "neighbor [0.4, 0.5)" in figures["Layer"].help
    assert (figures["Holdout"].value, figures["Open to"].value) == ("10.0%", "36.0%")
    assert all(metric.help for metric in figures.values())


def test_a_row_a_variant_and_what_holds_in_words(thompson: str) -> None:
    app = shown(thompson)
    (table,) = app.dataframe
    rows = table.value.set_index("Variant")
    assert rows["Dealt now"].tolist() == [0.3, 0.7]
    assert rows["Assigned"].sum() == pytest.approx(24, abs=12)
    assert rows["Met it"].sum() == 1
    said = " ".join(caption.value for caption in app.caption)
    assert "simulated users have a variant, and 1 met one" in said.replace("\\", "")
    assert "The planned shares hold" in said


def test_without_users_it_says_so(empty: Path) -> None:
    store = open_store(Workspace(empty).database)
    one = run(store, ensure_loop(store, "notes", NOW), targeting={"region": ["north"]})
    store.close()
    app = shown(one)
    said = " ".join(caption.value for caption in app.caption).replace("\\", "")
    assert "No user was assigned yet. Only users whose region is north." in said
    assert "Dealt now" not in app.dataframe[0].value.columns
    assert {metric.label: metric.value for metric in app.metric}["Layer"] == "None"
