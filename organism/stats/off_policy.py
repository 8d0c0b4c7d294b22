"""What a policy that did not act would have earned, from the log of one that did (off-policy evaluation).

Every estimator here is a ratio of sums over rows, so that resampling whole users is all an interval needs. Weights
are w = π(a | x) / p, π the policy that is asked about and p the logged probability of what was done. Sources:
Horvitz and Thompson 1952 (IPS), Swaminathan and Joachims 2015 (SNIPS), Dudík, Langford and Li 2011 (DM, DR),
Wang, Agarwal and Dudík 2017 (switch-DR).
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.records import Interval
from organism.stats.bootstrap import Clusters, paired_bootstrap, ratios_bootstrap

Vector = npt.NDArray[np.float64]

METHODS = ("logged", "ips", "clipped_ips", "snips", "dm", "dr", "dr_gain", "switch_dr", "sndr")


class Logged(NamedTuple):
    """n logged rows and k actions: what was done with what probability, what it earned, what the policy would do.

    Shapes: reward, action (positions of actions), pscore (n,); target (n, k) shares that sum to 1; q_hat (n, k) the
    reward that a model expects of each action.
    """

    reward: npt.ArrayLike
    action: npt.ArrayLike
    pscore: npt.ArrayLike
    target: npt.ArrayLike
    q_hat: npt.ArrayLike


class WeightCheck(NamedTuple):
    """How much of the log the policy can use, by cluster (one user is one cluster; without clusters a row is).

    `effective` is Kish's (Σw)² / Σw² of the clusters' summed weights and `largest_share` the largest one's part of
    their sum, both None when every weight is 0; `max_weight` is the largest weight of a row.
    """

    effective: float | None
    largest_share: float | None
    max_weight: float
    n_clusters: int


def importance_weights(logged: Logged) -> Vector:
    """π(a | x) / p of what was done, shape (n,)."""
    return _taken(logged, logged.target) / np.asarray(logged.pscore, dtype=float)


def weight_check(logged: Logged, clusters: Clusters | None = None) -> WeightCheck:
    """How few clusters carry the estimate."""
    weights = importance_weights(logged)
    codes = np.arange(len(weights)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    summed = np.bincount(codes, weights=weights)
    total = summed.sum()
    return WeightCheck(
        float(total**2 / (summed**2).sum()) if total else None,
        float(summed.max() / total) if total else None,
        float(weights.max(initial=0.0)),
        len(summed),
    )


def estimates(
    logged: Logged,
    clusters: Clusters | None = None,
    *,
    rng: np.random.Generator,
    methods: Collection[str] = METHODS,
    clip: float = 10.0,
    n: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The policy's mean reward by each of METHODS, with a percentile interval over resampled clusters.

    `logged` is what the rows earned as they are, `dr_gain` how much more dr is. `clip` is the weight at which clipped
    IPS stops and above which switch-DR trusts the model alone. None where an estimator is undefined (all weights 0).
    The model's error is not in the intervals of dm; q_hat is held fixed.
    """
    reward = np.asarray(logged.reward, dtype=float)
    weights = importance_weights(logged)
    model = (np.asarray(logged.target, dtype=float) * np.asarray(logged.q_hat, dtype=float)).sum(axis=1)
    surprise = reward - _taken(logged, logged.q_hat)
    one = np.ones(len(reward))
    seed = int(rng.integers(2**32))
    ratios = {
        "logged": (reward, one),
        "ips": (weights * reward, one),
        "clipped_ips": (np.minimum(weights, clip) * reward, one),
        "snips": (weights * reward, weights),
        "dm": (model, one),
        "dr": (model + weights * surprise, one),
        "dr_gain": (model + weights * surprise - reward, one),
        "switch_dr": (model + np.where(weights <= clip, weights, 0.0) * surprise, one),
    }
    asked = [name for name in ratios if name in methods]
    drawn = ratios_bootstrap(
        [ratios[name] for name in asked], clusters, rng=np.random.default_rng(seed), n=n, level=level
    )
    found = dict(zip(asked, drawn, strict=True))
    if "sndr" in methods:
        found["sndr"] = paired_bootstrap(
            -weights * surprise, weights, model, one, clusters, rng=np.random.default_rng(seed), n=n, level=level
        )
    return found


def _taken(logged: Logged, table: npt.ArrayLike) -> Vector:
    """The (n, k) table's values at the action that was taken."""
    values = np.asarray(table, dtype=float)
    taken: Vector = values[np.arange(len(values)), np.asarray(logged.action, dtype=int)]
    return taken
