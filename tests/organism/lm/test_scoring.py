"""The loss on given texts is that of transformers, whatever the batch, and what does not fit is not scored."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from organism.lm.decoder import Decoder
from organism.lm.scoring import score_texts

PROMPTS = ["Patient 1 takes drug 1 mg.", "Patient 2.", "Patient 3 takes drug 3 mg. Note it."]
TEXTS = ["drug 1 mg.", "Note: drug 2 mg. And more words.", ""]


@pytest.fixture(scope="module")
def decoder(tiny_base: Path) -> Decoder:
    return Decoder.from_folder(tiny_base)


def test_the_loss_is_that_of_transformers_on_the_text_and_its_end(decoder: Decoder, tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    for prompt, text, score in zip(PROMPTS, TEXTS, score_texts(decoder, PROMPTS, TEXTS), strict=True):
        head = decoder.tokenizer(f"<|visit|>\n{prompt}\n<|note|>\n", add_special_tokens=False).input_ids
        tail = [*decoder.tokenizer(text, add_special_tokens=False).input_ids, decoder.end_id]
        ids, labels = torch.tensor([head + tail]), torch.tensor([[-100] * len(head) + tail])
        with torch.no_grad():
            mean = model(input_ids=ids, labels=labels).loss.item()
        assert score is not None
        assert score.n_tokens == len(tail)
        assert score.loss / score.n_tokens == pytest.approx(mean, rel=1e-4)


def test_the_batch_changes_nothing_and_progress_is_told(decoder: Decoder) -> None:
    told: list[tuple[int, int]] = []
    alone = score_texts(decoder, PROMPTS, TEXTS, batch_size=1, on_batch=lambda *done: told.append(done))
    together = score_texts(decoder, PROMPTS, TEXTS, batch_size=3)
    assert [row.loss for row in alone if row] == pytest.approx([row.loss for row in together if row], rel=1e-4)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_text_beyond_the_context_is_not_scored(decoder: Decoder) -> None:
    scores = score_texts(decoder, ["p", "p"], ["word " * 200, "word"])
    assert scores[0] is None
    assert scores[1] is not None
    assert score_texts(decoder, [], []) == []
