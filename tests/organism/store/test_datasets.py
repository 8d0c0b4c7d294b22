from datetime import datetime

import pytest

from organism.store.candidates import read_candidates
from organism.store.datasets import append_dataset, find_dataset, read_dataset_rows, read_datasets

NOW = datetime(2026, 10, 1)


def header(dataset_id: str, loop_id: str) -> dict:
    return {
        "dataset_id": dataset_id,
        "loop_id": loop_id,
        "name": "n",
        "content_hash": "h",
        "n_train": 1,
        "n_heldout": 0,
        "n_users_train": 1,
        "n_users_heldout": 0,
        "dropped": {"no consent": 2},
        "latest_signal_at": NOW,
        "created_at": NOW,
    }


def row(events, number: int, split: str) -> dict:
    draft = events.draft("u")
    answer = events.answer(draft)
    texts = {"prompt": f"p{number}", "completion": "c", "facts": None}
    ids = {"interaction_id": draft, "feedback_id": answer, "user_key": "u"}
    return {"row_number": number, "split": split, **ids, **texts}


def test_frozen_rows_come_back_in_order_by_split(store, events):
    rows = [row(events, 1, "heldout"), row(events, 0, "train")]
    append_dataset(store, header("d", events.loop_id), rows)
    assert read_dataset_rows(store, "d")["prompt"].tolist() == ["p0", "p1"]
    assert read_dataset_rows(store, "d", "heldout")["prompt"].tolist() == ["p1"]
    assert find_dataset(store, events.loop_id, "h") == "d"
    assert find_dataset(store, "another", "h") is None
    assert read_datasets(store, events.loop_id)["dropped"].tolist() == ['{"no consent": 2}']


def test_a_set_goes_in_whole_or_not_at_all(store, events):
    append_dataset(store, header("d", events.loop_id), [row(events, 0, "train")])
    with pytest.raises(Exception, match=r"(?i)constraint|duplicate"):
        append_dataset(store, header("d", events.loop_id), [row(events, 1, "train")])
    assert len(read_dataset_rows(store, "d")) == 1


def test_candidates_stand_newest_answer_first_with_what_decides_over_them(store, events):
    old = events.answered("u", at=datetime(2026, 9, 1))
    blank = events.draft("u", datetime(2026, 9, 2), prompt=" ")
    events.answer(blank, at=datetime(2026, 9, 2))
    empty = events.draft("u", datetime(2026, 9, 3), output="  ")
    events.answer(empty, "accept", at=datetime(2026, 9, 3), final_text=None)
    events.draft("u", datetime(2026, 9, 4))
    events.write()
    found = read_candidates(store, events.loop_id)
    assert found["interaction_id"].tolist() == [empty, blank, old]
    assert found["has_final"].tolist() == [False, False, True]
