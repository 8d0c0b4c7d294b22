"""Bouts of the recipes that prefer: `dpo` on pairs, `kto` on thumbs.

All contenders read every text with the frozen base once: ours and the plain loop before the first step, TRL as it is at
each step. That reading counts for all of them.
"""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import trl

from bench._bouts import OURS, PLAIN, TRL, Bout, Times, Work, by_plain_loop, by_trainer, gigaflops, padded, shipped_size
from data.scribe.encounters import encounter
from data.scribe.notes import generic_note, physician_note
from data.scribe.tokenizer import build_tokenizer
from organism.optimize.configs import DpoConfig, KtoConfig
from organism.optimize.preferences import Text, reference_log_probs
from organism.optimize.recipes import dpo, kto
from organism.optimize.runs import Labeled, Pair
from organism.optimize.training import Machine, batch_plan

N_PAIRS, N_THUMBS = 96, 160
WEIGHTS = kto.Weights(1.0, 1.0)
FORWARD_SHARE = 1 / 3
"""Reading is about a third of the arithmetic of learning: a forward pass of a forward and a backward one."""


class Asked(NamedTuple):
    """One batch of the plain loop: texts and what the base finds of each; for thumbs also their signs and strangers."""

    texts: list[Text]
    before: torch.Tensor
    signs: torch.Tensor
    crossed: list[Text]
    crossed_before: torch.Tensor


def dpo_bout(where: Machine) -> Bout:
    """A physician's note over a generic one of the same visit."""
    tokenizer = build_tokenizer([encounter(seed).transcript for seed in range(300)])
    config = DpoConfig(epochs=1, checkpoint_every=10_000)
    visits = [encounter(seed) for seed in range(N_PAIRS)]
    pairs = [
        Pair(visit.transcript, physician_note(visit, n % 60, random.Random(n)), generic_note(visit), "user", str(n))
        for n, visit in enumerate(visits)
    ]
    rows = dpo.tokenized_pairs(pairs, tokenizer)
    plan = batch_plan([row.longest for row in rows], config.batch_size, config.epochs, config.seed)
    batches = [[rows[place] for place in batch] for batch in plan]
    texts = [text for batch in batches for row in batch for text in row]

    def data(reference: Sequence[float]) -> list[dict[str, Any]]:
        in_order = [row for batch in batches for row in batch]
        return [dpo.row_of(row, reference[2 * n : 2 * n + 2]) for n, row in enumerate(in_order)]

    def make(rows: list[dict[str, Any]], trainer_class: type[trl.DPOTrainer]) -> Callable[[Path], Any]:
        model = shipped_size(len(tokenizer))
        return lambda folder: dpo.build_trainer(model, tokenizer, rows, config, folder, where, trainer_class)

    def loss_of(inner: Any, batch: Asked) -> torch.Tensor:
        gained, lost = (_scores(inner, batch.texts) - batch.before).chunk(2)
        return -F.logsigmoid(config.beta * (gained - lost)).mean()

    plain = [[*(row.chosen for row in batch), *(row.rejected for row in batch)] for batch in batches]
    return Bout(
        _work(plain, 1, len(tokenizer), config.lora_r),
        {
            TRL: lambda: by_trainer(make(_bare(data([0.0] * len(texts))), _as_it_is(trl.DPOTrainer))),
            OURS: lambda: _ours(texts, len(tokenizer), where, lambda found: make(data(found), dpo.Trainer)),
            PLAIN: lambda: _plain(plain, None, len(tokenizer), config, where, loss_of),
        },
    )


def kto_bout(where: Machine) -> Bout:
    """Generic notes, every other one desirable."""
    tokenizer = build_tokenizer([encounter(seed).transcript for seed in range(300)])
    config = KtoConfig(epochs=1, checkpoint_every=10_000)
    visits = [encounter(seed) for seed in range(N_THUMBS)]
    labeled = [
        Labeled(visit.transcript, generic_note(visit), n % 2 == 0, "u", str(n)) for n, visit in enumerate(visits)
    ]
    rows = kto.tokenized_thumbs(labeled, tokenizer)
    plan = batch_plan([len(row.input_ids) for row in rows], config.batch_size, config.epochs, config.seed)

    def data(reference: Sequence[float]) -> list[dict[str, Any]]:
        return [row for batch in plan for row in kto.batch_rows(batch, rows, reference)]

    def make(rows: list[dict[str, Any]], trainer_class: type[trl.KTOTrainer]) -> Callable[[Path], Any]:
        model = shipped_size(len(tokenizer))
        return lambda folder: kto.build_trainer(model, tokenizer, rows, config, WEIGHTS, folder, where, trainer_class)

    def loss_of(inner: Any, batch: Asked) -> torch.Tensor:
        with torch.no_grad():
            z0 = (_scores(inner, batch.crossed) - batch.crossed_before).mean().clamp(min=0)
        gain = _scores(inner, batch.texts) - batch.before
        return (1 - torch.sigmoid(config.beta * batch.signs * (gain - z0))).mean()

    texts = [row.text for row in rows]
    plain = [[texts[place] for place in batch] for batch in plan]
    signs = [torch.tensor([1.0 if rows[place].label else -1.0 for place in batch]) for batch in plan]
    return Bout(
        _work(plain, 3, len(tokenizer), config.lora_r),
        {
            TRL: lambda: by_trainer(make(_bare(data([0.0] * len(texts))), _as_it_is(trl.KTOTrainer))),
            OURS: lambda: _ours(texts, len(tokenizer), where, lambda found: make(data(found), kto.Trainer)),
            PLAIN: lambda: _plain(plain, signs, len(tokenizer), config, where, loss_of),
        },
    )


def _as_it_is(trainer_class: type[Any]) -> type[Any]:
    """TRL's trainer, but for the tokenizing: the rows come as tokens."""
    return type("AsItIs", (trainer_class,), {"_prepare_dataset": lambda self, dataset, *_, **__: dataset})


def _bare(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if not name.startswith("ref_")} for row in rows]


def _ours(
    texts: Sequence[Text],
    vocabulary: int,
    where: Machine,
    make: Callable[[Sequence[float]], Callable[[Path], Any]],
) -> Times:
    began = _now()
    with tempfile.TemporaryDirectory() as folder:
        found = reference_log_probs(shipped_size(vocabulary), texts, Path(folder), where, lambda: False)
    asked = _since(began)
    return _sum(asked, by_trainer(make(found or [])))


def _plain(
    batches: Sequence[list[Text]],
    signs: Sequence[torch.Tensor] | None,
    vocabulary: int,
    config: Any,
    where: Machine,
    loss_of: Callable[[Any, Asked], torch.Tensor],
) -> Times:
    """Ask the base about all batches, then the plain loop."""
    model, nothing = shipped_size(vocabulary), torch.zeros(())
    asked, began = [], _now()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=where.bf16):
        for number, texts in enumerate(batches):
            before = _scores(model, texts)
            if signs is None:
                asked.append(Asked(texts, before, nothing, [], nothing))
                continue
            crossed = [Text(text.prompt_ids, texts[n - 1].completion_ids) for n, text in enumerate(texts)]
            asked.append(Asked(texts, before, signs[number], crossed, _scores(model, crossed)))
    return _sum(_since(began), by_plain_loop(model, asked, loss_of, config, where, "CAUSAL_LM"))


def _scores(inner: Any, texts: Sequence[Text]) -> torch.Tensor:
    """The log-probability of each text's completion."""
    ids = padded([text.input_ids for text in texts], 0)
    heads = padded([[0] * len(text.prompt_ids) + [1] * len(text.completion_ids) for text in texts], 0)
    learned = heads[:, 1:].bool()
    hidden = inner.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = inner.lm_head(hidden[learned])
    found = -F.cross_entropy(logits.float(), ids[:, 1:][learned], reduction="none")
    return torch.zeros(learned.shape).masked_scatter(learned, found).sum(1)


def _work(batches: Sequence[Sequence[Text]], n_readings: int, vocabulary: int, lora_r: int) -> Work:
    """Learning after the first step, and `n_readings` forward passes over everything."""
    learned = [text for batch in batches[1:] for text in batch]
    lengths, targets = [len(text.input_ids) for text in learned], sum(len(text.completion_ids) for text in learned)
    arithmetic = gigaflops(lengths, targets, vocabulary, lora_r) * (1 + n_readings * FORWARD_SHARE)
    return Work(len(batches), sum(lengths), targets, arithmetic)


def _now() -> Times:
    return Times(time.perf_counter(), time.process_time())


def _since(began: Times) -> Times:
    now = _now()
    return Times(now.wall - began.wall, now.processor - began.processor)


def _sum(one: Times, two: Times) -> Times:
    return Times(one.wall + two.wall, one.processor + two.processor)
