"""Build the scribe's tokenizer: byte-level BPE, digits one by one, trained on the synthetic visits themselves."""

import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from data.scribe.encounters import encounter
from data.scribe.notes import HOUSE_STYLE, generic_note, random_style, styled_note

VOCABULARY_SIZE = 2048
PAD, END, VISIT, NOTE = "<|pad|>", "<|end|>", "<|visit|>", "<|note|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|visit|>\n{{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}<|note|>\n{{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|note|>\n{% endif %}"
)


def framed(transcript: str) -> str:
    """The prompt as the model sees it; equal to what the chat template renders for one user message."""
    return f"{VISIT}\n{transcript}\n{NOTE}\n"


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Train the vocabulary on these texts; the same texts give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, END, VISIT, NOTE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[VISIT, NOTE],
        padding_side="left",
        model_max_length=640,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def tokenizer_texts(seed: int, n_visits: int = 4000) -> list[str]:
    """Transcripts and notes in many styles, made-up names among them, to learn the vocabulary from."""
    rng = random.Random(seed)
    texts = []
    for number in range(n_visits):
        visit = encounter(seed + number)
        style = HOUSE_STYLE if number % 10 == 0 else random_style(rng)
        texts += [visit.transcript, generic_note(visit), styled_note(visit, style, rng)]
    return texts


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json, its configuration and the chat template."""
    tokenizer.save_pretrained(str(folder))
