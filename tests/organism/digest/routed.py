"""An experiment whose routing matters: in the north scribe-1 is kept more than base, in the south less."""

from datetime import datetime, timedelta

import numpy as np

from organism.records import ModelVersion, Variant
from organism.store.database import Store
from organism.store.experiments import insert_experiment
from organism.store.model_versions import insert_version
from tests.organism.conftest import Events

NOW = datetime(2026, 10, 1)
VERSIONS = ("base", "scribe-1", "scribe-2")


def serve_experiment(store: Store, events: Events) -> str:
    """80 users, a quarter of them on scribe-1: kept 0.8 in the north and 0.3 in the south, base 0.5 everywhere."""
    for name in VERSIONS:
        version = ModelVersion(
            model_version_id=f"id-{name}",
            loop_id=events.loop_id,
            name=name,
            base_path="bundled:x",
            adapter_path=None,
            run_id=None,
            dataset_id=None,
            reward_design_id=None,
            created_at=NOW,
        )
        store.write(lambda cursor, version=version: insert_version(cursor, version), "model_versions")
    row = {
        "experiment_id": "e1",
        "loop_id": events.loop_id,
        "name": "first",
        "hypothesis": "",
        "started_at": NOW,
        "is_synthetic": True,
    }
    variants = (
        Variant(name="base", share=0.75, model_version_id="id-base"),
        Variant(name="scribe-1", share=0.25, model_version_id="id-scribe-1"),
    )
    insert_experiment(store, row, variants, {})
    rng = np.random.default_rng(2)
    for number in range(80):
        user, region = f"user-{number:02d}", ("north", "south")[number % 2]
        treated = number % 8 in (0, 1)
        mean = (0.8 if region == "north" else 0.3) if treated else 0.5
        arm = ["e1", user, "scribe-1" if treated else "base", 0.25 if treated else 0.75, NOW]
        store.execute("INSERT INTO assignments VALUES (?, ?, ?, ?, ?)", arm, "assignments")
        for visit in range(4):
            events.answered(
                user,
                retained=int(np.clip(100 * (mean + rng.normal(0, 0.05)), 0, 100)),
                at=NOW + timedelta(hours=number, minutes=visit),
                variant_id="scribe-1" if treated else "base",
                experiment_id="e1",
                region=region,
                prompt="p" * (50 + 300 * (visit % 3)),
            )
    for number in range(20):
        events.answered(f"other-{number}", retained=95, at=NOW, variant_id="scribe-2", region="north")
    events.write()
    return "e1"
