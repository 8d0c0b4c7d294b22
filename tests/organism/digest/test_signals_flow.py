"""A team's own signals: what is taken, what is refused with a sentence, and what becomes of the rows."""

import json
from datetime import datetime

import pytest

from organism.digest.designs import DEFAULT_DESIGN
from organism.digest.flow import save_design
from organism.digest.signals_flow import define_signal, remove_signal
from organism.errors import DesignError, InputError
from organism.records import RewardDesign, SignalSpec
from organism.store import team_signals
from organism.store.loops import ensure_loop
from organism.store.signals import known_signals, read_coverage, read_signal_values

START = datetime(2026, 9, 7, 8)


def define(store, events, expression, name="vendor_score"):
    return define_signal(store, events.loop_id, name, expression, note="why", author="Ann", now=START)


def values(store, events, name="vendor_score"):
    found = read_signal_values(store, events.loop_id, [name])
    return dict(zip(found["interaction_id"], found[name], strict=True))


def scored(events, score, **columns):
    return events.answered("a", attributes=None if score is None else json.dumps({"vendor_score": score}), **columns)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("CAST(interaction.attributes->>'vendor_score' AS DOUBLE)", 0.5),
        ("interaction.attributes->>'vendor_score' = '0.5'", 1),
        ("-latency_ms / 1000 + 2 * 3", 5.5),
        ("case when feedback.kind = 'edit' and not accepted is null then 7 else 0 end", 7),
        ("length(interaction.output) - feedback.retained_chars", 40),
        ("interaction.occurred_at >= TIMESTAMP '2026-09-07'", 1),
        ("extract(hour from feedback.occurred_at)", 8),
        ("coalesce(rating, nullif(cost_usd, 0), 1) < 0.1 or latency_ms in (1, 2)", 1),
        ("latency_ms between 100 and 600", 1),
        ("if(interaction.output like 'x%' and starts_with(interaction.prompt, 'prompt'), 3, 4) % 2", 1),
        ("interaction.output ~ '^x+$'", 1),
        ("date_diff('minute', interaction.occurred_at, feedback.occurred_at)", 30),
        ("feedback.occurred_at - INTERVAL 31 MINUTE < interaction.occurred_at", 1),
        ("LATENCY_MS > 1 AND interaction.CONSENT", 1),
        ("'it''s' = interaction.prompt -- a remark", 0),
        ("1 /* a number */", 1),
        ("(interaction.attributes->>'vendor_score')::double * 2", 1),
        ("length(cast(latency_ms as text))::int", 5),
        ("strpos(interaction.output, 'x')", 1),
    ],
)
def test_an_expression_over_one_interaction_becomes_its_signal(store, events, expression, wanted):
    one = scored(events, 0.5)
    events.write()
    found = define(store, events, expression)
    assert (found.n_present, found.n_rows) == (1, 1)
    assert values(store, events) == {one: wanted}
    two = scored(events, 0.5)
    events.write()
    assert values(store, events)[two] == wanted


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("latency_ms +", "cannot be read: syntax error"),
        ("", "the expression is empty"),
        ("1) FROM loops; DROP TABLE loops; --", "cannot be read"),
        ("1), (2", "found a query"),
        ("1) AS x FROM read_csv('/etc/passwd') AS y(x) WHERE (true", "found a query"),
        ("1) UNION ALL SELECT (2", "found a query|cannot be read"),
        ("(SELECT count(*) FROM loops)", "a query inside the expression"),
        ("latency_ms IN (SELECT 1)", "a query inside the expression"),
        ("exists (from loops)", "a query inside the expression"),
        ("count(*)", "the function count"),
        ("sum(latency_ms)", "the function sum,"),
        ("max(latency_ms)", "the function max"),
        ("row_number() OVER ()", "a window function"),
        ("*", "a star"),
        ("COLUMNS(*)", "a star"),
        ("[x + 1 for x in [1, 2]]", "found"),
        ("$1", "a parameter"),
        ("read_text('/etc/passwd') = ''", "the function read_text"),
        ("getenv('HOME') = ''", "the function getenv"),
        ("length(repeat(interaction.output, 1000000))", "the function repeat"),
        ("length(lpad('x', 1000000000, 'y'))", "the function lpad"),
        ("list_sum(range(1000000000))", "the function list_sum"),
        ("length(interaction.output || interaction.output)", "the function ||"),
        ("random()", "the function random"),
        ("main.abs(1)", "the function abs"),
        ("abs(DISTINCT latency_ms)", "the function abs"),
        ("interaction.attributes->>'$..*' = ''", "no fixed name"),
        ("interaction.attributes->>interaction.prompt = ''", "no fixed name"),
        ("regexp_matches(interaction.output, interaction.prompt)", "a pattern that is no fixed text"),
        ("interaction.output ~ interaction.prompt", "a pattern that is no fixed text"),
        ("interaction.attributes.score", "write interaction.attributes->>'score'"),
        ("interaction.colour", "interaction has: interaction_id, "),
        ("outcomes.value", "found outcomes.value"),
        ("happiness", "found happiness; write interaction.X, feedback.X, or one of: accepted, "),
        ("CAST(latency_ms AS INTEGER[]) IS NULL", "found a cast"),
        ("interaction.prompt", "vendor_score gives text; a signal is a number"),
        ("interaction.occurred_at", "vendor_score gives TIMESTAMP"),
        ("latency_ms / (latency_ms - latency_ms)", "not a number on 2 of 2 interactions.*nullif"),
        ("1 // (output_tokens::INTEGER - 50)", "divides by zero.*nullif"),
        ("interaction.output_tokens % 0", "divides by zero|does not work"),
        ("CAST(interaction.prompt AS DOUBLE)", "fails on some interactions.*TRY_CAST"),
        ("length(latency_ms)", "does not work on the interactions"),
        ("+".join(["latency_ms"] * 150), "characters; at most"),
        ("+".join(["1"] * 150), "more than 200 parts"),
        ("+".join(["1"] * 500), "nested too deeply"),
        ("(" * 400 + "1" + ")" * 400, None),
    ],
)
def test_what_is_no_expression_over_one_interaction_is_refused_in_a_sentence(store, events, expression, sentence):
    scored(events, 0.5)
    scored(events, None)
    events.write()
    if sentence is None:
        assert define(store, events, expression).n_present == 2
        return
    with pytest.raises(DesignError, match=sentence):
        define(store, events, expression)
    assert "vendor_score" not in known_signals(store, events.loop_id)


def test_an_expression_that_would_hold_events_up_for_long_is_refused(store, events, monkeypatch):
    for n in range(team_signals.SAMPLE + 1):
        events.draft(f"user {n}")
    events.write()
    assert define(store, events, "latency_ms", "quick").n_present == team_signals.SAMPLE + 1
    monkeypatch.setattr(team_signals, "MAX_FILL_SECONDS", 1e-9)
    with pytest.raises(DesignError, match="on 2,000 interactions, so about 0 minutes on all 2,001"):
        define(store, events, "latency_ms")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("accepted", "a signal that is there already"),
        ("user_key", "means something else"),
        ("Vendor", "no name for a signal"),
        ("a b", "no name for a signal"),
        ("", "no name for a signal"),
        ("outcome.sale", "no name for a signal"),
        ('x"; DROP TABLE loops; --', "no name for a signal"),
        ("x" * 64, "no name for a signal"),
    ],
)
def test_a_name_is_an_identifier_that_nothing_has(store, events, name, sentence):
    with pytest.raises(DesignError, match=sentence):
        define(store, events, "1", name)


def test_a_later_row_on_which_it_fails_is_missing_and_hurts_nobody(store, events):
    fine = scored(events, 4)
    events.write()
    define(store, events, "1 / CAST(interaction.attributes->>'vendor_score' AS DOUBLE)")
    text, zero, none = scored(events, "high"), scored(events, 0), scored(events, None)
    events.write()
    found = values(store, events)
    assert found.pop(fine) == 0.25
    assert set(found) == {text, zero, none}
    assert all(value != value for value in found.values())
    assert read_coverage(store, events.loop_id, ["vendor_score"])["n_present"].tolist() == [1]


def test_a_new_answer_changes_the_signals_that_look_at_it(store, events):
    one = events.draft("a")
    events.write()
    define(store, events, "feedback.retained_chars * 2")
    assert values(store, events)[one] != values(store, events)[one]
    events.answer(one, retained_chars=30)
    events.write()
    assert values(store, events) == {one: 60}


def test_loops_may_use_one_name_for_two_things(store, events):
    other = ensure_loop(store, "other", START)
    mine, theirs = events.draft("a"), events.draft("a", loop_id=other)
    events.write()
    define(store, events, "1")
    define_signal(store, other, "vendor_score", "2", now=START)
    assert values(store, events) == {mine: 1}
    found = read_signal_values(store, other, ["vendor_score"])
    assert found.to_dict("records") == [{"interaction_id": theirs, "vendor_score": 2}]


def test_the_same_definition_twice_is_one_and_another_one_is_refused(store, events):
    assert define(store, events, "latency_ms").is_new
    assert not define(store, events, " latency_ms ").is_new
    with pytest.raises(DesignError, match="defined already, as latency_ms"):
        define(store, events, "cost_usd")


def test_a_removed_signal_keeps_its_name_and_says_when_it_went(store, events):
    one = scored(events, 1)
    events.write()
    define(store, events, "latency_ms")
    save_design(store, events.loop_id, DEFAULT_DESIGN, now=START)
    removed = remove_signal(store, events.loop_id, "vendor_score", START)
    assert (removed.removed_at, removed.designs) == (START, [])
    assert remove_signal(store, events.loop_id, "vendor_score", START.replace(hour=23)).removed_at == START
    info = known_signals(store, events.loop_id)["vendor_score"]
    assert (info.removed_at, info.expression, info.note) == (START, "latency_ms", "why")
    with pytest.raises(DesignError, match="was removed at 2026-09-07 08:00"):
        read_coverage(store, events.loop_id, ["vendor_score"])
    define(store, events, "2 * latency_ms")
    assert values(store, events) == {one: 1000}


def test_a_name_that_a_saved_design_uses_never_changes_its_meaning(store, events):
    scored(events, 1)
    events.write()
    define(store, events, "latency_ms")
    design = RewardDesign(name="mine", signals=(SignalSpec("vendor_score", 1, 0, 1),), note="Try it")
    save_design(store, events.loop_id, design, now=START)
    assert remove_signal(store, events.loop_id, "vendor_score", START).designs == ["v1 mine"]
    with pytest.raises(DesignError, match="v1 mine named it as latency_ms"):
        define(store, events, "cost_usd")
    assert define(store, events, "latency_ms").is_new


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("accepted", "comes with the data"),
        ("nothing", "no signal is named 'nothing'; signals that can be removed: none"),
    ],
)
def test_only_a_teams_own_signal_can_be_removed(store, events, name, sentence):
    with pytest.raises(InputError, match=sentence):
        remove_signal(store, events.loop_id, name, START)
