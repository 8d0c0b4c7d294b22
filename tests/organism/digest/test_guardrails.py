import pytest

from organism.digest.guardrails import Status, constraint_checks
from organism.errors import DesignError
from organism.records import Constraint, RewardDesign, SignalSpec
from organism.stats.compare import interval, ratio_of_sums
from organism.stats.moments import moments


def guarded(*constraints: Constraint) -> RewardDesign:
    return RewardDesign(name="draft", signals=(SignalSpec("accepted", 1, 0, 1),), constraints=constraints)


@pytest.mark.parametrize(
    ("constraint", "status"),
    [
        (Constraint("latency_ms", at_most=700), Status.HOLDS),
        (Constraint("latency_ms", at_most=300), Status.BROKEN),
        (Constraint("latency_ms", at_most=500), Status.UNSURE),
        (Constraint("latency_ms", at_least=300), Status.HOLDS),
        (Constraint("latency_ms", at_least=700), Status.BROKEN),
        (Constraint("latency_ms", at_least=300, at_most=700), Status.HOLDS),
        (Constraint("latency_ms", at_least=300, at_most=500), Status.UNSURE),
    ],
)
def test_a_guardrail_is_judged_by_the_whole_interval(constraint, status):
    users = moments([[450.0, 1], [1_100.0, 2], [480.0, 1], [1_500.0, 3]])
    (found,) = constraint_checks({"latency_ms": {"base": users}}, guarded(constraint))
    assert found.status is status
    assert (found.estimate, found.low, found.high) == interval(ratio_of_sums(users))
    assert 400 < found.low < found.estimate < found.high < 600


def test_users_who_are_all_alike_are_believed_when_they_are_thirty():
    few, many = moments([[0.0, 1]] * 29), moments([[0.0, 1]] * 30)
    found = constraint_checks({"error": {"a": few, "b": many}}, guarded(Constraint("error", at_most=0.01)))
    assert [(check.variant, check.status, check.low) for check in found] == [
        ("a", Status.UNSURE, None),
        ("b", Status.HOLDS, 0.0),
    ]


def test_a_variant_that_nobody_measured_is_unknown_and_sums_that_were_not_read_are_a_sentence():
    lone = moments([[2.0, 1]])
    sums = {"rating": {"base": lone}, "error": {}}
    made = guarded(Constraint("rating", at_least=3), Constraint("error", at_most=0.1))
    found = constraint_checks(sums, made, variants=["tuned"])
    assert [(check.variant, check.signal, check.bound, check.estimate, check.status) for check in found] == [
        ("base", "rating", "at least 3", 2.0, Status.UNSURE),
        ("tuned", "rating", "at least 3", None, Status.UNKNOWN),
        ("base", "error", "at most 0.1", None, Status.UNKNOWN),
        ("tuned", "error", "at most 0.1", None, Status.UNKNOWN),
    ]
    assert constraint_checks({}, guarded()) == []
    with pytest.raises(DesignError, match="guards error, whose sums were not read"):
        constraint_checks({"rating": {"base": lone}}, made)
