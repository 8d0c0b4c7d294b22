"""A design: groups for any signal, checks that say how to mend it, and what changes in words."""

from datetime import datetime
from math import inf, nan
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.digest.design_diff import diff
from organism.digest.designs import (
    DEFAULT_DESIGN,
    check_design,
    check_groups,
    check_note,
    group_of,
    group_weights,
    groups_present,
    moved,
    weighted,
)
from organism.errors import DesignError
from organism.records import Constraint, RewardDesign, SignalSpec

KNOWN = ("accepted", "cost_usd", "latency_ms", "retained_char_rate")


class Known(NamedTuple):
    removed_at: datetime | None = None


def design(*signals: SignalSpec, guards: tuple[Constraint, ...] = (), name: str = "draft") -> RewardDesign:
    return RewardDesign(name=name, signals=signals, constraints=guards)


def one(**changes) -> SignalSpec:
    return SignalSpec("accepted", 1, 0, 1)._replace(**changes)


@pytest.mark.parametrize(
    ("signal", "group"),
    [
        ("cost_usd", "price"),
        ("output_tokens", "price"),
        ("latency_ms", "performance"),
        ("ttft_ms", "performance"),
        ("error", "performance"),
        ("accepted", "quality"),
        ("outcome.signed_within_hour", "quality"),
        ("answer.note_quality", "quality"),
        ("vendor_score", "quality"),
    ],
)
def test_every_signal_has_a_group(signal, group):
    assert group_of(signal) == group


def test_a_slider_moves_outcomes_answers_and_sql_signals_with_their_group():
    made = design(
        SignalSpec("outcome.signed", 0.3, 0, 1),
        SignalSpec("answer.quality", 0.1, 1, 5),
        SignalSpec("cost_usd", 0.2, 1, 0),
        guards=(Constraint("accepted", at_least=0.5),),
    )
    assert groups_present(made) == ["price", "quality"]
    moved = weighted(made, price=0.5, performance=0.9, quality=0.8)
    assert {s.signal: s.weight for s in moved.signals} == pytest.approx(
        {"outcome.signed": 0.6, "answer.quality": 0.2, "cost_usd": 0.5}
    )
    assert moved.constraints == made.constraints
    assert group_weights(moved) == pytest.approx({"price": 0.5, "performance": 0.0, "quality": 0.8})


def test_a_group_without_weight_shares_it_as_the_default_does_or_equally():
    zero = [s._replace(weight=0.0) for s in DEFAULT_DESIGN.signals]
    moved = {s.signal: s.weight for s in weighted(design(*zero), price=0, performance=0, quality=0.9).signals}
    assert moved["written_share"] == pytest.approx(2 * moved["accepted"])
    unknown = design(one(weight=0.0), SignalSpec("vendor_score", 0.0, 0, 1))
    assert [s.weight for s in weighted(unknown, price=0, performance=0, quality=0.6).signals] == [0.3, 0.3]


def test_a_weight_that_no_signal_can_carry_is_said():
    check_groups(DEFAULT_DESIGN, {"price": 0.5})
    check_groups(design(one()), {"price": 0})
    for wanted, said in (
        ({"price": 0.5}, "no signal of price to give the weight 0.5 to"),
        ({"quality": nan}, "the weight of quality is nan"),
        ({"quality": -1}, "the weight of quality is -1"),
        ({"quality": inf}, "the weight of quality is inf"),
        ({"taste": 1}, "no group 'taste'"),
    ):
        with pytest.raises(DesignError, match=said):
            check_groups(design(one()), wanted)


THIRDS = design(
    SignalSpec("accepted", 0.2, 0, 1),
    SignalSpec("rating", 0.2, 1, 5),
    SignalSpec("retained_char_rate", 0.2, 0, 1),
    SignalSpec("cost_usd", 0.123456789, 1, 0),
)


@given(st.floats(1e-6, 1e6), st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6))
def test_what_a_slider_makes_has_6_digits_and_sums_to_the_slider(quality, weights):
    made = design(*(SignalSpec(f"signal_{n}", weight, 0, 1) for n, weight in enumerate(weights)))
    found = moved(made, price=0, performance=0, quality=quality)
    assert group_weights(found)["quality"] == pytest.approx(quality, rel=1e-9, abs=1e-11)
    exact = weighted(made, price=0, performance=0, quality=quality)
    pairs = list(zip(found.signals, exact.signals, strict=True))
    assert all(mine.weight == pytest.approx(other.weight, abs=3e-5 * quality) for mine, other in pairs)
    assert sum(mine.weight != float(f"{mine.weight:.6g}") for mine, _ in pairs) <= 1, "the largest takes the rest"


def test_a_slider_leaves_the_digits_of_the_groups_that_it_does_not_move_and_its_id_is_settled():
    found = moved(THIRDS, price=0.123456789, performance=0, quality=0.8)
    assert [s.weight for s in found.signals] == [0.266666, 0.266667, 0.266667, 0.123456789]
    assert moved(found, price=0.123456789, performance=0, quality=0.8).id == found.id
    assert moved(THIRDS, **group_weights(found)).id == found.id
    assert moved(THIRDS, **group_weights(THIRDS)).id == THIRDS.id


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (design(one(), name=" "), "has no name"),
        (design(one(), name="two\nlines"), "one line"),
        (design(one(), name="x" * 200), "one line"),
        (design(one(weight=inf)), "the weight inf; give a number up to 1,000,000"),
        (design(one(weight=1e308)), "give a number up to 1,000,000"),
        (
            design(one(weight=5e-324)),
            "gives no signal a positive weight of 1e-09 or more; give at least one of: accepted",
        ),
        (design(one(weight=-1e-9)), "give 0 or more"),
        (design(one(worst=-1e308, best=1e308)), "two different numbers"),
        (design(one(worst=nan)), "two different numbers"),
        (design(one(missing=nan)), "a utility from 0 to 1"),
        (design(one(), guards=(Constraint("accepted"),)), "guards accepted without a bound"),
        (design(one(), guards=(Constraint("accepted", at_least=0.9, at_most=0.5),)), "at least 0.9 and at most 0.5"),
        (design(one(), guards=(Constraint("accepted", at_least=nan),)), "give finite numbers"),
        (design(one(), guards=(Constraint("accepted", at_most=inf),)), "give finite numbers"),
        (design(one(), guards=(Constraint("applause", at_least=1),)), "guards 'applause', which nothing measures"),
        (design(one(), guards=(Constraint("accepted", at_least=0.1),) * 2), "guards accepted twice"),
        (design(one(), one(weight=2)), "names accepted twice"),
    ],
)
def test_what_cannot_give_a_reward_is_one_sentence(made, said):
    with pytest.raises(DesignError, match=said) as raised:
        check_design(made, KNOWN)
    assert "\n" not in str(raised.value)


def test_a_removed_signal_is_named_with_its_day_and_is_not_offered():
    known = {"accepted": Known(), "vendor_score": Known(datetime(2026, 11, 3, 9))}
    check_design(design(one()), known)
    with pytest.raises(DesignError, match=r"weighs 'vendor_score', which was removed on Nov 3, 2026; define"):
        check_design(design(one(), SignalSpec("vendor_score", 1, 0, 1)), known)
    with pytest.raises(DesignError, match=r"guards 'vendor_score', which was removed on Nov 3, 2026"):
        check_design(design(one(), guards=(Constraint("vendor_score", at_least=0),)), known)
    with pytest.raises(DesignError, match=r"use one of: accepted$"):
        check_design(design(SignalSpec("applause", 1, 0, 1)), known)


def test_saving_asks_for_a_note():
    check_note(DEFAULT_DESIGN)
    with pytest.raises(DesignError, match="what should get better"):
        check_note(design(one()))


def test_the_id_is_of_the_recipe_however_its_numbers_and_lines_were_written():
    as_int = design(SignalSpec("accepted", 1, 0, 1), SignalSpec("latency_ms", 1, 2000, 0))
    as_float = design(SignalSpec("latency_ms", 1.0, 2000.0, -0.0), SignalSpec("accepted", 1.0, 0.0, 1.0), name="b")
    assert as_int.id == as_float.id
    assert as_int.id != design(SignalSpec("accepted", 1, 0, 1, missing=0.0), as_int.signals[1]).id
    assert design(one(), guards=(Constraint("accepted", at_least=0.5),)).id != design(one()).id


def test_a_diff_says_each_change_in_words():
    before = design(
        SignalSpec("accepted", 0.2, 0, 1),
        SignalSpec("cost_usd", 0.2, 0.0004, 0.0001),
        SignalSpec("latency_ms", 0.2, 2000, 200),
        guards=(Constraint("written_share", at_least=0.5), Constraint("error", at_most=0.1)),
    )
    after = design(
        SignalSpec("accepted", 0.2, 0, 1, missing=0.5),
        SignalSpec("latency_ms", 0.35, 1500, 200),
        SignalSpec("rating", 0.25, 1, 5),
        guards=(Constraint("written_share", at_least=0.6), Constraint("rating", at_least=2, at_most=4.5)),
    )
    assert diff(before, after) == [
        "accepted when missing: left out → counts as 0.5",
        "− cost_usd 0.20 (worst 0.0004, best 0.0001, left out when missing)",
        "latency_ms 0.20 → 0.35",
        "latency_ms worst 2000 → 1500",
        "+ rating 0.25 (worst 1, best 5, left out when missing)",
        "− guardrail: error at most 0.1",
        "+ guardrail: rating at least 2 and at most 4.5",
        "guardrail: written_share at least 0.5 → at least 0.6",
    ]
    assert diff(before, before) == []


def test_a_diff_never_hides_a_change_behind_its_rounding_and_tells_scale_from_mix():
    close = diff(design(one(weight=0.301)), design(one(weight=0.302), SignalSpec("rating", 0, 1, 5)))
    assert close[0] == "accepted 0.301 → 0.302"
    thirds = diff(design(one(weight=0.2)), design(one(weight=0.266666666667)))
    assert thirds[0] == "accepted 0.2 → 0.267"
    assert diff(design(one(weight=0.2666661)), design(one(weight=0.2666662)))[0] == "accepted 0.2666661 → 0.2666662"
    assert diff(design(one(weight=1e-10)), design(one(weight=2e-10)))[0] == "accepted 1e-10 → 2e-10"
    assert diff(design(one(best=1 / 3)), design(one(best=2 / 3))) == ["accepted best 0.333333 → 0.666667"]
    halves = design(one(weight=0.5), SignalSpec("rating", 0.5, 1, 5))
    assert diff(halves, weighted(halves, price=0, performance=0, quality=2))[-1].endswith("the reward is the same")
    assert diff(design(one(weight=0)), design(one(weight=1))) == ["accepted 0.00 → 1.00"]
