"""What would a design grow? Of several drafts sampled for the same prompt, take the one that it rewards most. Pure.

Best-of-n re-ranking is what training toward a reward does first and most smoothly: n drafts of one model move it by
at most ln n - (n - 1)/n nats (Beirami et al. 2024). It needs no training, only drafts that exist already, with their
own figures. Among them are beginnings of each draft, so that a reward that would rather stop writing shows it: past
such a cliff a weight is no dial any more.
"""

from collections.abc import Mapping, Sequence
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
