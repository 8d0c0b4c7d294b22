"""A small finished turn for page tests, made in seconds and without a model: drafts come from the demo's note writers.

Six weeks of 28 simulated physicians; a version is trained after the fourth, tested against the base in the
last two, decided and live. `python -m tests.pages.clinic DIR` writes it into a new workspace.
"""

import random
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from data.scribe.environment import ScribeEnvironment, Visit
from data.scribe.notes import generic_note, physician_note
from organism.config import BUNDLED_BASE, DEMO_LOOP, Workspace, utcnow, workspace
from organism.deploy.flow import promote, register_base, register_version
from organism.digest.training_set_flow import build_training_set
from organism.experiment.flow import analyze, assign_user, decide, start_experiment
from organism.ingest.flow import ingest
from organism.optimize.configs import SftConfig
from organism.optimize.evaluation import Drafts, compare, summarize
from organism.optimize.flow import read_heldout
from organism.optimize.runs import RunFolder, append_line
from organism.records import EventKind, ModelVersion, RunStatus, new_id
from organism.store.database import Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from organism.store.training_runs import TrainingRun, insert_run

WEEKS, TESTED_FROM = 6, 4
N_PHYSICIANS, PER_WEEK = 28, 3
WEEK = timedelta(weeks=1)


def fill(store: Store, place: Workspace, now: datetime) -> str:
    """Write the turn into an empty workspace, the last week ending now; returns the loop's id."""
    start = now - WEEKS * WEEK
    loop_id = ensure_loop(store, DEMO_LOOP, start)
    base = register_base(store, loop_id, BUNDLED_BASE, now=start)
    promote(store, loop_id, base.model_version_id, actor="ana", reason="The first model", now=start)
    for week in range(TESTED_FROM):
        serve(store, week, start + week * WEEK, lambda visit: base)
    trained_at = start + TESTED_FROM * WEEK
    tuned = train(store, place, loop_id, base, trained_at)
    experiment = start_experiment(
        store,
        loop_id,
        name="scribe-1 against base",
        control_version_id=base.model_version_id,
        treatment_version_id=tuned.model_version_id,
        treatment_share=0.5,
        hypothesis="scribe-1 keeps more of what it writes than base",
        is_synthetic=True,
        now=trained_at,
    )
    arms = {base.name: base, tuned.name: tuned}
    for week in range(TESTED_FROM, WEEKS):
        serve(
            store,
            week,
            start + week * WEEK,
            lambda visit: arms[assign_user(store, experiment, visit.user_key, now=trained_at).variant],
            experiment,
        )
    card = analyze(store, experiment)
    decided_at = now - timedelta(hours=2)
    decide(store, experiment, verdict=card.verdict, note="It held in both weeks", actor="ana", now=decided_at)
    promote(store, loop_id, tuned.model_version_id, actor="ana", reason="Kept more in both weeks", now=decided_at)
    return loop_id


def serve(
    store: Store, week: int, at: datetime, version_of: Callable[[Visit], ModelVersion], experiment: str | None = None
) -> None:
    """One week: drafts of each physician's version, and what the physicians answered."""
    visits = visits_of(week)
    moments = [at + place * WEEK / (len(visits) + 2) for place in range(len(visits))]
    versions = [version_of(visit) for visit in visits]
    texts = [draft(version.name, visit) for version, visit in zip(versions, visits, strict=True)]
    rows = [interaction(*row, experiment) for row in zip(versions, visits, texts, moments, strict=True)]
    ids = sent(store, EventKind.INTERACTIONS, rows, at + WEEK)
    answers = [
        SIMULATED.respond(visit, text, interaction_id=str(interaction_id), now=moment + timedelta(minutes=20))
        for visit, text, interaction_id, moment in zip(visits, texts, ids, moments, strict=True)
    ]
    sent(store, EventKind.FEEDBACK, [row for feedback, _ in answers for row in feedback], at + WEEK)
    sent(store, EventKind.OUTCOMES, [row for _, outcomes in answers for row in outcomes], at + WEEK)


def sent(store: Store, kind: EventKind, rows: list[dict[str, Any]], now: datetime) -> list[str | None]:
    """Take the rows in, all of them."""
    done = ingest(store, kind, rows, now=now).result()
    assert not done.quarantined, done.reasons[:3]
    return done.ids


def draft(version: str, visit: Visit) -> str:
    """What this version writes: the base a generic note, the tuned one nearly the physician's."""
    if version == "base":
        return generic_note(visit.encounter)
    return physician_note(visit.encounter, visit.physician.index, random.Random(f"draft {visit.encounter_id}"))


def interaction(version: ModelVersion, visit: Visit, text: str, at: datetime, experiment: str | None) -> dict[str, Any]:
    """One draft as an event."""
    tokens = len(text) // 4
    return {
        "loop": DEMO_LOOP,
        "source": "simulated-clinic",
        "external_id": visit.encounter_id,
        "business_key": visit.encounter_id,
        "user_key": visit.user_key,
        "variant_id": version.name,
        "model_version_id": version.model_version_id,
        "experiment_id": experiment,
        "occurred_at": at,
        "prompt": visit.prompt,
        "output": text,
        "input_tokens": len(visit.prompt) // 4,
        "output_tokens": tokens,
        "latency_ms": 300.0 + 4 * tokens,
        "cost_usd": 8e-7 * tokens,
        "consent": visit.consent,
        "region": visit.region,
        "is_synthetic": True,
        "attributes": visit.attributes,
    }


def train(store: Store, place: Workspace, loop_id: str, base: ModelVersion, now: datetime) -> ModelVersion:
    """A finished run with its loss curve, its version and its evaluation, as the supervisor leaves them."""
    dataset = build_training_set(store, loop_id, max_rows=120, max_heldout_rows=40, now=now)
    run_id = new_id(now)
    folder = RunFolder(place.runs / run_id)
    folder.path.mkdir(parents=True)
    for step in range(1, 25):
        line = {
            "phase": "train",
            "step": step,
            "total": 24,
            "loss": 2.2 * 0.93**step + 0.3,
            "at": now.timestamp() + step,
        }
        append_line(folder.progress, line)
    version = register_version(
        store,
        loop_id,
        name="scribe-1",
        base_path=BUNDLED_BASE,
        adapter_path=f"workspace:runs/{run_id}/adapter",
        run_id=run_id,
        dataset_id=dataset.dataset_id,
        now=now + timedelta(minutes=2),
    )
    run = TrainingRun(
        run_id=run_id,
        loop_id=loop_id,
        dataset_id=dataset.dataset_id,
        reward_design_id=None,
        recipe="sft",
        config=asdict(SftConfig()),
        status=RunStatus.DONE,
        created_at=now,
        message="Trained 24 steps and judged on held-out visits",
        step=24,
        total_steps=24,
        loss=0.68,
        tokens_per_second=2100.0,
        started_at=now,
        finished_at=now + timedelta(minutes=2),
        model_version_id=version.model_version_id,
    )
    store.write(lambda cursor: insert_run(cursor, run), "training_runs")
    judge(store, version, base, dataset.dataset_id, now + timedelta(minutes=3))
    return version


def judge(store: Store, version: ModelVersion, base: ModelVersion, dataset_id: str, now: datetime) -> None:
    """The product's own evaluation of what the two note writers make of the held-out visits."""
    examples = read_heldout(store, dataset_id)
    visits = {visit.prompt: visit for week in range(WEEKS) for visit in visits_of(week)}
    texts = {name: [draft(name, visits[example.prompt]) for example in examples] for name in ("base", version.name)}
    before, after = (Drafts(texts[name], [len(text) // 4 for text in texts[name]], 500.0) for name in texts)
    rows = compare(examples, before, after)
    evaluation = EvalRun(
        eval_run_id=new_id(now),
        loop_id=version.loop_id,
        run_id=version.run_id,
        model_version_id=version.model_version_id,
        baseline_version_id=base.model_version_id,
        dataset_id=dataset_id,
        summary=summarize(rows, 510.0, 480.0, seed=0),
        created_at=now,
    )
    store.write(lambda cursor: insert_evaluation(cursor, evaluation, rows), "eval_runs")


SIMULATED = ScribeEnvironment(N_PHYSICIANS)


def visits_of(week: int) -> list[Visit]:
    """The visits of one week, the same every time."""
    return SIMULATED.fresh_visits(PER_WEEK, seed=week)


if __name__ == "__main__":
    here = workspace(sys.argv[1])
    with closing(open_store(here.database)) as opened:
        fill(opened, here, utcnow())
