"""Evidence made of numbers: what the store would have summed of users whose figures are given."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from organism.experiment.evidence import Design, Evidence, Measure, PlanKept
from organism.experiment.plan import Plan
from organism.experiment.reading import measure, metric_names
from organism.records import Moments, Variant
from organism.stats.moments import moments
from organism.store.experiment_days import Look
from organism.store.experiment_units import Sums

START = datetime(2026, 9, 7)


def users(n: int, mean: float, deviation: float = 10.0, *, seed: int = 0) -> Moments:
    """n users who wrote 100 characters each, and kept this mean with exactly this deviation."""
    values = np.random.default_rng(seed).normal(size=n)
    values = (values - values.mean()) / values.std(ddof=1) * deviation + mean
    return moments(np.column_stack([values, np.full(n, 100.0)]))


def evidence(
    primary: Mapping[str, Moments],
    *,
    plan: Plan | None = None,
    plans: tuple[Plan, ...] = (),
    metrics: Mapping[str, Mapping[str, Moments]] | None = None,
    n_strayed: int = 0,
    n_unweighted: int = 0,
    n_users: Mapping[str, int] | None = None,
    days: int = 4,
    policy: str = "hash",
    shares: Mapping[str, float] | None = None,
    design: Design | None = None,
    reward: Mapping[str, Moments] | None = None,
    is_synthetic: bool = False,
) -> Evidence:
    """Evidence with the first primary metric (and others) as given; users come evenly over the days."""
    plans = plans or (plan or Plan(guardrails=(), watched=()),)
    names = list(primary)
    counts = dict(n_users or {name: part.n for name, part in primary.items()})
    looks = tuple(
        Look(START + timedelta(days=day), {name: n * (day + 1) // days for name, n in counts.items()}, counts)
        for day in range(days)
    )
    measured = {plans[0].primary[0]: dict(primary), **{name: dict(arms) for name, arms in (metrics or {}).items()}}
    measures = tuple(known(name) for name in metric_names(plans[-1]) if name in measured)
    sums = Sums(
        n_users=counts,
        n_strayed=n_strayed,
        n_foreign=0,
        n_unweighted=n_unweighted,
        n_interactions=sum(counts.values()),
        n_with_past=0,
        looks=looks,
        metrics=measured,
        n_infinite={},
        quantiles={},
        reward=dict(reward or {}),
        requests={},
        segments=(),
        left_out={},
        days=(),
        periods=None,
        sql="",
    )
    share = shares or dict.fromkeys(names, 1 / len(names))
    return Evidence(
        experiment_id="e",
        name="first",
        hypothesis="",
        policy=policy,
        status="running",
        started_at=START,
        ended_at=None,
        is_synthetic=is_synthetic,
        read_at=START + timedelta(days=days),
        variants=tuple(Variant(name=name, share=share[name]) for name in names),
        plans=tuple(kept(number, one) for number, one in enumerate(plans, 1)),
        measures=measures,
        covariates=(),
        design=design,
        n_assigned=sum(counts.values()),
        data_version="1",
        sums=sums,
    )


def known(name: str) -> Measure:
    return measure(name, None)


def kept(version: int, plan: Plan) -> PlanKept:
    plain: dict[str, Any] = plan.plain()
    return PlanKept(version, plain, "Ann", "as planned", START)
