"""The reward designer: a draft is a link, and saving makes a version."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP
from organism.digest.designs import group_weights
from organism.digest.flow import live_design
from organism.store.loops import loop_id_of
from organism.store.reward_designs import read_designs
from ui import runtime

Visit = Callable[..., AppTest]


def test_moving_a_weight_changes_the_draft_but_not_what_is_live(full: Path, visit: Visit) -> None:
    app = visit("reward")
    assert app.button(key="FormSubmitter:save-Save as version 1").disabled
    app.slider(key="w_price").set_value(0.9).run()
    assert not app.exception
    assert not app.button(key="FormSubmitter:save-Save as version 1").disabled
    assert live_design(runtime.store(), loop_id()).name == "default"


def test_the_link_to_a_draft_opens_that_draft(full: Path, visit: Visit) -> None:
    app = visit("reward", w_price="0.9", w_quality="0.1")
    assert (app.slider(key="w_price").value, app.slider(key="w_quality").value) == (0.9, 0.1)
    assert any("Price 75%" in caption.value for caption in app.caption)


def test_saving_a_draft_with_its_reason_makes_the_next_version_live(full: Path, visit: Visit) -> None:
    app = visit("reward", w_price="0.6")
    app.text_input[0].set_value("Cheaper drafts")
    app.text_input[1].set_value("Ana")
    app.button(key="FormSubmitter:save-Save as version 1").click().run()
    assert not app.exception
    assert app.success[0].value == "Version 1 is live."
    saved = read_designs(runtime.store(), loop_id()).iloc[0]
    assert (saved["note"], saved["author"]) == ("Cheaper drafts", "Ana")
    assert group_weights(live_design(runtime.store(), loop_id()))["price"] == 0.6


def test_no_weight_at_all_is_one_sentence(full: Path, visit: Visit) -> None:
    app = visit("reward", w_price="0.0", w_performance="0.0", w_quality="0.0")
    assert not app.exception
    assert "positive weight" in app.error[0].value


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)
