"""Interactions whose place changes most between two designs."""

import pandas as pd
import pytest

from organism.digest.rank_changes import places, rank_changes
from organism.records import RewardDesign, SignalSpec

ROWS = pd.DataFrame(
    {
        "interaction_id": ["a", "b", "c", "d"],
        "variant": "base",
        "cost_usd": [1.0, 2.0, 3.0, 4.0],
        "accepted": [0.0, 1.0, 0.5, None],
    }
)


def design(cost: float, accepted: float) -> RewardDesign:
    signals = (SignalSpec("accepted", accepted, worst=0, best=1), SignalSpec("cost_usd", cost, worst=5, best=0))
    return RewardDesign(name="draft", signals=signals)


def test_the_cheapest_draft_falls_when_only_acceptance_counts() -> None:
    found = rank_changes(ROWS, design(1, 0), design(0, 1), n=2)
    assert list(found["interaction_id"]) == ["a", "c"]
    first = found.iloc[0]
    assert (first["place_live"], first["place_draft"], first["change"]) == (1.0, 0.0, -1.0)


def test_a_row_that_a_design_cannot_score_has_no_place() -> None:
    assert "d" not in set(rank_changes(ROWS, design(1, 0), design(0, 1))["interaction_id"])
    assert len(places(ROWS, design(1, 0), design(0, 1))) == 3, "the others are ranked among those with one"


def test_the_same_design_moves_nothing_and_no_rows_are_no_error() -> None:
    assert rank_changes(ROWS, design(1, 1), design(2, 2)).empty
    assert rank_changes(ROWS.iloc[:0], design(1, 0), design(0, 1)).empty


@pytest.mark.parametrize("n", [1, 3])
def test_no_more_rows_come_than_were_asked_for(n: int) -> None:
    assert len(rank_changes(ROWS, design(1, 0), design(0, 1), n=n)) <= n
