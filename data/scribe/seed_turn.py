"""Write the finished turn of the history into a workspace, in the order in which it happened."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from data.scribe import first_turn
from data.scribe.first_design import FIRST_DESIGN
from data.scribe.first_turn import FROZEN_AT, LEAD, TurnSize
from data.scribe.weeks import FIRST_MONDAY
from organism.config import BUNDLED_BASE, Workspace
from organism.digest.flow import save_design
from organism.errors import InputError
from organism.experiment import flow as experiment
from organism.experiment.plan import Plan
from organism.optimize.flow import read_heldout, read_training_rows
from organism.optimize.runs import Status, make_run_folder, write_json, write_lines
from organism.records import ModelVersion, Recipe, RunStatus, Verdict, new_id
from organism.store.assignments import Draw, keep_assignments
from organism.store.database import Cursor, Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.model_versions import ensure_base, insert_alias_event, insert_version, read_version
from organism.store.training_runs import TrainingRun, insert_run, read_dataset_header

BASE, TUNED = "base", "scribe-1"
TUNED_ADAPTER = "bundled:data/scribe/versions/scribe-1"
TRAINING_MINUTES = timedelta(minutes=4)


class Turn(NamedTuple):
    """What the history tells of the turn; all of its times are moved by `shift`."""

    record: Mapping[str, Any]
    measured: Mapping[str, Any]
    shift: timedelta

    @property
    def size(self) -> TurnSize:
        return TurnSize(**self.record["size"])


def put_base_on_duty(store: Store, loop_id: str, turn: Turn) -> str:
    """Register the base, make it live, keep the team's first reward design; returns the base's id."""
    at = FIRST_MONDAY + turn.shift

    def work(cursor: Cursor) -> str:
        base_id = ensure_base(cursor, loop_id, BUNDLED_BASE, at)
        insert_alias_event(cursor, loop_id, "live", base_id, actor=LEAD, reason="The first model on duty", now=at)
        return base_id

    base_id: str = store.write(work, "model_versions", "alias_events")
    save_design(store, loop_id, FIRST_DESIGN, now=at)
    return base_id


def train(store: Store, workspace: Workspace, loop_id: str, base_id: str, turn: Turn) -> str:
    """Freeze the training set from the answers so far, and register the run and the version that came of it.

    Returns the version's id. Raises InputError when the set is not the one that the shipped adapter was trained on.
    """
    at = FROZEN_AT + turn.shift
    dataset = first_turn.freeze(store, loop_id, turn.size, seed=turn.record["seed"], now=at)
    if dataset.content_hash != turn.record["dataset"]["content_hash"]:
        raise InputError(
            f"the history gives the training set {dataset.content_hash[:12]}, and scribe-1 learned from "
            f"{turn.record['dataset']['content_hash'][:12]}; make the history anew with "
            "`python -m data.scribe.history --out data/scribe/history`"
        )
    tuned_id = new_id(at + TRAINING_MINUTES)
    run = _run(loop_id, dataset.dataset_id, tuned_id, turn, at)
    version = ModelVersion(
        model_version_id=tuned_id,
        loop_id=loop_id,
        name=TUNED,
        base_path=BUNDLED_BASE,
        adapter_path=TUNED_ADAPTER,
        run_id=run.run_id,
        dataset_id=dataset.dataset_id,
        reward_design_id=FIRST_DESIGN.id,
        created_at=at + TRAINING_MINUTES,
    )
    _leave_folder(store, workspace, run, dataset.content_hash, turn)
    _register(store, run, version, base_id, turn)
    return tuned_id


def _run(loop_id: str, dataset_id: str, model_version_id: str, turn: Turn, at: datetime) -> TrainingRun:
    last = turn.record["run"]["steps"][-1]
    return TrainingRun(
        run_id=new_id(at),
        loop_id=loop_id,
        dataset_id=dataset_id,
        reward_design_id=FIRST_DESIGN.id,
        recipe=Recipe.SFT,
        config=turn.record["run"]["config"],
        status=RunStatus.DONE,
        created_at=at,
        message="Trained and evaluated",
        step=last["step"],
        total_steps=last["total"],
        loss=last["loss"],
        tokens_per_second=turn.measured["tokens_per_second"][-1],
        started_at=at,
        finished_at=at + TRAINING_MINUTES,
        model_version_id=model_version_id,
    )


def _register(store: Store, run: TrainingRun, version: ModelVersion, base_id: str, turn: Turn) -> None:
    evaluation = EvalRun(
        eval_run_id=new_id(version.created_at),
        loop_id=run.loop_id,
        run_id=run.run_id,
        model_version_id=version.model_version_id,
        baseline_version_id=base_id,
        dataset_id=run.dataset_id,
        summary=_summary(turn),
        created_at=version.created_at,
    )

    def work(cursor: Cursor) -> None:
        insert_run(cursor, run)
        insert_version(cursor, version)
        insert_evaluation(cursor, evaluation, turn.record["evaluation"]["rows"])

    store.write(work, "training_runs", "model_versions", "eval_runs")


def _summary(turn: Turn) -> dict[str, Any]:
    speeds = {name: turn.measured[name] for name in first_turn.SPEEDS}
    return {**turn.record["evaluation"]["summary"], **speeds}


def _leave_folder(store: Store, workspace: Workspace, run: TrainingRun, dataset_hash: str, turn: Turn) -> None:
    """The run's folder as its worker left it, but for the checkpoints; the adapter stays where it is shipped."""
    examples = read_training_rows(store, run.dataset_id, read_dataset_header(store, run.dataset_id))
    heldout = read_heldout(store, run.dataset_id)
    description = {
        "recipe": Recipe.SFT,
        "config": run.config,
        "dataset_id": run.dataset_id,
        "dataset_hash": dataset_hash,
        "reward_design_id": run.reward_design_id,
    }
    folder = make_run_folder(workspace.runs / run.run_id, description, examples, heldout)
    started = run.created_at.replace(tzinfo=UTC).timestamp()
    write_lines(folder.progress, _progress(turn, started))
    rows = turn.record["evaluation"]["rows"]
    write_json(folder.evaluation, {"summary": _summary(turn), "dataset_id": run.dataset_id, "rows": rows})
    folder.write_status(
        Status(
            RunStatus.DONE,
            run.message or "",
            step=run.step,
            total_steps=run.total_steps,
            loss=run.loss,
            tokens_per_second=run.tokens_per_second,
            at=started + TRAINING_MINUTES.total_seconds(),
        )
    )


def _progress(turn: Turn, started: float) -> list[dict[str, Any]]:
    """The steps with the speeds that were measured when the history was made."""
    measured = turn.measured
    speeds = zip(measured["seconds"], measured["tokens_per_second"], measured["target_tokens_per_second"], strict=True)
    return [
        {
            "phase": "train",
            **step,
            "tokens_per_second": fast,
            "target_tokens_per_second": learned,
            "seconds_left": round(measured["seconds"][-1] - seconds, 1),
            "at": started + seconds,
        }
        for step, (seconds, fast, learned) in zip(turn.record["run"]["steps"], speeds, strict=True)
    ]


def start_experiment(store: Store, loop_id: str, base_id: str, tuned_id: str, turn: Turn) -> str:
    """Set the experiment up as it was, every physician assigned at the first visit; returns its id."""
    experiment_id = experiment.start_experiment(
        store,
        loop_id,
        name=first_turn.EXPERIMENT,
        control_version_id=base_id,
        treatment_version_id=tuned_id,
        treatment_share=first_turn.TREATMENT_SHARE,
        hypothesis=first_turn.HYPOTHESIS,
        is_synthetic=True,
        # Its end was a date, fixed before the first visit: so it is read once, at the users those two weeks brought.
        plan=Plan(n_users=len(turn.record["assignments"])),
        now=first_turn.EXPERIMENT_STARTS + turn.shift,
    )
    names = {"control": read_version(store, base_id).name, "treatment": read_version(store, tuned_id).name}
    draws = [
        Draw(
            experiment_id,
            row["user_key"],
            names[row["arm"]],
            row["probability"],
            datetime.fromisoformat(row["assigned_at"]) + turn.shift,
        )
        for row in turn.record["assignments"]
    ]
    keep_assignments(store, draws).result()
    return experiment_id


def ship(store: Store, loop_id: str, experiment_id: str, tuned_id: str, turn: Turn) -> None:
    """Record the simulated lead's decision with the scorecard as the figures are, and put the version on duty."""
    at = first_turn.EXPERIMENT_ENDS + turn.shift
    note = f"Decided by the {LEAD}. {experiment.analyze(store, experiment_id, at).sentence}"
    experiment.decide(store, experiment_id, verdict=Verdict.SHIP, note=note, actor=LEAD, now=at)

    def work(cursor: Cursor) -> None:
        insert_alias_event(cursor, loop_id, "live", tuned_id, actor=LEAD, reason="Won its experiment", now=at)

    store.write(work, "alias_events")
