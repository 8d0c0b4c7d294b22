from datetime import datetime

from organism.store import metabolism

NOW = datetime(2026, 11, 2)


def test_an_empty_loop_is_read_without_a_zero_in_place_of_silence(store, events):
    answers = metabolism.read_answers(store, events.loop_id, NOW)
    assert answers == (0, 0, 0, None, None, False)
    shipping = metabolism.read_shipping(store, events.loop_id, NOW)
    assert (shipping.n_shipped, shipping.p50_days, shipping.n_open, shipping.oldest_open_days) == (0, None, 0, None)
    assert metabolism.read_quarantine_state(store) == (0, None)
    assert metabolism.read_last_run(store, events.loop_id) is None
    assert metabolism.read_running_experiments(store, events.loop_id) == []


def test_two_spans_meet_without_overlap(store, events):
    middle, first = datetime(2026, 10, 26), datetime(2026, 10, 19)
    for at, retained in ((first, 10), (middle, 80), (NOW, 99)):
        events.answered("u", retained, at)
    events.write()
    found = metabolism.read_two_weeks(store, events.loop_id, first, middle, NOW)
    assert found.to_dict("records") == [
        {"user_key": "u", "kept_0": 10.0, "drafted_0": 100.0, "kept_1": 80.0, "drafted_1": 100.0}
    ]
