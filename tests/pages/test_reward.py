"""The reward designer: a draft is a link, four views show what it changes, and saving makes a version."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from organism.config import DEMO_LOOP, utcnow
from organism.digest.design_files import from_link, to_link
from organism.digest.designs import DEFAULT_DESIGN, group_weights
from organism.digest.flow import live_design, save_design
from organism.digest.signals_flow import define_signal, remove_signal
from organism.ingest.flow import ingest
from organism.records import Constraint, EventKind, SignalSpec
from organism.store.loops import loop_id_of
from organism.store.reward_designs import read_saved
from organism.store.sampled_drafts import append_sampled_drafts
from ui import runtime

Visit = Callable[..., AppTest]
VIEWS = ("Who wins", "Trade-offs", "What would it grow?", "Signals")
SAVE = "FormSubmitter:save-Save"
SPEEDY = replace(
    DEFAULT_DESIGN, signals=(*DEFAULT_DESIGN.signals, SignalSpec("ttft_ms", 0.3, worst=900, best=50, missing=0.5))
)


def test_moving_a_weight_changes_the_draft_but_not_what_is_live(full: Path, visit: Visit) -> None:
    app = visit("reward")
    assert "The draft is the live design." in said(app)
    assert app.button(key="save_version").disabled
    app.slider(key="w_price").set_value(0.9).run()
    assert not app.exception
    assert "cost\\_usd 0\\.20 → 0\\.90" in said(app)
    assert not app.button(key="save_version").disabled
    assert live_design(runtime.store(), loop_id()).name == "default"


def test_the_link_to_moved_weights_opens_that_draft(full: Path, visit: Visit) -> None:
    app = visit("reward", w_price="0.9", w_quality="0.1")
    assert (app.slider(key="w_price").value, app.slider(key="w_quality").value) == (0.9, 0.1)
    assert "Price 75%" in said(app)


def test_a_link_carries_a_draft_with_other_signals(full: Path, visit: Visit) -> None:
    app = visit("reward", draft=to_link(SPEEDY))
    assert not app.exception
    assert not app.warning
    assert app.slider(key="w_performance").value == 0.5
    assert "ttft" in said(app)


def test_a_broken_link_is_one_sentence_and_the_live_design_is_shown(full: Path, visit: Visit) -> None:
    app = visit("reward", draft="no-such-draft")
    assert not app.exception
    assert len(app.warning) == 1
    assert "The draft is the live design." in said(app)


def test_a_preset_moves_the_sliders_and_live_leads_back(full: Path, visit: Visit) -> None:
    app = visit("reward")
    pills = app.button_group(key="preset")
    pills.set_value("Performance").run()
    assert not app.exception
    assert app.slider(key="w_performance").value == pytest.approx(0.6)
    assert "draft" in app.query_params
    app.button_group(key="preset").set_value("Live").run()
    assert app.slider(key="w_performance").value == pytest.approx(0.2)
    assert "draft" not in app.query_params
    assert "The draft is the live design." in said(app)


def test_saving_a_draft_with_its_reason_and_name_makes_the_next_version_live(full: Path, visit: Visit) -> None:
    app = visit("reward", w_price="0.6")
    app.button(key="save_version").click().run()
    fill(app, "What should get better?", "Cheaper drafts")
    fill(app, "Name of the design", "cheap")
    fill(app, "Your name", "Ana")
    app.button(key="save_version").click()  # AppTest runs the whole page anew, which would close the dialog.
    app.button(key=SAVE).click().run()
    assert not app.exception
    assert "Version 1 is live\\." in [box.value for box in app.success]
    saved = read_saved(runtime.store(), loop_id())[0].design
    assert (saved.note, saved.name, saved.author) == ("Cheaper drafts", "cheap", "Ana")
    assert group_weights(live_design(runtime.store(), loop_id()))["price"] == 0.6


def test_a_draft_is_not_saved_without_saying_what_should_get_better(full: Path, visit: Visit) -> None:
    app = visit("reward", w_price="0.6")
    app.button(key="save_version").click().run()
    app.button(key="save_version").click()  # AppTest runs the whole page anew, which would close the dialog.
    app.button(key=SAVE).click().run()
    assert not app.exception
    assert app.error[0].value
    assert read_saved(runtime.store(), loop_id()) == []


@pytest.mark.parametrize("view", VIEWS)
def test_no_weight_at_all_is_one_sentence_in_every_view(full: Path, visit: Visit, view: str) -> None:
    app = visit("reward", view=view, w_price="0.0", w_performance="0.0", w_quality="0.0")
    assert not app.exception
    assert "positive weight" in app.error[0].value


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SignalSpec("latency_ms", 0.2, 500, 500), "two different numbers"),
        (SignalSpec("no_such_signal", 0.2, 0, 1), "no\\_such\\_signal"),
    ],
)
def test_a_link_to_an_impossible_design_is_one_sentence_in_every_view(
    full: Path, visit: Visit, view: str, spec: SignalSpec, words: str
) -> None:
    signals = (DEFAULT_DESIGN.signals[0], spec)
    app = visit("reward", view=view, draft=to_link(replace(DEFAULT_DESIGN, signals=signals)))
    assert not app.exception
    assert len(app.error) == 1
    assert words in app.error[0].value


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn_for_a_moved_draft(full: Path, visit: Visit, view: str) -> None:
    app = visit("reward", view=view, w_price="0.7")
    assert not app.exception
    assert not app.error
    assert app.button_group(key="view").value == view


def test_a_variant_that_breaks_a_guardrail_may_not_win(full: Path, visit: Visit) -> None:
    free = visit("reward")
    winner = metric(free, "Would win")
    assert winner == "scribe-1"
    barred = replace(DEFAULT_DESIGN, constraints=(Constraint("retained_char_rate", at_most=0.6),))
    app = visit("reward", draft=to_link(barred))
    assert not app.exception
    assert metric(app, "Wins today") == winner
    assert metric(app, "Would win") == "base"
    assert "scribe-1 may not win" in said(app)


def test_only_drafts_that_both_designs_score_are_counted_as_ranked(empty: Path, visit: Visit) -> None:
    drafts(n_users=3, variants=("base", "tuned"))
    drafts(n_users=2, variants=("unanswered",), answered=False)
    app = visit("reward", view="Trade-offs", w_performance="0.0")
    assert not app.exception
    assert "Of 12 drafts that both designs score" in said(app)


def test_one_variant_alone_is_told_so(empty: Path, visit: Visit) -> None:
    drafts(n_users=3, variants=("base",))
    app = visit("reward")
    assert not app.exception
    assert "Only one version" in app.info[0].value


@pytest.mark.parametrize("view", VIEWS)
def test_one_user_of_two_variants_gives_no_interval_and_no_traceback(empty: Path, visit: Visit, view: str) -> None:
    drafts(n_users=1, variants=("base", "tuned"))
    app = visit("reward", view=view, w_price="0.6")
    assert not app.exception


@pytest.mark.parametrize("view", VIEWS)
def test_drafts_that_nobody_answered_are_no_error(empty: Path, visit: Visit, view: str) -> None:
    drafts(n_users=3, variants=("base", "tuned"), answered=False)
    app = visit("reward", view=view)
    assert not app.exception
    assert not app.error
    if view != "Signals":
        assert app.info


def test_what_would_grow_shows_both_picks_of_the_same_prompt_and_what_is_left_out(full: Path, visit: Visit) -> None:
    visit("reward")
    pool()
    rated = replace(DEFAULT_DESIGN, signals=(*DEFAULT_DESIGN.signals, SignalSpec("rating", 0.1, 1, 5, missing=0.5)))
    app = visit("reward", view="What would it grow?", draft=to_link(rated), w_price="1.0", w_quality="0.1")
    assert not app.exception
    texts = [text.value for text in app.text]
    assert "The long note of visit 0" in texts
    assert "Short 0" in texts
    assert texts.index("The long note of visit 0") < texts.index("Short 0"), "live stands left"
    assert (metric(app, "Characters"), metric(app, "Written")) == ("8", "10.0%")
    assert "nobody saw these drafts\\: rating" in said(app)


def test_a_reward_that_would_rather_stop_writing_is_a_loud_warning(full: Path, visit: Visit) -> None:
    visit("reward")
    pool(beginnings=True)
    app = visit("reward", view="What would it grow?", w_price="1.0", w_performance="0.0", w_quality="0.05")
    assert not app.exception
    assert "stop writing" in app.error[0].value


def test_two_saved_versions_are_compared_in_words(full: Path, visit: Visit) -> None:
    now = utcnow()
    visit("reward")
    store = runtime.store()
    save_design(store, loop_id(), replace(DEFAULT_DESIGN, note="First"), now=now)
    save_design(store, loop_id(), replace(SPEEDY, note="Faster"), now=now)
    app = visit("reward")
    assert "\\+ ttft\\_ms 0\\.30" in said(app)
    app.selectbox(key="compare_before").set_value(2).run()
    assert "These two are the same recipe." in said(app)


def test_an_older_version_becomes_the_draft(full: Path, visit: Visit) -> None:
    visit("reward")
    store, now = runtime.store(), utcnow()
    older = replace(DEFAULT_DESIGN, note="First")
    save_design(store, loop_id(), older, now=now)
    save_design(store, loop_id(), replace(SPEEDY, note="Faster"), now=now)
    app = visit("reward")
    assert app.slider(key="w_performance").value == 0.5
    app.button(key="start_from_version").click().run()
    assert not app.exception
    assert app.slider(key="w_performance").value == 0.2
    assert "− ttft\\_ms 0\\.30" in said(app)
    assert not app.button(key="save_version").disabled
    assert from_link(app.query_params["draft"]).id == older.id


def test_a_signal_in_sql_is_defined_on_the_page_and_removed_again(full: Path, visit: Visit) -> None:
    app = visit("reward", view="Signals")
    fill(app, "Name of the signal", "short_note")
    next(area for area in app.text_area if area.label == "Expression").set_value(
        "CASE WHEN length(interaction.output) < 200 THEN 1 ELSE 0 END"
    )
    app.button(key="FormSubmitter:define_signal-Define").click().run()
    assert not app.exception
    assert "short_note" in str(app.dataframe[0].value["signal"].tolist())
    app.button(key="remove_short_note").click().run()
    assert not app.exception
    assert "short_note" not in app.dataframe[0].value["signal"].tolist()


def test_a_live_design_whose_signal_was_removed_says_so_and_a_mended_draft_is_scored(full: Path, visit: Visit) -> None:
    visit("reward")
    store, now = runtime.store(), utcnow()
    define_signal(store, loop_id(), "short_note", "length(interaction.output)", note="", author="", now=now)
    signals = (*DEFAULT_DESIGN.signals, SignalSpec("short_note", 0.2, 900, 100))
    save_design(store, loop_id(), replace(DEFAULT_DESIGN, signals=signals, note="Short"), now=now)
    remove_signal(store, loop_id(), "short_note", now)
    app = visit("reward")
    assert not app.exception
    assert "was removed" in app.error[0].value
    app = visit("reward", draft=to_link(DEFAULT_DESIGN))
    assert not app.exception
    assert not app.error
    assert "was removed" in app.warning[0].value
    assert metric(app, "Would win") == "scribe-1"


def test_a_bad_expression_is_one_sentence(full: Path, visit: Visit) -> None:
    app = visit("reward", view="Signals")
    fill(app, "Name of the signal", "thief")
    next(area for area in app.text_area if area.label == "Expression").set_value("read_text('/etc/passwd')")
    app.button(key="FormSubmitter:define_signal-Define").click().run()
    assert not app.exception
    assert len(app.error) == 1


def test_a_signal_that_divides_by_zero_keeps_its_name_in_the_sentence(full: Path, visit: Visit) -> None:
    app = visit("reward", view="Signals")
    fill(app, "Name of the signal", "bad_div")
    next(area for area in app.text_area if area.label == "Expression").set_value("interaction.latency_ms / 0")
    app.button(key="FormSubmitter:define_signal-Define").click().run()
    assert not app.exception
    assert app.error[0].value.startswith("Signal bad\\_div is infinite")


def pool(*, beginnings: bool = False) -> None:
    """For each of 30 prompts a long and a short draft, the short one cheap and mostly useless."""
    shared = {"loop_id": loop_id(), "accepted": 1.0, "latency_ms": 400.0, "final_chars": 24, "is_synthetic": True}
    rows = []
    for n in range(30):
        prompt = shared | {"prompt_key": f"visit-{n}", "prompt": f"Visit {n}"}
        long, short = f"The long note of visit {n}", f"Short {n}"
        rows += [
            prompt | draft(0, 1.0, long, retained=20, final=25, cost=0.0004),
            prompt | draft(1, 1.0, short, retained=2, final=20, cost=0.0001),
        ]
        if beginnings:
            rows.append(prompt | draft(1, 0.25, short[:2], retained=2, final=20, cost=0.00001))
    append_sampled_drafts(runtime.store(), rows, utcnow())


def draft(number: int, stop_at: float, text: str, *, retained: int, final: int, cost: float) -> dict[str, object]:
    return {
        "draft_number": number,
        "stop_at": stop_at,
        "output": text,
        "draft_chars": len(text),
        "retained_chars": retained,
        "final_chars": final,
        "cost_usd": cost,
    }


def loop_id() -> str:
    return loop_id_of(runtime.store(), DEMO_LOOP)


def said(app: AppTest) -> str:
    """All sentences of the page in one text."""
    return "\n".join(str(element.value) for kind in (app.caption, app.markdown, app.success) for element in kind)


def metric(app: AppTest, label: str) -> str:
    return str(next(found.value for found in app.metric if found.label == label))


def fill(app: AppTest, label: str, text: str) -> None:
    next(box for box in app.text_input if box.label == label).set_value(text)


def drafts(*, n_users: int, variants: tuple[str, ...], answered: bool = True) -> None:
    """Two drafts of each user under each variant, accepted as they are unless nobody answered."""
    now = utcnow()
    rows = [
        {
            "loop": DEMO_LOOP,
            "source": "test",
            "external_id": f"{variant}-{user}-{n}",
            "user_key": f"user-{user}",
            "variant_id": variant,
            "occurred_at": now,
            "prompt": "Why?",
            "output": f"Because of the cough that lasted for {n + user} weeks.",
            "latency_ms": 300.0 + 10 * n + user,
            "cost_usd": 0.0002,
        }
        for variant in variants
        for user in range(n_users)
        for n in range(2)
    ]
    ingest(runtime.store(), EventKind.INTERACTIONS, rows, now=now).result()
    if answered:
        answers = [
            {
                "source": "test",
                "external_id": f"answer-{row['external_id']}",
                "interaction_external_id": row["external_id"],
                "kind": "edit",
                "final_text": row["output"],
                "occurred_at": now,
            }
            for row in rows
        ]
        ingest(runtime.store(), EventKind.FEEDBACK, answers, now=now).result()
