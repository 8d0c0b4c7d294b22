"""The ring for training benchmarks: contenders that train the same adapter on the same batches, clocked in turn.

A bout is one recipe: TRL's trainer as it is, the product's, and the plainest torch loop that does the same work. Each
recipe's bout stands in a file of its own (`_bout_sft.py`, …) and is named in train.py.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback, set_seed

from organism.optimize.configs import TrainingConfig
from organism.optimize.training import Machine

TRL, OURS, PLAIN = "TRL as it is", "ours", "plain loop"
HIDDEN, INNER, LAYERS, POSITIONS = 256, 704, 4, 640
PEAK_SIZE, PEAK_SECONDS = 2048, 1.0


class Times(NamedTuple):
    """Seconds on the wall and of the processor, from the end of the first step to the end of the last."""

    wall: float
    processor: float


class Work(NamedTuple):
    """What every contender does between its first step's end and its last: tokens read, tokens learned, arithmetic."""

    n_steps: int
    tokens: int
    targets: int
    gigaflops: float


class Bout(NamedTuple):
    """One recipe: the work, and who does it."""

    work: Work
    contenders: Mapping[str, Callable[[], Times]]


class Clock(TrainerCallback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[Times] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(Times(time.perf_counter(), time.process_time()))

    def times(self) -> Times:
        first, last = self.ends[0], self.ends[-1]
        return Times(last.wall - first.wall, last.processor - first.processor)


def shipped_size(vocabulary: int) -> LlamaForCausalLM:
    """A model of the shipped base's shape; its weights do not matter for speed."""
    set_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


def gigaflops(lengths: Sequence[int], targets: int, vocabulary: int, lora_r: int) -> float:
    """Arithmetic of training a LoRA adapter on texts of these lengths, the head on `targets` tokens alone.

    Two operations a weight a token forward, and two backward, since frozen weights need no gradient of their own;
    three times two for the adapter's (Kaplan et al. 2020, 2.1). Attention over the causal half: scores and values, and
    twice that backward.
    """
    frozen = LAYERS * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER)
    adapter = LAYERS * lora_r * (4 * 2 * HIDDEN + 3 * (HIDDEN + INNER))
    dense = sum(lengths) * (4 * frozen + 6 * adapter)
    attention = sum(3 * LAYERS * 4 * HIDDEN * length * length / 2 for length in lengths)
    head = targets * 4 * HIDDEN * vocabulary
    return (dense + attention + head) / 1e9


def peak_gigaflops(bf16: bool) -> float:
    """The fastest that this machine multiplies two large square matrices, in the precision that it trains in."""
    kind = torch.bfloat16 if bf16 else torch.float32
    one, two = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(kind) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + PEAK_SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(one, two)
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIZE**3 / best / 1e9


def by_trainer(make: Callable[[Path], Any]) -> Times:
    """Train with the trainer that `make` builds for a folder of checkpoints."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make(Path(folder))
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    return clock.times()


def by_plain_loop(
    model: Any,
    batches: Sequence[Any],
    loss_of: Callable[[Any, Any], torch.Tensor],
    config: TrainingConfig,
    where: Machine,
    task_type: str | None = None,
) -> Times:
    """The same work in the fewest lines: loss, backward, clip, step. `loss_of` gets the base with the adapter in it."""
    lora = LoraConfig(r=config.lora_r, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type=task_type)
    adapted = get_peft_model(model, lora)
    inner = adapted.get_base_model()
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.0, fused=True)
    adapted.train()
    clock = Clock()
    for step, batch in enumerate(batches):
        with torch.autocast("cpu", torch.bfloat16, enabled=where.bf16):
            loss = loss_of(inner, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - step / len(batches))
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        clock.on_step_end()
    return clock.times()


def padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    """Rows of ids as one tensor, padded on the right."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])


def fight(name: str, bout: Bout, n_rounds: int, where: Machine, wanted: float) -> bool:
    """Clock all contenders once a round, in another order each time, and print how they did; whether ours did well.

    What counts is the ratio within a round on a quiet machine; on a busy one that by processor time, which neighbors
    disturb less.
    """
    work = bout.work
    print(f"\n{name}: {work.n_steps} steps, {work.tokens} tokens, {work.targets} of them targets; {where}")
    taken: dict[str, list[Times]] = {contender: [] for contender in bout.contenders}
    for number in range(n_rounds):
        order = list(bout.contenders)
        random.Random(number).shuffle(order)
        for contender in order:
            taken[contender].append(bout.contenders[contender]())
        said = ", ".join(f"{contender} {work.tokens / taken[contender][-1].wall:,.0f}" for contender in bout.contenders)
        print(f"round {number + 1}, tokens/s: {said}", flush=True)
    return _report(taken, work, peak_gigaflops(where.bf16), wanted)


def _report(taken: Mapping[str, Sequence[Times]], work: Work, peak: float, wanted: float) -> bool:
    print(
        f"{'':<14}{'all tokens/s':>13}{'targets/s':>11}{'of peak':>9}   times the plain loop (each round), by processor"
    )
    ratios: dict[str, float] = {}
    for name, mine in taken.items():
        wall = [plain.wall / own.wall for own, plain in zip(mine, taken[PLAIN], strict=True)]
        processor = [plain.processor / own.processor for own, plain in zip(mine, taken[PLAIN], strict=True)]
        ratios[name] = statistics.median(processor)
        seconds = statistics.median(own.wall for own in mine)
        each = " ".join(f"{ratio:.2f}" for ratio in wall)
        print(
            f"{name:<14}{work.tokens / seconds:>13,.0f}{work.targets / seconds:>11,.0f}"
            f"{work.gigaflops / seconds / peak:>9.1%}   {statistics.median(wall):.2f} ({each}), {ratios[name]:.2f}"
        )
    is_met = ratios[OURS] >= wanted
    print(f"matmul peak {peak:,.0f} GFLOP/s ({PEAK_SIZE} squared); arithmetic of the work {work.gigaflops:,.0f} GFLOP")
    print(f"wanted: ours at least {wanted} of the plain loop by processor time: {'met' if is_met else 'MISSED'}")
    return is_met
