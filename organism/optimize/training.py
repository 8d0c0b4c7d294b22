"""What every recipe shares: base, tokens, batches in a planned order, steps told, checkpoints, the adapter.

The prompt is framed exactly as the decoder frames it, and the order of all batches is laid out beforehand from the
seed, so that a resumed run goes on with the very next batch.
"""

import json
import math
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)

from organism.errors import DesignError, ModelError, RunError
from organism.optimize.configs import TrainingConfig
from organism.optimize.framing import framed
from organism.optimize.runs import MIN_TRAIN_ROWS, Example, RunFolder

IGNORED = -100
SPEED_WINDOW = 20
POOL_BATCHES = 8


class Tokens(NamedTuple):
    """One row as the model sees it; labels are IGNORED on the prompt."""

    input_ids: list[int]
    labels: list[int]

    @property
    def n_targets(self) -> int:
        return sum(label != IGNORED for label in self.labels)


class Step(NamedTuple):
    """One optimizer step. tokens_per_second counts prompt and target tokens, the other one targets only.

    `extra` holds what only some recipes know: reward, margin, kl, heldout_loss, …
    """

    step: int
    total: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    target_tokens_per_second: float
    seconds_left: float
    memory_mb: float
    extra: dict[str, float]


class Trained(NamedTuple):
    """How training ended: after how many of how many steps, and whether it was asked to stop."""

    steps: int
    total: int
    stopped: bool
    n_rows: int
    n_too_long: int


class Machine(NamedTuple):
    """Where it trains, fixed at the first start so that a resumed run computes the same."""

    device: str
    bf16: bool
    threads: int


class Job(NamedTuple):
    """One run being trained: what was asked, where, and whom to tell.

    `say` takes a sentence about work before the first step (sampling, judging); `design` is the reward design as plain
    data where one was given.
    """

    base: Path
    config: Any
    run: RunFolder
    where: Machine
    on_step: Callable[[Step], None]
    stop_asked: Callable[[], bool]
    say: Callable[[str], None]
    design: Mapping[str, Any] | None = None


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(config: TrainingConfig) -> Machine:
    """The accelerator if there is one, else the processor; bf16 where the hardware computes in it."""
    threads = config.threads or usable_cores()
    if torch.cuda.is_available():
        found, able = "cuda", torch.cuda.is_bf16_supported()
    elif torch.backends.mps.is_available():
        found, able = "mps", False
    else:
        found, able = "cpu", torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Machine(found, able if config.bf16 is None else config.bf16, threads)


def load_base(base: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model in float32 and tokenizer of a transformers folder; raises ModelError on anything broken."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32, local_files_only=True)
    except Exception as error:  # transformers raises whatever the broken file leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"model folder {base} cannot be loaded ({reason}); restore it, or choose another base"
        ) from error
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer in {base} has no chat template or no end token; add both and try again")
    return model, tokenizer


def tokenized(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Tokens]:
    """Prompt in the chat template, then the final text and the end token; the prompt is not learned."""
    heads = tokenizer(framed([row.prompt for row in examples], tokenizer), add_special_tokens=False).input_ids
    tails = tokenizer([example.completion for example in examples], add_special_tokens=False).input_ids
    return [
        Tokens([*head, *tail, tokenizer.eos_token_id], [IGNORED] * len(head) + [*tail, tokenizer.eos_token_id])
        for head, tail in zip(heads, tails, strict=True)
    ]


def fitting(rows: Sequence[Any], lengths: Sequence[int], longest: int) -> list[Any]:
    """The rows that fit into `longest` tokens; raises DesignError when too few do."""
    usable = [row for row, length in zip(rows, lengths, strict=True) if length <= longest]
    if len(usable) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"{len(usable)} of {len(rows)} training rows fit into {longest} tokens; a fine-tune needs at least "
            f"{MIN_TRAIN_ROWS}. Collect more edits, or raise max_length."
        )
    return usable


def longest_of(model: Any, config: TrainingConfig) -> int:
    """How many tokens a row may have: what was asked for, and no more than the model reads."""
    return min(config.max_length, model.config.max_position_embeddings)


def arguments(config: TrainingConfig, checkpoints: Path, where: Machine) -> dict[str, Any]:
    """The arguments that any of TRL's trainers takes here: the planned order, once; checkpoints; no reports."""
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": config.batch_size,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "weight_decay": 0.0,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.checkpoint_every,
        "save_total_limit": 2,
        "report_to": "none",
        "use_cpu": where.device == "cpu",
        "bf16": where.bf16,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "seed": config.seed,
        "data_seed": config.seed,
        "dataloader_pin_memory": False,
    }


def lora(config: TrainingConfig, task_type: str = "CAUSAL_LM") -> LoraConfig:
    """The adapter that is trained: all linear layers."""
    return LoraConfig(r=config.lora_r, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type=task_type)


def fit(trainer: Any, job: Job, batches: Sequence[Sequence[Tokens]], *, n_rows: int, n_too_long: int) -> Trained:
    """Run the trainer to its end, from the last whole checkpoint if there is one, and leave the adapter in job.run.

    `batches` are the rows of every step in order; they are counted for the speed. Raises RunError when the loss is no
    number or zero.
    """
    reporter = Reporter(batches, job.on_step, job.stop_asked)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(reporter)
    trainer.train(resume_from_checkpoint=last_checkpoint(job.run.checkpoints))
    if reporter.failure:
        raise RunError(reporter.failure)
    if not reporter.stopped:
        save_adapter(trainer, job.run)
    return Trained(trainer.state.global_step, trainer.state.max_steps, reporter.stopped, n_rows, n_too_long)


def batch_plan(lengths: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """The rows of every batch of the whole run: alike in length within a batch, in random order between them.

    Epoch follows epoch without a seam, and only the last batch may be short. Pools of eight batches are
    sorted by length, so that padding is little and no row always meets the same neighbors.
    """
    rng = random.Random(seed)
    stream = [place for _ in range(epochs) for place in rng.sample(range(len(lengths)), len(lengths))]
    plan: list[list[int]] = []
    for pool in _cut(stream, batch_size * POOL_BATCHES):
        batches = _cut(sorted(pool, key=lambda place: lengths[place]), batch_size)
        short = [batches.pop()] if len(batches[-1]) < batch_size else []
        rng.shuffle(batches)
        plan += batches + short
    return plan


def _cut(places: Sequence[int], size: int) -> list[list[int]]:
    return [list(places[first : first + size]) for first in range(0, len(places), size)]


class Reporter(TrainerCallback):
    """Tells every step, stops when asked or when the loss is no longer a usable number."""

    def __init__(
        self, batches: Sequence[Sequence[Tokens]], on_step: Callable[[Step], None], stop_asked: Callable[[], bool]
    ) -> None:
        self.all_tokens = [sum(len(row.input_ids) for row in batch) for batch in batches]
        self.targets = [sum(row.n_targets for row in batch) for batch in batches]
        self.on_step, self.stop_asked = on_step, stop_asked
        self.ends: deque[float] = deque(maxlen=SPEED_WINDOW + 1)
        self.stopped = False
        self.failure = ""

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())
        if self.stop_asked() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss) or loss == 0.0:
            self.failure = (
                f"the loss was {loss} at step {state.global_step}, which is no usable number, so training stopped; "
                "lower the learning rate, or look for empty texts in the training set"
            )
            control.should_training_stop = True
            control.should_save = False
            return
        self.on_step(self._step(state, loss, logs))

    def _step(self, state: TrainerState, loss: float, logs: Mapping[str, Any]) -> Step:
        step, total, n_recent = state.global_step, state.max_steps, len(self.ends) - 1
        per_second = 1 / max(self.ends[-1] - self.ends[0], 1e-9)
        recent = slice(max(step - n_recent, 0), step)
        return Step(
            step,
            total,
            loss,
            float(logs["learning_rate"]),
            sum(self.all_tokens[recent]) * per_second,
            sum(self.targets[recent]) * per_second,
            (total - step) / (n_recent * per_second),
            memory_mb(),
            {name: float(value) for name, value in logs.items() if name not in _TOLD and _is_number(value)},
        )


_TOLD = frozenset({"loss", "learning_rate", "epoch", "step"})


def memory_mb() -> float:
    """What this process holds now: of the accelerator's memory where it trains there, else resident, in MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return psutil.Process().memory_info().rss / 2**20


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def last_checkpoint(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones, left by a kill, are removed."""
    steps = {int(folder.name.split("-")[1]): folder for folder in checkpoints.glob("checkpoint-*")}
    for step in sorted(steps, reverse=True):
        if _is_whole(steps[step]):
            return str(steps[step])
        shutil.rmtree(steps[step])
    return None


def _is_whole(checkpoint: Path) -> bool:
    """The trainer's state is the last file it writes."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def save_adapter(trainer: Any, run: RunFolder) -> None:
    """Write run.adapter in one step, so that a folder of that name is always whole."""
    draft = run.path / "adapter.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    # "auto" would ask the hub for the base's vocabulary.
    trainer.model.save_pretrained(str(draft), save_embedding_layers=False)
    draft.rename(run.adapter)
