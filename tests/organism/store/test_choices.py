from datetime import datetime, timedelta

from organism.records import new_id
from organism.store.choices import Choice, append_choices, read_choices, read_voters
from organism.store.schema import open_store

NOW = datetime(2026, 10, 1)


def choice(loop_id: str, left: str, right: str, chosen: str = "left", *, after: int = 0, **columns) -> Choice:
    at = NOW + timedelta(seconds=after)
    told = {"kind": "drafts", "actor": "Ana", "is_synthetic": False} | columns
    return Choice(
        choice_id=new_id(at), loop_id=loop_id, left_id=left, right_id=right, chosen=chosen, created_at=at, **told
    )


def test_choices_come_back_in_the_order_they_were_made_and_by_kind(store, events):
    first, second = choice(events.loop_id, "a", "b"), choice(events.loop_id, "b", "c", "right", after=1)
    third = choice(events.loop_id, "base", "scribe-1", after=2, kind="variants")
    assert append_choices(store, [second, third, first]) == 3
    assert append_choices(store, [first]) == 1
    assert read_choices(store, events.loop_id)["choice_id"].tolist() == [c.choice_id for c in (first, second, third)]
    assert read_choices(store, events.loop_id, "variants")["left_id"].tolist() == ["base"]
    assert read_choices(store, "another loop").empty


def test_a_choice_is_there_after_the_store_was_closed_and_moves_its_version(store, events):
    before = store.version("choices")
    append_choices(store, [choice(events.loop_id, "a", "b")])
    assert store.version("choices") == before + 1
    store.close()
    again = open_store(store.path)
    try:
        assert read_choices(again, events.loop_id)["chosen"].tolist() == ["left"]
    finally:
        again.close()


def test_voters_are_counted_without_their_skips_and_simulated_ones_say_so(store, events):
    rows = [choice(events.loop_id, "a", str(n), "skip" if n == 2 else "left", after=n) for n in range(3)]
    rows.append(choice(events.loop_id, "a", "b", after=9, actor="simulated-ana", is_synthetic=True))
    append_choices(store, rows)
    found = read_voters(store, events.loop_id)
    assert found["actor"].tolist() == ["Ana", "simulated-ana"]
    assert found["n_choices"].tolist() == [2, 1]
    assert found["n_skipped"].tolist() == [1, 0]
    assert found["is_synthetic"].tolist() == [False, True]
