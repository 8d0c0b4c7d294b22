import pytest

from organism.records import SignalSpec
from organism.store.signal_table import refresh_signals
from organism.store.signals import SIGNALS, read_coverage, read_utility_sums


def test_every_signal_is_a_column_of_the_view(store, events):
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
