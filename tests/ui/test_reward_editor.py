"""What a person does in the tables of signals and guardrails, as a design."""

import pytest

from organism.errors import InputError
from organism.records import Constraint, SignalSpec
from ui.reward_editor import bounds, edited, specs

ROWS = [
    SignalSpec("accepted", 0.5, 0.0, 1.0)._asdict(),
    SignalSpec("cost_usd", 0.5, 0.0004, 0.0001)._asdict(),
]


def nothing() -> dict[str, object]:
    return {"edited_rows": {}, "added_rows": [], "deleted_rows": []}


def no_anchors(signal: str) -> tuple[float, float]:
    raise AssertionError(f"anchors of {signal} were there")


def test_an_untouched_table_is_the_design_as_it_was() -> None:
    assert specs(edited(ROWS, nothing()), no_anchors) == (
        SignalSpec("accepted", 0.5, 0.0, 1.0),
        SignalSpec("cost_usd", 0.5, 0.0004, 0.0001),
    )


def test_a_weight_is_changed_and_a_line_deleted() -> None:
    state = nothing() | {"edited_rows": {1: {"weight": 0.9, "missing": 0.5}}, "deleted_rows": [0]}
    assert specs(edited(ROWS, state), no_anchors) == (SignalSpec("cost_usd", 0.9, 0.0004, 0.0001, 0.5),)


def test_a_new_line_with_only_a_name_gets_a_small_weight_and_the_anchors_of_the_data() -> None:
    state = nothing() | {"added_rows": [{"signal": "latency_ms"}]}
    added = specs(edited(ROWS, state), lambda signal: (900.0, 120.0))[-1]
    assert added == SignalSpec("latency_ms", 0.1, 900.0, 120.0)


def test_an_anchor_that_was_given_stays_and_only_the_other_is_suggested() -> None:
    state = nothing() | {"added_rows": [{"signal": "latency_ms", "weight": 0.0, "worst": 1000}]}
    assert specs(edited(ROWS, state), lambda signal: (900.0, 120.0))[-1] == SignalSpec("latency_ms", 0.0, 1000.0, 120.0)


def test_an_empty_new_line_is_no_line() -> None:
    assert len(edited(ROWS, nothing() | {"added_rows": [{}, {"signal": None}]})) == 2


def test_a_line_without_a_signal_says_how_to_mend_it() -> None:
    state = nothing() | {"added_rows": [{"weight": 0.3}]}
    with pytest.raises(InputError, match="names no signal; pick one"):
        specs(edited(ROWS, state), no_anchors)


def test_guardrails_keep_the_bound_that_is_there_and_none_for_the_other() -> None:
    rows = edited([], nothing() | {"added_rows": [{"signal": "written_share", "at_least": 0.6}]})
    assert bounds(rows) == (Constraint("written_share", at_least=0.6),)
