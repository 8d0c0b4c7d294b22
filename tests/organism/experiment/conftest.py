"""A running experiment of two versions, and traffic for it with a known effect."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest

from organism.experiment.assignment import assign
from organism.experiment.flow import read_experiment, start_experiment
from organism.records import ModelVersion
from organism.store.model_versions import insert_version

NOW = datetime(2026, 9, 7, 8)


@pytest.fixture
def versions(store, events) -> dict[str, str]:
    """The ids of two versions by name."""
    names = ("base", "scribe-2")
    made = [
        ModelVersion(
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
        for name in names
    ]
    store.write(lambda cursor: [insert_version(cursor, version) for version in made], "model_versions")
    return {version.name: version.model_version_id for version in made}


@pytest.fixture
def experiment_id(store, events, versions) -> str:
    return start_experiment(
        store, events.loop_id, "first", versions["base"], versions["scribe-2"], is_synthetic=True, now=NOW
    )


@pytest.fixture
def traffic(store, events, experiment_id) -> Callable[..., None]:
    """Serve users by their assignment; `retained` and the other arguments are the means of (control, treatment)."""

    def serve(
        n_users: int = 60,
        per_user: int = 8,
        retained: tuple[float, float] = (50, 75),
        latency: tuple[float, float] = (500, 520),
        final: tuple[float, float] = (110, 110),
        latency_sent: bool = True,
        seed: int = 0,
        prefix: str = "user",
    ) -> None:
        rng = np.random.default_rng(seed)
        dealt = read_experiment(store, experiment_id)
        arms = {f"{prefix}-{n}": assign(dealt.salt, f"{prefix}-{n}", dealt.variants) for n in range(n_users)}
        store.write(
            lambda cursor: cursor.executemany(
                "INSERT INTO assignments VALUES (?, ?, ?, ?, ?)",
                [[experiment_id, user, *given, NOW] for user, given in arms.items()],
            ),
            "assignments",
        )
        for n, (user, given) in enumerate(arms.items()):
            arm = given.variant == "scribe-2"
            habit = rng.normal(0, 8)
            for visit in range(per_user):
                at = NOW + timedelta(days=visit, minutes=n)
                kept = int(np.clip(retained[arm] + habit + rng.normal(0, 5), 0, 100))
                draft = events.draft(
                    user,
                    at,
                    experiment_id=experiment_id,
                    variant_id=("base", "scribe-2")[arm],
                    latency_ms=float(latency[arm] * rng.lognormal(0, 0.1)) if latency_sent else None,
                )
                events.answer(draft, at=at, retained_chars=kept, final_chars=int(final[arm]))
        events.write()

    return serve
