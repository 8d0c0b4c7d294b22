"""Read, decide, write: signals to rewards."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from organism.digest.designs import DEFAULT_DESIGN, check_design, check_note, ordered
from organism.digest.guardrails import ConstraintCheck, barred, constraint_checks
from organism.digest.rewards import RewardMoments, moments_of_signal, moments_of_users
from organism.digest.versions_compared import compared
from organism.digest.weight_space import nearest_flip
from organism.digest.what_if import WhatIf, choose_control, try_design
from organism.records import Moments, RewardDesign, SignalSpec
from organism.stats.compare import Comparison
from organism.store.database import Store
from organism.store.model_versions import read_base_names
from organism.store.reward_designs import append_design, read_design
from organism.store.signals import known_signals, read_coverage, read_signal_rows, read_signal_sums, read_utility_sums

ROWS_LIMIT = 20_000


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

    Raises DesignError when the design cannot give a reward, or when its note does not say what should get better.
    """
    check_design(design, known_signals(store, loop_id))
    check_note(design)
    version, is_new = append_design(store, loop_id, design, now)
    return SavedDesign(design.id, version, is_new)


def reward_moments(store: Store, loop_id: str, signals: Sequence[SignalSpec]) -> RewardMoments:
    """By variant the moments over users of their utility sums (signals by name) and their row counts; one scan.

    Every weight of these signals can be tried on the result without another scan.
    """
    check_design(
        RewardDesign(name="draft", signals=tuple(s._replace(weight=1.0) for s in signals)),
        known_signals(store, loop_id),
    )
    specs = ordered(signals)
    return moments_of_users(read_utility_sums(store, loop_id, specs), [spec.signal for spec in specs])


def signal_moments(store: Store, loop_id: str, signals: Sequence[str]) -> dict[str, dict[str, Moments]]:
    """By signal and variant the moments over users of two columns, the signal's sum and its count; one scan.

    Each signal on the interactions that carry it; a variant without any is not there, so that silence is no zero.
    """
    named = list(dict.fromkeys(signals))
    sums = read_signal_sums(store, loop_id, named) if named else None
    return {} if sums is None else {name: moments_of_signal(sums, place) for place, name in enumerate(named)}


def signal_difference(
    store: Store, loop_id: str, signal: str, *, control: str, treatment: str, limit: int = ROWS_LIMIT
) -> Comparison:
    """Treatment's mean of a signal less control's, clustered by user; users seen under both count as the same people.

    On up to `limit` interactions of whole users, the same each time.
    """
    rows = read_signal_rows(store, loop_id, [signal], limit=limit, variants=[control, treatment])
    return compared(rows, signal, (rows["variant"] == treatment).to_numpy(dtype=bool))


def what_if(store: Store, loop_id: str, design: RewardDesign, *, control: str | None = None) -> WhatIf:
    """What this design, saved or not, would make of the history: rewards, differences from the control, cautions.

    Variants that break a guardrail may not win, so no flip leads to them. Raises DesignError when the design cannot
    give a reward, InputError for a control that nothing was scored for.
    """
    check_design(design, known_signals(store, loop_id))
    moments = reward_moments(store, loop_id, design.signals)
    chosen = choose_control(moments, control, read_base_names(store, loop_id))
    checks = check_guardrails(store, loop_id, design, moments.variants)
    return try_design(
        moments,
        design,
        control=chosen,
        flip=nearest_flip(moments, design, excluded=barred(checks)),
        coverage=read_coverage(store, loop_id, [spec.signal for spec in design.signals]),
        checks=checks,
    )


def check_guardrails(
    store: Store, loop_id: str, design: RewardDesign, variants: Collection[str] = ()
) -> list[ConstraintCheck]:
    """How every variant stands to the design's guardrails, those named even where nobody measured them."""
    if not design.constraints:
        return []
    guarded = [guardrail.signal for guardrail in design.constraints]
    return constraint_checks(signal_moments(store, loop_id, guarded), design, variants=variants)
