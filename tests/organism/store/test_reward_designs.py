from datetime import datetime

from organism.records import RewardDesign, SignalSpec
from organism.store.reward_designs import append_design, read_design, read_saved

NOW = datetime(2026, 10, 1)


def design(weight: float, missing: float | None = None) -> RewardDesign:
    return RewardDesign(
        name="draft", signals=(SignalSpec("accepted", weight, 0, 1, missing),), note="why", author="Ann"
    )


def test_a_design_comes_back_as_it_was_kept_and_stays_as_it_was(store, events):
    assert read_design(store, events.loop_id) is None
    assert append_design(store, events.loop_id, design(0.1, missing=0.25), NOW) == (1, True)
    assert append_design(store, events.loop_id, design(0.3), NOW) == (2, True)
    first = read_design(store, events.loop_id, version=1)
    assert (first, first.id) == (design(0.1, missing=0.25), design(0.1, missing=0.25).id)
    assert read_design(store, events.loop_id) == design(0.3)
    assert read_design(store, events.loop_id, version=9) is None


def test_versions_belong_to_their_loop_and_move_the_caches(store, events):
    before = store.version("reward_designs")
    append_design(store, events.loop_id, design(1), NOW)
    assert append_design(store, "another", design(1), NOW) == (1, True)
    assert store.version("reward_designs") == before + 2
    assert [kept.design.author for kept in read_saved(store, events.loop_id)] == ["Ann"]
