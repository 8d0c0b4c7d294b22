"""What would a design grow? Of several drafts sampled for the same prompt, take the one that it rewards most. Pure.

Best-of-n re-ranking is what training toward a reward does first and most smoothly: n drafts of one model move it by
at most ln n - (n - 1)/n nats (Beirami et al. 2024). It needs no training, only drafts that exist already, with their
own figures. Among them are beginnings of each draft, so that a reward that would rather stop writing shows it: past
such a cliff a weight is no dial any more.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from organism.digest.designs import GROUPS, group_of, ordered, weighted
from organism.digest.draft_pools import WHOLE, Numbers, Places, Pool
from organism.digest.row_rewards import utility_table
from organism.errors import DesignError
from organism.records import RewardDesign, SignalSpec

# Rewards closer than this are tied; of tied drafts the first in the pool's order is taken: whole ones, by number.
TIE = 1e-12
STEPS = 21
# A cliff: beginnings are chosen on more prompts than this, or written share drops by more than this in one step.
MOST, DROP = 0.5, 0.10


class Grown(NamedTuple):
    """What the drafts of choice are like, over prompts; None where nothing of it is known.

    The choice is among whole drafts. `chars`, `output_tokens`, `cost_usd` and `latency_ms` are means;
    `retained_char_rate`, `written_share` and `facts_right` are ratios of sums. `stops_share` is the share of prompts
    where a beginning beats every whole draft; the `optimum_` figures are those of the best draft with the beginnings
    among the choice. `left_out` names the signals with a weight that nobody can know of a draft that nobody saw.
    """

    n_prompts: int
    chars: float | None
    output_tokens: float | None
    retained_char_rate: float | None
    written_share: float | None
    facts_right: float | None
    cost_usd: float | None
    latency_ms: float | None
    stops_share: float | None
    optimum_chars: float | None
    optimum_written_share: float | None
    left_out: tuple[str, ...]


class Cliff(NamedTuple):
    """The cliff nearest to a design, along one group's share of the reward.

    `share_at` is the first step beyond it, with `stops_share` there, and the written share of the optimum there and
    one step before. Where the design `is_past` it, `share_at` is the nearest step that is safe again, or `share_now`
    where none is, and `stops_share` is the design's own.
    """

    group: str
    share_now: float
    share_at: float
    is_past: bool
    stops_share: float | None
    written_before: float | None
    written_share: float | None
    sentence: str


class _Step(NamedTuple):
    """One place of a sweep."""

    share: float
    stops_share: float | None
    written_share: float | None


def grow(pool: Pool, design: RewardDesign) -> Grown:
    """What best-of-n under this design would give.

    Raises DesignError when the design puts no weight on a signal that the pool knows. A draft that lacks a signal
    without a stated default is not chosen; a prompt without any draft left is not counted.
    """
    (found,) = _best_of(pool, _rewards(pool, design))
    return found._replace(left_out=unknown_signals(pool, design))


def picks(pool: Pool, design: RewardDesign, *, beginnings: bool = False) -> Places:
    """For each prompt the place of the draft that the design picks, a row of `read_sampled_drafts`; -1 for none.

    Of whole drafts, or with `beginnings` of all. Raises DesignError as `grow` does.
    """
    return _choose(pool.table if beginnings else pool.whole, _rewards(pool, design))[:, 0]


def as_sampled(pool: Pool) -> Grown:
    """What the pool's whole drafts are like without any choice: what a design's preview is held against."""
    everyone = pool.whole[pool.whole >= 0]
    nobody = np.full(0, -1, dtype=np.intp)
    return _grown(pool, everyone, nobody)._replace(n_prompts=int((pool.whole >= 0).any(axis=1).sum()))


def sweep(pool: Pool, design: RewardDesign, group: str, steps: int = STEPS) -> pd.DataFrame:
    """What would grow as one group's share of the reward goes from 0 to 1, the others keeping their proportions.

    Columns: weight (the group's share of the weight on known signals), and the figures of `Grown` but for left_out;
    NaN where no weight is left. Empty when the design has no known signal of the group.
    """
    specs, _ = _known(pool, design)
    columns = ["weight", *Grown._fields[:-1]]
    inside = _shares(weighted(design, **{name: float(name == group) for name in GROUPS}), specs)
    if not inside.any():
        return pd.DataFrame({column: [] for column in columns}, dtype=float)
    outside = _shares(design, [spec for spec in specs if group_of(spec.signal) != group], like=specs)
    at = np.linspace(0.0, 1.0, steps)
    shares = np.outer(inside, at) + np.outer(outside, 1 - at)
    rows = [
        found[:-1] if total > 0 else (np.nan,) * (len(columns) - 1)
        for found, total in zip(
            _best_of(pool, utility_table(pool.signals, specs) @ shares), shares.sum(axis=0), strict=True
        )
    ]
    return pd.DataFrame(np.column_stack([at, np.array(rows, dtype=float)]), columns=columns)


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
        return _told(Cliff(heaviest, here, here, True, now.stops_share, share, share, ""))
    return min(found, key=lambda edge: round(abs(edge.share_at - edge.share_now), 9), default=None)


def group_shares(pool: Pool, design: RewardDesign) -> dict[str, float]:
    """Each group's share of the weight on signals that the pool knows: where the design stands in a sweep."""
    specs, _ = _known(pool, design)
    total = sum(spec.weight for spec in specs)
    return {
        group: sum(spec.weight for spec in specs if group_of(spec.signal) == group) / total if total > 0 else 0.0
        for group in GROUPS
    }


def unknown_signals(pool: Pool, design: RewardDesign) -> tuple[str, ...]:
    """The signals with a weight that nobody can know of drafts that nobody saw, by name."""
    return _known(pool, design)[1]


def _known(pool: Pool, design: RewardDesign) -> tuple[list[SignalSpec], tuple[str, ...]]:
    specs = ordered(design.signals)
    left_out = tuple(spec.signal for spec in specs if spec.signal not in pool.signals and spec.weight > 0)
    return [spec for spec in specs if spec.signal in pool.signals], left_out


def _rewards(pool: Pool, design: RewardDesign) -> Numbers:
    """Each draft's reward by the signals that are known of it (drafts, 1); NaN where the design leaves it out."""
    specs, left_out = _known(pool, design)
    weights = np.array([spec.weight for spec in specs])
    if not weights.sum() > 0:
        raise DesignError(
            f"design {design.name!r} puts no weight on what is known of drafts that nobody saw"
            + (f" (left out: {', '.join(left_out)})" if left_out else "")
            + f"; give a weight to at least one of: {', '.join(pool.signals) or 'none yet, since no draft was sampled'}"
        )
    rewards: Numbers = utility_table(pool.signals, specs) @ (weights / weights.sum())[:, None]
    return rewards


def _best_of(pool: Pool, rewards: Numbers) -> list[Grown]:
    """What each column of rewards would grow."""
    whole = _choose(pool.whole, rewards)
    # Whole drafts come first and win ties: an optimum that is a beginning is better than every whole one.
    optimum = np.where(whole >= 0, _choose(pool.table, rewards), -1)
    return [_grown(pool, ours, best) for ours, best in zip(whole.T, optimum.T, strict=True)]


def _choose(table: Places, rewards: Numbers) -> Places:
    """The place of each prompt's best draft for each column of rewards (prompts, columns); -1 where none can be."""
    if not table.size:
        return np.full((len(table), rewards.shape[1]), -1, dtype=np.intp)
    scored = np.vstack([np.where(np.isnan(rewards), -np.inf, rewards), np.full((1, rewards.shape[1]), -np.inf)])
    of_prompt = scored[table]
    best = of_prompt.max(axis=1, keepdims=True)
    nth = (of_prompt >= best - TIE).argmax(axis=1)
    places = np.take_along_axis(table, nth, axis=1)
    return np.where(np.isfinite(best[:, 0, :]), places, -1)


def _shares(design: RewardDesign, specs: Sequence[SignalSpec], like: Sequence[SignalSpec] = ()) -> Numbers:
    """The design's weights of these signals as shares of 1, in the order of `like` (else their own); 0 without any."""
    named = {spec.signal for spec in specs}
    weights = {spec.signal: spec.weight for spec in design.signals if spec.signal in named}
    found = np.array([weights.get(spec.signal, 0.0) for spec in like or specs])
    return found / found.sum() if found.sum() > 0 else found


def _grown(pool: Pool, whole: Places, optimum: Places) -> Grown:
    """The figures of the chosen drafts, whole and at the optimum, a place a prompt; -1 is no draft."""
    counts, signals = _taken(pool.counts, whole), _taken(pool.signals, whole)
    at_best = _taken(pool.counts, optimum)
    stops = pool.stop_at[optimum[optimum >= 0]] < WHOLE
    return Grown(
        n_prompts=int((whole >= 0).sum()),
        chars=_mean(counts["draft_chars"]),
        output_tokens=_mean(signals.get("output_tokens")),
        retained_char_rate=_share(counts, "retained_chars", "draft_chars"),
        written_share=_share(counts, "retained_chars", "final_chars"),
        facts_right=_share(counts, "n_facts_right", "n_facts"),
        cost_usd=_mean(signals.get("cost_usd")),
        latency_ms=_mean(signals.get("latency_ms")),
        stops_share=_mean(stops.astype(float)),
        optimum_chars=_mean(at_best["draft_chars"]),
        optimum_written_share=_share(at_best, "retained_chars", "final_chars"),
        left_out=(),
    )


def _taken(columns: Mapping[str, Numbers], places: Places) -> dict[str, Numbers]:
    return {name: values[places[places >= 0]] for name, values in columns.items()}


def _mean(values: Numbers | None) -> float | None:
    known = values[np.isfinite(values)] if values is not None else np.empty(0)
    return float(known.mean()) if len(known) else None


def _share(counts: Mapping[str, Numbers], above: str, below: str) -> float | None:
    """A ratio of sums over the drafts that have both; None without any."""
    known = np.isfinite(counts[above]) & np.isfinite(counts[below])
    total = counts[below][known].sum()
    return float(counts[above][known].sum() / total) if total > 0 else None


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
            figures = steps[0].stops_share if is_past else at.stops_share, before.written_share, step.written_share
            return _told(Cliff(group, now, step.share, is_past, *figures, ""))
    return None


def _stops(step: _Step) -> bool:
    return step.stops_share is not None and step.stops_share > MOST


def _drops(before: _Step, after: _Step) -> bool:
    if before.written_share is None or after.written_share is None:
        return False
    return before.written_share - after.written_share > DROP


def _told(found: Cliff) -> Cliff:
    """The same cliff with a sentence for people."""
    rather = "the reward would rather have only the beginning of a note than the whole one"
    side = "above" if found.share_at > found.share_now else "below"
    if found.is_past:
        said = f"On {found.stops_share:.0%} of prompts {rather}: the model would learn to stop writing"
        if found.share_at != found.share_now:
            way = "more" if found.share_at > found.share_now else "less"
            said += f"; {way} weight on {found.group} ({found.share_at:.0%} of the reward) takes it back"
        else:
            said += "; no share of price, performance or quality takes it back: give written_share more weight"
    elif found.stops_share is not None and found.stops_share > MOST:
        said = f"With {found.group} at {found.share_at:.0%} of the reward or {side}, {rather}, on "
        said += f"{found.stops_share:.0%} of prompts: a cliff, not a dial"
    else:
        said = f"With {found.group} at {found.share_at:.0%} of the reward the written share drops from "
        said += f"{found.written_before:.0%} to {found.written_share:.0%} in one step: a cliff, not a dial"
    return found._replace(sentence=said + ".")
