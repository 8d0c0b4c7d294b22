"""One turn of the loop: digest, optimize, deploy, observe, decide. The flows in order, and nothing else."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from organism.config import Workspace, utcnow
from organism.deploy.flow import live_version, promote, version_by_name
from organism.deploy.serving import DraftServer
from organism.digest.flow import build_training_set, live_design
from organism.errors import DesignError, RunError
from organism.experiment.flow import analyze, assign_user, decide, read_experiment, start_experiment
from organism.ingest.flow import ingest
from organism.optimize.flow import SftConfig, Supervisor, read_evaluation, start_run, wait_for_run
from organism.records import EventKind, ModelVersion, RunStatus, Verdict, new_id
from organism.store.database import Store
from organism.store.model_versions import read_version

Progress = Callable[[str, float, str], None]
"""Called with the stage, the share done (0 to 1), and a sentence."""

SIMULATED_SOURCE = "simulated-traffic"


class Visit(Protocol):
    """One piece of work that a person brings: who, and what the model is asked."""

    user_key: str
    encounter_id: str
    prompt: str
    attributes: dict[str, Any]


class Environment(Protocol):
    """Somebody to serve: brings visits, and answers drafts. The shipped one is simulated."""

    def fresh_visits(self, n_per_user: int, *, seed: int) -> Sequence[Visit]:
        """Visits that no model has seen."""
        ...

    def respond(
        self, visit: Visit, draft: str, *, interaction_id: str, now: datetime
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Feedback rows and outcome rows, in the shape that ingest takes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPlan:
    """How much of everything one turn takes."""

    max_rows: int = 400
    max_heldout_rows: int = 300
    visits_per_user: int = 10
    treatment_share: float = 0.5
    control: str = "base"
    seed: int = 0
    config: SftConfig = field(default_factory=SftConfig)


class Turn(NamedTuple):
    """What one turn did: ids to follow, and the figures of its evaluation and experiment."""

    dataset_id: str
    run_id: str
    model_version_id: str
    experiment_id: str
    evaluation: dict[str, Any]
    experiment: dict[str, Any]
    promoted: bool
    seconds: dict[str, float]


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

    The decision is made by the written rules under the name "loop"; a version whose facts got worse
    than the margin is tested but never promoted. Raises DesignError when too little waits to train
    on, RunError when the run fails.
    """
    plan, say, watch = plan or TurnPlan(), progress or (lambda stage, share, text: None), Stopwatch()
    started = time.perf_counter()
    with watch("digest"):
        say("digest", 0.0, "Building a training set from the latest expert notes")
        dataset = build_training_set(
            store, loop_id, max_rows=plan.max_rows, max_heldout_rows=plan.max_heldout_rows, seed=plan.seed, now=utcnow()
        )
    with watch("optimize"):
        run_id, version = _optimize(store, workspace, loop_id, dataset.dataset_id, plan, say)
    control = version_by_name(store, loop_id, plan.control)
    with watch("observe"), DraftServer(workspace) as drafts:
        experiment_id = start_experiment(
            store,
            loop_id,
            name=f"{version.name} against {control.name}",
            control_version_id=control.model_version_id,
            treatment_version_id=version.model_version_id,
            treatment_share=plan.treatment_share,
            hypothesis=f"{version.name} keeps more of what it writes than {control.name}",
            is_synthetic=True,
            now=utcnow(),
        )
        run_simulated_traffic(
            store,
            drafts,
            experiment_id,
            environment,
            visits_per_user=plan.visits_per_user,
            seed=plan.seed,
            progress=say,
        )
        scorecard = analyze(store, experiment_id)
    with watch("decide"):
        decide(
            store,
            experiment_id,
            verdict=scorecard.verdict,
            note=f"Decided by rule, not by a person: {scorecard.sentence}",
            actor="loop",
            now=utcnow(),
        )
        promoted = scorecard.verdict is Verdict.SHIP and _promoted(store, loop_id, version, scorecard.sentence)
    seconds = {**watch.seconds, "total": round(time.perf_counter() - started, 1)}
    evaluation = read_evaluation(store, version.model_version_id) or {}
    return Turn(
        dataset.dataset_id,
        run_id,
        version.model_version_id,
        experiment_id,
        evaluation,
        _figures(scorecard),
        promoted,
        seconds,
    )


def run_simulated_traffic(
    store: Store,
    drafts: DraftServer,
    experiment_id: str,
    environment: Environment,
    *,
    visits_per_user: int,
    seed: int,
    progress: Progress | None = None,
    batch_size: int = 24,
) -> int:
    """Serve fresh simulated visits through both arms: assign by hash, draft for real, ingest the answers.

    Returns the number of drafts. Everything written is marked synthetic.
    """
    say = progress or (lambda stage, share, text: None)
    experiment = read_experiment(store, experiment_id)
    arms = {
        "control": read_version(store, experiment.control_version_id),
        "treatment": read_version(store, experiment.treatment_version_id),
    }
    visits = environment.fresh_visits(visits_per_user, seed=seed)
    by_arm: dict[str, list[Visit]] = {arm: [] for arm in arms}
    for visit in visits:
        by_arm[assign_user(store, experiment_id, visit.user_key, now=utcnow()).arm].append(visit)
    done = 0
    for arm, queue in by_arm.items():
        for first in range(0, len(queue), batch_size):
            batch = queue[first : first + batch_size]
            _serve_batch(store, drafts, arms[arm], experiment_id, experiment.loop_name, environment, batch)
            done += len(batch)
            say("observe", done / len(visits), f"{done} of {len(visits)} drafts written for simulated physicians")
    return done


def _serve_batch(
    store: Store,
    drafts: DraftServer,
    version: ModelVersion,
    experiment_id: str,
    loop_name: str,
    environment: Environment,
    visits: Sequence[Visit],
) -> None:
    written = drafts.drafts(version, [visit.prompt for visit in visits])
    now = utcnow()
    interactions = [
        {
            "loop": loop_name,
            "user_key": visit.user_key,
            "business_key": visit.encounter_id,
            "variant_id": version.name,
            "experiment_id": experiment_id,
            "model_version_id": version.model_version_id,
            "occurred_at": now + timedelta(microseconds=n),
            "prompt": visit.prompt,
            "output": draft.text,
            "input_tokens": draft.input_tokens,
            "output_tokens": draft.output_tokens,
            "latency_ms": draft.latency_ms,
            "cost_usd": draft.cost_usd,
            "finish_reason": draft.finish_reason,
            "consent": True,
            "is_synthetic": True,
            "source": SIMULATED_SOURCE,
            "external_id": f"{experiment_id}/{visit.encounter_id}",
            "attributes": visit.attributes,
        }
        for n, (visit, draft) in enumerate(zip(visits, written, strict=True))
    ]
    ids = _ingested(store, EventKind.INTERACTIONS, interactions)
    answers = [
        environment.respond(visit, draft.text, interaction_id=interaction_id, now=utcnow())
        for visit, draft, interaction_id in zip(visits, written, ids, strict=True)
    ]
    _ingested(store, EventKind.FEEDBACK, [row for feedback, _ in answers for row in feedback])
    _ingested(store, EventKind.OUTCOMES, [row for _, outcomes in answers for row in outcomes])


def _ingested(store: Store, kind: EventKind, rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    done = ingest(store, kind, rows, now=utcnow()).result()
    if done.quarantined:
        raise RunError(f"{done.quarantined} simulated {kind} were not accepted: {done.reasons[0]}. This is a bug; report it.")
    return done.ids


def _optimize(
    store: Store, workspace: Workspace, loop_id: str, dataset_id: str, plan: TurnPlan, say: Progress
) -> tuple[str, ModelVersion]:
    """Train and evaluate in a child process; returns the run and the version it made."""
    with Supervisor(store, workspace):
        design = live_design(store, loop_id)
        run_id = start_run(
            store, workspace, loop_id, dataset_id, plan.config, reward_design_id=design.id, now=utcnow()
        )
        run = wait_for_run(store, run_id, on_progress=lambda share, text: say("optimize", share, text))
    if run.status is not RunStatus.DONE or run.model_version_id is None:
        raise RunError(f"run {run_id} ended as {run.status}: {run.message}. See runs/{run_id}/log.txt, then start it again.")
    return run_id, read_version(store, run.model_version_id)


def _promoted(store: Store, loop_id: str, version: ModelVersion, sentence: str) -> bool:
    try:
        promote(store, loop_id, version.model_version_id, actor="loop", reason=sentence, now=utcnow())
    except DesignError:
        return False
    return live_version(store, loop_id).model_version_id == version.model_version_id
