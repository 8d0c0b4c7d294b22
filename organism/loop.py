"""One turn of the loop: digest, optimize, deploy, observe, decide. The flows in order, and nothing else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from organism.config import Workspace, utcnow
from organism.deploy.flow import promote, version_by_name
from organism.deploy.serving import DraftServer
from organism.digest.flow import live_design
from organism.digest.training_set_flow import build_training_set
from organism.errors import DesignError, RunError
from organism.experiment.flow import Decided as DecisionKept
from organism.experiment.flow import analyze, decide, read_experiment, start_experiment
from organism.experiment.plan import Plan
from organism.experiment.scorecard import Scorecard
from organism.optimize.flow import SftConfig, Supervisor, read_evaluation, start_run, wait_for_run
from organism.records import ModelVersion, RunStatus, Verdict
from organism.store.database import Store
from organism.store.model_versions import read_version
from organism.traffic import Environment, Progress, run_simulated_traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPlan:
    """How much of everything one turn takes. `control` names the version that the new one is tested against."""

    max_rows: int = 400
    max_heldout_rows: int = 300
    visits_per_user: int = 10
    treatment_share: float = 0.5
    control: str = "base"
    seed: int = 0
    config: SftConfig = field(default_factory=SftConfig)


class Trained(NamedTuple):
    """What one fine-tune left: where its rows came from, the version, and its figures before and after."""

    dataset_id: str
    run_id: str
    version: ModelVersion
    evaluation: dict[str, Any]


class Turn(NamedTuple):
    """What one turn did: ids to follow, and the figures of its evaluation and experiment."""

    trained: Trained
    experiment_id: str
    scorecard: Scorecard
    decided: "Decided"
    seconds: dict[str, float]


class Decided(NamedTuple):
    """A recorded decision, and what it moved; `sentence` says both."""

    decision_id: str
    live: str | None
    sentence: str


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 1)


def turn(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    environment: Environment,
    *,
    plan: TurnPlan | None = None,
    progress: Progress | None = None,
) -> Turn:
    """Turn the whole loop once: train on what waits, measure, test on fresh visits, decide by the rules.

    The decision is recorded under the name "loop". Raises DesignError when too little waits to train
    on, RunError when the run fails.
    """
    plan, say, watch = plan or TurnPlan(), progress or _silent, Stopwatch()
    started = time.perf_counter()
    trained = train(store, workspace, loop_id, plan=plan, progress=say, watch=watch)
    with watch("observe"), DraftServer(workspace) as drafts:
        control = version_by_name(store, loop_id, plan.control)
        n_users = len({visit.user_key for visit in environment.fresh_visits(1, seed=plan.seed)})
        experiment_id = start_test(
            store, loop_id, control, trained.version, share=plan.treatment_share, n_users=n_users, now=utcnow()
        )
        run_simulated_traffic(
            store,
            drafts,
            experiment_id,
            environment,
            visits_per_user=plan.visits_per_user,
            progress=say,
        )
        scorecard = analyze(store, experiment_id)
    with watch("decide"):
        note = f"Decided by rule, not by a person: {scorecard.sentence}"
        decided = decide_and_apply(
            store, experiment_id, verdict=scorecard.verdict, note=note, actor="loop", now=utcnow()
        )
    seconds = {**watch.seconds, "total": round(time.perf_counter() - started, 1)}
    return Turn(trained, experiment_id, scorecard, decided, seconds)


def train(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    *,
    plan: TurnPlan,
    progress: Progress | None = None,
    watch: Stopwatch | None = None,
) -> Trained:
    """Freeze a training set from the latest expert notes, fine-tune on it in a child process, measure.

    Raises DesignError when too little waits to train on, RunError when the run does not end well.
    """
    say, watch = progress or _silent, watch or Stopwatch()
    with watch("digest"):
        say("digest", 0.0, "Building a training set from the latest expert notes")
        dataset = build_training_set(
            store, loop_id, max_rows=plan.max_rows, max_heldout_rows=plan.max_heldout_rows, seed=plan.seed, now=utcnow()
        )
        say("digest", 1.0, f"{dataset.n_train} notes to train on, {dataset.n_heldout} held out")
    with watch("optimize"), Supervisor(store, workspace):
        design = live_design(store, loop_id)
        run_id = start_run(store, workspace, loop_id, dataset.dataset_id, plan.config, design=design, now=utcnow())
        run = wait_for_run(store, run_id, on_progress=lambda share, text: say("optimize", share, text))
    if run.status is not RunStatus.DONE or run.model_version_id is None:
        raise RunError(
            f"run {run_id} ended as {run.status}: {run.message}. Its folder's log.txt says more; then start it again."
        )
    version = read_version(store, run.model_version_id)
    return Trained(dataset.dataset_id, run_id, version, read_evaluation(store, version.model_version_id) or {})


def start_test(
    store: Store,
    loop_id: str,
    control: ModelVersion,
    treatment: ModelVersion,
    *,
    share: float = 0.5,
    n_users: int | None = None,
    now: datetime,
) -> str:
    """Start an experiment of one version against another on simulated physicians; returns its id.

    `n_users` is how many of them there are, when it is read once after all were served.
    """
    return start_experiment(
        store,
        loop_id,
        name=f"{treatment.name} against {control.name}",
        control_version_id=control.model_version_id,
        treatment_version_id=treatment.model_version_id,
        treatment_share=share,
        hypothesis=f"Physicians keep more of what {treatment.name} writes than of what {control.name} writes",
        is_synthetic=True,
        plan=Plan(n_users=n_users),
        now=now,
    )


def decide_and_apply(
    store: Store,
    experiment_id: str,
    *,
    verdict: Verdict,
    note: str,
    actor: str,
    treatment: str | None = None,
    now: datetime,
) -> Decided:
    """Record a decision; `ship` also makes the treatment live, unless its facts got worse than the margin.

    Of several treatments it is about the one named, else the one that the scorecard names: the best.
    """
    decided = decide(store, experiment_id, verdict=verdict, note=note, actor=actor, treatment=treatment, now=now)
    done = _applied(store, decided, note=note, actor=actor, now=now, experiment_id=experiment_id)
    return done._replace(sentence=done.sentence.rstrip(".") + "." + _otherwise(decided))


def _otherwise(decided: DecisionKept) -> str:
    """What the rules say, where people decided otherwise."""
    if decided.advised is decided.verdict:
        return ""
    lead, dot, _ = decided.advice.partition(". ")
    return f" The rules say: {decided.advised.replace('_', ' ')}. {lead}{'.' if dot else ''}"


def _applied(
    store: Store, decided: DecisionKept, *, note: str, actor: str, now: datetime, experiment_id: str
) -> Decided:
    """What a kept decision moves: `ship` makes its treatment live where this organism serves it."""
    decision_id, verdict, experiment = decided.decision_id, decided.verdict, read_experiment(store, experiment_id)
    if verdict is not Verdict.SHIP:
        return Decided(decision_id, None, f"Recorded: {verdict.replace('_', ' ')}. The live version stays as it is.")
    shipped = experiment.variant(decided.treatment)
    if shipped.model_version_id is None:
        return Decided(decision_id, None, "Recorded: ship. The product serves this variant itself; switch it there.")
    try:
        moved = promote(store, experiment.loop_id, shipped.model_version_id, actor=actor, reason=note, now=now)
    except DesignError as refused:
        return Decided(decision_id, None, f"Recorded, but the version was not made live: {refused}")
    prompt = " Its prompt is no part of the model: take it over in the product." if shipped.prompt else ""
    return Decided(decision_id, moved.version, f"Recorded: ship. {moved.version} is live.{prompt}")


def _silent(stage: str, share: float, text: str) -> None:
    """Progress that nobody watches."""
