"""Experiments that run, written straight into the store: the variants need no model here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from organism.records import Variant, new_id
from organism.store.database import Store
from organism.store.experiments import insert_experiment

NOW = datetime(2026, 9, 7, 8)


def run(
    store: Store,
    loop_id: str,
    name: str = "first",
    *,
    versions: Sequence[str] = ("a", "b"),
    shares: Sequence[float] = (0.5, 0.5),
    layer: tuple[str, float, float] | None = None,
    targeting: dict[str, Any] | None = None,
    policy: str = "hash",
    primary: str = "accepted",
    status: str = "running",
    at: datetime = NOW,
) -> str:
    """Start an experiment of variants that the product serves by itself; returns its id."""
    experiment_id = new_id(at)
    row: dict[str, Any] = {
        "experiment_id": experiment_id,
        "loop_id": loop_id,
        "name": name,
        "hypothesis": "",
        "started_at": at,
        "is_synthetic": True,
        "policy": policy,
        "targeting": targeting,
        "status": status,
    }
    if layer is not None:
        row |= dict(zip(("layer", "layer_low", "layer_high"), layer, strict=True))
    variants = [Variant(name=one, share=share) for one, share in zip(versions, shares, strict=True)]
    insert_experiment(store, row, variants, {"primary": [primary]})
    return experiment_id
