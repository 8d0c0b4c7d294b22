"""What runs cost in time and memory, fitted on some and tried on others: the rates behind every estimate.

`python -m bench.estimates [RECIPE …] [--threads=N] [--into=FILE] [--write]`. Each run is the worker of the product on
the demo's sets, its processor seconds taken phase by phase and its memory at the peak. With one thread (the default)
those are the seconds of a quiet core, whoever else is at work. What FILE already holds is not measured again. --write
keeps the rates of a recipe as soon as they are fitted, with their error on the held-out runs, in
organism/optimize/estimates.json, beside those that were not measured this time.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from scipy.optimize import nnls

from organism.config import DEMO_LOOP, ROOT, Workspace, utcnow
from organism.demo import open_workspace
from organism.launch import launch
from organism.optimize.catalog import RECIPES
from organism.optimize.estimate import RATES_FILE, workload_of
from organism.optimize.places import command
from organism.optimize.runs import RunFolder, append_line, read_lines
from organism.optimize.workload import Workload
from organism.records import Preset, Recipe, RunStatus
from organism.store.loops import loop_id_of

POLL_SECONDS = 0.05
WANTED_ERROR = 0.5
PHASES = ("before", "training", "evaluation")


class Trial(NamedTuple):
    """One configuration; `is_heldout` ones are only predicted. `base` names a larger model than the shipped one."""

    rows: int
    changes: Mapping[str, Any]
    is_heldout: bool = False
    base: tuple[int, int] | None = None


class Seen(NamedTuple):
    """What one run took: processor seconds a phase, wall seconds of all, memory at the peak in MiB."""

    trial: Trial
    work: Workload
    before: float
    training: float
    evaluation: float
    wall: float
    memory_mb: float

    @property
    def processor(self) -> float:
        return self.before + self.training + self.evaluation


TRIALS = (
    Trial(32, {"epochs": 1, "batch_size": 8, "eval_rows": 12}),
    Trial(96, {"epochs": 2, "batch_size": 16, "eval_rows": 48}),
    Trial(160, {"epochs": 1, "batch_size": 4, "eval_rows": 24}),
    Trial(64, {"epochs": 3, "batch_size": 32, "eval_rows": 80}),
    Trial(128, {"epochs": 2, "batch_size": 8, "eval_rows": 64}, is_heldout=True),
    Trial(240, {"epochs": 1, "batch_size": 24, "eval_rows": 36}, is_heldout=True),
)
LARGER = (
    Trial(32, {"epochs": 1, "batch_size": 8, "eval_rows": 4}, base=(512, 8)),
    Trial(32, {"epochs": 1, "batch_size": 4, "eval_rows": 4}, is_heldout=True, base=(384, 6)),
)


def measure(workspace: Workspace, run_id: str, trial: Trial) -> Seen:
    """Work on a queued run in a child of its own, and take its times."""
    folder = RunFolder(workspace.runs / run_id)
    started = time.perf_counter()
    with folder.log.open("ab") as log:
        child = subprocess.Popen(command(folder, "local"), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
    marks = {"before": 0.0, "training": 0.0}
    watched = psutil.Process(child.pid)
    while (ended := os.wait4(child.pid, os.WNOHANG))[0] == 0:
        status = folder.status()
        used = watched.cpu_times()
        if not status.step:
            marks["before"] = used.user + used.system
        if status.state in (RunStatus.QUEUED, RunStatus.RUNNING):
            marks["training"] = used.user + used.system
        time.sleep(POLL_SECONDS)
    wall, used = time.perf_counter() - started, ended[2]
    child.returncode = os.waitstatus_to_exitcode(ended[1])
    if folder.status().state is not RunStatus.DONE:
        raise SystemExit(f"{folder.path}: {folder.status().message}")
    before, until = marks["before"], marks["training"]
    processor = used.ru_utime + used.ru_stime
    work = workload_of(folder, workspace.locate(folder.config().base))
    return Seen(trial, work, before, until - before, processor - until, wall, used.ru_maxrss / 1024)


class Kept:
    """What was measured, a line a run, so that a bench that was cut off goes on where it was."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.lines = list(read_lines(file)) if file else []

    def found(self, recipe: Recipe, place: int) -> dict[str, Any] | None:
        """The figures of this trial, if it was measured."""
        lines = [line for line in self.lines if (line["recipe"], line["trial"]) == (recipe, place)]
        return {name: lines[-1][name] for name in Seen._fields[1:]} if lines else None

    def add(self, recipe: Recipe, place: int, seen: Seen) -> None:
        """Keep the figures of one more trial."""
        if self.file:
            figures = {**seen._asdict(), "work": seen.work._asdict(), "recipe": recipe, "trial": place}
            append_line(self.file, figures)


def runs(
    recipe: Recipe, trials: Sequence[Trial], threads: int, into: Kept, workspace: Workspace, bases: Path
) -> Iterator[Seen]:
    """Every trial of a recipe, one after the other, told as it ends."""
    with closing(open_workspace(workspace, demo=True)) as store:
        loop_id = loop_id_of(store, DEMO_LOOP)
        for place, trial in enumerate(trials):
            if known := into.found(recipe, place):
                yield Seen(trial, Workload(**known.pop("work")), **known)
                continue
            changes = {**trial.changes, "threads": threads} | (
                {"base": str(larger(bases, *trial.base))} if trial.base else {}
            )
            run_id = launch(
                store, workspace, loop_id, recipe, Preset.QUICK, changes=changes, max_rows=trial.rows, now=utcnow()
            ).run_id
            seen = measure(workspace, run_id, trial)
            print(
                f"{recipe:<13}{trial.rows:>5} rows {dict(trial.changes)!s:<55}"
                f" {seen.before:6.1f} {seen.training:6.1f} {seen.evaluation:6.1f} s of processor, {seen.wall:6.1f} s,"
                f" {seen.memory_mb:6.0f} MiB",
                flush=True,
            )
            into.add(recipe, place, seen)
            yield seen


def larger(bases: Path, hidden: int, layers: int) -> Path:
    """A random model of the shipped one's kind and tokenizer, but of another size."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = bases / f"{hidden}x{layers}"
    if folder.is_dir():
        return folder
    shipped = ROOT / "data" / "scribe" / "base"
    config = LlamaConfig.from_pretrained(shipped)
    config.hidden_size, config.num_hidden_layers, config.intermediate_size = hidden, layers, hidden * 11 // 4
    config.num_attention_heads = config.num_key_value_heads = hidden // 64
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(shipped).save_pretrained(folder)
    return folder


def fit(rows: Sequence[Sequence[float]], taken: Sequence[float]) -> list[float]:
    """Rates of at least 0 whose relative errors have the least squares."""
    scale = 1 / np.maximum(np.asarray(taken), 1e-9)
    found, _ = nnls(np.asarray(rows) * scale[:, None], np.ones(len(taken)))
    return [float(rate) for rate in found]


def rates_of(seen: Sequence[Seen]) -> dict[str, Any]:
    """The rates of one recipe by the runs that are not held out, and their error on those that are."""
    fitted = [run for run in seen if not run.trial.is_heldout]
    rates: dict[str, Any] = {
        phase: fit([run.work.units()[phase] for run in fitted], [getattr(run, phase) for run in fitted])
        for phase in PHASES
    }
    tried = [run for run in seen if run.trial.is_heldout]
    errors = [off(sum(np.dot(run.work.units()[p], rates[p]) for p in PHASES), run.processor) for run in tried]
    return {**rates, "error": round(max(errors), 3), "n_heldout": len(tried)}


def off(foreseen: float, found: float) -> float:
    """How far apart two figures are, as a share of the smaller: 0.25 for 4 against 5 either way."""
    return float(max(foreseen / found, found / foreseen) - 1)


def memory_of(seen: Sequence[Seen]) -> tuple[list[float], float]:
    """The constant and the two factors of memory, and their largest error on any run, fitted or held out."""

    def units(run: Seen) -> list[float]:
        return [1.0, run.work.weights_mb, run.work.activations_mb]

    fitted = [run for run in seen if not run.trial.is_heldout]
    factors = fit([units(run) for run in fitted], [run.memory_mb for run in fitted])
    return factors, round(max(off(float(np.dot(units(run), factors)), run.memory_mb) for run in seen), 3)


def main(words: Sequence[str]) -> int:
    """Measure, print, keep when asked; 1 when a held-out run was off by more than half."""
    wanted = [Recipe(word) for word in words if not word.startswith("-")] or [
        recipe for recipe, card in RECIPES.items() if card.makes is not None
    ]
    given = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    threads, into = int(given.get("threads", 1)), Kept(Path(given["into"]) if "into" in given else None)
    recipes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for recipe in wanted:
            trials = TRIALS + LARGER if recipe is Recipe.SFT else TRIALS
            seen = list(runs(recipe, trials, threads, into, Workspace(Path(folder) / "workspace"), Path(folder)))
            recipes[recipe] = rates_of(seen)
            print(f"{recipe:<13} {recipes[recipe]}", flush=True)
            if "--write" in words:
                keep(recipe, recipes[recipe], seen, threads)
    return int(max(recipe["error"] for recipe in recipes.values()) > WANTED_ERROR)


def keep(recipe: Recipe, rates: Mapping[str, Any], seen: Sequence[Seen], threads: int) -> None:
    """Write the rates of one recipe; memory is that of imitation, which meets models of three sizes."""
    known = json.loads(RATES_FILE.read_text()) if RATES_FILE.exists() else {"recipes": {}}
    if recipe is Recipe.SFT:
        known["memory"], known["memory_error"] = memory_of(seen)
        busy = float(np.quantile([run.processor / run.wall for run in seen], 0.9))
        known["parallel"] = 1.0 if threads == 1 else round(busy, 2)
        known["machine"] = {
            "cores": threads,
            "processor": platform.processor() or platform.machine(),
            "libraries": {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
        }
    known["recipes"][recipe] = rates
    RATES_FILE.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
