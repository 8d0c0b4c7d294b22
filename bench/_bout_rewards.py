"""Bouts of the recipes around a reward: `reward_model` on pairs, and `grpo`, which drafts before it learns.

The model of `grpo` is untrained, so that hardly a draft ends before its limit and all contenders write as much. The
plain loop drafts through the adapted model's own forward with its cache, and scores the drafts as ours does. What rlaif
trains, dpo clocks.
"""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import trl
from transformers import LlamaConfig, LlamaForSequenceClassification, set_seed

from bench._bouts import (
    HIDDEN,
    INNER,
    LAYERS,
    OURS,
    PLAIN,
    POSITIONS,
    TRL,
    Bout,
    Times,
    Work,
    by_plain_loop,
    by_trainer,
    gigaflops,
    padded,
    shipped_size,
)
from data.scribe.encounters import encounter
from data.scribe.notes import generic_note, physician_note
from data.scribe.tokenizer import build_tokenizer, save_tokenizer
from organism.lm.framing import framed
from organism.lm.reward_judge import rewards_of
from organism.optimize.configs import GrpoConfig, RewardModelConfig
from organism.optimize.recipes import dpo, grpo, reward_model
from organism.optimize.runs import Example, Pair
from organism.optimize.training import Machine, batch_plan
from organism.records import RewardDesign, SignalSpec

N_PAIRS, N_STEPS, N_TOKENS = 96, 4, 64
DESIGN = RewardDesign(name="written", signals=(SignalSpec("written_share", 1.0, 0.0, 1.0),)).spec()


def reward_model_bout(where: Machine) -> Bout:
    """A physician's note over a generic one of the same visit; the base gets a head of one number."""
    tokenizer = build_tokenizer([encounter(seed).transcript for seed in range(300)])
    config = RewardModelConfig(epochs=1, checkpoint_every=10_000)
    visits = [encounter(seed) for seed in range(N_PAIRS)]
    pairs = [
        Pair(visit.transcript, physician_note(visit, n % 60, random.Random(n)), generic_note(visit), "user", str(n))
        for n, visit in enumerate(visits)
    ]
    rows = dpo.tokenized_pairs(pairs, tokenizer)
    plan = batch_plan([row.longest for row in rows], config.batch_size, config.epochs, config.seed)
    batches = [[rows[place] for place in batch] for batch in plan]
    ordered = [row for batch in batches for row in batch]

    def trainer(trainer_class: type[trl.RewardTrainer]) -> Times:
        model = _classifier(len(tokenizer))
        return by_trainer(
            lambda folder: reward_model.build_trainer(model, tokenizer, ordered, config, folder, where, trainer_class)
        )

    def loss_of(inner: Any, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        lengths = torch.tensor([len(ids) for ids in texts])
        chosen, rejected = rewards_of(inner, padded(texts, 0), lengths, bf16=where.bf16).chunk(2)
        return -F.logsigmoid(chosen - rejected).mean() + config.centering * ((chosen + rejected) ** 2).mean()

    plain = [
        [*(row.chosen.input_ids for row in batch), *(row.rejected.input_ids for row in batch)] for batch in batches
    ]
    lengths = [len(ids) for batch in plain[1:] for ids in batch]
    return Bout(
        Work(len(batches), sum(lengths), len(lengths), gigaflops(lengths, 0, len(tokenizer), config.lora_r)),
        {
            TRL: lambda: trainer(trl.RewardTrainer),
            OURS: lambda: trainer(reward_model.Trainer),
            PLAIN: lambda: by_plain_loop(_classifier(len(tokenizer)), plain, loss_of, config, where, "SEQ_CLS"),
        },
    )


def grpo_bout(where: Machine) -> Bout:
    """A few steps of drafting, grading and learning."""
    tokenizer = build_tokenizer([encounter(seed).transcript for seed in range(300)])
    config = GrpoConfig(batch_size=16, max_new_tokens=N_TOKENS, checkpoint_every=10_000, floor_share=0.0)
    a_step = config.batch_size // config.group_size
    visits = [encounter(seed) for seed in range(N_STEPS * a_step)]
    examples = [Example(visit.transcript, generic_note(visit), "user", str(n)) for n, visit in enumerate(visits)]
    ids = tokenizer(framed([row.prompt for row in examples], tokenizer), add_special_tokens=False).input_ids
    prompts = [grpo.Prompt(row, head, {}) for row, head in zip(examples, ids, strict=True)]
    plan = batch_plan([len(head) for head in ids], a_step, 1, config.seed)
    grader = grpo.Grader(DESIGN, prompts, config)

    def trainer(trainer_class: type[trl.GRPOTrainer], *, drafts_itself: bool) -> Times:
        model = shipped_size(len(tokenizer))
        with tempfile.TemporaryDirectory() as base:
            model.save_pretrained(base)
            save_tokenizer(tokenizer, Path(base))
            rollout = grpo.Rollout(Path(base), where, config) if drafts_itself else None
        return by_trainer(
            lambda folder: grpo.build_trainer(
                model, tokenizer, plan, grader, rollout, config, folder, where, trainer_class
            )
        )

    def loss_of(inner: Any, batch: Sequence[int]) -> torch.Tensor:
        asked = [prompts[place] for place in batch for _ in range(config.group_size)]
        written = _drafted(inner, [row.prompt_ids for row in asked], where)
        texts = tokenizer.batch_decode(written)
        places = [place for place in batch for _ in range(config.group_size)]
        rewards = torch.tensor(grader(texts, written, places, lambda name, value: None)).view(-1, config.group_size)
        advantages = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).view(-1, 1)
        whole = padded([[*row.prompt_ids, *text] for row, text in zip(asked, written, strict=True)], 0)
        heads = padded([[0] * len(row.prompt_ids) + [1] * N_TOKENS for row in asked], 0)
        learned = heads[:, 1:].bool()
        hidden = inner.model(input_ids=whole[:, :-1], use_cache=False).last_hidden_state
        found = -F.cross_entropy(inner.lm_head(hidden[learned]).float(), whole[:, 1:][learned], reduction="none")
        ratio = (found - found.detach()).exp()
        return -(ratio * advantages.expand(-1, N_TOKENS).flatten()).mean()

    lengths = [len(prompts[place].prompt_ids) + N_TOKENS for batch in plan[1:] for place in batch] * config.group_size
    targets = len(lengths) * N_TOKENS
    # Drafting reads and writes every token once, forward: a third of what learning from it takes.
    arithmetic = gigaflops(lengths, targets, len(tokenizer), config.lora_r) * (1 + 1 / 3)
    return Bout(
        Work(len(plan), sum(lengths), targets, arithmetic),
        {
            TRL: lambda: trainer(trl.GRPOTrainer, drafts_itself=False),
            OURS: lambda: trainer(grpo.Trainer, drafts_itself=True),
            PLAIN: lambda: by_plain_loop(shipped_size(len(tokenizer)), plan, loss_of, config, where, "CAUSAL_LM"),
        },
    )


@torch.no_grad()
def _drafted(inner: Any, heads: Sequence[Sequence[int]], where: Machine) -> list[list[int]]:
    """N_TOKENS sampled tokens after each prompt, padded on the left, through the model's own forward and cache."""
    width = max(map(len, heads))
    ids = torch.tensor([[0] * (width - len(head)) + list(head) for head in heads])
    seen = torch.tensor([[0] * (width - len(head)) + [1] * len(head) for head in heads])
    cache, written = None, []
    for _ in range(N_TOKENS):
        positions = (seen.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        found = inner(
            input_ids=ids,
            attention_mask=seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = found.past_key_values
        ids = torch.multinomial(found.logits[:, -1].float().softmax(-1), 1)
        seen = torch.cat([seen, torch.ones_like(ids)], dim=1)
        written.append(ids)
    return torch.cat(written, dim=1).tolist()


def _classifier(vocabulary: int) -> LlamaForSequenceClassification:
    set_seed(0)
    return LlamaForSequenceClassification(
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
            num_labels=1,
        )
    )
