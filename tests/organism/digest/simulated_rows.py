"""Rows of signals with a known truth, for the validity check and the audit: a clean version, a hack, and no change."""

import numpy as np
import pandas as pd

N_USERS, PER_USER = 60, 25


def served(
    variant: str, rng: np.random.Generator, *, better: float = 0.0, hack: float = 0.0, n_users: int = N_USERS
) -> pd.DataFrame:
    """What the users of one version sent back. Users differ, and are the same people under every version.

    `better` raises how much of the needed text is written well. `hack` (0 to 1) leaves that much of it unwritten:
    what is offered survives better, is cheap and fast, and the rest has to be typed by hand.
    """
    users = np.repeat(np.arange(n_users), PER_USER)
    own = np.random.default_rng(0).normal(scale=0.08, size=n_users)[users]
    n = len(users)
    skill = np.clip(0.55 + better + own + rng.normal(scale=0.15, size=n), 0.02, 0.98)
    offered = np.clip(1 - hack + rng.normal(scale=0.05, size=n), 0.1, 1.0)
    retained = np.clip(skill + 0.3 * hack, 0.02, 0.99)
    written = retained * offered
    tokens = np.maximum(20, 150 * offered + rng.normal(scale=15, size=n))
    return pd.DataFrame(
        {
            "interaction_id": [f"{variant}-{k}" for k in range(n)],
            "variant": variant,
            "user_key": [f"user-{k}" for k in users],
            "region": "north",
            "experiment_id": None,
            "accepted": (rng.uniform(size=n) < retained).astype(float),
            "cost_usd": tokens * 2e-6,
            "latency_ms": 200 + 5 * tokens + rng.normal(scale=60, size=n),
            "output_tokens": tokens,
            "retained_char_rate": np.where(rng.uniform(size=n) < 0.85, retained, np.nan),
            "written_share": written,
            "outcome.signed": (rng.uniform(size=n) < np.clip(1.1 * written - 0.05, 0, 1)).astype(float),
            "answer.quality": np.where(rng.uniform(size=n) < 0.2, 5 * written + rng.normal(scale=0.7, size=n), np.nan),
        }
    )


def clinic(seed: int, *, n_users: int = N_USERS) -> pd.DataFrame:
    """Three versions of the same users: base, a clean better one, and one that earns reward by offering less."""
    rng = np.random.default_rng(seed)
    parts = [
        served("base", rng, n_users=n_users),
        served("clean", rng, better=0.25, n_users=n_users),
        served("brief", rng, hack=0.55, better=0.2, n_users=n_users),
    ]
    return pd.concat(parts, ignore_index=True)
