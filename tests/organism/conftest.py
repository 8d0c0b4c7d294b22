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

    def draft(self, user: str | None, at: datetime = START, **columns: Any) -> str:
        """An interaction without an answer yet; returns its id."""
        number = str(len(self.interactions))
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
        number = f"answer {len(self.feedback)}"
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
