"""A loop with a base, a tuned version and a frozen set with its interactions, to be measured without a model."""

import json
from datetime import datetime
from pathlib import Path

from organism.optimize.figures import Drafts, compare, summarize
from organism.optimize.runs import Example
from organism.records import FactCheck, ModelVersion, Role, content_hash, new_id
from organism.store.database import Store
from organism.store.datasets import append_dataset
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.model_versions import ensure_base, insert_version
from tests.organism.conftest import Events

NOW = datetime(2026, 9, 7, 8)
HELDOUT = 24


class Clinic:
    """A loop with a base, a tuned version, a frozen set whose rows have interactions, and no evaluation yet."""

    def __init__(self, store: Store, events: Events, base: Path) -> None:
        self.store, self.loop_id, self.base = store, events.loop_id, str(base)
        self.examples = [self._example(events, number) for number in range(HELDOUT)]
        events.write()
        self.dataset_id = self._freeze()
        self.base_id = store.write(lambda c: ensure_base(c, self.loop_id, self.base, NOW), "model_versions")
        self.tuned_id = self.version("notes-1")

    def _example(self, events: Events, number: int) -> Example:
        user = f"user {number % 6}"
        region = "north" if number % 2 else "south"
        interaction = events.draft(user, prompt=f"visit of patient number {number} today", region=region)
        facts = (FactCheck("dose", (f"{number} mg",)),)
        return Example(f"visit of patient number {number} today", f"final text {number} mg", user, interaction, facts)

    def _freeze(self) -> str:
        rows = [
            {"row_number": place, "split": split, "interaction_id": row.interaction_id, "feedback_id": None,
             "user_key": row.user_key, "prompt": row.prompt, "completion": row.completion,
             "facts": json.dumps([fact._asdict() for fact in row.facts])}
            for place, (split, row) in enumerate(
                [("train", row) for row in self.examples[:2]] + [("heldout", row) for row in self.examples]
            )
        ]  # fmt: skip
        counts = {"n_train": 2, "n_heldout": HELDOUT, "n_users_train": 2, "n_users_heldout": 6}
        dataset_id = new_id(NOW)
        header = {"dataset_id": dataset_id, "loop_id": self.loop_id, "name": "notes", "content_hash": content_hash("x")}
        append_dataset(self.store, {**header, **counts, "dropped": {}, "created_at": NOW}, rows)
        return dataset_id

    def version(self, name: str, role: Role = Role.WRITER) -> str:
        version = ModelVersion(
            model_version_id=new_id(NOW),
            loop_id=self.loop_id,
            name=name,
            base_path=self.base,
            adapter_path=self.base,
            run_id=None,
            dataset_id=self.dataset_id,
            reward_design_id=None,
            created_at=NOW,
            role=role,
        )
        self.store.write(lambda cursor: insert_version(cursor, version), "model_versions")
        return version.model_version_id

    def measured(
        self, version_id: str, after: list[str], at: datetime = NOW, *, against: str | None = None, old: bool = False
    ) -> str:
        """An evaluation whose drafts are given; an old one knows only what the first ones knew."""
        before = Drafts(["a draft"] * HELDOUT, [2] * HELDOUT, 10.0)
        rows = compare(self.examples, before, Drafts(after, [3] * HELDOUT, 10.0))
        summary = summarize(rows, 1.0, 1.0, seed=0)
        if old:
            for name in ("win_rate", "metrics", "slices", "facts_lost", "loss_before"):
                summary.pop(name)
            rows = [{**row, "interaction_id": None} for row in rows]
        record = EvalRun(
            eval_run_id=new_id(at),
            loop_id=self.loop_id,
            run_id=None,
            model_version_id=version_id,
            baseline_version_id=against or self.base_id,
            dataset_id=self.dataset_id,
            summary=summary,
            created_at=at,
        )
        self.store.write(lambda cursor: insert_evaluation(cursor, record, rows), "eval_runs")
        return record.eval_run_id

    def perfect(self) -> list[str]:
        return [row.completion for row in self.examples]
