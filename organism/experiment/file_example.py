"""A file to try the analysis on: made up on the spot, and said to be. No person and no product is behind it."""

from pathlib import Path

import numpy as np
import pandas as pd

EXAMPLE_NAME = "synthetic-example.csv"


def write_example(path: Path, *, seed: int = 20261121, n_users: int = 1200) -> None:
    """Synthetic requests of users under two variants as CSV: B keeps a little more text and is a little slower.

    Columns: user_id, variant, country, reward, accepted_chars, suggested_chars, accepted, latency_ms, pre_reward.
    """
    rng = np.random.default_rng(seed)
    taste = rng.normal(0, 1, n_users)
    is_b = rng.random(n_users) < 0.5
    user = np.repeat(np.arange(n_users), 1 + rng.poisson(4, n_users))
    shift = is_b[user].astype(float)
    suggested = 40 + rng.poisson(80, len(user))
    kept = 1 / (1 + np.exp(-(0.2 + 0.6 * taste[user] + 0.12 * shift + rng.normal(0, 0.8, len(user)))))
    table = pd.DataFrame(
        {
            "user_id": [f"user-{number:04d}" for number in user],
            "variant": np.where(is_b[user], "B", "A"),
            "country": np.array(["DE", "FR", "JP", "US"])[user % 4],
            "reward": (0.3 + 0.5 * kept + rng.normal(0, 0.05, len(user))).round(4),
            "accepted_chars": np.round(kept * suggested).astype(int),
            "suggested_chars": suggested,
            "accepted": (rng.random(len(user)) < kept).astype(int),
            "latency_ms": rng.lognormal(6.2 + 0.03 * shift, 0.4).round(1),
            "pre_reward": (0.55 + 0.07 * (taste + rng.normal(0, 0.5, n_users)))[user].round(4),
        }
    )
    table.to_csv(path, index=False)
