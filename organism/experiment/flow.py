"""Start an experiment, assign its users, read its scorecard, keep the decision."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from organism.errors import DesignError, InputError
from organism.experiment.analysis import figures, track
from organism.experiment.assign_flow import Assigned, assign_user
from organism.experiment.assignment import check_shares
from organism.experiment.plan import Plan, check_plan, plan_of
from organism.experiment.rules import Scorecard, judge
from organism.records import Variant, Verdict, new_id
from organism.store import decisions, experiment_sums, experiments
from organism.store.database import Store
from organism.store.experiments import Experiment
from organism.store.model_versions import read_version
from organism.wire import plain

__all__ = [
    "Assigned",
    "Decided",
    "analyze",
    "assign_user",
    "decide",
    "effect_track",
    "read_experiment",
    "start_experiment",
    "start_variants",
]


class Decided(NamedTuple):
    """A decision as it was kept."""

    decision_id: str
    verdict: Verdict
    rule: str


def start_experiment(
    store: Store,
    loop_id: str,
    name: str,
    control_version_id: str,
    treatment_version_id: str,
    treatment_share: float = 0.5,
    hypothesis: str = "",
    is_synthetic: bool = False,
    *,
    plan: Plan | None = None,
    now: datetime,
) -> str:
    """Start comparing two versions on users; returns the experiment's id. The plan is frozen here.

    Raises DesignError for an empty arm, a version against itself, or a pair that is being compared already.
    """
    control, treatment = (read_version(store, version) for version in (control_version_id, treatment_version_id))
    if control_version_id == treatment_version_id:
        raise DesignError(f"{control.name} is on both sides; compare two different versions")
    variants = (
        Variant(name=control.name, share=1 - treatment_share, model_version_id=control_version_id),
        Variant(name=treatment.name, share=treatment_share, model_version_id=treatment_version_id),
    )
    return start_variants(
        store,
        loop_id,
        name.strip() or f"{treatment.name} against {control.name}",
        variants,
        hypothesis=hypothesis,
        is_synthetic=is_synthetic,
        plan=plan,
        now=now,
    )


def start_variants(
    store: Store,
    loop_id: str,
    name: str,
    variants: Sequence[Variant],
    *,
    hypothesis: str = "",
    is_synthetic: bool = False,
    plan: Plan | None = None,
    now: datetime,
) -> str:
    """Start comparing any variants, the control first; returns the experiment's id.

    Raises DesignError for shares that leave a variant empty, a version of another loop, or variants that are being
    compared already.
    """
    plan = plan or Plan()
    check_plan(plan)
    check_shares(variants)
    versions = [read_version(store, one.model_version_id) for one in variants if one.model_version_id]
    if other := [version.name for version in versions if version.loop_id != loop_id]:
        raise DesignError(f"{other[0]} belongs to another loop; compare versions of one loop")
    experiment_id = new_id(now)
    row = {
        "experiment_id": experiment_id,
        "loop_id": loop_id,
        "name": name.strip() or " against ".join(variant.name for variant in reversed(variants)),
        "hypothesis": hypothesis,
        "started_at": now,
        "is_synthetic": is_synthetic,
    }
    experiments.insert_experiment(store, row, variants, plan.plain())
    return experiment_id


def read_experiment(store: Store, experiment_id: str) -> Experiment:
    """One experiment with the names of its versions; raises InputError when there is none with this id."""
    return experiments.read_experiment(store, experiment_id)


def analyze(store: Store, experiment_id: str) -> Scorecard:
    """The scorecard as of now: effect, guardrails, split, and the verdict by the written rules."""
    experiment = read_experiment(store, experiment_id)
    plan = plan_of(experiment.plan)
    found = figures(
        experiment_sums.read_user_sums(store, experiment),
        experiment_sums.read_request_moments(store, experiment),
        treatment_share=experiment.treatment_share,
        plan=plan,
    )
    return judge(
        found,
        plan,
        experiment_id=experiment_id,
        name=experiment.name,
        control=experiment.control,
        treatment=experiment.treatment,
        is_synthetic=experiment.is_synthetic,
    )


def effect_track(store: Store, experiment_id: str) -> pd.DataFrame:
    """The effect as it stood at the end of each day: day, effect, low, high, n_users, n_interactions."""
    experiment = read_experiment(store, experiment_id)
    return track(experiment_sums.read_user_sums(store, experiment, daily=True), 1 - plan_of(experiment.plan).alpha)


def decide(store: Store, experiment_id: str, verdict: Verdict, note: str, actor: str, *, now: datetime) -> Decided:
    """Keep what people decided, with the rule that fired and the scorecard as it was seen.

    Every verdict but keep_running closes the experiment. Moving the alias is the caller's next step. Raises
    InputError without a note or a name, DesignError when the experiment was decided before.
    """
    if not note.strip() or not actor.strip():
        raise InputError("a decision needs one sentence that says why, and the name of who decided")
    card = analyze(store, experiment_id)
    decision_id = new_id(now)
    decisions.append_decision(
        store,
        {
            "decision_id": decision_id,
            "experiment_id": experiment_id,
            "verdict": Verdict(verdict).value,
            "rule": card.rule,
            "note": note.strip(),
            "actor": actor.strip(),
            "scorecard": plain(card),
            "created_at": now,
        },
        ends=decisions.ends_experiment(Verdict(verdict)),
    )
    return Decided(decision_id, Verdict(verdict), card.rule)
