"""Before and after: the marks, the link to a visit, both models writing, and the room's side of a blind vote."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from organism.config import ROOT
from organism.digest.votes import Answer
from organism.digest.votes_flow import cast_vote, next_item
from organism.optimize.evaluation_flow import read_evaluations
from organism.store.evaluations import EvalRun, insert_evaluation, read_header, read_results
from organism.store.loops import loop_ids
from organism.store.model_versions import insert_version, version_by_name
from organism.store.votes import read_ballots
from tests.pages.test_every_page import said
from ui.gains import opening_version

Visit = Callable[..., AppTest]


def test_what_the_expert_kept_stands_on_a_colored_ground_in_both_drafts(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    texts = [element.value for element in app.markdown]
    assert any(":gray-background[" in text for text in texts)
    assert any(":green-background[" in text for text in texts)
    assert [header.value for header in app.header][:3] == ["Base", "scribe-1", "Expert"]
    assert app.subheader[0].value.startswith("Of the base")


def test_the_address_names_version_and_visit_so_that_the_link_is_the_slide(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    assert app.query_params["version"] == "scribe-1"
    row = app.query_params["row"]
    other = next(option for option in app.selectbox(key="row_pick").options if f"Visit {row}," not in option)
    number = other.split(",")[0].removeprefix("Visit ")
    again = visit("before_after", version="scribe-1", row=number)
    assert again.selectbox(key="row_pick").value == number


def poorer_and_newer() -> None:
    """A second version, newer than the live one and evaluated with a loss."""
    from ui import runtime

    store, now = runtime.store(), runtime.now()
    (loop_id,) = loop_ids(store).values()
    known = str(read_evaluations(store, loop_id)["eval_run_id"].iloc[0])
    header, rows = read_header(store, known), read_results(store, known).to_dict("records")
    made = replace(
        version_by_name(store, loop_id, "scribe-1"), model_version_id="newer", name="scribe-2", created_at=now
    )
    record = EvalRun(
        eval_run_id="newer-evaluated",
        loop_id=loop_id,
        run_id=None,
        model_version_id="newer",
        baseline_version_id=header["baseline_version_id"],
        dataset_id=header["dataset_id"],
        summary={**header["summary"], "after": header["summary"]["before"] - 0.1},
        created_at=now,
    )
    store.write(lambda cursor: insert_version(cursor, made), "model_versions")
    store.write(lambda cursor: insert_evaluation(cursor, record, rows), "eval_runs")


def test_without_a_link_the_live_version_opens_and_not_the_newest(full: Path, visit: Visit) -> None:
    visit("before_after")
    poorer_and_newer()
    app = visit("before_after")
    assert not app.exception
    assert list(app.selectbox(key="version_pick").options) == ["scribe-2", "scribe-1"]
    assert app.query_params["version"] == "scribe-1"
    assert visit("before_after", version="scribe-2").query_params["version"] == "scribe-2"


def test_where_the_live_version_was_not_evaluated_the_best_gain_opens() -> None:
    judged = pd.DataFrame(
        {"name": ["s-3", "s-2", "s-1"], "is_live": False, "before": [0.2, 0.4, 0.2], "after": [0.1, 0.6, 0.5]}
    )
    assert opening_version(judged) == "s-1"
    assert opening_version(judged.assign(is_live=[False, True, False])) == "s-2"


def test_next_and_back_walk_through_the_visits_in_the_order_that_was_chosen(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    order = [option.split(",")[0].removeprefix("Visit ") for option in app.selectbox(key="row_pick").options]
    back, onward = (next(button for button in app.button if button.label == label) for label in ("Back", "Next"))
    assert back.disabled
    onward.click().run()
    assert app.query_params["row"] == order[1]
    next(button for button in app.button if button.label == "Back").click().run()
    assert app.query_params["row"] == order[0]


def test_worst_losses_come_first_when_they_are_asked_for(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    best = app.query_params["row"]
    app.segmented_control(key="order_pick").set_value("Worst losses").run()
    assert not app.exception
    assert app.query_params["row"] != best
    gains = [float(option.split(",")[1].removesuffix(" pt")) for option in app.selectbox(key="row_pick").options]
    assert gains == sorted(gains)


def test_a_link_to_an_unknown_version_or_visit_falls_back_with_a_sentence(full: Path, visit: Visit) -> None:
    app = visit("before_after", version="scribe-9", row="nowhere")
    assert not app.exception
    assert len(app.warning) == 2


def test_a_draft_by_a_missing_model_is_one_sentence_and_the_page_stays(full: Path, visit: Visit) -> None:
    app = visit("before_after")
    app.button(key="write_both").click().run()
    assert not app.exception
    assert "No model folder" in app.error[0].value
    assert "Expert" in [header.value for header in app.header]


@pytest.fixture
def with_models(full: Path) -> Path:
    """The tuned version gets the shipped adapter, so that both models can write."""
    (run,) = (full / "runs").iterdir()
    shutil.copytree(ROOT / "data" / "scribe" / "versions" / "scribe-1", run / "adapter")
    return full


def test_both_models_write_the_visit_again_and_tell_tokens_time_and_cost(with_models: Path, visit: Visit) -> None:
    app = visit("before_after")
    app.button(key="write_both").click().run(timeout=120)
    assert not app.exception
    assert not app.error
    told = [caption.value for caption in app.caption if "tokens" in caption.value]
    assert len(told) == 2
    assert all("s · $" in words.replace("\\", "") for words in told)
    assert "Written live just now." in [caption.value for caption in app.caption]
    assert not any("**|**" in element.value for element in app.markdown), "nobody is still writing"
    app.segmented_control(key="view_pick").set_value("own").run()
    app.button(key="write_own").click().run(timeout=120)
    assert not app.error
    assert [header.value for header in app.header] == ["Base", "scribe-1"]
    assert "what only this draft says" in said(app)


def test_a_ballot_is_opened_counted_and_closed_with_the_names(full: Path, visit: Visit) -> None:
    from ui import runtime

    app = visit("before_after", view="vote")
    assert "Nobody has voted yet" in said(app) or app.info
    next(button for button in app.button if button.label == "Open the ballot").click().run()
    assert not app.error
    store = runtime.store()
    (ballot_id,) = read_ballots(store, next(iter(loop_ids(store).values())))["ballot_id"]
    assert f"/vote?ballot={ballot_id}" in app.code[0].value
    for voter in ("ann", "bob", "cem", "dee"):
        while (item := next_item(store, ballot_id, voter)) is not None:
            chosen = Answer.FIRST if len(item.first) < len(item.second) else Answer.SECOND
            cast_vote(store, ballot_id, item_number=item.item_number, voter=voter, chosen=chosen, now=runtime.now())
    app.run()
    finding = app.subheader[1].value
    assert "scribe" not in finding
    assert "Model 1" in finding or "Model 2" in finding
    next(button for button in app.button if button.label == "Close and say the names").click().run()
    assert not app.exception
    assert "4 voters cast 32 votes\\: scribe\\-1 is preferred in 100%" in app.subheader[0].value
    assert "most voters preferred the text that the expert kept more of" in said(app)
    next(button for button in app.button if button.label == "Freeze a training set of votes").click().run()
    assert "open a ballot on recent prompts" in app.error[0].value


def test_a_ballot_that_can_train_offers_pairs_enough_and_says_what_a_set_needs(full: Path, visit: Visit) -> None:
    app = visit("before_after", view="vote")
    assert [slider.value for slider in app.slider] == [8]
    assert "needs at least 20 decided pairs" not in said(app)
    app.radio(key="ballot_source").set_value("recent").run()
    assert not app.exception
    assert [slider.value for slider in app.slider] == [40]
    assert "needs at least 20 decided pairs from people outside the held-out users" in said(app)


def test_a_slide_of_a_vote_shows_its_result_and_no_form(full: Path, visit: Visit) -> None:
    app = visit("before_after", view="vote", present="1")
    assert not app.exception
    assert "Open the ballot" not in [button.label for button in app.button]
