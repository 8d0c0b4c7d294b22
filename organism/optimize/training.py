"""What every recipe shares: base, tokens, batches in a planned order, steps told, checkpoints, the adapter.

The prompt is framed exactly as the decoder frames it, and the order of all batches is laid out beforehand from the
seed, so that a resumed run goes on with the very next batch.
"""

import hashlib
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedTokenizerBase,
    PrinterCallback,
)

from organism.errors import DesignError, ModelError, RunError
from organism.lm.scoring import learned_logits
from organism.optimize.checkpoints import best_step, is_exhausted, last_checkpoint, least_loss, state_of
from organism.optimize.configs import TrainingConfig
from organism.optimize.machines import Machine, machine, settle, usable_cores
from organism.optimize.processes import agreed, is_first, share_of
from organism.optimize.reporter import Countable, Reporter, Step
from organism.optimize.runs import MIN_TRAIN_ROWS, RunFolder, is_out_of_memory
from organism.optimize.tokens import IGNORED, Tokens, tokenized

__all__ = [
    "IGNORED",
    "Job",
    "Machine",
    "Step",
    "Tokens",
    "Trained",
    "arguments",
    "batch_plan",
    "cut",
    "fit",
    "last_checkpoint",
    "learned_logits",
    "load_base",
    "longest_of",
    "lora",
    "machine",
    "save_adapter",
    "set_apart",
    "settle",
    "tokenized",
    "usable_cores",
]

POOL_BATCHES = 8


class Trained(NamedTuple):
    """How training ended: after how many of how many steps, and whether it was asked to stop.

    `best_step` and `heldout_loss` are of the checkpoint that was kept, None where no rows were set apart; `dropped`
    counts the rows that were left out, by reason.
    """

    steps: int
    total: int
    stopped: bool
    n_rows: int
    n_too_long: int
    best_step: int | None = None
    heldout_loss: float | None = None
    dropped: Mapping[str, int] | None = None


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


def load_base(base: Path, where: Machine | None = None) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model and tokenizer of a transformers folder, in float32 or as the machine holds its frozen weights.

    Raises ModelError on anything broken.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(str(base), local_files_only=True, **_held(where))
    except Exception as error:  # transformers raises whatever the broken file leads to
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"model folder {base} cannot be loaded ({reason}); restore it, or choose another base"
        ) from error
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer in {base} has no chat template or no end token; add both and try again")
    return model, tokenizer


def _held(where: Machine | None) -> dict[str, Any]:
    """How the base's weights are loaded: as the machine holds them, in 4 bits (QLoRA, Dettmers 2023) where it says."""
    if where is None:
        return {"dtype": torch.float32}
    if not where.four_bit:
        return {"dtype": where.weights}
    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if where.bf16 else torch.float16,
    )
    return {"dtype": where.weights, "quantization_config": quantized, "device_map": {"": 0}}


def set_apart(users: Sequence[str], config: TrainingConfig) -> tuple[list[int], list[int]]:
    """The places of the rows to learn from, and of those that say when to stop: all rows of some users.

    A hash of seed and user decides, so the same people are set apart at every start. With patience 0 nobody is.
    Raises DesignError when there is only one user, or when too few rows are left to learn from.
    """
    if config.patience == 0:
        return list(range(len(users))), []
    wanted, apart, n_apart = config.validation_share * len(users), set[str](), 0
    everyone = sorted(set(users), key=lambda user: hashlib.sha256(f"{config.seed}:{user}".encode()).digest())
    for user in everyone[:-1]:
        if n_apart >= wanted:
            break
        apart.add(user)
        n_apart += users.count(user)
    kept = [place for place, user in enumerate(users) if user not in apart]
    if not apart or len(kept) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"{len(users)} rows of {len(everyone)} users leave {len(kept)} to learn from when some users are set apart "
            f"to say when to stop; at least {MIN_TRAIN_ROWS} rows of two users are needed. Collect more, or set "
            "patience to 0."
        )
    return kept, [place for place, user in enumerate(users) if user in apart]


def longest_of(model: Any, config: TrainingConfig) -> int:
    """How many tokens a row may have: what was asked for, and no more than the model reads."""
    return min(config.max_length, model.config.max_position_embeddings)


def arguments(config: TrainingConfig, checkpoints: Path, where: Machine) -> dict[str, Any]:
    """The arguments that any of TRL's trainers takes here: the planned order, once; checkpoints; no reports."""
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": share_of(config.batch_size),
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
        **(_watching(config) if config.patience else {}),
    }


def _watching(config: TrainingConfig) -> dict[str, Any]:
    """The loss of the rows set apart, at every checkpoint; the best checkpoint outlives its successors."""
    return {
        "eval_strategy": "steps",
        "eval_steps": config.checkpoint_every,
        "per_device_eval_batch_size": config.batch_size,
        "prediction_loss_only": True,
        "metric_for_best_model": "loss",
        "greater_is_better": False,
    }


def lora(config: TrainingConfig, task_type: str = "CAUSAL_LM") -> LoraConfig:
    """The adapter that is trained: all linear layers."""
    return LoraConfig(r=config.lora_r, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type=task_type)


def fit(
    trainer: Any,
    job: Job,
    batches: Sequence[Sequence[Countable]],
    *,
    n_rows: int,
    n_too_long: int,
    dropped: Mapping[str, int] | None = None,
) -> Trained:
    """Run the trainer to its end, from the last whole checkpoint if there is one, and leave the adapter in job.run.

    `batches` are the rows of every step in order; they are counted for the speed. With patience the trainer needs an
    eval_dataset, and the checkpoint of the least held-out loss becomes the adapter. Raises RunError when a loss is no
    number or zero.
    """
    patience = job.config.patience
    # Where a policy's gradient vanishes because all drafts earned the same, the loss is 0 and nothing is wrong.
    zero_fails = getattr(trainer, "zero_loss_fails", True)
    reporter = Reporter(batches, job.on_step, agreed(job.stop_asked), patience, zero_fails=zero_fails)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(reporter)
    newest = last_checkpoint(job.run.checkpoints)
    state = state_of(Path(newest)) if newest else None
    if state is None or not is_exhausted(state["log_history"], patience):
        trainer.train(resume_from_checkpoint=newest)
        state = {name: getattr(trainer.state, name) for name in ("global_step", "max_steps", "log_history")}
    if reporter.failure:
        raise RunError(reporter.failure)
    best = best_step(state["log_history"]) if patience else None
    if not reporter.stopped:
        if best is not None:
            trainer.model.load_adapter(str(job.run.checkpoints / f"checkpoint-{best}"), trainer.model.active_adapter)
        save_adapter(trainer, job.run)
    return Trained(
        steps=state["global_step"],
        total=state["max_steps"],
        stopped=reporter.stopped,
        n_rows=n_rows,
        n_too_long=n_too_long,
        best_step=best,
        heldout_loss=least_loss(state["log_history"]) if patience else None,
        dropped=dropped,
    )


def batch_plan(lengths: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """The rows of every batch of the whole run: alike in length within a batch, in random order between them.

    Epoch follows epoch without a seam, and only the last batch may be short. Pools of eight batches are
    sorted by length, so that padding is little and no row always meets the same neighbors.
    """
    rng = random.Random(seed)
    stream = [place for _ in range(epochs) for place in rng.sample(range(len(lengths)), len(lengths))]
    plan: list[list[int]] = []
    for pool in cut(stream, batch_size * POOL_BATCHES):
        batches = cut(sorted(pool, key=lambda place: lengths[place]), batch_size)
        short = [batches.pop()] if len(batches[-1]) < batch_size else []
        rng.shuffle(batches)
        plan += batches + short
    return plan


def cut(places: Sequence[int], size: int) -> list[list[int]]:
    """The places in their order, `size` at a time; the last part may be short."""
    return [list(places[first : first + size]) for first in range(0, len(places), size)]


def save_adapter(trainer: Any, run: RunFolder) -> None:
    """Write run.adapter in one step, so that a folder of that name is always whole."""
    if not is_first():
        return
    draft = run.path / "adapter.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    # "auto" would ask the hub for the base's vocabulary.
    trainer.model.save_pretrained(str(draft), save_embedding_layers=False)
    draft.rename(run.adapter)
