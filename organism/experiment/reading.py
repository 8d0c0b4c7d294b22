"""Ask the store for all that an experiment's scorecard is made of."""

from collections.abc import Sequence
from datetime import datetime

from organism.errors import DesignError
from organism.experiment.evidence import Design, Evidence, Measure, PlanKept
from organism.experiment.plan import Plan, plan_of
from organism.measures.metric_names import LABELS, better_of, label_of, quantile_of
from organism.records import RewardDesign, SignalSpec
from organism.store import experiment_units
from organism.store.assignments import count_assignments
from organism.store.database import Store
from organism.store.experiment_tables import Ask, row_columns, utility_columns
from organism.store.experiments import Experiment, read_experiment
from organism.store.plans import read_plan_versions
from organism.store.reward_designs import read_saved
from organism.store.signal_definitions import columns_of

SHARES = ("retained_char_rate", "written_share")
"""The two shares of retained characters, always shown together: the first alone can be gamed."""


def read_evidence(store: Store, experiment_id: str, now: datetime) -> Evidence:
    """All that the verdict on an experiment is made of, as one state of the database.

    A metric of the plan that nothing measures (a signal that was removed, no saved design for `reward`) is kept as
    unknown. Raises InputError for an id that there is not.
    """
    experiment = read_experiment(store, experiment_id)
    plan = plan_of(experiment.plan)
    design = design_of(store, experiment, plan)
    ask, unknown = _ask(store, experiment, plan, design)
    data_version = store.version(*experiment_units.TABLES)
    return Evidence(
        experiment_id=experiment_id,
        name=experiment.name,
        hypothesis=experiment.hypothesis,
        policy=experiment.policy,
        status=experiment.status,
        started_at=experiment.started_at,
        ended_at=experiment.ended_at,
        is_synthetic=experiment.is_synthetic,
        read_at=now,
        variants=experiment.variants,
        plans=tuple(PlanKept(*version) for version in read_plan_versions(store, experiment_id)),
        measures=tuple(measure(name, design, name not in unknown) for name in metric_names(plan)),
        covariates=tuple(ask.covariates),
        design=_kept(design),
        n_assigned=sum(count_assignments(store, experiment_id).values()),
        data_version=str(data_version),
        sums=experiment_units.read_sums(store, experiment, ask),
    )


def metric_names(plan: Plan) -> list[str]:
    """The metrics of a scorecard in their order: primary, guarded, watched; both shares where there is one of them."""
    names = [*plan.primary, *(guard.metric for guard in plan.guardrails), *plan.watched]
    if any(name in SHARES for name in names):
        names += SHARES
    return list(dict.fromkeys(names))


def measure(name: str, design: RewardDesign | None, is_known: bool = True) -> Measure:
    """A metric's label and which way is better: for a signal of the team's own, as its reward design has it."""
    quantile = quantile_of(name)
    signal, probability = quantile or (name, None)
    return Measure(name, label_of(name), _better(signal, design), probability, is_known)


def _better(signal: str, design: RewardDesign | None) -> int:
    """As its name says; of outcomes, answers and signals of the team's own the design knows better."""
    found = [spec for spec in design.signals if spec.signal == signal] if design and signal not in LABELS else []
    return (1 if found[0].best > found[0].worst else -1) if found else better_of(signal) or 0


def design_of(store: Store, experiment: Experiment, plan: Plan) -> RewardDesign | None:
    """The plan's design; without one that which was live at the start, or the first that was saved after it."""
    saved = read_saved(store, experiment.loop_id)
    if plan.reward_design_id is not None:
        return next((one.design for one in saved if one.design.id == plan.reward_design_id), None)
    started = experiment.started_at or experiment.created_at
    before = [one.design for one in saved if one.created_at <= started]
    return before[0] if before else saved[-1].design if saved else None


def _kept(design: RewardDesign | None) -> Design | None:
    if design is None:
        return None
    signals = sorted(design.signals, key=lambda spec: spec.signal)
    return Design(design.id, design.name, tuple(_as_floats(spec) for spec in signals))


def _as_floats(spec: SignalSpec) -> SignalSpec:
    missing = None if spec.missing is None else float(spec.missing)
    return SignalSpec(spec.signal, float(spec.weight), float(spec.worst), float(spec.best), missing)


def _ask(store: Store, experiment: Experiment, plan: Plan, design: RewardDesign | None) -> tuple[Ask, set[str]]:
    """What the store is to sum, and which metrics of the plan nobody measures."""
    names, unknown = metric_names(plan), set[str]()
    metrics: dict[str, tuple[str, str]] = {}
    quantiles: dict[str, tuple[str, float]] = {}
    for name in names:
        try:
            if quantile := quantile_of(name):
                quantiles[name] = (columns_of(store, experiment.loop_id, [quantile[0]])[0], quantile[1])
            else:
                metrics |= row_columns(store, experiment.loop_id, [name], design)
        except DesignError:
            unknown.add(name)
    primary = plan.primary[0]
    covariates = _known(store, experiment, plan.covariates or ([primary] if primary in metrics else []), design)
    return (
        Ask(metrics, quantiles, covariates, plan.segments, _utilities(store, experiment, design), primary),
        unknown,
    )


def _known(
    store: Store, experiment: Experiment, names: Sequence[str], design: RewardDesign | None
) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        try:
            found |= row_columns(store, experiment.loop_id, [name], design)
        except DesignError:
            continue
    return found


def _utilities(store: Store, experiment: Experiment, design: RewardDesign | None) -> list[str]:
    try:
        return utility_columns(store, experiment.loop_id, design) if design else []
    except DesignError:
        return []
