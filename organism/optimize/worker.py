"""The child process that trains: `python -m organism.optimize.worker FOLDER`. Files in, files out, never the store.

Asked to stop by a file named `stop` in the folder or by SIGTERM, it saves a checkpoint and leaves within seconds;
started again on the same folder it goes on where it was. It uses no network.
"""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import psutil

from organism.config import Workspace
from organism.errors import OrganismError
from organism.optimize.drops import Reason, in_words
from organism.optimize.processes import count, is_first, part, require_together
from organism.optimize.runs import (
    RunFolder,
    Status,
    append_line,
    disk_error_in,
    keep_lines,
    read_lines,
    why_the_disk,
    why_the_memory,
    write_json,
)
from organism.records import Recipe, RunStatus

ENVIRONMENT = {
    # Two threads that spin while they wait take 20 times as long when another program wants the cores.
    "OMP_WAIT_POLICY": "PASSIVE",
    # numpy decodes small matrices, which two threads only slow down; torch's threads are set by the run.
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
}
NICENESS = 5
TOLD_EVERY = 10
# transformers 5 warns of a name that peft and TRL still use; nobody who reads a run's log can mend that.
RENAMED = r"`(is_)?gradient_checkpointing` is deprecated"


class Worker:
    """One attempt at one run."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.terminated = False
        self.earlier = run.status().seconds or 0.0
        born_at = psutil.Process().create_time()
        self.status = Status(RunStatus.RUNNING, "Loading the model", os.getpid(), born_at, at=time.time())

    def stop_asked(self) -> bool:
        """Whether somebody wants this run to end; cheap enough to ask at every step."""
        return self.terminated or self.run.stop.exists()

    def say(self, **changes: Any) -> None:
        """Write where the run stands now; of several processes only the first does."""
        if not is_first():
            return
        now = time.time()
        seconds = self.earlier + now - (self.status.pid_started_at or now)
        self.status = self.status._replace(**changes, seconds=seconds, at=now)
        self.run.write_status(self.status)

    def work(self) -> None:
        """Train, unless an adapter is there already, then evaluate. Status says how it ended."""
        self.say()
        if is_first():
            keep_lines(self.run.progress)
        require_together(self.run.recipe())
        description, config = self.run.description(), self.run.config()
        base = Workspace(self.run.workspace).locate(config.base)
        # Only now: these take seconds, and whoever watches should see the run start, or fail.
        from organism.optimize.training import Job, Machine, Step, machine

        recipe = import_module(f"organism.optimize.recipes.{self.run.recipe()}")
        environment = self.run.environment() or _remember(self.run, machine(config, base)._asdict())
        where = Machine(**environment["machine"])
        where = where._replace(threads=max(1, where.threads // count()))
        _log(_opening(self.run, where))

        def on_step(step: Step) -> None:
            if not is_first():
                return
            append_line(self.run.progress, {"phase": "train", **step._asdict(), "at": time.time()})
            if step.step % TOLD_EVERY == 0 or step.step in (1, step.total):
                _log(_at_step(step))
            self.say(
                message=f"Step {step.step} of {step.total}",
                step=step.step,
                total_steps=step.total,
                loss=step.loss,
                tokens_per_second=step.tokens_per_second,
                seconds_left=step.seconds_left,
                learning_rate=step.learning_rate,
                reward=step.extra.get("reward"),
                memory_mb=step.memory_mb,
            )

        def on_draft(which: str, done: int, total: int) -> bool:
            line = {"phase": "evaluate", "which": which, "done": done, "total": total, "at": time.time()}
            append_line(self.run.progress, line)
            name = {"before": "base", "after": "new"}[which]
            self.say(message=f"The {name} model wrote {done} of {total} held-out drafts", seconds_left=None)
            return self.stop_asked()

        if hasattr(recipe, "train") and not self.run.adapter.is_dir():
            job = Job(
                base=base,
                config=config,
                run=self.run,
                where=where,
                on_step=on_step,
                stop_asked=self.stop_asked,
                say=lambda sentence: self.say(message=sentence),
                design=description.get("reward_design"),
            )
            trained = recipe.train(job)
            part()
            if not is_first():
                return
            write_json(self.run.path / "trained.json", trained._asdict())
            if trained.stopped:
                self.say(state=RunStatus.STOPPED, message=f"Stopped after step {trained.steps} of {trained.total}")
                return
        self.say(state=RunStatus.EVALUATING, message="Both models draft the held-out rows")
        _log(f"{self.status.message}: {len(self.run.heldout())} at most")
        if not _evaluation_of(recipe)(self.run, base, config, description, on_draft):
            self.say(state=RunStatus.STOPPED, message="Stopped during the evaluation; the trained adapter is kept")
            return
        self.say(state=RunStatus.DONE, message=_finished(self.run), seconds_left=None)
        _log(f"{self.status.message}, after {self.status.seconds or 0:.0f} s")


def _log(line: str) -> None:
    """A line of log.txt, there at once; of several processes only the first speaks."""
    if is_first():
        print(f"{time.strftime('%H:%M:%S', time.gmtime())} {line}", flush=True)


def _opening(run: RunFolder, where: Any) -> str:
    """What this run is: recipe, rows, device, threads, precision."""
    measured = run.recipe() is Recipe.EVALUATE
    n_rows = sum(1 for _ in read_lines(run.path / ("heldout.jsonl" if measured else "data.jsonl")))
    rows = f"{n_rows} held-out rows" if measured else f"{n_rows} rows"
    precision = "4-bit weights" if where.four_bit else "bf16" if where.bf16 else "float32"
    return f"recipe {run.recipe()}, {rows}, on {where.device} with {where.threads} threads, {precision}"


def _at_step(step: Any) -> str:
    heldout = "" if "heldout_loss" not in step.extra else f", held-out loss {step.extra['heldout_loss']:.4g}"
    return f"step {step.step} of {step.total}: loss {step.loss:.4g}{heldout}, {step.tokens_per_second:.0f} tokens/s"


def _evaluation_of(recipe: ModuleType) -> Callable[..., bool]:
    """How a run of this recipe is measured: its own way where it has one, else both models draft the held-out rows."""
    from organism.optimize.evaluation import evaluate_run

    return getattr(recipe, "evaluate", evaluate_run)


def _finished(run: RunFolder) -> str:
    if run.recipe() is Recipe.EVALUATE:
        return "Both models drafted the held-out rows"
    trained = run.trained() or {}
    left_out = in_words(trained.get("dropped") or {Reason.TOO_LONG: trained.get("n_too_long", 0)})
    said = f"Trained on {trained.get('n_rows', 'all')} rows" + (f" ({left_out}: left out)" if left_out else "")
    if trained.get("best_step"):
        said += f", kept as of step {trained['best_step']}, the best of {trained['steps']} on rows set apart"
    return f"{said}, and evaluated"


def _remember(run: RunFolder, where: dict[str, Any]) -> dict[str, Any]:
    """Fix the machine and the library versions of this run, so that a resumed one computes the same."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("torch", "transformers", "peft", "trl")}
    environment = {"machine": where, "libraries": libraries, "python": sys.version.split()[0]}
    if is_first():
        write_json(run.path / "environment.json", environment)
    return environment


def main(folder: Path) -> int:
    """Work on the run in this folder; 0 when it ended as asked (done or stopped), 1 when it failed."""
    os.environ.update(ENVIRONMENT)
    if count() == 1:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one process needs one accelerator
    os.nice(NICENESS)
    warnings.filterwarnings("ignore", RENAMED, FutureWarning)
    worker = Worker(RunFolder(folder.resolve()))

    def on_signal(number: int, frame: FrameType | None) -> None:
        worker.terminated = True

    signal.signal(signal.SIGTERM, on_signal)
    try:
        worker.work()
    except OrganismError as error:
        worker.say(state=RunStatus.FAILED, message=str(error))
        return 1
    except Exception as error:
        disk = disk_error_in(error)
        told = (
            (disk and why_the_disk(disk, worker.run.path))
            or why_the_memory(error, worker.run)
            or f"{type(error).__name__}: {error}. The whole story is in log.txt."
        )
        worker.say(state=RunStatus.FAILED, message=told)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
