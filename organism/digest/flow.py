"""Read, decide, write: signals to rewards."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from organism.digest.designs import DEFAULT_DESIGN, check_design, ordered
from organism.digest.rewards import RewardMoments, moments_of_users
from organism.records import RewardDesign, SignalSpec
from organism.store.database import Store
from organism.store.reward_designs import append_design, read_design
from organism.store.signals import SIGNALS, read_utility_sums


class SavedDesign(NamedTuple):
    """Where a design was kept; `is_new` is False when it is the live recipe already."""

    reward_design_id: str
    version: int
    is_new: bool


def live_design(store: Store, loop_id: str) -> RewardDesign:
    """The loop's newest saved design, or the default where none was saved."""
    return read_design(store, loop_id) or DEFAULT_DESIGN


def save_design(store: Store, loop_id: str, design: RewardDesign, *, now: datetime) -> SavedDesign:
    """Keep a design as the loop's next version and make it live; the live recipe again is no new version.

    Raises DesignError when the design cannot give a reward.
    """
    check_design(design, SIGNALS)
    version, is_new = append_design(store, loop_id, design, now)
    return SavedDesign(design.id, version, is_new)


def reward_moments(store: Store, loop_id: str, signals: Sequence[SignalSpec]) -> RewardMoments:
    """By variant the moments over users of their utility sums (signals by name) and their row counts; one scan.

    Every weight of these signals can be tried on the result without another scan.
    """
    check_design(RewardDesign(name="draft", signals=tuple(s._replace(weight=1.0) for s in signals)), SIGNALS)
    specs = ordered(signals)
    return moments_of_users(read_utility_sums(store, loop_id, specs), [spec.signal for spec in specs])
