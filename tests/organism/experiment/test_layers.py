"""Layers: a user is in one part of each, and no two running experiments hold the same part."""

import threading

import numpy as np
import pytest

from organism.errors import DesignError
from organism.experiment.assign_flow import assign_experiments, layer_map
from organism.experiment.layers import Range, check_range, in_layer
from organism.store.layers import Slot, free_ranges
from tests.organism.experiment.running import NOW, run


def test_the_ranges_of_a_layer_share_out_the_users_without_overlap():
    users = [f"u{n}" for n in range(10_000)]
    parts = [(0.0, 0.25), (0.25, 0.6), (0.6, 1.0)]
    members = np.array([[in_layer(user, "drafts", *part) for user in users] for part in parts])
    assert (members.sum(axis=0) == 1).all()
    assert members.mean(axis=1) == pytest.approx([0.25, 0.35, 0.4], abs=0.02)


def test_what_is_free_is_what_is_left():
    slots = [Slot("b", "b", 0.5, 0.7), Slot("a", "a", 0.0, 0.2)]
    assert free_ranges(slots) == [(0.2, 0.5), (0.7, 1.0)]
    assert free_ranges([]) == [(0.0, 1.0)]
    assert free_ranges([Slot("a", "a", 0.0, 1.0)]) == []


def test_a_range_without_ends_is_the_whole_layer():
    assert check_range("drafts", None, None) == Range(0.0, 1.0)
    assert check_range(None, None, None) is None


def test_what_arithmetic_leaves_behind_a_number_takes_no_place_of_the_next_range():
    assert check_range("drafts", 0.0, 0.1 + 0.2).high == check_range("drafts", 0.3, 0.6).low


@pytest.mark.parametrize(
    ("layer", "low", "high", "said"),
    [
        (None, 0.0, 0.5, "needs a layer"),
        (" ", 0.0, 0.5, "has no name"),
        ("drafts", 0.5, 0.2, "two ends in order"),
        ("drafts", -0.1, 0.2, "between 0 and 1"),
        ("drafts", 0.2, float("nan"), "between 0 and 1"),
        ("drafts", 0.2001, 0.2002, "holds no user"),
    ],
)
def test_a_range_that_cannot_be_is_refused_in_a_sentence(layer, low, high, said):
    with pytest.raises(DesignError, match=said):
        check_range(layer, low, high)


def test_a_taken_part_is_refused_with_the_free_ones_named(store, events):
    run(store, events.loop_id, "first", layer=("drafts", 0.0, 0.4))
    run(store, events.loop_id, "second", layer=("drafts", 0.6, 0.7), versions=("c", "d"))
    with pytest.raises(DesignError) as refused:
        run(store, events.loop_id, "third", layer=("drafts", 0.3, 0.5), versions=("e", "f"))
    assert "overlaps experiment 'first', which runs on [0, 0.4)" in str(refused.value)
    assert "free are [0.4, 0.6) and [0.7, 1)" in str(refused.value)
    run(store, events.loop_id, "third", layer=("drafts", 0.4, 0.6), versions=("e", "f"))
    run(store, events.loop_id, "elsewhere", layer=("other", 0.0, 1.0), versions=("g", "h"))
    (drafts, other) = layer_map(store, events.loop_id)
    assert ([slot.experiment for slot in drafts.slots], drafts.free) == (["first", "third", "second"], [(0.7, 1.0)])
    assert other.free == []


def test_of_two_that_start_at_once_on_one_part_one_runs(store, events):
    barrier, refused = threading.Barrier(8), []

    def start(n: int) -> None:
        barrier.wait()
        try:
            run(store, events.loop_id, f"e{n}", layer=("drafts", 0.1, 0.5), versions=(f"a{n}", f"b{n}"))
        except DesignError as error:
            refused.append(error)

    threads = [threading.Thread(target=start, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert store.rows("SELECT count(*) FROM experiments") == [(1,)]


def test_a_decided_experiment_gives_its_part_back(store, events):
    first = run(store, events.loop_id, "first", layer=("drafts", 0.0, 1.0))
    store.execute("UPDATE experiments SET status = 'decided' WHERE experiment_id = ?", [first], "experiments")
    run(store, events.loop_id, "second", layer=("drafts", 0.0, 1.0), versions=("c", "d"))


def test_no_user_is_in_two_experiments_of_a_layer(store, events):
    ids = [
        run(store, events.loop_id, name, layer=("drafts", low, high), versions=(f"{name}-a", f"{name}-b"))
        for name, low, high in (("first", 0.0, 0.5), ("second", 0.5, 0.8))
    ]
    seen = []
    for n in range(80):
        found = assign_experiments(store, ids, f"u{n}", NOW)
        seen.append(tuple(one.variant is not None for one in found))
        assert all(one.variant is not None or one.reason == "outside the layer's range" for one in found)
    assert (True, True) not in seen
    assert {(True, False), (False, True), (False, False)} == set(seen)
