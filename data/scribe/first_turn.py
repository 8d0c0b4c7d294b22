"""The finished turn inside the history: notes frozen, a version really trained on them, its experiment, a decision.

Training set, training and evaluation are the product's own: a store in a scratch folder, the flows, the worker.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from data.scribe.weeks import FIRST_MONDAY, WEEK, Ledger
from organism.config import BUNDLED_BASE, DEMO_LOOP, ROOT, Workspace
from organism.digest.training_set_flow import TrainingSet, build_training_set
from organism.errors import RunError
from organism.experiment.assignment import Arm, assign
from organism.ingest.flow import ingest
from organism.optimize.configs import SftConfig
from organism.optimize.flow import start_run
from organism.optimize.runs import RunFolder, training_steps
from organism.records import EventKind, RunStatus, Variant
from organism.store.database import Store
from organism.store.loops import ensure_loop
from organism.store.schema import open_store

EXPERIMENT_KEY = "first-experiment"
EXPERIMENT = "scribe-1 against base"  # the product salts its hash with the name
HYPOTHESIS = "Physicians keep more of what scribe-1 writes than of what the base writes"
TREATMENT_SHARE = 0.5
LEAD = "simulated lead"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
SPEEDS = ("tokens_per_second_before", "tokens_per_second_after")

FROZEN_AT = FIRST_MONDAY + 3 * WEEK + timedelta(hours=7)
EXPERIMENT_STARTS = FIRST_MONDAY + 4 * WEEK
EXPERIMENT_ENDS = FIRST_MONDAY + 6 * WEEK - timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSize:
    """How much the first version learns from: little, so that the next turn has something to win."""

    n_train: int = 150
    n_heldout: int = 120
    epochs: int = 2
    learning_rate: float = 2.2e-3


class FirstTurn(NamedTuple):
    """What the turn left: its training set, the run's settings and steps, the evaluation, the adapter.

    `measured` holds what depends on the clock of the machine that trained.
    """

    size: TurnSize
    seed: int
    dataset: TrainingSet
    config: dict[str, Any]
    steps: list[dict[str, Any]]
    evaluation: dict[str, Any]
    adapter: Path
    measured: dict[str, Any]


def train(ledger: Ledger, size: TurnSize, base: Path, scratch: Path, *, seed: int, threads: int) -> FirstTurn:
    """Freeze the notes so far, train and evaluate; raises RunError with the worker's own words when it fails."""
    workspace = Workspace(scratch / "workspace")
    config = SftConfig(
        base=BUNDLED_BASE if base == ROOT / BUNDLED_BASE.partition(":")[2] else str(base.resolve()),
        epochs=size.epochs,
        learning_rate=size.learning_rate,
        seed=seed,
        threads=threads,
        bf16=False,
    )
    store = open_store(workspace.database)
    try:
        loop_id = ensure_loop(store, DEMO_LOOP, FIRST_MONDAY)
        ingest(store, EventKind.INTERACTIONS, ledger.interactions, now=FROZEN_AT).result()
        ingest(store, EventKind.FEEDBACK, ledger.feedback, now=FROZEN_AT).result()
        dataset = freeze(store, loop_id, size, seed=seed, now=FROZEN_AT)
        run_id = start_run(store, workspace, loop_id, dataset.dataset_id, config, now=FROZEN_AT)
    finally:
        store.close()
    run = RunFolder(workspace.runs / run_id)
    _work(run)
    return _read(run, size, seed, dataset)


def freeze(store: Store, loop_id: str, size: TurnSize, *, seed: int, now: datetime) -> TrainingSet:
    """The turn's training set from the answers that the store holds; equal answers give an equal content hash."""
    return build_training_set(
        store,
        loop_id,
        name="first annotated notes",
        max_rows=size.n_train,
        max_heldout_rows=size.n_heldout,
        seed=seed,
        now=now,
    )


def arms(user_keys: Iterable[str]) -> dict[str, Arm]:
    """Who gets which arm (control or treatment), by the product's own hash."""
    dealt = (Variant(name="control", share=1 - TREATMENT_SHARE), Variant(name="treatment", share=TREATMENT_SHARE))
    return {key: assign(EXPERIMENT, key, dealt) for key in user_keys}


def record(turn: FirstTurn, ledger: Ledger) -> dict[str, Any]:
    """Everything of the turn as plain data; times are the calendar's."""
    first_seen: dict[str, datetime] = {}
    for row in ledger.interactions:
        if row["experiment_id"] == EXPERIMENT_KEY:
            first_seen.setdefault(row["user_key"], row["occurred_at"])
    return {
        "size": asdict(turn.size),
        "seed": turn.seed,
        "dataset": {name: value for name, value in turn.dataset._asdict().items() if name != "dataset_id"},
        "run": {"config": turn.config, "steps": turn.steps},
        "evaluation": turn.evaluation,
        "assignments": [
            {
                "user_key": key,
                "arm": arm.variant,
                "probability": arm.probability,
                "assigned_at": first_seen[key].isoformat(),
            }
            for key, arm in sorted(arms(first_seen).items())
        ],
    }


def save_adapter(adapter: Path, out: Path) -> None:
    """The adapter's two files, with the base named by its address and not by a path of this machine.

    peft keeps the target modules in a set, whose order is another one in every process; here they are sorted.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in ADAPTER_FILES:
        shutil.copyfile(adapter / name, out / name)
    config = json.loads((out / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = BUNDLED_BASE
    config["target_modules"] = sorted(config["target_modules"])
    (out / ADAPTER_FILES[0]).write_text(json.dumps(config, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def _work(run: RunFolder) -> None:
    worker = [sys.executable, "-m", "organism.optimize.worker", str(run.path)]
    done = subprocess.run(worker, cwd=ROOT, capture_output=True, text=True, check=False)
    status = run.status()
    if status.state is not RunStatus.DONE:
        raise RunError(f"the first turn ended as {status.state}: {status.message}\n{done.stderr[-2000:]}")


def _read(run: RunFolder, size: TurnSize, seed: int, dataset: TrainingSet) -> FirstTurn:
    evaluation = json.loads(run.evaluation.read_text(encoding="utf-8"))
    lines = training_steps(run)
    summary = evaluation["summary"]
    return FirstTurn(
        size=size,
        seed=seed,
        dataset=dataset,
        config=asdict(run.config()),
        steps=[{name: line[name] for name in ("step", "total", "loss", "learning_rate")} for line in lines],
        evaluation={
            "summary": {name: value for name, value in summary.items() if not _is_timed(name)},
            "rows": [
                {name: value for name, value in row.items() if name != "interaction_id"} for row in evaluation["rows"]
            ],
        },
        adapter=run.adapter,
        measured={
            "what": "speeds of the machine that made the history; they differ from run to run, so --check leaves them",
            "seconds": [round(line["at"] - lines[0]["at"], 2) for line in lines],
            "tokens_per_second": [round(line["tokens_per_second"]) for line in lines],
            "target_tokens_per_second": [round(line["target_tokens_per_second"]) for line in lines],
            **{name: round(summary[name]) for name in SPEEDS},
        },
    )


def _is_timed(figure: str) -> bool:
    """Whether a figure depends on the clock of the machine that measured it."""
    return figure in SPEEDS or figure.startswith("latency_ms")
