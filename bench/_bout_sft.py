"""Bouts of the recipes that imitate: `sft`, and `weighted`, whose rows count differently."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import trl

from bench._bouts import OURS, PLAIN, TRL, Bout, Work, by_plain_loop, by_trainer, gigaflops, padded, shipped_size
from data.scribe.encounters import encounter
from data.scribe.notes import generic_note
from data.scribe.tokenizer import build_tokenizer
from organism.optimize import training
from organism.optimize.configs import SftConfig
from organism.optimize.recipes import sft, weighted
from organism.optimize.runs import Example
from organism.optimize.training import IGNORED, Machine, Tokens

N_ROWS = 192


def sft_bout(where: Machine) -> Bout:
    """Notes of visits, all alike in weight."""
    return _bout(where, sft.Trainer, [1.0] * N_ROWS, {TRL: trl.SFTTrainer})


def weighted_bout(where: Machine) -> Bout:
    """The same rows, each with a weight of its own; TRL as it is has no such loss."""
    return _bout(where, weighted.Trainer, [0.5 + number / N_ROWS for number in range(N_ROWS)], {})


def _bout(
    where: Machine, own: type[trl.SFTTrainer], weights: Sequence[float], peers: dict[str, type[trl.SFTTrainer]]
) -> Bout:
    tokenizer = build_tokenizer([encounter(seed).transcript for seed in range(300)])
    visits = [encounter(seed) for seed in range(N_ROWS)]
    examples = [
        Example(visit.transcript, generic_note(visit), "user", str(n), weight=weights[n])
        for n, visit in enumerate(visits)
    ]
    config = SftConfig(epochs=1, checkpoint_every=10_000)
    rows = training.tokenized(examples, tokenizer)
    plan = training.batch_plan([len(row.input_ids) for row in rows], config.batch_size, config.epochs, config.seed)
    batches = [[rows[place] for place in batch] for batch in plan]
    ordered = [row for batch in batches for row in batch]

    def trained_by(trainer_class: type[trl.SFTTrainer]) -> Callable[[], Any]:
        def make(folder: Any) -> Any:
            model = shipped_size(len(tokenizer))
            return sft.build_trainer(model, tokenizer, ordered, config, folder, where, trainer_class)

        return lambda: by_trainer(make)

    return Bout(
        _work(batches, len(tokenizer), config.lora_r),
        {
            **{name: trained_by(trainer_class) for name, trainer_class in peers.items()},
            OURS: trained_by(own),
            PLAIN: lambda: by_plain_loop(shipped_size(len(tokenizer)), batches, plain_loss, config, where),
        },
    )


def _work(batches: Sequence[Sequence[Tokens]], vocabulary: int, lora_r: int) -> Work:
    """The first step is not clocked."""
    counted = [row for batch in batches[1:] for row in batch]
    lengths, targets = [len(row.input_ids) for row in counted], sum(row.n_targets for row in counted)
    return Work(len(batches), sum(lengths), targets, gigaflops(lengths, targets, vocabulary, lora_r))


def plain_loss(inner: Any, batch: Sequence[Tokens]) -> torch.Tensor:
    """Cross-entropy of the targets, each row's by its weight: pad, read, and nothing but the targets to the head."""
    ids, labels = padded([row.input_ids for row in batch], 0), padded([row.labels for row in batch], IGNORED)[:, 1:]
    targets = labels != IGNORED
    hidden = inner.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = inner.lm_head(hidden[targets])
    if all(row.weight == 1.0 for row in batch):
        return F.cross_entropy(logits.float(), labels[targets])
    weights = torch.tensor([row.weight for row in batch])[:, None].expand(targets.shape)[targets]
    return (F.cross_entropy(logits.float(), labels[targets], reduction="none") * weights).sum() / targets.sum()
