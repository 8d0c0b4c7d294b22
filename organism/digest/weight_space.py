"""Who wins at which weights: the map of all mixes, the weights that flip the verdict, and where a lead is clear. Pure.

A mean reward times the sum of the weights is linear in each weight. So along one weight every variant is a straight
line, the winner is the highest of them, and a flip is where two lines cross: no search, no rows.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.digest.designs import GROUPS, group_of, ordered, weighted
from organism.digest.reward_forms import Numbers, RewardForms, differences_at, reward_forms, rewards_at
from organism.digest.rewards import RewardMoments, weight_shares
from organism.records import RewardDesign

Places = npt.NDArray[np.intp]

# Rewards closer than this are tied; of tied variants the first by name is called the winner.
TIE = 1e-12
# The edge of a clear lead is looked for on a grid of the share, then on finer ones between two of its points.
GRID, ROUNDS = 41, 3
COLUMNS = [*GROUPS, "winner", "runner_up", "effect", "p_value", "is_clear"]


class Flip(NamedTuple):
    """Another variant wins once this signal's (or group's) weight passes `weight_then`, the others held.

    Shares are of the sum of all weights, before and after.
    """

    name: str
    is_group: bool
    weight_now: float
    weight_then: float
    share_now: float
    share_then: float
    winner_now: str
    winner_then: str


class ClearEdge(NamedTuple):
    """Where, along one weight, the winner's lead over the runner-up starts or stops being significant."""

    name: str
    is_group: bool
    share_now: float
    share_then: float
    winner: str
    is_clear_now: bool


class _Verdicts(NamedTuple):
    """For each row of shares: the places of winner and runner-up (-1 without one), and how they differ."""

    first: Places
    second: Places
    effect: Numbers
    p_value: Numbers


class _Line(NamedTuple):
    """One weight that can move: the shares without it, the direction in which it adds, and its weight now."""

    name: str
    is_group: bool
    rest: Numbers
    direction: Numbers
    weight: float
    scale: float


def winner(users: RewardMoments, design: RewardDesign, excluded: Collection[str] = ()) -> str | None:
    """The variant with the highest mean reward, of tied ones the first by name; None when none may win."""
    forms = _allowed(reward_forms(users), excluded)
    if not forms.variants:
        return None
    means = rewards_at(forms, weight_shares(users, design)[None, :])
    return forms.variants[int(_first_best(means)[0])]


def ternary(
    users: RewardMoments,
    design: RewardDesign,
    steps: int = 24,
    *,
    excluded: Collection[str] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """Who wins at every mix of the three groups' weights on a grid of `steps` (24 gives 325 mixes), a row a mix.

    Columns: price, performance, quality (sum 1), winner, runner_up, effect (winner minus runner-up), p_value,
    is_clear (p below 1 - level against the runner-up alone). Within a group the design's shares stay as they are. A
    mix that puts all weight on groups without a signal has no winner; with one variant there is no runner-up. Empty
    when nobody may win.
    """
    weight_shares(users, design)
    forms = _allowed(reward_forms(users), excluded)
    if not forms.variants:
        return pd.DataFrame({column: [] for column in COLUMNS})
    mixes = _mixes(steps)
    shares = mixes @ _group_rows(design)
    total = shares.sum(axis=1)
    known = total > 0
    found = _verdicts(forms, shares[known] / total[known, None])
    names = np.array([*forms.variants, None], dtype=object)
    verdicts = pd.DataFrame(
        {
            "winner": names[found.first],
            "runner_up": names[found.second],
            "effect": found.effect,
            "p_value": found.p_value,
        },
        index=np.flatnonzero(known),
    )
    frame = pd.DataFrame(mixes, columns=list(GROUPS)).join(verdicts)
    return frame.assign(is_clear=frame["p_value"] < 1 - level)[COLUMNS]


def flips(
    users: RewardMoments, design: RewardDesign, control: str | None = None, *, excluded: Collection[str] = ()
) -> list[Flip]:
    """Every weight, of a signal or a whole group, that another winner is one move of away, the nearest first.

    Near is by the weight's share of the whole; each weight counts once up and once down. With a `control` only
    moves that bring it to the first place, or take it from there, count.
    """
    forms = _allowed(reward_forms(users), excluded)
    if len(forms.variants) < 2 or (control is not None and control not in forms.variants):
        return []
    lines = _lines(design, weight_shares(users, design))
    found = [flip for line in lines for flip in _flips_along(forms, line, control)]
    return sorted(found, key=lambda flip: (round(abs(flip.share_then - flip.share_now), 12), flip.is_group))


def nearest_flip(
    users: RewardMoments, design: RewardDesign, control: str | None = None, *, excluded: Collection[str] = ()
) -> Flip | None:
    """The smallest move of one weight that makes another variant win; None when no single weight can."""
    return next(iter(flips(users, design, control, excluded=excluded)), None)


def clear_edges(
    users: RewardMoments, design: RewardDesign, *, excluded: Collection[str] = (), level: float = 0.95
) -> list[ClearEdge]:
    """The nearest share of each weight at which the winner's lead starts or stops being significant, nearest first.

    Against the runner-up of the place, at p < 1 - level; to within 0.00002 of the share. Weights that never change
    it are not in the list, nor are places where another variant wins first.
    """
    forms = _allowed(reward_forms(users), excluded)
    if len(forms.variants) < 2:
        return []
    shares = weight_shares(users, design)
    now = int(_verdicts(forms, shares[None, :]).first[0])
    lines = _lines(design, shares)
    found = [edge for line in lines for edge in _edges_along(forms, line, now, 1 - level)]
    return sorted(found, key=lambda edge: (round(abs(edge.share_then - edge.share_now), 9), edge.is_group))


def _allowed(forms: RewardForms, excluded: Collection[str]) -> RewardForms:
    kept = [at for at, name in enumerate(forms.variants) if name not in excluded]
    place = {old: new for new, old in enumerate(kept)}
    return RewardForms(
        forms.signals,
        tuple(forms.variants[at] for at in kept),
        tuple(forms.n_users[at] for at in kept),
        forms.means[kept],
        forms.variances[kept],
        forms.sums[kept],
        forms.counts[kept],
        {(place[a], place[b]): pair for (a, b), pair in forms.pairs.items() if a in place and b in place},
    )


def _mixes(steps: int) -> Numbers:
    """All triples of multiples of 1/steps that sum to 1."""
    parts = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    return np.array(parts, dtype=float) / steps


def _group_rows(design: RewardDesign) -> Numbers:
    """What one unit of weight on each group puts on each signal (3, k), signals by name."""
    only = [weighted(design, **{group: float(group == mine) for group in GROUPS}) for mine in GROUPS]
    return np.array([[spec.weight for spec in ordered(one.signals)] for one in only])


def _verdicts(forms: RewardForms, shares: Numbers) -> _Verdicts:
    """Winner, runner-up, effect and p at each row of shares; without a second variant all but the winner is unknown."""
    means = rewards_at(forms, shares)
    first = _first_best(means)
    effect, p_value = np.full((2, len(means)), np.nan)
    if len(forms.variants) < 2:
        return _Verdicts(first, np.full(len(means), -1), effect, p_value)
    means[np.arange(len(means)), first] = -np.inf
    second = _first_best(means)
    for a, b in {*zip(first.tolist(), second.tolist(), strict=True)}:
        at = (first == a) & (second == b)
        effect[at], p_value[at] = differences_at(forms, shares[at], control=b, treatment=a)
    return _Verdicts(first, second, effect, p_value)


def _first_best(means: Numbers) -> Places:
    """The first column of each row that is within a tie of the row's best."""
    return (means >= means.max(axis=1, keepdims=True) - TIE).argmax(axis=1)


def _lines(design: RewardDesign, shares: Numbers) -> list[_Line]:
    """The weights that can move alone: each signal's, and each group's that has a signal."""
    specs = ordered(design.signals)
    total = sum(spec.weight for spec in specs)
    rows = dict(zip(GROUPS, _group_rows(design), strict=True))
    lines = [
        _Line(spec.signal, False, shares - shares[at] * unit, unit, float(shares[at]), total)
        for at, (spec, unit) in enumerate(zip(specs, np.eye(len(specs)), strict=True))
    ]
    for group, row in rows.items():
        mine = np.array([group_of(spec.signal) == group for spec in specs])
        if mine.any():
            lines.append(_Line(group, True, np.where(mine, 0.0, shares), row, float(shares[mine].sum()), total))
    return lines


def _flips_along(forms: RewardForms, line: _Line, control: str | None) -> Iterator[Flip]:
    """The nearest flip upward and the nearest downward along one weight."""
    if line.rest.sum() <= 0:
        return
    base, slope = forms.means @ line.rest, forms.means @ line.direction
    now = int(_first_best((base + line.weight * slope)[None, :])[0])
    for upward in (True, False):
        for at, leader in _leaders(base, slope, line.weight, now, upward=upward):
            if control is None or (forms.variants[leader] == control) != (forms.variants[now] == control):
                then = at / (at + line.rest.sum())
                weights = line.weight * line.scale, at * line.scale
                names = forms.variants[now], forms.variants[leader]
                yield Flip(line.name, line.is_group, *weights, line.weight, float(then), *names)
                break


def _leaders(base: Numbers, slope: Numbers, start: float, leader: int, *, upward: bool) -> Iterator[tuple[float, int]]:
    """Along lines base + u * slope from u = start, up without end or down to 0: where the lead changes, and to whom."""
    way, at = (1.0 if upward else -1.0), start
    while True:
        gain = way * (slope - slope[leader])
        gaining = np.flatnonzero(gain > TIE)
        if not len(gaining):
            return
        crossing = (base[leader] - base[gaining]) / (slope[gaining] - slope[leader])
        crossing = np.maximum(crossing, at) if upward else np.minimum(crossing, at)
        at = float(crossing.min() if upward else crossing.max())
        if at <= 0:
            return
        level = gaining[np.abs(crossing - at) <= TIE * max(1.0, at)]
        leader = int(level[np.argmax(gain[level])])
        yield at, leader


def _edges_along(forms: RewardForms, line: _Line, leader: int, alpha: float) -> Iterator[ClearEdge]:
    """The nearest change of significance upward and downward along one weight."""
    if line.rest.sum() <= 0:
        return
    for end in (1.0, 0.0):
        low, high = line.weight, end
        for _ in range(ROUNDS):
            grid = np.linspace(low, high, GRID)
            is_clear, leads = _lead_along(forms, line, grid, leader, alpha)
            changed = int(np.argmax(is_clear != is_clear[0]))
            if not changed or not leads[: changed + 1].all():
                break
            low, high = grid[changed - 1], grid[changed]
        else:
            name = forms.variants[leader]
            yield ClearEdge(line.name, line.is_group, line.weight, float(high), name, bool(is_clear[0]))


def _lead_along(
    forms: RewardForms, line: _Line, grid: Numbers, leader: int, alpha: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """At each share of this weight: is the lead significant, and is the leader still the same?"""
    rest = line.rest / line.rest.sum()
    found = _verdicts(forms, np.outer(1 - grid, rest) + np.outer(grid, line.direction))
    return found.p_value < alpha, found.first == leader
