"""Recipe `sft`: supervised fine-tuning with LoRA, by TRL's trainer on peft, on (prompt, final text) pairs.

The prompt is framed exactly as the decoder frames it, only the final text and its end token are learned, and the
order of all batches is laid out beforehand from the seed, so that a resumed run goes on with the very next batch.

TRL's own loss scores every position on a processor without Triton, keeps entropy and accuracy, and passes an
attention mask that takes the slow path. Right-padded causal rows need no mask, and only the targets need the head:
`Trainer` below does that work and no other. bench/train.py prints what it is worth.
"""

import json
import math
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    set_seed,
)

from organism.errors import DesignError, ModelError, RunError
from organism.optimize.framing import framed
from organism.optimize.runs import MIN_TRAIN_ROWS, Example, RunFolder, SftConfig

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
    """One optimizer step. tokens_per_second counts prompt and target tokens, the other one targets only."""

    step: int
    total: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    target_tokens_per_second: float
    seconds_left: float


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


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(config: SftConfig) -> Machine:
    """The accelerator if there is one, else the processor; bf16 where the hardware computes in it."""
    threads = config.threads or usable_cores()
    if torch.cuda.is_available():
        found, able = "cuda", torch.cuda.is_bf16_supported()
    elif torch.backends.mps.is_available():
        found, able = "mps", False
    else:
        found, able = "cpu", torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Machine(found, able if config.bf16 is None else config.bf16, threads)


def train(
    base: Path,
    config: SftConfig,
    examples: Sequence[Example],
    run: RunFolder,
    where: Machine,
    on_step: Callable[[Step], None],
    stop_asked: Callable[[], bool],
) -> Trained:
    """Train an adapter and leave it in run.adapter; goes on from the last whole checkpoint if there is one.

    Raises DesignError when too few rows can be used, ModelError when the base cannot be loaded, and
    RunError when the loss is no number or zero.
    """
    torch.set_num_threads(where.threads)
    model, tokenizer = load_base(base)
    longest = min(config.max_length, model.config.max_position_embeddings)
    rows = tokenized([*examples, *replay_rows(base, len(examples), config)], tokenizer)
    usable = [row for row in rows if len(row.input_ids) <= longest]
    if len(usable) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"{len(usable)} of {len(rows)} training rows fit into {longest} tokens; a fine-tune needs at least "
            f"{MIN_TRAIN_ROWS}. Collect more edits, or raise max_length."
        )
    plan = batch_plan([len(row.input_ids) for row in usable], config.batch_size, config.epochs, config.seed)
    reporter = _Reporter([[usable[place] for place in batch] for batch in plan], on_step, stop_asked)
    ordered = [usable[place] for batch in plan for place in batch]
    trainer = build_trainer(model, tokenizer, ordered, config, run.checkpoints, where)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(reporter)
    trainer.train(resume_from_checkpoint=last_checkpoint(run.checkpoints))
    if reporter.failure:
        raise RunError(reporter.failure)
    if not reporter.stopped:
        save_adapter(trainer, run)
    return Trained(trainer.state.global_step, len(plan), reporter.stopped, len(usable), len(rows) - len(usable))


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


def replay_rows(base: Path, n_rows: int, config: SftConfig) -> list[Example]:
    """Rows of the base's own training, so that `replay_share` of all rows remind it of what it knew."""
    if config.replay_share == 0:
        return []
    file = base / "replay.jsonl"
    if not file.is_file():
        raise ModelError(f"{file} is missing, and replay_share is {config.replay_share}; restore it or set 0")
    pool = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = min(len(pool), round(n_rows * config.replay_share / (1 - config.replay_share)))
    drawn = random.Random(config.seed).sample(pool, wanted)
    return [Example(row["prompt"], row["completion"], "replay", "") for row in drawn]


def tokenized(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Tokens]:
    """Prompt in the chat template, then the final text and the end token; the prompt is not learned."""
    heads = tokenizer(framed([row.prompt for row in examples], tokenizer), add_special_tokens=False).input_ids
    tails = tokenizer([example.completion for example in examples], add_special_tokens=False).input_ids
    return [
        Tokens([*head, *tail, tokenizer.eos_token_id], [IGNORED] * len(head) + [*tail, tokenizer.eos_token_id])
        for head, tail in zip(heads, tails, strict=True)
    ]


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


class Trainer(trl.SFTTrainer):
    """TRL's trainer, computing the loss on the target tokens and nothing else."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross-entropy of the targets. Rows are padded on the right, so causal attention needs no mask."""
        inner = self.accelerator.unwrap_model(model).get_base_model()
        ids, labels = inputs["input_ids"], inputs["labels"][:, 1:]
        targets = labels != IGNORED
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.args.bf16):
            hidden = inner.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
            logits = inner.get_output_embeddings()(hidden[targets])
        loss = F.cross_entropy(logits.float(), labels[targets], reduction="sum")
        return loss / (targets.sum() if num_items_in_batch is None else num_items_in_batch)


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Tokens],
    config: SftConfig,
    checkpoints: Path,
    where: Machine,
    trainer_class: type[trl.SFTTrainer] = Trainer,
) -> trl.SFTTrainer:
    """A trainer that takes the rows in this order, batch_size at a time, once."""
    set_seed(config.seed)
    arguments = trl.SFTConfig(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_size,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        weight_decay=0.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        save_total_limit=2,
        report_to="none",
        use_cpu=where.device == "cpu",
        bf16=where.bf16,
        max_length=config.max_length,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
        dataloader_pin_memory=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    lora = LoraConfig(r=config.lora_r, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    dataset = Dataset.from_list([row._asdict() for row in rows])
    return trainer_class(
        model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer, peft_config=lora
    )


class _Reporter(TrainerCallback):
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
        self.on_step(self._step(state, loss, float(logs["learning_rate"])))

    def _step(self, state: TrainerState, loss: float, learning_rate: float) -> Step:
        step, total, n_recent = state.global_step, state.max_steps, len(self.ends) - 1
        per_second = 1 / max(self.ends[-1] - self.ends[0], 1e-9)
        recent = slice(max(step - n_recent, 0), step)
        return Step(
            step,
            total,
            loss,
            learning_rate,
            sum(self.all_tokens[recent]) * per_second,
            sum(self.targets[recent]) * per_second,
            (total - step) / (n_recent * per_second),
        )


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


def save_adapter(trainer: trl.SFTTrainer, run: RunFolder) -> None:
    """Write run.adapter in one step, so that a folder of that name is always whole."""
    draft = run.path / "adapter.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    # "auto" would ask the hub for the base's vocabulary.
    trainer.model.save_pretrained(str(draft), save_embedding_layers=False)
    draft.rename(run.adapter)
