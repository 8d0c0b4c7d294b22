from datetime import datetime

import pytest

from organism.errors import InputError
from organism.store.sampled_drafts import append_sampled_drafts, read_sampled_drafts

NOW = datetime(2026, 10, 1)


def draft(prompt: str = "visit 1", number: int = 0, stop_at: float = 1.0, **columns) -> dict:
    named = {"loop_id": "loop", "prompt_key": prompt, "draft_number": number, "stop_at": stop_at}
    return {**named, "prompt": f"text of {prompt}", "output": "note", "is_synthetic": True, **columns}


def test_drafts_come_back_by_prompt_whole_ones_first(store):
    rows = [draft(stop_at=0.5), draft("visit 0", 1), draft(number=1), draft(stop_at=0.75), draft()]
    assert append_sampled_drafts(store, rows, NOW) == 5
    found = read_sampled_drafts(store, "loop")
    order = [("visit 0", 1, 1.0), ("visit 1", 0, 1.0), ("visit 1", 1, 1.0), ("visit 1", 0, 0.75), ("visit 1", 0, 0.5)]
    assert list(found[["prompt_key", "draft_number", "stop_at"]].itertuples(index=False, name=None)) == order
    assert not {"prompt", "output", "loop_id"} & set(found.columns)
    assert read_sampled_drafts(store, "loop", texts=True)["prompt"].iloc[0] == "text of visit 0"
    assert (len(found), len(read_sampled_drafts(store, "other"))) == (5, 0)


def test_the_same_draft_twice_is_kept_once_and_what_nobody_measured_stays_missing(store):
    version = store.version("sampled_drafts")
    assert append_sampled_drafts(store, [draft(latency_ms=200.0), draft(latency_ms=900.0)], NOW) == 1
    assert append_sampled_drafts(store, [draft(latency_ms=300.0), draft(number=1)], NOW) == 1
    found = read_sampled_drafts(store, "loop")
    assert found["draft_number"].tolist() == [0, 1]
    assert found["latency_ms"].isna().tolist() == [False, True]
    assert store.version("sampled_drafts") > version


def test_a_draft_that_names_no_prompt_is_a_sentence(store):
    with pytest.raises(InputError, match="a sampled draft lacks prompt_key, stop_at; each row needs: loop_id, prompt"):
        append_sampled_drafts(store, [draft(prompt_key=None, stop_at=None)], NOW)
    assert read_sampled_drafts(store, "loop").empty
