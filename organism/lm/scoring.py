"""How surely a model would have written a given text: the loss on its tokens, which no draft has to be sampled for."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from organism.lm.decoder import Decoder

BATCH = 16
OnBatch = Callable[[int, int], None]


class Score(NamedTuple):
    """One text under one model: the sum of -ln p over its tokens and its end token (nats), and how many they are."""

    loss: float
    n_tokens: int


class _Row(NamedTuple):
    ids: list[int]
    n_prompt: int


@torch.inference_mode()
def score_texts(
    decoder: Decoder,
    prompts: Sequence[str],
    texts: Sequence[str],
    *,
    batch_size: int = BATCH,
    on_batch: OnBatch | None = None,
) -> list[Score | None]:
    """The score of each text after its prompt, framed as the decoder frames it; None where both do not fit.

    Prompts are read, not scored. on_batch is told (texts done, texts that fit).
    """
    rows = _encoded(decoder, prompts, texts)
    fitting = [place for place, row in enumerate(rows) if len(row.ids) <= decoder.n_positions]
    by_length = sorted(fitting, key=lambda place: len(rows[place].ids))
    scores: list[Score | None] = [None] * len(rows)
    for first in range(0, len(by_length), batch_size):
        places = by_length[first : first + batch_size]
        for place, score in zip(places, _score_batch(decoder, [rows[place] for place in places]), strict=True):
            scores[place] = score
        if on_batch is not None:
            on_batch(first + len(places), len(fitting))
    return scores


def mean_loss(scores: Sequence[Score | None]) -> float | None:
    """Nats a token over all texts that fit; None without any. Its exponential is the perplexity."""
    known = [score for score in scores if score is not None]
    n_tokens = sum(score.n_tokens for score in known)
    return sum(score.loss for score in known) / n_tokens if n_tokens else None


def perplexity(loss: float | None) -> float | None:
    """exp of the mean loss (nats a token), the number of tokens the model hesitates between; None stays None."""
    return None if loss is None else math.exp(loss)


def _encoded(decoder: Decoder, prompts: Sequence[str], texts: Sequence[str]) -> list[_Row]:
    tokenizer = decoder.tokenizer
    framed = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    if not framed:
        return []
    heads = tokenizer(framed, add_special_tokens=False).input_ids
    tails = tokenizer(list(texts), add_special_tokens=False).input_ids
    return [_Row([*head, *tail, decoder.end_id], len(head)) for head, tail in zip(heads, tails, strict=True)]


_SCALES = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")
"""Models that cap or scale what comes out of their head are asked as a whole."""


def _score_batch(decoder: Decoder, rows: Sequence[_Row]) -> list[Score]:
    """Padded on the right, causal rows need no mask; only the targets pass the head."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), decoder.pad_id)
    is_target = torch.zeros((len(rows), width), dtype=torch.bool)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        is_target[place, row.n_prompt : len(row.ids)] = True
    model: Any = decoder._model
    targets = is_target[:, 1:]
    if any(getattr(model.config, name, None) not in (None, 1, 1.0) for name in _SCALES):
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits[targets].float()
    else:
        hidden = model.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.get_output_embeddings()(hidden[targets]).float()
    losses = torch.zeros(targets.shape)
    losses[targets] = F.cross_entropy(logits, ids[:, 1:][targets], reduction="none")
    return [Score(loss, len(row.ids) - row.n_prompt) for loss, row in zip(losses.sum(1).tolist(), rows, strict=True)]
