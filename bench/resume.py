"""kill -9 the worker while it trains, again and again: `python -m bench resume [--recipe sft] [--kills 20]`.

Runs of one recipe with equal settings are killed four times each, at random moments: before the first step, between
steps, and while a checkpoint is being written. Each is started again on its folder until it ends, and its adapter must
be, bit for bit, that of a run nobody disturbed.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from data.scribe.encounters import encounter
from data.scribe.notes import generic_note, physician_note
from organism.config import BUNDLED_BASE, ROOT
from organism.optimize.catalog import RECIPES
from organism.optimize.configs import config_of
from organism.optimize.runs import Example, Labeled, Pair, Row, RunFolder, make_run_folder, read_lines
from organism.records import DatasetKind, Recipe

N_ROWS, N_USERS, KILLS_A_RUN = 64, 16, 4
PATIENCE_S = 600
SETTINGS = {"batch_size": 8, "epochs": 2, "checkpoint_every": 3, "patience": 2, "validation_share": 0.2, "threads": 1}
DESIGN = {
    "signals": [
        {"signal": "retained_char_rate", "weight": 0.7, "worst": 0.0, "best": 1.0},
        {"signal": "output_tokens", "weight": 0.3, "worst": 250.0, "best": 50.0},
    ]
}


def rows_for(recipe: Recipe) -> list[Row]:
    """Visits of the demo in the form that the recipe learns from."""
    visits = [encounter(seed) for seed in range(N_ROWS)]
    finals = [physician_note(visit, n % 60, random.Random(n)) for n, visit in enumerate(visits)]
    who = [f"user {n % N_USERS}" for n in range(N_ROWS)]
    rows: list[Row] = []
    for n, visit in enumerate(visits):
        prompt, draft = visit.transcript, generic_note(visit)
        match RECIPES[recipe].kind:
            case DatasetKind.SFT:
                rows.append(Example(prompt, finals[n], who[n], str(n)))
            case DatasetKind.PREFERENCE:
                rows.append(Pair(prompt, finals[n], draft, who[n], str(n)))
            case DatasetKind.UNPAIRED:
                rows.append(Labeled(prompt, finals[n] if n % 2 else draft, bool(n % 2), who[n], str(n)))
    return rows


class Attempt:
    """One run and its worker, started as often as it takes."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        config = config_of(recipe, {**SETTINGS, "base": BUNDLED_BASE, "max_new_tokens": 160})
        described = {"recipe": recipe, "config": asdict(config), "reward_design": DESIGN}
        self.run: RunFolder = make_run_folder(folder, described, rows_for(recipe), [])

    def start(self) -> "subprocess.Popen[bytes]":
        with self.run.log.open("ab") as log:
            command = [sys.executable, "-m", "organism.optimize.worker", str(self.run.path)]
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)

    def n_lines(self) -> int:
        """Steps told and prompts sampled so far."""
        return len(list(read_lines(self.run.progress))) + len(list(read_lines(self.run.path / "sampled.jsonl")))

    def is_saving(self) -> bool:
        """Whether a checkpoint stands half written."""
        found = self.run.checkpoints.glob("checkpoint-*")
        return any(not (folder / "trainer_state.json").exists() for folder in found)

    def kill_at(self, moment: str, rng: random.Random) -> bool:
        """Start, kill at such a moment; False when it ended first."""
        child, began, before = self.start(), time.monotonic(), self.n_lines()
        wanted, delay = rng.randint(1, 4), rng.uniform(0, 0.5)
        soon = rng.uniform(0.5, 8)
        while child.poll() is None and not self.run.adapter.exists():
            reached = {
                "before a step": time.monotonic() - began > soon,
                "between steps": self.n_lines() >= before + wanted,
                "while saving": self.is_saving() and self.n_lines() > before,
            }[moment]
            if reached:
                time.sleep(delay if moment == "between steps" else 0)
                break
            time.sleep(0.002 if moment == "while saving" else 0.02)
        was_at_work = child.poll() is None and not self.run.adapter.exists()
        _kill(child)
        return was_at_work

    def finish(self) -> str:
        """Let it work until its adapter is there; the adapter's hash."""
        child, until = self.start(), time.monotonic() + PATIENCE_S
        while not self.run.adapter.exists() and child.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        _kill(child)  # what is left is the evaluation
        weights = self.run.adapter / "adapter_model.safetensors"
        if not weights.exists():
            raise SystemExit(f"{self.run.path.name} left no adapter: {self.run.status().message}")
        return hashlib.sha256(weights.read_bytes()).hexdigest()


def _kill(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()


def main() -> int:
    """Print how many kills there were and how many adapters differ; 1 when any does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Recipe, default=Recipe.SFT, choices=list(RECIPES))
    parser.add_argument("--kills", type=int, default=20)
    asked = parser.parse_args()
    rng, began = random.Random(0), time.perf_counter()
    kills: Counter[str] = Counter()
    hashes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        wanted = Attempt(runs / "undisturbed", asked.recipe).finish()
        while kills.total() < asked.kills:
            attempt = Attempt(runs / f"killed-{len(hashes)}", asked.recipe)
            for _ in range(min(KILLS_A_RUN, asked.kills - kills.total())):
                moment = rng.choice(["before a step", "between steps", "between steps", "while saving"])
                kills[moment] += attempt.kill_at(moment, rng)
            hashes.append(attempt.finish())
            print(f"{kills.total()} kills, {'equal' if hashes[-1] == wanted else 'DIFFERENT'}", flush=True)
    differ = sum(found != wanted for found in hashes)
    moments = ", ".join(f"{count} {moment}" for moment, count in kills.items())
    print(f"{asked.recipe}: {kills.total()} times kill -9 ({moments}) in {len(hashes)} runs")
    print(f"  in {time.perf_counter() - began:.0f} s; adapter {wanted[:16]}")
    print(f"  adapters that differ from the undisturbed one: {differ}   wanted 0: {'MISSED' if differ else 'met'}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
