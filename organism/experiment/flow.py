"""Start an experiment, assign its users, read its scorecard, keep the decision."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.config import utcnow
from organism.errors import DesignError, InputError
from organism.experiment.analysis import Settings, lead, read_metrics, settings_of
from organism.experiment.assign_flow import Assigned, assign_user
from organism.experiment.assignment import check_shares
from organism.experiment.evidence import Evidence
from organism.experiment.plan import Plan, check_plan
from organism.experiment.reading import read_evidence
from organism.experiment.record import DEALT, Made, make_record
from organism.experiment.rules import judge
from organism.experiment.scorecard import Scorecard
from organism.experiment.sizing_flow import sized
from organism.experiment.track import track
from organism.records import Variant, Verdict, new_id
from organism.store import decisions, experiments
from organism.store.database import Store
from organism.store.experiments import Experiment
from organism.store.model_versions import read_version
from organism.wire import plain

__all__ = [
    "Assigned",
    "Decided",
    "analyze",
    "assign_user",
    "dealt_by",
    "decide",
    "effect_track",
    "evidence_of",
    "read_experiment",
    "start_experiment",
    "start_variants",
    "track_of",
]


class Decided(NamedTuple):
    """A decision as it was kept; `treatment` is the one that it is about: that which was named, else the best.

    `advised` is the verdict of the rules, and `advice` their sentence: a person may decide otherwise. `record_sha256`
    names its record: what `organism experiment replay` must come to again.
    """

    decision_id: str
    verdict: Verdict
    rule: str
    treatment: str
    record_sha256: str
    advised: Verdict
    advice: str


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

    A plan that names no size gets the one that this loop's past asks for, if it is reached within a year. Raises
    DesignError for shares that leave a variant empty, a version of another loop, or variants that are being compared
    already.
    """
    plan = plan or Plan()
    check_plan(plan)
    check_shares(variants)
    versions = [read_version(store, one.model_version_id) for one in variants if one.model_version_id]
    if other := [version.name for version in versions if version.loop_id != loop_id]:
        raise DesignError(f"{other[0]} belongs to another loop; compare versions of one loop")
    plan, why = sized(store, loop_id, plan, variants, now)
    experiment_id = new_id(now)
    row = {
        "experiment_id": experiment_id,
        "loop_id": loop_id,
        "name": name.strip() or " against ".join(variant.name for variant in reversed(variants)),
        "hypothesis": hypothesis,
        "started_at": now,
        "is_synthetic": is_synthetic,
    }
    experiments.insert_experiment(store, row, variants, plan.plain(), why=why)
    return experiment_id


def read_experiment(store: Store, experiment_id: str) -> Experiment:
    """One experiment with the names of its versions; raises InputError when there is none with this id."""
    return experiments.read_experiment(store, experiment_id)


def analyze(store: Store, experiment_id: str, now: datetime | None = None) -> Scorecard:
    """The scorecard as of now: effect, guardrails, split, and the verdict by the written rules.

    Raises InputError for an id that there is not, DesignError for an experiment that has not started.
    """
    return judge(evidence_of(store, experiment_id, now))


def evidence_of(store: Store, experiment_id: str, now: datetime | None = None) -> Evidence:
    """All that the scorecard is made of, as one plain value; raises as `analyze` does."""
    experiment = read_experiment(store, experiment_id)
    if experiment.started_at is None:
        raise DesignError(f"experiment {experiment.name!r} is planned and has not started; start it, then read it")
    return read_evidence(store, experiment_id, now or utcnow())


def effect_track(store: Store, experiment_id: str, treatment: str | None = None) -> pd.DataFrame:
    """The first primary effect as it stood at the end of each day, of the treatment that does best unless named.

    Columns: day, effect, low, high (for one look), always_low, always_high (at every look), n_users, n_interactions.
    """
    return track_of(evidence_of(store, experiment_id, utcnow()), treatment)


def track_of(evidence: Evidence, treatment: str | None = None) -> pd.DataFrame:
    """As `effect_track`, from evidence; raises InputError for a treatment that the experiment does not have."""
    settings = settings_of(evidence)
    _check_treatment(settings, treatment)
    return track(evidence, settings, treatment or lead(evidence, settings, read_metrics(evidence, settings)[0]))


def _check_treatment(settings: Settings, treatment: str | None) -> None:
    if treatment is not None and treatment not in settings.treatments:
        raise InputError(f"{treatment!r} is no treatment of this experiment; it has {', '.join(settings.treatments)}")


def decide(
    store: Store,
    experiment_id: str,
    verdict: Verdict,
    note: str,
    actor: str,
    *,
    treatment: str | None = None,
    now: datetime,
) -> Decided:
    """Keep what people decided, with the rule that fired, the scorecard as it was seen, and the record of both.

    It is about the treatment that does best, unless another is named. Every verdict but keep_running closes the
    experiment. Moving the alias is the caller's next step. Raises InputError without a note or a name, or for a
    treatment that there is not; DesignError when the experiment was decided before.
    """
    if not note.strip() or not actor.strip():
        raise InputError("a decision needs one sentence that says why, and the name of who decided")
    if verdict is Verdict.BLOCKED:
        raise InputError(
            "blocked is what the rules say of figures that may not be read, and no decision; decide ship, hold, stop "
            "or roll_back"
        )
    experiment = read_experiment(store, experiment_id)
    if experiment.status == experiments.DECIDED and experiment.ended_at is not None:
        raise decisions.decided_already(experiment.ended_at)
    decision_id = new_id(now)
    evidence = evidence_of(store, experiment_id, now)
    _check_treatment(settings_of(evidence), treatment)
    made = Made(decision_id, Verdict(verdict).value, note.strip(), actor.strip(), now, treatment)
    record, card = make_record(evidence, dealt_by(experiment), made)
    decisions.append_decision(
        store,
        {
            "decision_id": decision_id,
            "experiment_id": experiment_id,
            "verdict": Verdict(verdict).value,
            "rule": card.rule,
            "note": note.strip(),
            "actor": actor.strip(),
            "scorecard": {
                **plain(card),
                decisions.RECORD_SHA256: record.sha256,
                decisions.TREATMENT: treatment or card.treatment,
            },
            "record": record.text,
            "created_at": now,
        },
        ends=decisions.ends_experiment(Verdict(verdict)),
    )
    about = treatment or card.treatment
    return Decided(decision_id, Verdict(verdict), card.rule, about, record.sha256, card.verdict, card.sentence)


def dealt_by(experiment: Experiment) -> dict[str, Any]:
    """How an experiment deals its users, as a record keeps it."""
    return {name: getattr(experiment, name) for name in DEALT}
