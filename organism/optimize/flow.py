"""What pages, API and command line ask of training: start, stop, resume, wait, and read what came of it."""

import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd

from organism.config import Workspace
from organism.errors import DesignError, ModelError, RunError, StoreError
from organism.lm.base_models import check_folder
from organism.optimize.catalog import RECIPES, kind_of
from organism.optimize.configs import SftConfig, TrainingConfig, config_of
from organism.optimize.controls import log_tail, pause_run, refuse_twin, resume_run, stop_run
from organism.optimize.estimate import Estimate, estimate, estimate_ahead, note_foreseen
from organism.optimize.judges import require_judge, with_judge
from organism.optimize.run_settings import RunSettings, read_cap, read_run_settings, set_cap, set_price
from organism.optimize.runs import (
    FINISHED,
    FORM_OF_KIND,
    MIN_TRAIN_ROWS,
    Example,
    Labeled,
    Pair,
    Row,
    RunFolder,
    fact_checks,
    make_run_folder,
    read_rows,
    training_steps,
    why_the_disk,
)
from organism.optimize.supervisor import Supervisor
from organism.records import DatasetKind, Preset, Recipe, RewardDesign, RunStatus, new_id
from organism.store.database import Cursor, Store
from organism.store.datasets import read_dataset_rows
from organism.store.evaluations import read_eval_results, read_evaluation
from organism.store.safety_cases import read_safety_cases
from organism.store.training_runs import (
    DatasetHeader,
    TrainingRun,
    find_named,
    insert_run,
    read_dataset_header,
    read_run,
    read_runs,
)

__all__ = [
    "Estimate",
    "RunSettings",
    "SftConfig",
    "Supervisor",
    "TrainingRun",
    "clone_run",
    "estimate",
    "estimate_ahead",
    "log_tail",
    "pause_run",
    "queue_run",
    "read_cap",
    "read_eval_results",
    "read_evaluation",
    "read_progress",
    "read_run",
    "read_run_settings",
    "read_runs",
    "resume_run",
    "retry_run",
    "run_cost",
    "set_cap",
    "set_price",
    "start_run",
    "stop_run",
    "wait_for_run",
]

OnProgress = Callable[[float, str], None]
LOCAL = "local"
LONGEST_NAME = 100
TRAINING_SHARE = 0.75
PROGRESS_COLUMNS = (
    "step total loss learning_rate tokens_per_second target_tokens_per_second seconds_left memory_mb extra at"
).split()


def start_run(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    dataset_id: str,
    config: TrainingConfig,
    *,
    recipe: Recipe = Recipe.SFT,
    preset: Preset | None = None,
    name: str | None = None,
    eval_dataset_id: str | None = None,
    design: RewardDesign | None = None,
    parent_run_id: str | None = None,
    sweep_id: str | None = None,
    place: str = LOCAL,
    now: datetime,
) -> str:
    """Queue a fine-tune on a frozen training set and return its id; the supervisor starts it when its turn comes.

    Before and after are measured on the held-out side of `eval_dataset_id`, a set of the kind sft, or of the training
    set itself. Raises DesignError for a training set that is too small or of another kind, a setting that cannot
    work, a name that is taken, or the same run started twice; ModelError for a missing base; StoreError for a full
    disk.
    """
    config = ready_config(store, workspace, loop_id, config)
    header = read_dataset_header(store, dataset_id)
    _require_kind(header, recipe)
    rows = read_training_rows(store, dataset_id, header)
    heldout = read_heldout(store, eval_dataset_id or dataset_id)
    run = TrainingRun(
        run_id=new_id(now),
        loop_id=loop_id,
        dataset_id=dataset_id,
        reward_design_id=None if design is None else design.id,
        recipe=recipe,
        config=asdict(config),
        status=RunStatus.QUEUED,
        message="Waiting for its turn",
        created_at=now,
        name=named(name),
        preset=preset,
        eval_dataset_id=eval_dataset_id,
        parent_run_id=parent_run_id,
        sweep_id=sweep_id,
        place=place,
    )
    description = {
        "recipe": recipe,
        "preset": preset,
        "name": name,
        "config": run.config,
        "dataset_id": dataset_id,
        "dataset_hash": header.content_hash,
        "eval_dataset_id": eval_dataset_id or dataset_id,
        "reward_design_id": run.reward_design_id,
        "reward_design": None if design is None else design.spec(),
        "safety": safety_lines(store, loop_id),
    }
    queue_run(store, workspace, run, description, rows, heldout, read_heldout_pairs(store, dataset_id, header))
    return run.run_id


def queue_run(
    store: Store,
    workspace: Workspace,
    run: TrainingRun,
    description: Mapping[str, Any],
    rows: Iterable[Row],
    heldout: Iterable[Example],
    heldout_pairs: Iterable[Pair] = (),
) -> None:
    """Write the run's folder and put it in line, both or neither; `description` becomes its config.json.

    Raises DesignError for a name that is taken in its loop or the same run started twice, StoreError for a full disk.
    """
    folder = workspace.runs / run.run_id
    try:
        note_foreseen(workspace, make_run_folder(folder, description, rows, heldout, heldout_pairs))
        store.write(lambda cursor: _insert_if_new(cursor, run), "training_runs")
    except (OSError, DesignError, StoreError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreError(why_the_disk(error, workspace.runs)) from error
        raise


_ROWS_IN_WORDS = {
    DatasetKind.SFT: "a completion for each prompt",
    DatasetKind.PREFERENCE: "preference pairs (chosen over rejected)",
    DatasetKind.UNPAIRED: "labeled drafts, desirable and undesirable",
}


def _require_kind(header: DatasetHeader, recipe: Recipe) -> None:
    card = RECIPES[recipe]
    if header.kind != card.kind:
        raise DesignError(
            f"training set '{header.name}' holds {_ROWS_IN_WORDS[DatasetKind(header.kind)]}; the recipe "
            f"'{card.recipe}' learns from {_ROWS_IN_WORDS[card.kind]}. "
            f"Give it a set of the kind {card.kind}: `organism dataset build --kind {card.kind}`."
        )


def ready_config(store: Store, workspace: Workspace, loop_id: str, config: TrainingConfig) -> TrainingConfig:
    """The settings as they can be trained with, the address of their judge filled in.

    Raises DesignError for a setting that cannot work, ModelError for a base or a judge that is no model.
    """
    config.check()
    config = with_judge(store, loop_id, config)
    require_judge(workspace, getattr(config, "judge", ""))
    require_model(workspace.locate(config.base))
    return config


def require_free_name(store: Store, loop_id: str, name: str | None) -> None:
    """Raise DesignError where another run of the loop has this name."""
    runs = read_runs(store, loop_id)
    if name is not None and (holders := runs.loc[runs["name"] == name, "run_id"].tolist()):
        raise DesignError(_taken(name, holders[0]))


def _taken(name: str, holder: str) -> str:
    return f"the name '{name}' belongs to run {holder} already; give this one another name"


def require_model(folder: Path) -> None:
    """Raise ModelError unless the folder looks like a transformers model with a tokenizer."""
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError(
                f"model folder {folder} has no {name}, so it is no transformers model; "
                "restore it, or choose another base"
            )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model folder {folder} has no weights (*.safetensors); restore it, or choose another base")
    if problems := check_folder(folder).problems:
        raise ModelError(f"model folder {folder} cannot be a base: {problems[0]}")


def read_training_rows(store: Store, dataset_id: str, header: DatasetHeader) -> list[Row]:
    """The training rows of a dataset in the form of its kind; DesignError when there are too few to learn from."""
    rows = [_FORMS[DatasetKind(header.kind)](row) for row in _rows(store, dataset_id, "train")]
    if len(rows) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"training set '{header.name}' has {len(rows)} training rows; a fine-tune needs at least "
            f"{MIN_TRAIN_ROWS}. Collect more accepted or edited drafts from users who consented, then build it again."
        )
    return rows


def read_heldout(store: Store, dataset_id: str) -> list[Example]:
    """The held-out rows of a dataset of the kind sft; DesignError when it is of another kind, or has none."""
    header = read_dataset_header(store, dataset_id)
    if header.kind != DatasetKind.SFT:
        raise DesignError(
            f"training set '{header.name}' holds {_ROWS_IN_WORDS[DatasetKind(header.kind)]}, and before and after are "
            "measured on texts that experts stood behind; name a set of the kind sft to measure on."
        )
    heldout = [_example(row) for row in _rows(store, dataset_id, "heldout")]
    if not heldout:
        raise DesignError(
            f"training set '{header.name}' holds no rows out, so nothing could say whether the new model is better; "
            "collect feedback from more users, then build it again."
        )
    return heldout


def read_heldout_pairs(store: Store, dataset_id: str, header: DatasetHeader) -> list[Pair]:
    """The held-out preferences of a dataset; empty for a set of another kind."""
    if header.kind != DatasetKind.PREFERENCE:
        return []
    return [_pair(row) for row in _rows(store, dataset_id, "heldout")]


def safety_lines(store: Store, loop_id: str) -> list[dict[str, Any]]:
    """The loop's safety cases as a run's config.json keeps them."""
    names = ["case_id", "name", "prompt", "must_say", "must_not_say"]
    return read_safety_cases(store, loop_id)[names].to_dict("records")


def _rows(store: Store, dataset_id: str, split: str) -> Iterator[Any]:
    return read_dataset_rows(store, dataset_id, split).itertuples(index=False)


_MEASURED = frozenset({"base", "version", "against", "judge"})


def clone_run(
    store: Store,
    workspace: Workspace,
    run_id: str,
    changes: Mapping[str, Any],
    *,
    name: str | None = None,
    now: datetime,
) -> str:
    """Queue a new run on the same rows with some settings changed; its parent is the run it was cloned from.

    Returns the new run's id. Raises DesignError for an unknown setting, a bad value, a taken name, or when nothing is
    changed while the other is at work; RunError when the folder of the old run is gone.
    """
    run, folder = read_run(store, run_id), RunFolder(workspace.runs / run_id)
    recipe = Recipe(run.recipe)
    if recipe is Recipe.EVALUATE and (fixed := sorted(set(changes) & _MEASURED)):
        raise DesignError(
            f"an evaluation measures the versions that it was started with, so a clone cannot change {fixed[0]}; "
            "start another evaluation"
        )
    config = ready_config(store, workspace, run.loop_id, config_of(recipe, {**run.config, **changes}))
    if not (folder.path / "config.json").is_file():
        raise RunError(f"the folder {folder.path} of this run is gone; start a new run on the same training set")
    description = folder.description()
    if name is None and run.name is not None:
        name = free_name(set(read_runs(store, run.loop_id)["name"].dropna()), run.name)
    clone = TrainingRun(
        run_id=new_id(now),
        loop_id=run.loop_id,
        dataset_id=run.dataset_id,
        reward_design_id=run.reward_design_id,
        recipe=recipe,
        config=asdict(config),
        status=RunStatus.QUEUED,
        message="Waiting for its turn",
        created_at=now,
        name=named(name),
        preset=run.preset,
        eval_dataset_id=run.eval_dataset_id,
        parent_run_id=run_id,
        place=run.place,
    )
    rows = read_rows(folder.path / "data.jsonl", FORM_OF_KIND[kind_of(recipe)])
    asked = {**description, "name": name, "config": clone.config}
    queue_run(store, workspace, clone, asked, rows, folder.heldout(), folder.heldout_pairs())
    return clone.run_id


def retry_run(store: Store, workspace: Workspace, run_id: str, *, now: datetime) -> str:
    """Queue the same run anew from its first step, as a run of its own; the old one is kept as it ended.

    Returns the new run's id. Raises DesignError while the run is waiting or at work.
    """
    run = read_run(store, run_id)
    if run.status not in FINISHED:
        raise DesignError(f"run {run_id} is {run.status}; only a run that has ended can be tried again from the start")
    return clone_run(store, workspace, run_id, {}, now=now)


def named(name: str | None) -> str | None:
    """The name of a run as it is kept, without space around it; None for none. Raises DesignError for one of no use."""
    if name is None or not name.strip():
        return None
    kept = name.strip()
    if len(kept) > LONGEST_NAME or not kept.isprintable():
        raise DesignError(f"the name {name[:40]!r} is no name of a run; give one line of up to {LONGEST_NAME} letters")
    return kept


def free_name(taken: Collection[str], wanted: str) -> str:
    """The name itself where it is free, else with the first number that makes it so: `long` -> `long 2`."""
    stem = re.sub(r" \d+$", "", wanted)
    numbered = (f"{stem} {number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in taken)


def run_cost(workspace: Workspace, seconds: float | None) -> float | None:
    """What that much time of this machine costs in dollars at the stated price; None while no price is stated."""
    return read_run_settings(workspace).cost(seconds)


def wait_for_run(
    store: Store,
    run_id: str,
    on_progress: OnProgress | None = None,
    timeout: float | None = None,
    poll: float = 0.25,
) -> TrainingRun:
    """Wait until a run has ended or was paused, telling the share done and a sentence on every change.

    A supervisor must be at work. Raises RunError when it has not ended after `timeout` seconds.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    told = None
    while True:
        run = read_run(store, run_id)
        news = (_share(run), run.message or str(run.status))
        if on_progress is not None and news != told:
            on_progress(*news)
            told = news
        if run.status in FINISHED or run.status is RunStatus.PAUSED:
            return run
        if ends_at is not None and time.monotonic() > ends_at:
            raise RunError(
                f"run {run_id} is still {run.status} after {timeout:.0f} s; look at its log.txt, or wait longer"
            )
        time.sleep(poll)


def read_progress(workspace: Workspace, run_id: str) -> pd.DataFrame:
    """The training steps of a run so far: step, total, loss, learning_rate, tokens_per_second (all tokens),
    target_tokens_per_second (the learned ones), seconds_left, memory_mb, extra (what only some recipes know), at
    (naive UTC). Empty before the first step.
    """
    frame = pd.DataFrame(training_steps(RunFolder(workspace.runs / run_id)), columns=PROGRESS_COLUMNS)
    return frame.assign(at=pd.to_datetime(frame["at"], unit="s"))


def _share(run: TrainingRun) -> float:
    if run.status is RunStatus.DONE:
        return 1.0
    if run.status is RunStatus.EVALUATING:
        return TRAINING_SHARE
    return TRAINING_SHARE * run.step / run.total_steps if run.step and run.total_steps else 0.0


def _insert_if_new(cursor: Cursor, run: TrainingRun) -> None:
    refuse_twin(cursor, run)
    if run.name is not None and (holder := find_named(cursor, run.loop_id, run.name)):
        raise DesignError(_taken(run.name, holder))
    insert_run(cursor, run)


def _example(row: Any) -> Example:
    return Example(
        prompt=row.prompt,
        completion=row.completion,
        user_key=row.user_key,
        interaction_id=row.interaction_id,
        facts=fact_checks(row.facts),
        second_final=row.second_final,
        segments=row.segments or None,
    )


def _pair(row: Any) -> Pair:
    return Pair(row.prompt, row.chosen, row.rejected, row.user_key, row.interaction_id)


def _labeled(row: Any) -> Labeled:
    return Labeled(row.prompt, row.completion, row.label, row.user_key, row.interaction_id)


_FORMS: dict[DatasetKind, Callable[[Any], Row]] = {
    DatasetKind.SFT: _example,
    DatasetKind.PREFERENCE: _pair,
    DatasetKind.UNPAIRED: _labeled,
}
