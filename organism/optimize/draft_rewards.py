"""What a reward design makes of drafts whose prompt has an expert's final text: while training, and held out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from organism.lm.framing import framed
from organism.measures.draft_reward import draft_reward, draft_signals
from organism.optimize.configs import GrpoConfig, TrainingConfig
from organism.optimize.paired import change_by_user, pair
from organism.optimize.runs import Example, RunFolder, fact_checks, write_json


def signals_of(
    example: Example, text: str, tokens: int, prompt_tokens: int, *, seconds: float | None = None
) -> dict[str, float | None]:
    """The signals of one draft of this row, against what its expert finally kept."""
    return draft_signals(
        text,
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        seconds=seconds,
        reference=example.completion,
        facts=example.facts,
    )


def add_rewards(run: RunFolder, base: Path, design: Mapping[str, Any], config: TrainingConfig) -> None:
    """Add to evaluation.json what the design makes of the held-out drafts: reward_before, reward_after, reward_gain_ci.

    A draft that breaks a guardrail counts 0. The interval resamples whole users.
    """
    written = json.loads(run.evaluation.read_text(encoding="utf-8"))
    rows = written["rows"]
    tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    prompts = tokenizer(framed([row["prompt"] for row in rows], tokenizer), add_special_tokens=False).input_ids
    lengths = [len(ids) for ids in prompts]
    before, after = (_rewards(rows, which, lengths, design, config) for which in ("before", "after"))
    ones = [1.0] * len(rows)
    change = change_by_user(rows, before, ones, after, ones, config.seed)
    figures = {
        "reward_before": float(np.mean(before)),
        "reward_after": float(np.mean(after)),
        "reward_gain_ci": pair(change),
    }
    write_json(run.evaluation, {**written, "summary": {**written["summary"], **figures}})


def _rewards(
    rows: Sequence[Mapping[str, Any]],
    which: str,
    prompt_lengths: Sequence[int],
    design: Mapping[str, Any],
    config: TrainingConfig,
) -> list[float]:
    found = []
    for row, n_prompt in zip(rows, prompt_lengths, strict=True):
        facts = fact_checks(row["measures"]["facts"])
        example = Example(row["prompt"], row["final_text"], row["user_key"], row["interaction_id"], facts)
        n_tokens = row["measures"][f"tokens_{which}"]
        seconds = config.seconds(n_prompt, n_tokens) if isinstance(config, GrpoConfig) else None
        signals = signals_of(example, row[which], n_tokens, n_prompt, seconds=seconds)
        found.append(draft_reward(design, signals) or 0.0)
    return found
