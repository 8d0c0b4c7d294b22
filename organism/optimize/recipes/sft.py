"""Recipe `sft`: imitate what experts finally wrote, by TRL's trainer with LoRA on (prompt, final text) pairs.

Only the final text and its end token are learned. TRL's own loss scores every position on a processor without
Triton, keeps entropy and accuracy, and passes an attention mask that takes the slow path. Right-padded causal rows
need no mask, and only the targets need the head: `Trainer` below does that work and no other. bench/train.py prints
what it is worth.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import trl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed

from organism.errors import DesignError, ModelError
from organism.optimize.configs import BestOfNConfig, SftConfig, WeightedConfig
from organism.optimize.drops import sift
from organism.optimize.processes import average_gradients
from organism.optimize.runs import Example
from organism.optimize.training import (
    IGNORED,
    Job,
    Machine,
    Tokens,
    Trained,
    arguments,
    batch_plan,
    fit,
    learned_logits,
    load_base,
    longest_of,
    lora,
    set_apart,
    settle,
    tokenized,
)

Replaying = SftConfig | WeightedConfig | BestOfNConfig


def train(job: Job) -> Trained:
    """Train an adapter and leave it in the run's folder; goes on from the last whole checkpoint if there is one.

    Raises what `imitate` raises.
    """
    return imitate(job, job.run.examples())


def imitate(job: Job, examples: Sequence[Example], trainer_class: type[trl.SFTTrainer] | None = None) -> Trained:
    """Train an adapter that writes these completions, with replay where the settings ask for it.

    Raises DesignError when too few rows can be used, ModelError when the base cannot be loaded, and
    RunError when the loss is no number or zero.
    """
    settle(job.where)
    config = job.config
    model, tokenizer = load_base(job.base, job.where)
    longest = longest_of(model, config)
    learned, watched = set_apart([example.user_key for example in examples], config)
    own = [examples[place] for place in learned]
    own += replay_rows(job.base, len(own), config)
    rows = tokenized(own, tokenizer)
    sifted = sift(own, [len(row.input_ids) for row in rows], longest)
    usable = [rows[place] for place in sifted.places]
    plan = batch_plan([len(row.input_ids) for row in usable], config.batch_size, config.epochs, config.seed)
    batches = [[usable[place] for place in batch] for batch in plan]
    trainer = build_trainer(
        model,
        tokenizer,
        [row for batch in batches for row in batch],
        config,
        job.run.checkpoints,
        job.where,
        trainer_class or Trainer,
        watched=watched_rows([examples[place] for place in watched], tokenizer, longest),
    )
    return fit(trainer, job, batches, n_rows=len(usable), n_too_long=sifted.n_too_long, dropped=sifted.dropped)


def watched_rows(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, longest: int) -> list[Tokens]:
    """The rows whose loss says when to stop: those that fit, alike in length, so that padding is little."""
    if not examples:
        return []
    rows = [row for row in tokenized(examples, tokenizer) if len(row.input_ids) <= longest]
    if not rows:
        raise DesignError(
            f"none of the {len(examples)} rows set apart to say when to stop fits into {longest} tokens; "
            "raise max_length, or set patience to 0"
        )
    return sorted(rows, key=lambda row: len(row.input_ids))


def replay_rows(base: Path, n_rows: int, config: Replaying) -> list[Example]:
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
            logits = learned_logits(inner, ids[:, :-1], targets)
        loss = self.summed(logits.float(), labels, targets, inputs)
        if num_items_in_batch is None:
            return loss / targets.sum()
        return loss * self.accelerator.num_processes / num_items_in_batch  # those of all processes

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step's loss, its gradients shared between the processes that train together."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        average_gradients(self.model)
        return loss

    def summed(
        self, logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        """The cross-entropy of all targets; logits are (n_targets, vocabulary), labels and targets (rows, width)."""
        return F.cross_entropy(logits, labels[targets], reduction="sum")


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Tokens],
    config: SftConfig,
    checkpoints: Path,
    where: Machine,
    trainer_class: type[trl.SFTTrainer] = Trainer,
    *,
    watched: Sequence[Tokens] = (),
) -> trl.SFTTrainer:
    """A trainer that takes the rows in this order, batch_size at a time, once; `watched` say when to stop."""
    set_seed(config.seed)
    asked = trl.SFTConfig(
        **arguments(config, checkpoints, where),
        max_length=config.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return trainer_class(
        model=model,
        args=asked,
        train_dataset=Dataset.from_list([row._asdict() for row in rows]),
        eval_dataset=Dataset.from_list([row._asdict() for row in watched]) if watched else None,
        processing_class=tokenizer,
        peft_config=lora(config),
    )
