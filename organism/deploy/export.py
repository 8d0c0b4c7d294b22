"""A model version as a folder that leaves the house: weights, adapter, tokenizer, card, training set and settings.

README.md                                    the card, from the facts
config.json model.safetensors tokenizer…     base and adapter added up: what transformers and vLLM load
adapter/                                     the adapter alone, in peft's format
training/                                    train.jsonl, heldout.jsonl, run.json, environment.json, evaluation.json
manifest.json                                every file with its size and SHA-256, and how the weights were checked
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from organism.config import ROOT, Workspace
from organism.deploy.model_cards import Facts, written_card
from organism.deploy.serving import OFFLINE
from organism.errors import InputError, ModelError, RunError, StoreError
from organism.lm.base_models import adapter_problem, check_base
from organism.records import ModelVersion, Role
from organism.store.database import Store
from organism.store.datasets import read_dataset_rows, read_datasets, read_synthetic_share
from organism.store.evaluations import read_evaluation
from organism.store.loops import loop_name_of
from organism.store.reward_designs import read_saved
from organism.store.training_runs import read_run
from organism.wire import plain

N_CHECKED = 3
MERGE_SECONDS = 3600.0
_ROW_COLUMNS = "prompt completion chosen rejected label reward user_key interaction_id feedback_id".split()


class Exported(NamedTuple):
    """What was written: the folder, its files ({name, bytes, sha256}), and the check of the weights.

    Of n_checked held-out prompts, n_equal were drafted by the written weights exactly as by base and adapter.
    """

    folder: Path
    files: list[dict[str, Any]]
    n_checked: int
    n_equal: int


def export_version(store: Store, workspace: Workspace, version: ModelVersion, to: Path) -> Exported:
    """Write the version into a folder that does not exist yet, all of it or nothing.

    Raises InputError when something is there already, ModelError when a folder of the model is missing or does not fit,
    RunError when the written weights draft other texts, StoreError when it cannot be written.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to} is there already and not empty; give a folder that does not exist yet")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=to.parent, prefix=".export-") as draft:
            done = _write(store, workspace, version, Path(draft) / to.name)
            if to.is_dir():
                to.rmdir()
            (Path(draft) / to.name).rename(to)
    except OSError as error:
        raise StoreError(f"{to} cannot be written: {error.strerror or error}; give another folder") from error
    return done._replace(folder=to)


def _write(store: Store, workspace: Workspace, version: ModelVersion, to: Path) -> Exported:
    base = workspace.locate(version.base_path)
    adapter = None if version.adapter_path is None else workspace.locate(version.adapter_path)
    if adapter is not None and (problem := adapter_problem(base, adapter)) and version.role is Role.WRITER:
        raise ModelError(problem)
    rows = None if version.dataset_id is None else read_dataset_rows(store, version.dataset_id)
    merged = merged_by_child(base, adapter, to, judge=version.role is Role.JUDGE, prompts=_prompts(rows))
    if merged["n_equal"] != merged["n_prompts"]:
        raise RunError(
            f"the written weights of '{version.name}' drafted {merged['n_prompts'] - merged['n_equal']} of "
            f"{merged['n_prompts']} held-out prompts differently from base and adapter, so nothing was exported; "
            "try again, and report it when it stays"
        )
    if adapter is not None:
        _copy_adapter(adapter, to / "adapter", version.base_path)
    facts = facts_of(store, workspace, version)
    _write_training(to / "training", facts, rows)
    files = [_described(to, file) for file in _files(to)]
    (to / "README.md").write_text(written_card(facts, files, folder=to.name), encoding="utf-8")
    manifest = {"version": plain(_as_dict(version)), "weights": merged, "files": files}
    _write_json(to / "manifest.json", manifest)
    return Exported(to, files, merged["n_prompts"], merged["n_equal"])


def facts_of(store: Store, workspace: Workspace, version: ModelVersion) -> Facts:
    """Everything that is known of a version, for its card; what is gone from the disk is left out."""
    run = None if version.run_id is None else read_run(store, version.run_id)
    folder = None if version.run_id is None else workspace.runs / version.run_id
    designs = [saved.design for saved in read_saved(store, version.loop_id)]
    datasets = read_datasets(store, version.loop_id).set_index("dataset_id", drop=False)
    dataset_id = version.dataset_id if version.dataset_id in datasets.index else None
    return Facts(
        version=version,
        loop=loop_name_of(store, version.loop_id),
        base=base_facts(workspace, version.base_path),
        run=None if run is None else {**_as_dict(run), "config": run.config},
        design=next((design for design in designs if design.id == version.reward_design_id), None),
        dataset=None if dataset_id is None else datasets.loc[dataset_id].to_dict(),
        environment=_json_or_none(folder, "environment.json"),
        trained=_json_or_none(folder, "trained.json"),
        evaluation=read_evaluation(store, version.model_version_id),
        synthetic_share=None if dataset_id is None else read_synthetic_share(store, dataset_id),
    )


def base_facts(workspace: Workspace, uri: str) -> dict[str, Any]:
    """uri, and of what is on the disk: n_parameters, license, and sha256 of the weights where they are one file."""
    try:
        found = check_base(workspace, uri)
    except ModelError:
        return {"uri": uri}
    weights = list(Path(found.folder).glob("*.safetensors"))
    whole = {"sha256": _sha256(weights[0])} if len(weights) == 1 else {}
    return {"uri": uri, "n_parameters": found.n_parameters, "license": found.license, **whole}


def merged_by_child(
    base: Path, adapter: Path | None, to: Path, *, judge: bool = False, prompts: Iterable[str] = ()
) -> dict[str, Any]:
    """Add the adapter into its base in a child process; n_parameters, dtype, n_prompts, n_equal.

    Raises ModelError with the child's own sentence.
    """
    asked = {
        "base": str(base),
        "adapter": None if adapter is None else str(adapter),
        "to": str(to),
        "judge": judge,
        "prompts": list(prompts),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "organism.lm.merging"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **OFFLINE},
            timeout=MERGE_SECONDS,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise ModelError(
            "adding the adapter into its base ended without a word (killed, or out of memory); free some memory, "
            "then try again"
        ) from error
    if "error" in answer:
        raise ModelError(answer["error"])
    return answer


def _prompts(rows: pd.DataFrame | None) -> list[str]:
    if rows is None:
        return []
    heldout = rows[rows["split"] == "heldout"]
    return [str(prompt) for prompt in (heldout if len(heldout) else rows)["prompt"].head(N_CHECKED)]


def _copy_adapter(adapter: Path, to: Path, base_path: str) -> None:
    """The adapter without the place on this disk where its base was."""
    shutil.copytree(adapter, to, ignore=shutil.ignore_patterns("README.md", "*.tmp"))
    config = json.loads((to / "adapter_config.json").read_text(encoding="utf-8"))
    _write_json(to / "adapter_config.json", {**config, "base_model_name_or_path": base_path})


def _write_training(to: Path, facts: Facts, rows: pd.DataFrame | None) -> None:
    """What it learned from and how, as far as it is known."""
    to.mkdir()
    if rows is not None:
        for split, found in rows.groupby("split", sort=False):
            lines = [json.dumps(_row(row), ensure_ascii=False) + "\n" for row in found.to_dict("records")]
            (to / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    known = {
        "run.json": facts.run and {name: facts.run[name] for name in ("run_id", "name", "recipe", "preset", "config")},
        "reward_design.json": facts.design and facts.design.spec(),
        "environment.json": facts.environment,
        "evaluation.json": facts.evaluation,
    }
    for name, value in known.items():
        if value:
            _write_json(to / name, value)
    if not any(to.iterdir()):
        to.rmdir()


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in _ROW_COLUMNS if row.get(name) is not None and row[name] == row[name]}
    return kept | ({"facts": row["facts"]} if row.get("facts") else {})


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _described(folder: Path, file: Path) -> dict[str, Any]:
    return {"name": file.relative_to(folder).as_posix(), "bytes": file.stat().st_size, "sha256": _sha256(file)}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _json_or_none(folder: Path | None, name: str) -> dict[str, Any] | None:
    if folder is None or not (folder / name).is_file():
        return None
    value: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return value


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_dict(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
