"""Weights from choices: a click is a durable choice, names are hidden until then, simulated voters say so."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP
from organism.digest.choices_flow import pair_for, record_choice
from organism.digest.flow import live_design
from organism.store.choices import read_choices
from organism.store.loops import loop_id_of
from tests.pages.test_every_page import said
from ui import runtime

Visit = Callable[..., AppTest]
NOW = datetime(2026, 10, 1)


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def vote(n: int, actor: str, *, is_synthetic: bool = False) -> None:
    """n answered pairs, the better kept draft chosen two times of three."""
    store = runtime.store()
    for number in range(n):
        pair = pair_for(store, loop_id(), live_design(store, loop_id()), actor=actor)
        kept_left = pair.left.signals["retained_char_rate"] > pair.right.signals["retained_char_rate"]
        record_choice(
            store,
            loop_id(),
            left=pair.left.id,
            right=pair.right.id,
            chosen="left" if kept_left == bool(number % 3) else "right",
            actor=actor,
            is_synthetic=is_synthetic,
            now=NOW + timedelta(seconds=number),
        )


def test_without_a_name_nothing_can_be_chosen_and_the_versions_stay_hidden(full: Path, visit: Visit) -> None:
    app = visit("choices")
    assert not app.exception
    assert all(app.button(key=f"choose_{word}").disabled for word in ("left", "right", "skip"))
    assert "Nobody has chosen yet" in said(app)
    sides = said(app).split("What the choices say")[0]
    assert "scribe-1" not in sides
    assert "Synthetic demo data" in said(app)


def test_a_click_keeps_the_choice_reveals_the_versions_and_shows_another_pair(full: Path, visit: Visit) -> None:
    app = visit("choices")
    app.text_input(key="voter").set_value("Ana").run()
    before = app.session_state["pair"][1]
    app.button(key="choose_left").click().run()
    assert not app.exception
    kept = read_choices(runtime.store(), loop_id())
    assert kept[["left_id", "right_id", "chosen", "actor"]].values.tolist() == [
        [before.left.id, before.right.id, "left", "Ana"]
    ]
    assert not kept["is_synthetic"].any()
    assert "left is better" in said(app)
    after = app.session_state["pair"][1]
    assert {after.left.id, after.right.id} != {before.left.id, before.right.id}
    app.button(key="choose_skip").click().run()
    assert read_choices(runtime.store(), loop_id())["chosen"].tolist() == ["left", "skip"]


def test_the_pair_stays_while_other_data_arrives(full: Path, visit: Visit) -> None:
    app = visit("choices")
    app.text_input(key="voter").set_value("Ana").run()
    before = app.session_state["pair"][1]
    vote(2, "Bob")
    app.run()
    assert app.session_state["pair"][1] == before


def test_the_weights_stand_beside_the_hand_set_ones_and_open_in_the_designer(full: Path, visit: Visit) -> None:
    app = visit("choices")
    vote(12, "simulated-pm", is_synthetic=True)
    app.run()
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric}["Choices"] == "12"
    assert "simulated-pm (simulated)" in app.dataframe[-1].value["actor"].tolist()
    assert "loose" in said(app)
    links = [link for link in app.get("page_link") if link.proto.label == "Open these weights in the designer"]
    assert len(links) == 1
    assert "draft=" in links[0].proto.query_string


def test_profiles_of_versions_can_be_compared_too(full: Path, visit: Visit) -> None:
    app = visit("choices")
    app.text_input(key="voter").set_value("Ana").run()
    vote(3, "Ana")
    app.button_group(key="choice_kind").set_value("variants").run()
    assert not app.exception
    assert not app.error
    assert app.session_state["pair"][1].kind == "variants"
    assert "no choice to learn weights from yet" in said(app)


def test_a_slide_shows_findings_and_no_buttons_to_choose(full: Path, visit: Visit) -> None:
    visit("choices")
    vote(6, "simulated-pm", is_synthetic=True)
    app = visit("choices", present="1")
    assert not app.exception
    assert "Of 6 choices, 6 are by simulated people" in said(app)
    assert [button.label for button in app.button] == ["Leave presentation"]
    assert app.metric


def test_a_first_choice_under_a_new_name_counts_at_once_and_who_was_taken_out_stays_out(
    full: Path, visit: Visit
) -> None:
    vote(8, "Ben")
    vote(8, "Cleo")
    app = visit("choices")
    assert app.pills(key="whose").value == ["Ben", "Cleo"]
    app.pills(key="whose").set_value(["Cleo"]).run()
    app.text_input(key="voter").set_value("Ana").run()
    app.button(key="choose_left").click().run()
    assert not app.exception
    assert app.pills(key="whose").value == ["Cleo", "Ana"]
    app.run()
    assert app.pills(key="whose").value == ["Cleo", "Ana"]
