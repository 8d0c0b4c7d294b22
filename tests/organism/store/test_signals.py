"""Signals as they are read: coverage, sums by user, rows, quantiles."""

import random
from datetime import datetime, timedelta

import numpy as np
import pytest

from organism.measures.draft_reward import utility
from organism.records import SignalSpec
from organism.store.signal_table import refresh_signals
from organism.store.signals import (
    SIGNALS,
    known_signals,
    read_coverage,
    read_quantiles,
    read_signal_rows,
    read_signal_sums,
    read_utility_sums,
)

START = datetime(2026, 9, 7, 8)


def test_every_signal_is_a_column_of_the_table(store, events):
    columns = set(store.frame("SELECT * FROM signals").columns)
    assert set(SIGNALS) <= columns
    assert read_coverage(store, events.loop_id, SIGNALS)["n_rows"].tolist() == [0] * len(SIGNALS)


def test_coverage_counts_what_is_there_and_not_what_is_silent(store, events):
    events.draft("a", latency_ms=None)
    events.answered("b")
    events.write()
    found = read_coverage(store, events.loop_id, ["accepted", "latency_ms", "rating"]).set_index("signal")
    assert found["n_present"].to_dict() == {"accepted": 1, "latency_ms": 1, "rating": 0}


def test_of_several_answers_the_last_that_was_not_superseded_counts(store, events):
    draft = events.draft("a")
    wrong = events.answer(draft, "reject")
    events.answer(draft, "edit", retained_chars=70, supersedes_id=wrong)
    twice = events.draft("b")
    events.answer(twice, "reject")
    events.answer(twice, "accept", at=events.feedback[-1]["occurred_at"].replace(hour=23), retained_chars=100)
    rated = events.draft("c")
    events.answer(rated, "rating", value=4.0, retained_chars=None)
    events.write()
    refresh_signals(store)
    rows = store.frame("SELECT * FROM signals ORDER BY user_key")
    assert rows["accepted"].tolist()[:2] == [1.0, 1.0]
    assert rows["retained_char_rate"].tolist()[:2] == [0.7, 1.0]
    assert rows["rating"].tolist()[2] == 4.0
    assert rows[["accepted", "retained_char_rate", "answer"]].iloc[2].isna().all()


def test_users_without_a_name_stand_for_themselves_and_variants_without_one_are_unknown(store, events):
    for _ in range(3):
        events.draft(None, variant_id=None)
    events.write()
    found = read_utility_sums(store, events.loop_id, [SignalSpec("latency_ms", 1, 1000, 0)])
    assert found["variant"].tolist() == ["unknown"] * 3
    assert found[["u0", "n_rows"]].to_numpy().tolist() == [[0.5, 1]] * 3


def test_a_name_that_is_no_signal_never_reaches_the_database(store, events):
    with pytest.raises(ValueError, match="no column of the signals"):
        read_coverage(store, events.loop_id, ["1) FROM loops; --"])


def test_sums_count_each_signal_on_its_own_rows(store, events):
    events.answered("a", 60, latency_ms=100.0)
    events.draft("a", latency_ms=300.0)
    events.draft("b", latency_ms=float("nan"), variant_id=None)
    events.write()
    found = read_signal_sums(store, events.loop_id, ["latency_ms", "accepted"])
    assert found.columns.tolist() == ["variant", "user_key", "s0", "n0", "s1", "n1"]
    assert found.to_numpy().tolist() == [["base", "a", 400.0, 2, 1.0, 1], ["unknown", "b", 0.0, 0, 0.0, 0]]


def test_a_value_that_is_no_number_is_missing_everywhere(store, events):
    for value in (float("nan"), float("inf"), None, 200.0, 400.0):
        events.draft("a", latency_ms=value)
    events.write()
    names = ["latency_ms", "rating"]
    assert read_coverage(store, events.loop_id, names)["n_present"].tolist() == [2, 0]
    assert read_signal_rows(store, events.loop_id, names)["latency_ms"].dropna().sort_values().tolist() == [
        200.0,
        400.0,
    ]
    quantiles = read_quantiles(store, events.loop_id, names, [0.0, 0.5])
    assert quantiles["signal"].tolist() == ["latency_ms"] * 2 + ["rating"] * 2
    assert quantiles["value"].tolist()[:2] == [200, 300]
    assert quantiles["value"].isna().tolist() == [False, False, True, True]
    left_out = read_utility_sums(store, events.loop_id, [SignalSpec("latency_ms", 1, 1000, 0)])
    assert left_out[["u0", "n_rows"]].to_numpy().tolist() == [[pytest.approx(1.4), 2]]
    stated = read_utility_sums(store, events.loop_id, [SignalSpec("latency_ms", 1, 1000, 0, missing=0.25)])
    assert stated[["u0", "n_rows"]].to_numpy().tolist() == [[pytest.approx(1.4 + 0.75), 5]]


@pytest.mark.parametrize("seed", range(20))
def test_utility_sums_equal_the_utilities_of_the_rows(store, events, seed):
    """Any anchors, in either direction, with and without a stated utility for silence."""
    rng = random.Random(seed)
    odd = [None, float("nan"), float("inf"), float("-inf")]
    drafts = [
        ("abc"[rng.randrange(3)], *(rng.choice([*odd, *(rng.uniform(-9, 9) for _ in range(6))]) for _ in range(2)))
        for _ in range(rng.randrange(40))
    ]
    for user, latency, cost in drafts:
        events.draft(user, latency_ms=latency, cost_usd=cost)
    events.write()
    specs = [
        SignalSpec(name, 1, rng.uniform(-9, 9), rng.uniform(-9, 9), rng.choice([None, rng.random()]))
        for name in ("latency_ms", "cost_usd")
    ]
    wanted: dict[str, list[float]] = {}
    for user, *found in drafts:
        utilities = [utility(spec, value) for spec, value in zip(specs, found, strict=True)]
        if None not in utilities:
            row = wanted.setdefault(user, [0.0, 0.0, 0])
            row[:] = [row[0] + utilities[0], row[1] + utilities[1], row[2] + 1]
    sums = read_utility_sums(store, events.loop_id, specs)
    got = {row.user_key: [row.u0, row.u1, row.n_rows] for row in sums.itertuples()}
    assert got == {user: pytest.approx(row, abs=1e-9) for user, row in wanted.items()}


def test_rows_above_the_limit_are_whole_users_and_the_same_ones_each_time(store, events):
    for n in range(300):
        events.draft(f"user {n % 30}", START + timedelta(minutes=n), variant_id="base" if n % 2 else "other")
    events.write()
    every = read_signal_rows(store, events.loop_id, ["latency_ms"])
    assert len(every) == 300
    assert every["occurred_at"].is_monotonic_increasing
    some = read_signal_rows(store, events.loop_id, ["latency_ms"], limit=105)
    assert len(some) == 100
    assert set(some.groupby("user_key").size()) == {10}
    assert some.equals(read_signal_rows(store, events.loop_id, ["latency_ms"], limit=105))
    assert len(read_signal_rows(store, events.loop_id, ["latency_ms"], limit=1)) == 10
    half = read_signal_rows(store, events.loop_id, ["latency_ms"], variants=["base"])
    assert set(half["variant"]) == {"base"}
    assert len(half) == 150
    assert half.columns.tolist() == [
        "interaction_id", "variant", "user_key", "region", "experiment_id", "occurred_at", "latency_ms",
    ]  # fmt: skip


def test_an_empty_loop_has_tables_with_the_right_columns(store, events):
    assert read_signal_rows(store, events.loop_id, ["rating"]).columns[-1] == "rating"
    assert read_signal_sums(store, events.loop_id, ["rating"]).columns.tolist() == ["variant", "user_key", "s0", "n0"]
    assert read_quantiles(store, events.loop_id, ["rating"], [0.5])["value"].isna().all()
    assert read_coverage(store, events.loop_id, [])["n_rows"].tolist() == []
    assert list(known_signals(store, events.loop_id)) == list(SIGNALS)


def test_what_a_model_judges_is_no_persons_answer(store, events):
    draft = events.draft("ana")
    events.answer(draft, "rating", name="tone", value=5.0, actor_kind="model", actor_key="judge-1")
    events.answer(draft, "rating", name="tone", value=2.0, actor_kind="human", actor_key="reviewer-1")
    events.answer(draft, "rating", value=4.0, actor_kind="model", actor_key="judge-1")
    events.write()
    names = ["answer.tone", "judge.tone", "judge.rating", "rating"]
    (row,) = read_signal_rows(store, events.loop_id, names)[names].to_dict("records")
    assert [row["answer.tone"], row["judge.tone"], row["judge.rating"]] == [2.0, 5.0, 4.0]
    assert np.isnan(row["rating"])
