"""Read the history once, and say who wins at which weights."""

from typing import NamedTuple

import pandas as pd

from organism.digest.designs import check_design
from organism.digest.flow import check_guardrails, reward_moments
from organism.digest.guardrails import barred
from organism.digest.rewards import component_shares, effective_signals
from organism.digest.weight_space import ClearEdge, Flip, clear_edges, flips, ternary, winner
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.signals import known_signals


class WeightMap(NamedTuple):
    """Who wins under a design, who may not, what its reward is made of, and at which weights that changes.

    `mixes` has the columns of `ternary`. `winner` is None when no variant may win; `effective_signals` is None, and
    `component_shares` empty, where users do not differ.
    """

    design_id: str
    winner: str | None
    barred: list[str]
    effective_signals: float | None
    component_shares: dict[str, float]
    flips: list[Flip]
    clear_edges: list[ClearEdge]
    mixes: pd.DataFrame


def map_weights(store: Store, loop_id: str, design: RewardDesign, *, steps: int = 24) -> WeightMap:
    """The whole space of a design's weights from one scan. Variants that break a guardrail may not win.

    Raises DesignError when the design cannot give a reward.
    """
    check_design(design, known_signals(store, loop_id))
    users = reward_moments(store, loop_id, design.signals)
    checks = check_guardrails(store, loop_id, design, users.variants)
    out = barred(checks)
    return WeightMap(
        design_id=design.id,
        winner=winner(users, design, out),
        barred=out,
        effective_signals=effective_signals(users, design),
        component_shares=component_shares(users, design),
        flips=flips(users, design, excluded=out),
        clear_edges=clear_edges(users, design, excluded=out),
        mixes=ternary(users, design, steps, excluded=out),
    )
