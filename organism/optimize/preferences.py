"""What DPO and KTO share: texts as tokens, and how likely a model finds them, computed on the completions alone.

The reference is the base itself. It never changes, so each text is scored once, before the first step, and the scores
are kept in the run's folder: a resumed run compares with the very same numbers.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerBase

from organism.lm.framing import framed
from organism.optimize.processes import is_first
from organism.optimize.runs import write_json
from organism.optimize.training import Machine, learned_logits

REFERENCE = "reference.json"
REFERENCE_BATCH = 16


class Text(NamedTuple):
    """One completion of one prompt, in tokens; the completion ends with the end token."""

    prompt_ids: list[int]
    completion_ids: list[int]

    @property
    def input_ids(self) -> list[int]:
        return [*self.prompt_ids, *self.completion_ids]


def texts_of(prompts: Sequence[str], completions: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Text]:
    """Prompt in the chat template, then the completion and the end token, as `training.tokenized` has them."""
    heads = tokenizer(framed(list(prompts), tokenizer), add_special_tokens=False).input_ids
    tails = tokenizer(list(completions), add_special_tokens=False).input_ids
    return [Text(head, [*tail, tokenizer.eos_token_id]) for head, tail in zip(heads, tails, strict=True)]


def token_log_probs(causal_lm: Any, ids: torch.Tensor, learned: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    """The log-probability of every learned token, 0 elsewhere; shape (rows, width - 1).

    `ids` and `learned` are (rows, width), padded on the right, so that causal attention needs no mask; only the
    learned tokens pass through the head.
    """
    targets = learned[:, 1:].bool()
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
        logits = learned_logits(causal_lm, ids[:, :-1], targets)
    found = -F.cross_entropy(logits.float(), ids[:, 1:][targets], reduction="none")
    return torch.zeros(targets.shape, device=ids.device).masked_scatter(targets, found)


def reference_log_probs(
    causal_lm: Any, texts: Sequence[Text], folder: Path, where: Machine, stop_asked: Callable[[], bool]
) -> list[float] | None:
    """How likely the untrained model finds each text: the sum over its completion's tokens.

    Read from `folder` where an earlier start left them. None when somebody asked to stop meanwhile.
    """
    file = folder / REFERENCE
    if file.exists():
        kept: list[float] = json.loads(file.read_text(encoding="utf-8"))["log_probs"]
        if len(kept) == len(texts):
            return kept
    causal_lm.to(where.device).eval()
    scores = [0.0] * len(texts)
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place].input_ids))
    for first in range(0, len(by_length), REFERENCE_BATCH):
        if stop_asked():
            return None
        places = by_length[first : first + REFERENCE_BATCH]
        for place, score in zip(places, _scored(causal_lm, [texts[p] for p in places], where), strict=True):
            scores[place] = score
    if is_first():
        write_json(file, {"log_probs": scores})
    return scores


@torch.no_grad()
def _scored(causal_lm: Any, texts: Sequence[Text], where: Machine) -> list[float]:
    width = max(len(text.input_ids) for text in texts)
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    learned = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text.input_ids)] = torch.tensor(text.input_ids)
        learned[row, len(text.prompt_ids) : len(text.input_ids)] = 1
    device = where.device
    scores: list[float] = (
        token_log_probs(causal_lm, ids.to(device), learned.to(device), bf16=where.bf16).sum(1).tolist()
    )
    return scores
