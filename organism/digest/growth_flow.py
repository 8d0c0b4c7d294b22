"""Read the drafts that were sampled, and ask what a design would grow of them."""

from typing import NamedTuple

import pandas as pd

from organism.digest.cliffs import Cliff, cliff
from organism.digest.designs import GROUPS, check_design
from organism.digest.draft_pools import Pool, make_pool
from organism.digest.growth import Grown, as_sampled, group_shares, grow, sweep
from organism.errors import InputError
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.sampled_drafts import read_sampled_drafts
from organism.store.signals import known_signals


class Growth(NamedTuple):
    """What best-of-n under a design would give, beside the drafts as they were sampled.

    `shares` says where the design stands in `sweeps`, one table a group that has a signal (columns as in `sweep`).
    """

    design_id: str
    grown: Grown
    as_sampled: Grown
    cliff: Cliff | None
    shares: dict[str, float]
    sweeps: dict[str, pd.DataFrame]


def read_pool(store: Store, loop_id: str) -> Pool | None:
    """The loop's pool of sampled drafts, read once for any number of designs; None where none was sampled."""
    drafts = read_sampled_drafts(store, loop_id)
    return make_pool(drafts) if len(drafts) else None


def preview_growth(store: Store, loop_id: str, design: RewardDesign) -> Growth:
    """What this design, saved or not, would grow; nothing is trained.

    Raises DesignError when it cannot give a reward on what is known of a draft that nobody saw, InputError when no
    draft was sampled.
    """
    check_design(design, known_signals(store, loop_id))
    pool = read_pool(store, loop_id)
    if pool is None:
        raise InputError(
            "no drafts were sampled for this loop, so there is nothing to choose from; the demo ships four drafts for "
            "each of 300 prompts"
        )
    sweeps = {group: sweep(pool, design, group) for group in GROUPS}
    return Growth(
        design_id=design.id,
        grown=grow(pool, design),
        as_sampled=as_sampled(pool),
        cliff=cliff(pool, design),
        shares=group_shares(pool, design),
        sweeps={group: swept for group, swept in sweeps.items() if len(swept)},
    )
