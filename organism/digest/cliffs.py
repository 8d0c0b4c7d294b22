"""Where does a weight stop being a dial? Past a cliff a reward would rather have a model stop writing. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from organism.digest.designs import GROUPS
from organism.digest.draft_pools import Pool
from organism.digest.growth import STEPS, group_shares, grow, sweep
from organism.records import RewardDesign

# A cliff: beginnings are chosen on more prompts than this, or written share drops by more than this in one step.
MOST, DROP = 0.5, 0.10
WRITTEN = "written_share"


class Cliff(NamedTuple):
    """The cliff nearest to a design, along one group's share of the reward.

    `share_at` is the first step beyond it, with `stops_share` there, and the written share of the optimum there and
    one step before. Where the design `is_past` it, `share_at` is the nearest step that is under it again, or
    `share_now` where none is, `stops_share` is the design's own, and `stops_then` what remains of it at `share_at`.
    """

    group: str
    share_now: float
    share_at: float
    is_past: bool
    stops_share: float | None
    stops_then: float | None
    written_before: float | None
    written_share: float | None
    sentence: str


class _Step(NamedTuple):
    """One place of a sweep."""

    share: float
    stops_share: float | None
    written_share: float | None


def cliff(pool: Pool, design: RewardDesign, groups: Sequence[str] = GROUPS, *, steps: int = STEPS) -> Cliff | None:
    """The cliff that the smallest move of one group's weight leads over, or the way back where the design is past one.

    A cliff is where the reward would rather have only the beginning of a note than any whole one on more than half of
    the prompts, or where the optimum's written share drops by more than 10 points between neighboring steps.
    """
    now = grow(pool, design)
    shares = group_shares(pool, design)
    is_past = now.stops_share is not None and now.stops_share > MOST
    found = [
        edge
        for group in groups
        for walk in _walks(sweep(pool, design, group, steps), shares[group])
        if (
            edge := _edge(
                group, shares[group], [_Step(shares[group], now.stops_share, now.optimum_written_share), *walk]
            )
        )
    ]
    if is_past and not found:
        heaviest = max(groups, key=lambda group: shares[group])
        here = shares[heaviest]
        share = now.optimum_written_share
        return _told(Cliff(heaviest, here, here, True, now.stops_share, now.stops_share, share, share, ""), design)
    nearest = min(found, key=lambda edge: round(abs(edge.share_at - edge.share_now), 9), default=None)
    return nearest and _told(nearest, design)


def _walks(swept: pd.DataFrame, now: float) -> Iterator[list[_Step]]:
    """The steps of a sweep as one meets them from a share: upward, then downward; steps without a reward are left."""
    rows = swept.dropna(subset=["stops_share"])
    steps = [
        _Step(float(share), float(stops), None if np.isnan(written) else float(written))
        for share, stops, written in rows[["weight", "stops_share", "optimum_written_share"]].to_numpy()
    ]
    yield [step for step in steps if step.share > now]
    yield [step for step in reversed(steps) if step.share < now]


def _edge(group: str, now: float, steps: Sequence[_Step]) -> Cliff | None:
    """The first step of a walk beyond a cliff; for a design that is past one, the first that is back."""
    is_past = _stops(steps[0])
    for before, step in pairwise(steps):
        if _stops(step) != is_past or (not is_past and _drops(before, step)):
            at = before if is_past else step
            stops = steps[0].stops_share if is_past else at.stops_share
            written = before.written_share, step.written_share
            return Cliff(group, now, step.share, is_past, stops, step.stops_share, *written, "")
    return None


def _stops(step: _Step) -> bool:
    return step.stops_share is not None and step.stops_share > MOST


def _drops(before: _Step, after: _Step) -> bool:
    if before.written_share is None or after.written_share is None:
        return False
    return before.written_share - after.written_share > DROP


def _told(found: Cliff, design: RewardDesign) -> Cliff:
    """The same cliff with a sentence for people."""
    rather = "the reward would rather have only the beginning of a note than the whole one"
    side = "above" if found.share_at > found.share_now else "below"
    if found.is_past:
        said = f"On {found.stops_share:.0%} of prompts {rather}: the model would learn to stop writing; "
        said += _way_back(found, design)
    elif found.stops_share is not None and found.stops_share > MOST:
        said = f"With {found.group} at {found.share_at:.0%} of the reward or {side}, {rather}, on "
        said += f"{found.stops_share:.0%} of prompts: a cliff, not a dial"
    else:
        said = f"With {found.group} at {found.share_at:.0%} of the reward the written share drops from "
        said += f"{found.written_before:.0%} to {found.written_share:.0%} in one step: a cliff, not a dial"
    return found._replace(sentence=said + ".")


def _way_back(found: Cliff, design: RewardDesign) -> str:
    """What a move of the weights leaves of the prompts, and the mend of what it leaves."""
    is_there = any(spec.signal == WRITTEN for spec in design.signals)
    mend = f"give {WRITTEN} more weight" if is_there else f"add {WRITTEN} to the design"
    if found.share_at == found.share_now:
        return f"no share of price, performance or quality brings that to {MOST:.0%} or less: {mend}"
    way = "more" if found.share_at > found.share_now else "less"
    moved = f"{way} weight on {found.group} ({found.share_at:.0%} of the reward) takes that"
    return f"{moved} down to {found.stops_then:.0%} of prompts" + (f"; for less, {mend}" if found.stops_then else "")
