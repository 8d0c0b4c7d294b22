"""Before and after: the marks, the link to a visit, and a draft of one's own."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

Visit = Callable[..., AppTest]


def test_what_the_expert_kept_stands_on_a_colored_ground_in_both_drafts(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    texts = [element.value for element in app.markdown]
    assert any(":gray-background[" in text for text in texts)
    assert any(":green-background[" in text for text in texts)
    assert [header.value for header in app.header][:3] == ["Base", "scribe-1", "Expert"]


def test_the_address_names_version_and_visit_so_that_the_link_is_the_slide(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    assert app.query_params["version"] == "scribe-1"
    row = app.query_params["row"]
    other = next(option for option in app.selectbox(key="row_pick").options if f"Visit {row}," not in option)
    number = other.split(",")[0].removeprefix("Visit ")
    again = visit("before_after", version="scribe-1", row=number)
    assert again.selectbox(key="row_pick").value == number


def test_worst_losses_come_first_when_they_are_asked_for(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    best = app.query_params["row"]
    app.segmented_control(key="order_pick").set_value("Worst losses").run()
    assert not app.exception
    assert app.query_params["row"] != best


def test_a_link_to_an_unknown_version_or_visit_falls_back_with_a_sentence(full: Path, visit: Visit) -> None:
    app = visit("before_after", version="scribe-9", row="nowhere")
    assert not app.exception
    assert len(app.warning) == 2


def test_a_draft_by_a_missing_model_is_one_sentence(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    app.button(key="FormSubmitter:draft_now-Write both drafts").click().run()
    assert not app.exception
    assert "No model folder" in app.error[0].value
