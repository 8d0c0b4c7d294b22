"""Tokens per second of one LoRA run: TRL as it is, ours, and the plainest torch loop, on the same batches.

`python -m bench.train [ROUNDS]`. All three train the same adapter on the same rows in the same order, one after the
other within a round, in another order each round. What counts is the ratio within a round, on a quiet machine; on a
busy one look at the ratio by processor time, which neighbors disturb less.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from organism.optimize.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch reads it

import torch
import torch.nn.functional as F
import trl
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback, set_seed

from data.scribe.encounters import encounter
from data.scribe.notes import generic_note
from data.scribe.tokenizer import build_tokenizer
from organism.optimize import training
from organism.optimize.configs import SftConfig
from organism.optimize.recipes import sft
from organism.optimize.runs import Example

N_ROWS, WANTED = 192, 0.95
PLAIN = "plain loop"
Batches = Sequence[Sequence[training.Tokens]]


def shipped_size(vocabulary: int) -> LlamaForCausalLM:
    """A model of the shipped base's shape; its weights do not matter for speed."""
    set_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=640,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


class Times(NamedTuple):
    """Seconds on the wall and of the processor, from the end of the first step to the end of the last."""

    wall: float
    processor: float


class Clock(TrainerCallback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[Times] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(Times(time.perf_counter(), time.process_time()))

    def times(self) -> Times:
        first, last = self.ends[0], self.ends[-1]
        return Times(last.wall - first.wall, last.processor - first.processor)


def by_trainer(
    trainer_class: type[trl.SFTTrainer], tokenizer: Any, batches: Batches, config: SftConfig, where: training.Machine
) -> Times:
    """Train with this trainer."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for batch in batches for row in batch]
        model = shipped_size(len(tokenizer))
        trainer = sft.build_trainer(model, tokenizer, rows, config, Path(folder), where, trainer_class)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    return clock.times()


def by_plain_loop(tokenizer: Any, batches: Batches, config: SftConfig, where: training.Machine) -> Times:
    """The same work in the fewest lines: pad, forward, loss on the targets, backward, clip, step."""
    lora = LoraConfig(r=config.lora_r, lora_alpha=config.lora_alpha, target_modules="all-linear")
    model = get_peft_model(shipped_size(len(tokenizer)), lora)
    inner = model.get_base_model()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.0, fused=True)
    model.train()
    clock = Clock()
    for step, batch in enumerate(batches):
        width = max(len(row.input_ids) for row in batch)
        ids = torch.tensor([row.input_ids + [0] * (width - len(row.input_ids)) for row in batch])
        labels = torch.tensor([row.labels + [training.IGNORED] * (width - len(row.labels)) for row in batch])[:, 1:]
        targets = labels != training.IGNORED
        with torch.autocast("cpu", torch.bfloat16, enabled=where.bf16):
            hidden = inner.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
            logits = inner.lm_head(hidden[targets])
        loss = F.cross_entropy(logits.float(), labels[targets])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - step / len(batches))
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        clock.on_step_end()
    return clock.times()


def main(n_rounds: int) -> int:
    """Print tokens per second and the ratios to the plain loop; 1 when ours is slower than WANTED of it."""
    tokenizer = build_tokenizer([encounter(seed).transcript for seed in range(300)])
    visits = [encounter(seed) for seed in range(N_ROWS)]
    examples = [Example(visit.transcript, generic_note(visit), "user", str(n)) for n, visit in enumerate(visits)]
    config = SftConfig(epochs=1, checkpoint_every=10_000)
    where = training.machine(config)._replace(device="cpu")
    torch.set_num_threads(where.threads)
    rows = training.tokenized(examples, tokenizer)
    plan = training.batch_plan([len(row.input_ids) for row in rows], config.batch_size, config.epochs, config.seed)
    batches = [[rows[place] for place in batch] for batch in plan]
    contenders: dict[str, Callable[[], Times]] = {
        "TRL as it is": lambda: by_trainer(trl.SFTTrainer, tokenizer, batches, config, where),
        "ours": lambda: by_trainer(sft.Trainer, tokenizer, batches, config, where),
        PLAIN: lambda: by_plain_loop(tokenizer, batches, config, where),
    }
    counted = sum(len(row.input_ids) for batch in batches[1:] for row in batch)
    n_targets = sum(row.n_targets for batch in batches[1:] for row in batch)
    print(f"{len(batches)} steps of {config.batch_size} rows, {counted} tokens, {n_targets} of them targets; {where}")
    taken: dict[str, list[Times]] = {name: [] for name in contenders}
    for number in range(n_rounds):
        order = list(contenders)
        random.Random(number).shuffle(order)
        for name in order:
            taken[name].append(contenders[name]())
        said = ", ".join(f"{name} {counted / taken[name][-1].wall:,.0f}" for name in contenders)
        print(f"round {number + 1}, tokens/s: {said}", flush=True)
    return report(taken, counted, n_targets)


def report(taken: dict[str, list[Times]], counted: int, n_targets: int) -> int:
    """Print a line a contender; 1 when ours misses what is wanted."""
    print(f"\n{'':<14}{'all tokens/s':>13}{'targets/s':>11}   times the plain loop (each round), by processor time")
    ratios: dict[str, float] = {}
    for name, mine in taken.items():
        wall = [plain.wall / own.wall for own, plain in zip(mine, taken[PLAIN], strict=True)]
        processor = [plain.processor / own.processor for own, plain in zip(mine, taken[PLAIN], strict=True)]
        ratios[name] = statistics.median(wall)
        speed = counted / statistics.median(own.wall for own in mine)
        each = " ".join(f"{ratio:.2f}" for ratio in wall)
        print(
            f"{name:<14}{speed:>13,.0f}{speed * n_targets / counted:>11,.0f}   "
            f"{ratios[name]:.2f} ({each}), {statistics.median(processor):.2f}"
        )
    is_met = ratios["ours"] >= WANTED
    print(f"wanted: ours at least {WANTED} of the plain loop: {'met' if is_met else 'MISSED'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
