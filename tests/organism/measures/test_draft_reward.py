"""The reward of one draft under a design, by hand: what can be known, what cannot, and floors that hold."""

import pytest

from organism.errors import DesignError
from organism.measures.draft_reward import draft_reward, draft_signals, shortfall, unknown_signals
from organism.records import Constraint, FactCheck, RewardDesign, SignalSpec

FINAL = "Take amoxicillin 500 mg three times a day."
PRICE = RewardDesign(
    name="price",
    signals=(
        SignalSpec("accepted", 0.5, 0.0, 1.0),
        SignalSpec("output_tokens", 0.3, 100.0, 0.0),
        SignalSpec("retained_char_rate", 0.2, 0.0, 1.0),
    ),
)
FLOORED = RewardDesign(
    name="price with a floor", signals=PRICE.signals, constraints=(Constraint("written_share", at_least=0.8),)
)


def test_signals_of_a_draft_are_those_counted_by_hand() -> None:
    found = draft_signals(
        "Take amoxicillin 500 mg",
        tokens=8,
        prompt_tokens=100,
        seconds=0.25,
        reference=FINAL,
        facts=[FactCheck("dose", ("500 mg",)), FactCheck("drug", ("ibuprofen",))],
    )
    assert found == {
        "cost_usd": 0.0000264,
        "error": 0.0,
        "output_tokens": 8.0,
        "latency_ms": 250.0,
        "retained_char_rate": 1.0,
        "written_share": pytest.approx(23 / 42),
        "facts_right": 0.5,
    }


def test_what_nobody_can_know_is_absent_and_an_empty_draft_has_no_retained_rate() -> None:
    bare = draft_signals("Rest.", tokens=2)
    assert {"accepted", "latency_ms", "retained_char_rate", "facts_right"}.isdisjoint(bare)
    empty = draft_signals("", tokens=1, reference=FINAL)
    assert empty["retained_char_rate"] is None
    assert empty["written_share"] == 0.0


def test_weights_of_unknown_signals_go_to_the_others_in_proportion() -> None:
    signals = draft_signals("Take amoxicillin 500 mg", tokens=50, reference=FINAL)
    assert unknown_signals(PRICE.spec(), signals) == ["accepted"]
    assert draft_reward(PRICE.spec(), signals) == pytest.approx((0.3 * 0.5 + 0.2 * 1.0) / 0.5)


def test_a_draft_that_the_design_would_leave_out_has_no_reward() -> None:
    assert draft_reward(PRICE.spec(), draft_signals("", tokens=1, reference=FINAL)) is None


def test_a_short_draft_wins_under_a_bare_price_and_loses_under_a_floor() -> None:
    whole, short = (
        draft_signals(text, tokens=tokens, reference=FINAL) for text, tokens in ((FINAL, 60), ("Take amox", 5))
    )
    bare, floored = PRICE.spec(), FLOORED.spec()
    assert draft_reward(bare, short) > draft_reward(bare, whole)
    assert draft_reward(floored, short) == 0.0
    assert draft_reward(floored, whole) == draft_reward(bare, whole)


@pytest.mark.parametrize(
    ("bound", "value", "missed"),
    [
        (Constraint("written_share", at_least=0.8), 0.8, 0.0),
        (Constraint("written_share", at_least=0.8), 0.4, 0.5),
        (Constraint("written_share", at_least=0.8), None, 1.0),
        (Constraint("output_tokens", at_most=100), 150.0, 0.5),
        (Constraint("output_tokens", at_most=100), 900.0, 1.0),
        (Constraint("error", at_most=0), 1.0, 1.0),
        (Constraint("rating", at_least=4), 0.1, 0.0),
    ],
)
def test_a_shortfall_is_the_worst_miss_as_a_share_of_its_bound(bound, value, missed) -> None:
    design = RewardDesign(name="d", signals=PRICE.signals, constraints=(bound,)).spec()
    signals = {} if bound.signal == "rating" else {bound.signal: value}
    assert shortfall(design, signals) == pytest.approx(missed)


def test_a_design_of_acceptance_alone_cannot_reward_a_draft_that_nobody_answered() -> None:
    design = RewardDesign(name="d", signals=(SignalSpec("accepted", 1.0, 0.0, 1.0),))
    with pytest.raises(DesignError, match="weighs only accepted, which nobody can know"):
        draft_reward(design.spec(), draft_signals("Rest.", tokens=2))
