"""Read the history, and say who wins at which weights, who is beaten in everything, and which drafts move."""

from typing import NamedTuple

import pandas as pd

from organism.digest.designs import check_design
from organism.digest.flow import ROWS_LIMIT, check_guardrails, live_design, reward_moments, signal_moments
from organism.digest.guardrails import barred
from organism.digest.pareto import COST, LATENCY, trade_offs
from organism.digest.rank_changes import moves, places
from organism.digest.rewards import component_shares, effective_signals
from organism.digest.weight_space import ClearEdge, Flip, clear_edges, flips, ternary, winner
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.signals import known_signals, read_signal_rows


class WeightMap(NamedTuple):
    """Who wins under a design, who may not, what its reward is made of, and at which weights that changes.

    `front` has the columns of `trade_offs`; `moves` those of the function of this name, the drafts whose place changes
    most from the live design to this one, of the `n_placed` that both score (None for the live design). `mixes` has
    the columns of `ternary`. `winner` is None when no variant may win; `effective_signals` is None, and
    `component_shares` empty, where users do not differ.
    """

    design_id: str
    winner: str | None
    barred: list[str]
    effective_signals: float | None
    component_shares: dict[str, float]
    flips: list[Flip]
    clear_edges: list[ClearEdge]
    front: pd.DataFrame
    n_placed: int
    moves: pd.DataFrame | None
    mixes: pd.DataFrame


def map_weights(store: Store, loop_id: str, design: RewardDesign, *, steps: int = 24) -> WeightMap:
    """The whole space of a design's weights, and what the design changes beside the live one.

    Variants that break a guardrail may not win. Raises DesignError when the design cannot give a reward.
    """
    check_design(design, known_signals(store, loop_id))
    users = reward_moments(store, loop_id, design.signals)
    checks = check_guardrails(store, loop_id, design, users.variants)
    out = barred(checks)
    placed = _places(store, loop_id, design)
    return WeightMap(
        design_id=design.id,
        winner=winner(users, design, out),
        barred=out,
        effective_signals=effective_signals(users, design),
        component_shares=component_shares(users, design),
        flips=flips(users, design, excluded=out),
        clear_edges=clear_edges(users, design, excluded=out),
        front=trade_offs(signal_moments(store, loop_id, (COST, LATENCY)), users, design),
        n_placed=0 if placed is None else len(placed),
        moves=None if placed is None else moves(placed),
        mixes=ternary(users, design, steps, excluded=out),
    )


def _places(store: Store, loop_id: str, design: RewardDesign) -> pd.DataFrame | None:
    """The columns of `places`, on up to ROWS_LIMIT interactions of whole users; None for the live design itself."""
    live = live_design(store, loop_id)
    if live.id == design.id:
        return None
    named = sorted({spec.signal for one in (live, design) for spec in one.signals})
    return places(read_signal_rows(store, loop_id, named, limit=ROWS_LIMIT), live, design)
