"""What pages, API and command line ask of evaluations: start one in the queue, read them, compare any two versions."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.config import Workspace
from organism.errors import DesignError, InputError
from organism.measures.near_duplicates import Nearest
from organism.optimize.configs import EvaluateConfig
from organism.optimize.contamination import contamination, nearness
from organism.optimize.figures import more_figures, summarize
from organism.optimize.flow import named, queue_run, read_heldout, require_model, safety_lines
from organism.optimize.judges import judge_address, require_judge
from organism.optimize.paired import agreement, worst_first
from organism.optimize.runs import Example
from organism.records import DatasetKind, ModelVersion, Recipe, Role, RunStatus, new_id
from organism.store.database import Store
from organism.store.datasets import read_dataset_rows, read_datasets
from organism.store.evaluations import (
    read_drafts,
    read_evaluations,
    read_header,
    read_results,
    read_segments,
)
from organism.store.model_versions import ensure_base, read_version, version_by_name
from organism.store.training_runs import TrainingRun, find_run, read_dataset_header

__all__ = [
    "Comparison",
    "Evaluation",
    "compare_versions",
    "describe_evaluation",
    "evaluate_by_name",
    "read_evaluations",
    "start_evaluation",
    "worst_rows",
]

JUDGE = "ORGANISM_JUDGE"
SEED = 0


class Evaluation(NamedTuple):
    """One evaluation: its header (see `read_header`), all figures that its rows allow, and the rows."""

    header: dict[str, Any]
    figures: dict[str, Any]
    results: pd.DataFrame


class Comparison(NamedTuple):
    """Two versions on the held-out rows that both have drafted; the figures are of `version` against `against`."""

    version: str
    against: str
    figures: dict[str, Any]
    results: pd.DataFrame


def start_evaluation(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    version: ModelVersion,
    *,
    against: ModelVersion | None = None,
    dataset_id: str | None = None,
    judge: str | None = None,
    name: str | None = None,
    max_rows: int | None = None,
    now: datetime,
) -> str:
    """Queue an evaluation of one version against another, its base without one; returns the run's id.

    Without a dataset the held-out rows are those that the version was measured on, else the newest of the loop.
    `judge` is the name of a judge version or an address for `judge_of`; without one ORGANISM_JUDGE counts, if it is
    set. Raises DesignError for a
    version against itself, a judge in place of a writer, or when there are no held-out rows; ModelError for a missing
    model.
    """
    other = against or _base_of(store, version, now)
    _require_writers(loop_id, version, other)
    held_id = dataset_id or heldout_set_of(store, loop_id, version)
    heldout = read_heldout(store, held_id)
    for model in (version, other):
        require_model(workspace.locate(model.base_path))
        if model.adapter_path is not None:
            workspace.locate(model.adapter_path)
    config = EvaluateConfig(
        base=version.base_path,
        version=version.model_version_id,
        against=other.model_version_id,
        judge=judge_address(store, loop_id, judge or os.environ.get(JUDGE, "")),
        eval_rows=max_rows,
    )
    config.check()
    require_judge(workspace, config.judge)
    run = TrainingRun(
        run_id=new_id(now),
        loop_id=loop_id,
        dataset_id=held_id,
        reward_design_id=None,
        recipe=Recipe.EVALUATE,
        config=asdict(config),
        status=RunStatus.QUEUED,
        message="Waiting for its turn",
        created_at=now,
        name=named(name),
        eval_dataset_id=held_id,
    )
    description = {
        "recipe": Recipe.EVALUATE,
        "name": run.name,
        "config": run.config,
        "dataset_id": held_id,
        "dataset_hash": read_dataset_header(store, held_id).content_hash,
        "eval_dataset_id": held_id,
        "reward_design_id": None,
        "reward_design": None,
        "models": {"before": _address(other), "after": _address(version)},
        "judge": config.judge,
        "safety": safety_lines(store, loop_id),
    }
    queue_run(store, workspace, run, description, learned_from(store, version), heldout)
    return run.run_id


def evaluate_by_name(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    version: str,
    *,
    against: str | None = None,
    dataset_id: str | None = None,
    judge: str | None = None,
    name: str | None = None,
    max_rows: int | None = None,
    now: datetime,
) -> str:
    """The same for versions by their names in the loop, or by the run that made them; InputError for an unknown one."""
    return start_evaluation(
        store,
        workspace,
        loop_id,
        _version_meant(store, loop_id, version),
        against=None if against is None else _version_meant(store, loop_id, against),
        dataset_id=dataset_id,
        judge=judge,
        name=name,
        max_rows=max_rows,
        now=now,
    )


def _version_meant(store: Store, loop_id: str, ref: str) -> ModelVersion:
    """The version of this name, else what the run of this name or id made; InputError where there is neither."""
    try:
        return version_by_name(store, loop_id, ref)
    except InputError:
        try:
            made = find_run(store, loop_id, ref).model_version_id
        except InputError:
            made = None
        if made is None:
            raise
    return read_version(store, made)


def heldout_set_of(store: Store, loop_id: str, version: ModelVersion) -> str:
    """The set whose held-out side measures this version; DesignError when the loop has none of the kind sft."""
    measured = read_evaluations(store, loop_id)
    own = measured.loc[measured["model_version_id"] == version.model_version_id, "dataset_id"].dropna()
    sets = read_datasets(store, loop_id)
    usable = list(sets.loc[(sets["kind"] == DatasetKind.SFT) & (sets["n_heldout"] > 0), "dataset_id"])
    for dataset_id in [*own, version.dataset_id, *usable]:
        if dataset_id in usable:
            return str(dataset_id)
    raise DesignError(
        "no training set of this loop holds rows of the kind sft out, so there is nothing to measure on; "
        "freeze one with `organism dataset build --kind sft`"
    )


def learned_from(store: Store, version: ModelVersion) -> list[Example]:
    """The prompts that the version was trained on, with their users; empty for a base or one made elsewhere."""
    if version.dataset_id is None:
        return []
    rows = read_dataset_rows(store, version.dataset_id, "train")
    return [
        Example(row.prompt, row.completion or row.chosen or "", row.user_key, row.interaction_id)
        for row in rows.itertuples(index=False)
    ]


def describe_evaluation(store: Store, eval_run_id: str) -> Evaluation:
    """One evaluation with all that can be said of it; figures that an old one lacks are worked out from its rows.

    What needs the models (losses, latency, safety cases, a judge) stays missing where it was not measured.
    """
    header, results = read_header(store, eval_run_id), read_results(store, eval_run_id)
    summary = {**header.pop("summary"), "eval_run_id": eval_run_id}
    if "win_rate" in summary or results.empty or "before" not in summary:
        return Evaluation(header, summary, results)
    known = learned_from(store, read_version(store, header["model_version_id"]))
    trained, prompts = [row.prompt for row in known], list(results["prompt"])
    near = nearness(trained, prompts) if known else []
    figures = more_figures(_with_origins(store, eval_run_id, results, near), SEED)
    if known:
        users = [row.user_key for row in known]
        figures["contamination"] = contamination(trained, users, prompts, list(results["user_key"]), near)
    return Evaluation(header, {**figures, **summary}, results)


def compare_versions(store: Store, loop_id: str, version: str, against: str) -> Comparison:
    """Two versions by name on every held-out row that both have drafted in any evaluation; no model is run.

    Raises DesignError when they share none, InputError for an unknown name.
    """
    ids = {name: version_by_name(store, loop_id, name).model_version_id for name in (version, against)}
    if ids[version] == ids[against]:
        raise DesignError(f"version '{version}' is compared with itself; name another one")
    new, old = (_by_row(read_drafts(store, loop_id, ids[name])) for name in (version, against))
    shared = sorted(key for key in new.keys() & old.keys() if _asked(new[key]) == _asked(old[key]))
    if not shared:
        raise DesignError(
            f"'{version}' and '{against}' have drafted no held-out row in common; "
            f"run `organism evaluate {version} --against {against}` first"
        )
    rows = [_paired(key, old[key], new[key]) for key in shared]
    figures = {**summarize(rows, None, None, SEED), "eval_run_id": f"{ids[version]} {ids[against]}"}
    return Comparison(version, against, figures, pd.DataFrame(rows).assign(row_number=range(len(rows))))


def worst_rows(results: pd.DataFrame, n: int) -> list[dict[str, Any]]:
    """The n rows on which the new draft is furthest behind the old one, worst first, each with its agreement."""
    rows = results.to_dict("records")
    return [{**rows[place], "agreement": agreement(rows[place])._asdict()} for place in worst_first(rows)[:n]]


def _base_of(store: Store, version: ModelVersion, now: datetime) -> ModelVersion:
    """The version that is this one's base alone."""
    if version.adapter_path is None:
        raise DesignError(
            f"version '{version.name}' is a base itself; name the version to measure it against (--against)"
        )
    base_id = store.write(lambda cursor: ensure_base(cursor, version.loop_id, version.base_path, now), "model_versions")
    return read_version(store, base_id)


def _require_writers(loop_id: str, version: ModelVersion, other: ModelVersion) -> None:
    if version.model_version_id == other.model_version_id:
        raise DesignError(f"version '{version.name}' is measured against itself; name another one")
    for model in (version, other):
        if model.role is Role.JUDGE:
            raise DesignError(f"version '{model.name}' is a judge and writes no drafts; name a version that writes")
        if model.loop_id != loop_id:
            raise DesignError(f"version '{model.name}' belongs to another loop; name one of this loop's versions")


def _address(version: ModelVersion) -> dict[str, Any]:
    return {
        "model_version_id": version.model_version_id,
        "name": version.name,
        "base": version.base_path,
        "adapter": version.adapter_path,
    }


def _with_origins(
    store: Store, eval_run_id: str, results: pd.DataFrame, near: Sequence[Nearest]
) -> list[dict[str, Any]]:
    """The rows of an old evaluation with what new ones carry: segments, and nearness to the training prompts."""
    segments = read_segments(store, eval_run_id)
    rows = results.to_dict("records")
    found: list[float | None] = [nearest.similarity for nearest in near] or [None] * len(rows)
    return [
        {**row, "segments": segments.get(row["row_number"]), "measures": {**row["measures"], "nearest": similarity}}
        for row, similarity in zip(rows, found, strict=True)
    ]


Key = tuple[str, str, str]


def _by_row(drafts: pd.DataFrame) -> dict[Key, dict[str, Any]]:
    return {(row["user_key"], row["prompt"], row["final_text"]): row for row in drafts.to_dict("records")}


def _asked(row: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The facts that the draft was checked for; a set that was frozen anew may ask for others."""
    return [(fact["kind"], fact["any_of"]) for fact in json.loads(row["measures"])["facts"]]


def _paired(key: Key, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """One row of two versions' drafts, its measures taken from the evaluations that they come from."""
    first, last = json.loads(old["measures"]), json.loads(new["measures"])
    counts = {
        f"{name}_{side}": measures[f"{name}_{row['side']}"]
        for side, row, measures in (("before", old, first), ("after", new, last))
        for name in ("chars", "retained", "tokens")
    }
    facts = [
        {"kind": was["kind"], "any_of": was["any_of"], "before": was[old["side"]], "after": now[new["side"]]}
        for was, now in zip(first["facts"], last["facts"], strict=True)
    ]
    user_key, prompt, final_text = key
    return {
        "user_key": user_key,
        "prompt": prompt,
        "before": old["text"],
        "after": new["text"],
        "final_text": final_text,
        "interaction_id": new["interaction_id"],
        "measures": {**counts, "final_chars": first["final_chars"], "facts": facts},
    }
