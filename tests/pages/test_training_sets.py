"""The training sets page: build, read, download; and what it says when a set cannot be built."""

import json
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.digest.set_reading import list_sets
from organism.digest.training_set_flow import freeze
from organism.digest.training_settings import SetSettings
from organism.optimize.flow import read_runs
from organism.records import DatasetKind
from organism.store.loops import ensure_loop, loop_id_of
from ui import runtime
from ui.words import literal

Visit = Callable[..., AppTest]


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def said(app: AppTest) -> str:
    return "\n".join(str(element.value) for kind in (app.markdown, app.caption, app.header) for element in kind)


def test_a_set_shows_what_it_is_made_of_and_where_each_row_came_from(full: Path, visit: Visit) -> None:
    app = visit("training_sets")
    assert not app.exception
    [only] = list_sets(runtime.store(), loop_id())
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Rows to train on"] == f"{only.n_train:,}"
    assert figures["Users"] == f"{only.n_users_train} / {only.n_users_heldout}"
    assert only.content_hash[:12] in said(app)
    assert "rewards are notes beside them" in said(app)
    assert "From simulated user" in said(app)
    assert "draft\\_reward" in said(app), "the text is a person's, so the reward is named as the draft's"
    assert "By reward of the draft" in said(app)
    assert len(app.get("plotly_chart")) >= 4, "variant, answer, users, what was dropped"
    assert {button.label for button in app.get("download_button")} >= {"Download JSONL", "Download Parquet"}
    assert app.query_params["set"] == only.dataset_id


def test_a_new_set_is_counted_first_then_frozen_and_opened(full: Path, visit: Visit) -> None:
    app = visit("training_sets")
    app.button(key="new_set").click().run()
    app.selectbox(key="set_kind").set_value(DatasetKind.PREFERENCE).run()
    app.button(key="set_count").click().run()
    assert not app.exception
    assert "to train on" in said(app)
    assert len(list_sets(runtime.store(), loop_id())) == 1, "counting freezes nothing"
    app.button(key="set_freeze").click().run()
    assert not app.exception
    newest = list_sets(runtime.store(), loop_id())[0]
    assert newest.kind == DatasetKind.PREFERENCE
    app.run()
    assert {"Chosen", "Rejected"} <= {part.value for part in app.subheader}
    assert "green-background[" in said(app)
    assert literal(newest.name) in said(app)


def test_a_set_that_cannot_be_built_is_one_sentence_on_the_form(full: Path, visit: Visit) -> None:
    app = visit("training_sets")
    app.button(key="new_set").click().run()
    app.selectbox(key="set_kind").set_value(DatasetKind.PREFERENCE).run()
    app.segmented_control(key="set_basis").set_value("reward").run()
    app.button(key="set_freeze").click().run()
    assert not app.exception
    assert "drafted at least twice" in app.error[0].value
    assert "Send several interactions with the same prompt" in app.error[0].value
    assert len(list_sets(runtime.store(), loop_id())) == 1


def test_completions_by_reward_take_at_least_the_median_unless_told_otherwise(full: Path, visit: Visit) -> None:
    app = visit("training_sets")
    app.button(key="new_set").click().run()
    app.segmented_control(key="set_basis").set_value("reward").run()
    app.button(key="set_count").click().run()
    assert not app.exception
    assert "the median of the drafts scored." in said(app)
    app.toggle(key="set_median").set_value(False).run()
    app.slider(key="set_least").set_value(0.11).run()
    app.button(key="set_count").click().run()
    assert not app.exception
    assert "Least reward: 0.110, as asked." in said(app)
    app.button(key="set_freeze").click().run()
    app.run()
    assert not app.exception
    assert "Least reward: 0.110, as asked." in said(app)
    assert "rejected, so not to imitate" in list_sets(runtime.store(), loop_id())[0].dropped


def test_the_rows_of_both_sides_can_be_read_one_by_one(full: Path, visit: Visit) -> None:
    visit("training_sets")
    settings = SetSettings(kind=DatasetKind.UNPAIRED)
    made = freeze(runtime.store(), loop_id(), settings, now=utcnow())
    app = visit("training_sets", set=made.dataset_id)
    app.segmented_control(key="set_side").set_value("heldout").run()
    app.number_input(key="set_row").set_value(made.n_heldout).run()
    assert not app.exception
    assert {part.value for part in app.subheader} <= {"Desirable", "Undesirable"}
    app.segmented_control(key="set_side").set_value("train").run()
    assert not app.exception


def test_a_fine_tune_starts_on_the_set_that_is_open_and_only_on_completions(full: Path, visit: Visit) -> None:
    app = visit("training_sets")
    runtime.opened().supervisor.close()
    store = runtime.store()
    before = len(read_runs(store, loop_id()))
    app.button(key="tune").click().run()
    assert not app.exception
    runs = read_runs(store, loop_id())
    assert (len(runs), runs["dataset_id"].iloc[0]) == (before + 1, list_sets(store, loop_id())[0].dataset_id)
    made = freeze(store, loop_id(), SetSettings(kind=DatasetKind.PREFERENCE), now=utcnow())
    app = visit("training_sets", set=made.dataset_id)
    assert "tune" not in {button.key for button in app.button}
    assert "trainer of pairs or labels" in said(app)


def test_a_link_to_an_unknown_set_shows_the_newest_and_says_so(full: Path, visit: Visit) -> None:
    app = visit("training_sets", set="no-such-set")
    assert not app.exception
    assert "no\\-such\\-set" in app.warning[0].value
    assert app.metric


def test_a_loop_without_sets_says_how_to_make_one(empty: Path, visit: Visit) -> None:
    visit("training_sets")
    ensure_loop(runtime.store(), "support", utcnow())
    app = visit("training_sets")
    assert not app.exception
    assert "freeze it" in app.info[0].value
    app.button(key="new_set").click().run()
    app.button(key="set_freeze").click().run()
    assert not app.exception
    assert "0 answers can be trained on" in app.error[0].value


def test_leaking_prompts_are_shown_side_by_side_and_an_older_set_says_what_it_does_not_know(
    full: Path, visit: Visit
) -> None:
    visit("training_sets")
    pair = {"similarity": 0.91, "train_prompt": "The same story today", "heldout_prompt": "The same story again"}
    leakage = {"threshold": 0.8, "n_compared": 40, "n_leaking": 1, "examples": [pair]}
    runtime.store().execute("UPDATE datasets SET leakage = ?", [json.dumps(leakage)], "datasets")
    app = visit("training_sets")
    assert not app.exception
    assert "The same story again" in said(app)
    assert "**1 row dropped**" in said(app)
    runtime.store().execute("UPDATE datasets SET leakage = NULL, settings = NULL", [], "datasets")
    app = visit("training_sets")
    assert not app.exception
    assert "not looked for" in said(app)
    assert "before settings were kept" in said(app)
