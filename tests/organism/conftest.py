"""What tests of the stages share: an empty workspace's store, and events to fill it with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from organism.records import EventKind, event_id
from organism.store.database import Store
from organism.store.events import append_events
from organism.store.loops import ensure_loop
from organism.store.schema import open_store

START = datetime(2026, 9, 7, 8)


@dataclass
class Events:
    """Interactions and their answers, collected in the order of sight and written at once."""

    store: Store
    interactions: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    loop_id: str = ""
    n_drafts: int = 0
    n_answers: int = 0

    def draft(self, user: str | None, at: datetime = START, **columns: Any) -> str:
        """An interaction without an answer yet; returns its id."""
        number = str(self.n_drafts)
        self.n_drafts += 1
        identity = event_id(at, "test", number)
        row = {
            "interaction_id": identity,
            "loop_id": self.loop_id,
            "user_key": user,
            "variant_id": "base",
            "occurred_at": at,
            "created_at": at,
            "prompt": f"prompt {number}",
            "output": "x" * 100,
            "latency_ms": 500.0,
            "cost_usd": 0.0002,
            "output_tokens": 50,
            "consent": True,
            "is_synthetic": True,
            "source": "test",
            "external_id": number,
        }
        self.interactions.append({**row, **columns})
        return identity

    def answer(self, interaction_id: str, kind: str = "edit", *, at: datetime = START, **columns: Any) -> str:
        """An answer to a draft; returns its id."""
        number = f"answer {self.n_answers}"
        self.n_answers += 1
        row = {
            "feedback_id": event_id(at, "test", number),
            "interaction_id": interaction_id,
            "kind": kind,
            "final_text": None if kind == "reject" else f"final {interaction_id}",
            "draft_chars": 100,
            "retained_chars": 0 if kind == "reject" else 60,
            "final_chars": None if kind == "reject" else 120,
            "actor_kind": "human",
            "occurred_at": at,
            "created_at": at,
            "source": "test",
            "external_id": number,
        }
        self.feedback.append({**row, **columns})
        return self.feedback[-1]["feedback_id"]

    def answered(
        self, user: str, retained: int = 60, at: datetime = START, *, kind: str = "edit", **columns: Any
    ) -> str:
        """A draft of 100 characters and, 30 minutes later, its answer."""
        identity = self.draft(user, at, **columns)
        self.answer(identity, kind, at=at + timedelta(minutes=30), retained_chars=retained)
        return identity

    def write(self) -> None:
        """Everything collected so far goes into the store, and the lists start anew."""

        def work(cursor: Any) -> None:
            append_events(cursor, EventKind.INTERACTIONS, self.interactions)
            append_events(cursor, EventKind.FEEDBACK, self.feedback)

        self.store.write(work, "interactions", "feedback_events")
        self.interactions, self.feedback = [], []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "organism.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def events(store: Store) -> Events:
    return Events(store, loop_id=ensure_loop(store, "notes", START))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder like the shipped one, but tiny: a random Llama of two layers with its own small tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|pad|>", "<|end|>", "<|visit|>", "<|note|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([f"Patient {n} takes drug {n} mg. Note: drug {n} mg." for n in range(50)], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|end|>", padding_side="left"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<|visit|>\n{{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|note|>\n{% endif %}"
    )
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    folder = tmp_path_factory.mktemp("tiny_base")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
