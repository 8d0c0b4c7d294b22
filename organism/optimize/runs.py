"""A training run is a folder: what was asked, what it learns from, how far it is, what came out. No torch, no store.

config.json  data.jsonl  heldout.jsonl          written once, before the run starts
heldout_pairs.jsonl                             the same for a set of preferences: what a judge is measured on
status.json  progress.jsonl  log.txt            written by the worker while it runs
environment.json                                device, precision and library versions, fixed at the first start
checkpoints/  adapter/  evaluation.json         what it leaves
foreseen.json                                   the time and memory that were foreseen when it was queued
stop                                            please stop; with the word "pause" in it, to go on later
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from organism.errors import RunError
from organism.optimize.configs import TrainingConfig, config_of
from organism.records import DatasetKind, FactCheck, Recipe, RunStatus

MIN_TRAIN_ROWS = 20
PAUSE = "pause"
FINISHED = frozenset({RunStatus.DONE, RunStatus.STOPPED, RunStatus.FAILED, RunStatus.INTERRUPTED})


class Example(NamedTuple):
    """One row: a prompt, the text that a person finally kept, and the facts that it must carry.

    second_final is what the same expert wrote for the same prompt another time, where it is known:
    the ceiling of the evaluation. weight is how much the row counts in the loss, 1 on average. segments name where
    the row came from (region, plan, …), for the slices of the evaluation.
    """

    prompt: str
    completion: str
    user_key: str
    interaction_id: str
    facts: tuple[FactCheck, ...] = ()
    second_final: str | None = None
    weight: float = 1.0
    segments: Mapping[str, str] | None = None


class Pair(NamedTuple):
    """One row of preference: for this prompt, this text rather than that one."""

    prompt: str
    chosen: str
    rejected: str
    user_key: str
    interaction_id: str


class Labeled(NamedTuple):
    """One row of a thumb: this text for this prompt, desirable or not."""

    prompt: str
    completion: str
    label: bool
    user_key: str
    interaction_id: str


Row = Example | Pair | Labeled
FORM_OF_KIND: Mapping[DatasetKind, type[Any]] = {
    DatasetKind.SFT: Example,
    DatasetKind.PREFERENCE: Pair,
    DatasetKind.UNPAIRED: Labeled,
}


class Status(NamedTuple):
    """What status.json says. Times are seconds since 1970; `seconds` is the time at work over all attempts."""

    state: RunStatus
    message: str = ""
    pid: int | None = None
    pid_started_at: float | None = None
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    learning_rate: float | None = None
    reward: float | None = None
    memory_mb: float | None = None
    seconds: float | None = None
    at: float = 0.0


class RunFolder(NamedTuple):
    """The names of the files of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def workspace(self) -> Path:
        """The workspace's folder: a run lives in WORKSPACE/runs/RUN."""
        return self.path.parent.parent

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def progress(self) -> Path:
        return self.path / "progress.jsonl"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    def ask_to_stop(self, word: str = "") -> None:
        """Leave word for the worker to save a checkpoint and end; with PAUSE, to be resumed later."""
        self.stop.write_text(word, encoding="utf-8")

    def is_to_pause(self) -> bool:
        """Whether the worker was asked to end so that it goes on later."""
        try:
            return self.stop.read_text(encoding="utf-8") == PAUSE
        except OSError:
            return False

    def recipe(self) -> Recipe:
        """How this run learns; raises RunError when config.json is missing or broken."""
        return Recipe(self.description()["recipe"])

    def config(self) -> TrainingConfig:
        """The frozen settings; raises RunError when config.json is missing or broken."""
        return config_of(self.recipe(), self.description()["config"])

    def description(self) -> dict[str, Any]:
        """All of config.json: recipe, preset, config, dataset_id, dataset_hash, eval_dataset_id, reward_design_id,
        reward_design (its spec, None without one).
        """
        return _read_json(self.path / "config.json")

    def status(self) -> Status:
        """Where the run stands by its own word; queued before a worker has written anything."""
        file = self.path / "status.json"
        if not file.exists():
            return Status(RunStatus.QUEUED)
        values = _read_json(file)
        return Status(**{**values, "state": RunStatus(values["state"])})

    def environment(self) -> dict[str, Any] | None:
        """The machine and library versions of the first start; None before it."""
        file = self.path / "environment.json"
        return _read_json(file) if file.exists() else None

    def trained(self) -> dict[str, Any] | None:
        """How training ended (steps, n_rows, n_too_long, …); None before it did."""
        file = self.path / "trained.json"
        return _read_json(file) if file.exists() else None

    def foreseen(self) -> dict[str, Any] | None:
        """What was foreseen of its time and memory when it was queued; None where nothing was."""
        file = self.path / "foreseen.json"
        return _read_json(file) if file.exists() else None

    def write_status(self, status: Status) -> None:
        write_json(self.path / "status.json", status._asdict())

    def examples(self) -> list[Example]:
        """The training rows of a recipe that imitates or explores."""
        return read_rows(self.path / "data.jsonl", Example)

    def pairs(self) -> list[Pair]:
        """The training rows of a recipe that prefers."""
        return read_rows(self.path / "data.jsonl", Pair)

    def labeled(self) -> list[Labeled]:
        """The training rows of a recipe that weighs thumbs."""
        return read_rows(self.path / "data.jsonl", Labeled)

    def heldout(self) -> list[Example]:
        """What before and after are measured on."""
        return read_rows(self.path / "heldout.jsonl", Example)

    def heldout_pairs(self) -> list[Pair]:
        """Preferences of held-out people, which a judge is measured on; empty for a set of another kind."""
        return [_row(row, Pair) for row in read_lines(self.path / "heldout_pairs.jsonl")]


def make_run_folder(
    path: Path,
    description: Mapping[str, Any],
    rows: Iterable[Row],
    heldout: Iterable[Example],
    heldout_pairs: Iterable[Pair] = (),
) -> RunFolder:
    """Write what a run is asked to do; complete or absent, since config.json comes last."""
    path.mkdir(parents=True, exist_ok=True)
    write_lines(path / "data.jsonl", map(_plain, rows))
    write_lines(path / "heldout.jsonl", map(_plain, heldout))
    write_lines(path / "heldout_pairs.jsonl", map(_plain, heldout_pairs))
    write_json(path / "config.json", description)
    return RunFolder(path)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Replace the file in one step: a reader sees the old text or the new, never half of one."""
    _replace(file, json.dumps(value, indent=1, ensure_ascii=False))


def write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace the file by one JSON object a line, in one step."""
    _replace(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_line(file: Path, row: Mapping[str, Any]) -> None:
    """Add one whole line at the end, in a single write."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def keep_lines(file: Path, n_lines: int | None = None) -> None:
    """Drop what stands after these lines, or after all whole ones: lines, or one that a kill or a full disk cut in
    half, so that the next starts fresh.
    """
    if file.is_file():  # a device has no end
        lines = file.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines[:n_lines] if line.endswith(b"\n")]
        with file.open("r+b") as out:
            out.truncate(sum(map(len, whole)))


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The whole lines so far; a line that is still being written is left for the next time."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.endswith("\n"))


R = TypeVar("R", Example, Pair, Labeled)


def read_rows(file: Path, kind: type[R]) -> list[R]:
    """The rows of data.jsonl or heldout.jsonl; raises RunError when the file is missing or broken."""
    if not file.is_file():
        raise RunError(f"{file} is missing; a run needs it. Start the run again from its training set.")
    try:
        return [_row(row, kind) for row in read_lines(file)]
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{file} is broken ({error}); start the run again from its training set") from error


def training_steps(run: RunFolder) -> list[dict[str, Any]]:
    """The training lines of progress.jsonl, a step once: where a resumed run repeated one, the last counts.

    Raises RunError when the file is broken.
    """
    try:
        steps = {row["step"]: row for row in read_lines(run.progress) if row["phase"] == "train"}
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{run.progress} is broken ({error}); the run itself goes on, its course is lost") from error
    return [steps[step] for step in sorted(steps)]


def why_the_disk(error: OSError, folder: Path) -> str:
    """A sentence for a failed write or read: a full disk by its name."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        made = next(part for part in (folder, *folder.parents) if part.exists())
        return (
            f"the disk that holds {folder} is full ({shutil.disk_usage(made).free >> 20} MB free); "
            "free some space, then resume the run: what was saved is kept"
        )
    return f"{error.filename or folder}: {error.strerror or error}. Mend that, then resume the run."


def disk_error_in(error: BaseException) -> OSError | None:
    """The failed write or read behind an error of a library that raises its own kind; None for any other error."""
    if isinstance(error, OSError):
        return error
    if told := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors and tokenizers, as Rust says it
        return OSError(int(told[1]), os.strerror(int(told[1])))
    if "PytorchStreamWriter failed writing" in str(error):  # torch.save keeps the reason to itself
        return OSError(errno.EIO, "a checkpoint could not be written; is the disk full?")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, the machine's or its accelerator's."""
    words = str(error).lower()
    told = any(word in words for word in ("out of memory", "can't allocate memory", "not enough memory"))
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or told


def why_the_memory(error: BaseException, run: RunFolder) -> str | None:
    """A sentence for memory that did not suffice, naming what to shrink; None for any other error."""
    if not is_out_of_memory(error):
        return None
    config = run.config()
    return (
        f"the memory of this machine was not enough; shrink batch_size (now {config.batch_size}), "
        f"max_length (now {config.max_length}) or lora_r (now {config.lora_r}), take a smaller base, or on an NVIDIA "
        "card load it in 4 bits (load_in_4bit). What was saved is kept"
    )


def _plain(row: Row) -> dict[str, Any]:
    if not isinstance(row, Example):
        return row._asdict()
    facts = [{"kind": fact.kind, "any_of": list(fact.any_of)} for fact in row.facts]
    return {**row._asdict(), "facts": facts}


def _row(row: Mapping[str, Any], kind: type[R]) -> R:
    return kind(**({**row, "facts": fact_checks(row.get("facts") or ())} if kind is Example else row))


def fact_checks(facts: Sequence[Mapping[str, Any]]) -> tuple[FactCheck, ...]:
    """Checks from their plain form, a list of {kind, any_of}."""
    return tuple(FactCheck(fact["kind"], tuple(fact["any_of"])) for fact in facts)


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(file.name + ".tmp")
    with draft.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); start the run again from its training set") from error
    return value
