"""Slices by segment, length and novelty: who is in them, what they say, when one is called worse."""

from typing import Any

import pytest

from organism.optimize.slices import LENGTH, NOVELTY, slices


def rows(n: int, region: str | None, before: int, after: int, *, length: int = 100, nearest: float = 0.1) -> list[Any]:
    """n rows of n users with drafts of 100 characters, of which so many are retained."""
    return [
        {
            "user_key": f"{region} {number}",
            "segments": None if region is None else {"region": region},
            "measures": {
                "chars_before": 100,
                "retained_before": before,
                "chars_after": 100,
                "retained_after": after,
                "final_chars": length + number,
                "facts": [{"before": True, "after": region != "south"}],
                "nearest": nearest + number / 1000,
            },
        }
        for number in range(n)
    ]


def found(all_rows: list[Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(part["dimension"], part["value"]): part for part in slices(all_rows, seed=0)}


def test_each_segment_has_its_own_gain_and_a_sure_loss_is_flagged() -> None:
    parts = found([*rows(30, "north", 40, 60), *rows(30, "south", 60, 30), *rows(3, "tiny", 1, 1)])
    north, south = parts["region", "north"], parts["region", "south"]
    assert (north["before"], north["after"], north["gain"]) == (0.4, 0.6, pytest.approx(0.2))
    assert (north["is_worse"], south["is_worse"]) == (False, True)
    assert south["gain_ci"] == pytest.approx([-0.3, -0.3])
    assert (north["facts_after"], south["facts_after"]) == (1.0, 0.0)
    assert ("region", "tiny") not in parts, "three rows say nothing"


def test_length_and_novelty_are_cut_into_thirds() -> None:
    parts = found(rows(30, None, 40, 60))
    lengths = [key for key in parts if key[0] == LENGTH]
    assert len(lengths) == 3
    assert sum(parts[key]["n_rows"] for key in lengths) == 30
    assert lengths[0][1] == "100 to 109 characters"
    assert next(value for name, value in parts if name == NOVELTY) == "10% to 11% shared"


def test_a_name_with_many_values_is_no_segment_and_unknown_values_are_in_none() -> None:
    many = [row for number in range(10) for row in rows(8, f"clinic {number}", 40, 60)]
    assert not [name for name, _ in found(many) if name == "region"]
    parts = found([*rows(10, "north", 40, 60), *rows(10, "south", 40, 60), *rows(10, None, 40, 60)])
    assert parts["region", "north"]["n_rows"] == 10


def test_rows_of_one_length_and_without_nearness_are_not_cut() -> None:
    same = rows(12, None, 40, 60)
    for row in same:
        row["measures"] |= {"final_chars": 100, "nearest": None}
    assert slices(same, seed=0) == []
    assert slices([], seed=0) == []
