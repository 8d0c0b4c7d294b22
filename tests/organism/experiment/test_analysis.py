"""When the interval for one look counts: at the planned size, once."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from organism.experiment.plan import Plan
from organism.experiment.rules import judge
from organism.experiment.scorecard import IntervalKind
from organism.records import Verdict
from organism.stats.moments import moments
from organism.store.experiment_days import Look
from tests.organism.experiment.made_evidence import START, evidence, users

PLAN = Plan(guardrails=(), watched=(), segments=(), n_users=200)


def at(n, *sizes, changed_on=0, plan=PLAN):
    """n users an arm, ten of each a day; the plan is raised through these sizes on the day."""
    plans = (plan, *(replace(plan, n_users=size) for size in sizes))
    found = evidence({"base": users(n, 50), "grown": users(n, 53, seed=1)}, plans=plans)
    counts = [dict.fromkeys(("base", "grown"), 10 * (day + 1)) for day in range(n // 10)]
    looks = tuple(Look(START + timedelta(days=day), one, one) for day, one in enumerate(counts))
    first, *later = found.plans
    changed = tuple(one._replace(created_at=START + timedelta(days=changed_on)) for one in later)
    return replace(found, plans=(first, *changed), sums=found.sums._replace(looks=looks))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (at(90), IntervalKind.ALWAYS_VALID),
        (at(100), IntervalKind.FIXED),
        (at(120), IntervalKind.FIXED),
        (at(130), IntervalKind.ALWAYS_VALID),
        (at(120, 240, changed_on=5), IntervalKind.FIXED),
        (at(120, 240, changed_on=9), IntervalKind.ALWAYS_VALID),
        (at(110, 400, 200, changed_on=5), IntervalKind.ALWAYS_VALID),
    ],
)
def test_the_interval_for_one_look_is_had_once_at_the_planned_size(found, kind):
    assert judge(found).interval_kind is kind


def test_looking_on_after_the_planned_size_ships_no_effect_at_most_in_one_of_twenty():
    rng = np.random.default_rng(3)
    shipped = 0
    for _ in range(200):
        table = np.stack([rng.normal(50, 20, (2, 200)), np.full((2, 200), 100.0)], axis=2)
        for n in (20, 22, 24, 30, 40, 60, 80, 100, 125, 150, 175, 200):
            arms = {name: moments(rows[:n]) for name, rows in zip(("base", "grown"), table, strict=True)}
            card = judge(evidence(arms, plan=replace(PLAN, n_users=40), days=2))
            if card.verdict is Verdict.SHIP:
                shipped += 1
                break
    assert shipped <= 10
