"""How surely a model would have written a given text: the loss on its tokens, which no draft has to be sampled for."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from organism.lm.decoder import Decoder
from organism.lm.framing import framed

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


def learned_logits(causal_lm: Any, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The logits at the positions where `targets` is true, (n_targets, vocabulary); ids and targets are (rows, width).

    Rows are padded on the right, so causal attention needs no mask. Only those positions pass through the head, unless
    the architecture caps or scales what comes out of it: then the model is asked as a whole.
    """
    if any(getattr(causal_lm.config, name, None) not in (None, 1, 1.0) for name in _SCALES):
        found: torch.Tensor = causal_lm(input_ids=ids, use_cache=False).logits[targets]
        return found
    hidden = causal_lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logits: torch.Tensor = causal_lm.get_output_embeddings()(hidden[targets])
    return logits


# What Gemma, Granite, Cohere and Falcon-H1 do to their logits after the head.
_SCALES = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")


def _encoded(decoder: Decoder, prompts: Sequence[str], texts: Sequence[str]) -> list[_Row]:
    tokenizer = decoder.tokenizer
    if not prompts:
        return []
    heads = tokenizer(framed(prompts, tokenizer), add_special_tokens=False).input_ids
    tails = tokenizer(list(texts), add_special_tokens=False).input_ids
    return [_Row([*head, *tail, decoder.end_id], len(head)) for head, tail in zip(heads, tails, strict=True)]


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
    logits = learned_logits(model, ids[:, :-1], targets).float()
    losses = torch.zeros(targets.shape)
    losses[targets] = F.cross_entropy(logits, ids[:, 1:][targets], reduction="none")
    return [Score(loss, len(row.ids) - row.n_prompt) for loss, row in zip(losses.sum(1).tolist(), rows, strict=True)]
