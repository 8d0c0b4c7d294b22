"""What the database says today, against the evidence that a decision was taken from. Pure."""

from collections.abc import Iterator
from math import isclose
from typing import Any, NamedTuple

from organism.experiment.evidence import Evidence
from organism.experiment.record import differences
from organism.experiment.rules import judge
from organism.experiment.scorecard import Scorecard
from organism.experiment.sentences import change
from organism.wire import plain

CLOSE = 1e-6
"""Figures from sums over the same rows, added in another order, agree to this relative size, and within ZERO of 0."""
ZERO = 1e-9


class Since(NamedTuple):
    """Whether the same question gets the same answer today; `changes` says what is new, a sentence each."""

    is_same: bool
    changes: tuple[str, ...]
    sentence: str


def changes_since(before: Evidence, after: Evidence) -> Since:
    """Compare two answers of the database to one question, the later one judged as of the time of the first."""
    then, now = judge(before), judge(after)
    said = tuple(_said(before, after, then, now))
    if said:
        return Since(False, said, f"The database says more today than when it was decided: {' '.join(said)}")
    if _differs(then, now):
        words = "The counts and the effect are as they were, but other figures moved: something was corrected since."
        return Since(False, (words,), words)
    n = f"{now.n_interactions:,}"
    return Since(True, (), f"The database gives the same sums today: {n} interactions, the same users and answers.")


def _said(before: Evidence, after: Evidence, then: Scorecard, now: Scorecard) -> Iterator[str]:
    for what, was, is_now in _counts(then, now):
        if was != is_now:
            yield f"{what}: {was:,} then, {is_now:,} now."
    if len(before.plans) != len(after.plans):
        yield f"The plan had {len(before.plans)} version(s) then, {len(after.plans)} now."
    if then.effect != now.effect and not _close(then.effect, now.effect):
        yield f"The effect of {now.treatment} would be {_effect(now)} now, it was {_effect(then)} of {then.treatment}."
    if (then.verdict, then.rule) != (now.verdict, now.rule):
        yield f"The rules would say {now.verdict.replace('_', ' ')} ({now.rule}) now, they said {_rule(then)}."
    if then.sql != now.sql:
        yield "The question itself is put in other SQL now."


def _counts(then: Scorecard, now: Scorecard) -> Iterator[tuple[str, int, int]]:
    yield "Interactions", then.n_interactions, now.n_interactions
    known = {one.name: one.n_known for one in then.variants}
    for one in now.variants:
        yield f"Users of {one.name}", then.n_users.get(one.name, 0), one.n_users
        yield f"Users of {one.name} with a known answer", known.get(one.name, 0), one.n_known
    yield "Users of two variants", then.n_in_both, now.n_in_both


def _effect(card: Scorecard) -> str:
    return "unknown" if card.effect is None else change(card.primary, card.effect)


def _rule(card: Scorecard) -> str:
    return f"{card.verdict.replace('_', ' ')} ({card.rule})"


def _differs(then: Scorecard, now: Scorecard) -> bool:
    was, is_now = ([plain(card.metrics), plain(card.guardrails), plain(card.segments)] for card in (then, now))
    return any(not _close(one.was, one.now) for one in differences(was, is_now))


def _close(was: Any, now: Any) -> bool:
    if not isinstance(was, int | float) or not isinstance(now, int | float):
        return bool(was == now)
    return isclose(was, now, rel_tol=CLOSE, abs_tol=ZERO)
