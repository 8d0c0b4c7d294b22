"""Read, decide, write: people choose between drafts (or variants), and their choices become weights."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from organism.digest.choices import (
    Answer,
    ChoiceFit,
    ChoiceKind,
    Matrix,
    candidate_pairs,
    check_choice,
    fit_weights,
)
from organism.digest.designs import check_design
from organism.digest.flow import reward_moments, signal_moments
from organism.digest.prompt_kinds import prompt_kinds
from organism.digest.row_rewards import utility_table
from organism.digest.strengths import Strengths, strengths
from organism.errors import InputError
from organism.records import RewardDesign, new_id
from organism.stats.preferences import PRIOR_L2, information, next_pair, pair_weights
from organism.store.choices import Choice, append_choices, read_choices
from organism.store.database import Store
from organism.store.interactions import read_drafts, read_prompt_lengths, read_variants
from organism.store.signals import known_signals, read_signal_rows, read_signal_values

POOL_ROWS = 600
CANDIDATES = 600


class Side(NamedTuple):
    """One of the two that are compared. `prompt` and `output` are None for a variant's profile."""

    id: str
    variant: str
    prompt: str | None
    output: str | None
    signals: dict[str, float | None]


class PairToJudge(NamedTuple):
    """The pair whose answer would teach most, of `n_candidates` that this person has not seen."""

    kind: ChoiceKind
    left: Side
    right: Side
    n_candidates: int


def blind(pair: PairToJudge | None) -> dict[str, Any] | None:
    """The pair as a judge may see it: both sides without the names of their variants."""
    if pair is None:
        return None
    left, right = ({name: v for name, v in side._asdict().items() if name != "variant"} for side in pair[1:3])
    return {"kind": pair.kind, "left": left, "right": right, "n_candidates": pair.n_candidates}


class Recorded(NamedTuple):
    """A kept choice, with the variants that were hidden until then, and how many this person has made."""

    choice_id: str
    left_variant: str
    right_variant: str
    chosen: Answer
    n_by_actor: int


class _Pool(NamedTuple):
    """What can be compared: ids, the utilities of each (n × k, in the design's order), what is alike."""

    ids: list[str]
    utilities: Matrix
    kinds: list[str | None]


def record_choice(
    store: Store,
    loop_id: str,
    *,
    left: str,
    right: str,
    chosen: str,
    actor: str,
    kind: ChoiceKind = ChoiceKind.DRAFTS,
    is_synthetic: bool = False,
    now: datetime,
) -> Recorded:
    """Keep one choice, durable when this returns. Raises InputError when a side is unknown or the answer is none."""
    answer, who = check_choice(left, right, chosen, actor), actor.strip()
    variants = _variants_of(store, loop_id, kind, (left, right))
    if missing := [name for name in (left, right) if name not in variants]:
        what = "interaction of this loop has the id" if kind is ChoiceKind.DRAFTS else "variant of this loop is called"
        raise InputError(f"no {what} {missing[0]!r}; ask for the next pair and choose between its two sides")
    choice = Choice(new_id(now), loop_id, kind.value, left, right, answer.value, who, is_synthetic, now)
    append_choices(store, [choice])
    n_by_actor = int((read_choices(store, loop_id, kind.value)["actor"] == who).sum())
    return Recorded(choice.choice_id, variants[left], variants[right], answer, n_by_actor)


def pair_for(
    store: Store, loop_id: str, design: RewardDesign, *, actor: str, kind: ChoiceKind = ChoiceKind.DRAFTS
) -> PairToJudge | None:
    """The pair, unseen by this person, that would teach most beside everybody's choices; None when there is none.

    The same choices so far give the same pair.
    """
    check_design(design, known_signals(store, loop_id))
    choices = read_choices(store, loop_id, kind.value)
    mine = choices[choices["actor"] == actor.strip()]
    asked = {frozenset(pair) for pair in zip(mine["left_id"], mine["right_id"], strict=True)}
    rng = _rng(kind, len(choices))
    pool = _pool(store, loop_id, design, kind, rng)
    pairs = candidate_pairs(pool.ids, pool.kinds, asked, rng=rng, n=CANDIDATES)
    if not pairs:
        return None
    apart = np.array([pool.utilities[left] - pool.utilities[right] for left, right in pairs])
    weights, known = _so_far(store, loop_id, design, choices)
    best = next_pair(apart, weights, known, rng=rng)
    left, right = pairs[best or 0]
    sides = _sides(store, loop_id, design, kind, (pool.ids[left], pool.ids[right]))
    return PairToJudge(kind, sides[0], sides[1], len(pairs))


def fit_choices(
    store: Store,
    loop_id: str,
    design: RewardDesign,
    *,
    kind: ChoiceKind = ChoiceKind.DRAFTS,
    actors: Sequence[str] | None = None,
) -> ChoiceFit:
    """The weights of the design's signals that explain the choices of these people (of everybody when left out).

    Utilities are under the design's anchors; a pair counts only where both sides have every signal. Raises
    DesignError when there is no choice to learn from, InputError for somebody who made none.
    """
    check_design(design, known_signals(store, loop_id))
    choices = _choices_of(store, loop_id, kind, actors)
    left, right, chosen = _answered(store, loop_id, design, choices)
    return fit_weights(design, left, right, chosen, len(choices) - len(left))


def variant_strengths(store: Store, loop_id: str, *, actors: Sequence[str] | None = None) -> Strengths:
    """Bradley-Terry strengths of the variants, from every choice between two different ones, drafts or profiles."""
    choices = _choices_of(store, loop_id, None, actors)
    answered = choices[choices["chosen"] != Answer.SKIP]
    ids = sorted({*answered["left_id"], *answered["right_id"]})
    drafts = read_drafts(store, loop_id, ids).set_index("interaction_id")["variant"].to_dict()
    wins: Counter[tuple[str, str]] = Counter()
    for row in answered.itertuples():
        known = drafts if row.kind == ChoiceKind.DRAFTS else {row.left_id: row.left_id, row.right_id: row.right_id}
        pair = (known.get(row.left_id), known.get(row.right_id))
        if None not in pair and pair[0] != pair[1]:
            winner, loser = pair if row.chosen == Answer.LEFT else pair[::-1]
            wins[str(winner), str(loser)] += 1
    return strengths(wins)


def _pool(store: Store, loop_id: str, design: RewardDesign, kind: ChoiceKind, rng: np.random.Generator) -> _Pool:
    if kind is ChoiceKind.VARIANTS:
        names, utilities = _profiles(store, loop_id, design)
        return _Pool(names, utilities, [None] * len(names))
    rows = read_signal_rows(store, loop_id, [spec.signal for spec in design.signals], limit=10 * POOL_ROWS)
    utilities = _present(design, rows)
    whole = np.flatnonzero(np.isfinite(utilities).all(axis=1))
    taken = np.sort(rng.choice(whole, size=min(POOL_ROWS, len(whole)), replace=False))
    ids = rows["interaction_id"].astype(str).iloc[taken].tolist()
    lengths = read_prompt_lengths(store, loop_id, ids).set_index("interaction_id")["prompt_chars"]
    return _Pool(ids, utilities[taken], prompt_kinds(lengths.reindex(ids)).tolist())


def _profiles(store: Store, loop_id: str, design: RewardDesign) -> tuple[list[str], Matrix]:
    """Each variant's mean utilities over the interactions that have every signal, in the design's order."""
    specs = [spec._replace(missing=None) for spec in design.signals]
    found = reward_moments(store, loop_id, specs)
    order = [found.signals.index(spec.signal) for spec in design.signals]
    names = sorted(found.variants)
    means = [np.array(found.variants[name].mean) for name in names]
    table = np.array([mean[:-1][order] / mean[-1] for mean in means]).reshape(len(names), len(order))
    return names, table


def _so_far(store: Store, loop_id: str, design: RewardDesign, choices: pd.DataFrame) -> tuple[Any, Matrix]:
    """What everybody's choices say by now: the weights (0 before any), and the information they carry.

    Under the prior PRIOR_L2: bare maximum likelihood is far too sure early on, takes telling pairs for foregone ones,
    and its pairs then teach less than drawn ones (docs/log.md).
    """
    left, right, chosen = _answered(store, loop_id, design, choices)
    weights = np.zeros(len(design.signals))
    if len(left):
        took_left = [word == Answer.LEFT for word in chosen]
        weights = np.array(pair_weights(left - right, took_left, l2=PRIOR_L2, profile=False).weights)
    return weights, information(left - right, weights, PRIOR_L2)


def _answered(
    store: Store, loop_id: str, design: RewardDesign, choices: pd.DataFrame
) -> tuple[Matrix, Matrix, list[str]]:
    """Utilities of both sides of the answered pairs whose sides have every signal, and what was chosen."""
    answered = choices[choices["chosen"] != Answer.SKIP]
    tables = []
    for kind, rows in answered.groupby("kind", sort=True):
        ids = sorted({*rows["left_id"], *rows["right_id"]})
        tables.append(_utilities_by_id(store, loop_id, design, ChoiceKind(str(kind)), ids))
    empty = pd.DataFrame(columns=range(len(design.signals)), dtype=float)
    table = pd.concat(tables) if tables else empty
    left, right = (table.reindex(answered[f"{side}_id"]).to_numpy(dtype=float) for side in ("left", "right"))
    usable = np.isfinite(left).all(axis=1) & np.isfinite(right).all(axis=1)
    return left[usable], right[usable], answered["chosen"][usable].tolist()


def _utilities_by_id(
    store: Store, loop_id: str, design: RewardDesign, kind: ChoiceKind, ids: Sequence[str]
) -> pd.DataFrame:
    if kind is ChoiceKind.VARIANTS:
        names, utilities = _profiles(store, loop_id, design)
        return pd.DataFrame(utilities, index=names)
    rows = read_signal_values(store, loop_id, [spec.signal for spec in design.signals], ids)
    return pd.DataFrame(_present(design, rows), index=rows["interaction_id"])


def _present(design: RewardDesign, rows: pd.DataFrame) -> Matrix:
    """Utilities (rows, signals), NaN where missing: nobody chose because of a value that was not there."""
    return utility_table(rows, design.signals, fill=False)


def _sides(
    store: Store, loop_id: str, design: RewardDesign, kind: ChoiceKind, ids: tuple[str, str]
) -> tuple[Side, Side]:
    signals = [spec.signal for spec in design.signals]
    if kind is ChoiceKind.VARIANTS:
        sums = signal_moments(store, loop_id, signals)
        means = {name: {s: _mean(sums[s].get(name)) for s in signals} for name in ids}
        left, right = (Side(name, name, None, None, means[name]) for name in ids)
        return left, right
    texts = read_drafts(store, loop_id, ids).set_index("interaction_id")
    values = read_signal_values(store, loop_id, signals, ids).set_index("interaction_id")
    left, right = (
        Side(
            name,
            str(texts.at[name, "variant"]),
            texts.at[name, "prompt"],
            texts.at[name, "output"],
            {s: float(values.at[name, s]) for s in signals},
        )
        for name in ids
    )
    return left, right


def _mean(sums: Any) -> float | None:
    """A variant's mean of one signal, from the moments of (sum, count) over users; None without any."""
    return float(sums.mean[0] / sums.mean[1]) if sums is not None and sums.mean[1] else None


def _variants_of(store: Store, loop_id: str, kind: ChoiceKind, ids: tuple[str, str]) -> dict[str, str]:
    if kind is ChoiceKind.DRAFTS:
        found = read_drafts(store, loop_id, ids)
        return dict(zip(found["interaction_id"], found["variant"], strict=True))
    return {name: name for name in read_variants(store, loop_id)}


def _choices_of(store: Store, loop_id: str, kind: ChoiceKind | None, actors: Sequence[str] | None) -> pd.DataFrame:
    """The choices of one kind (of both when left out) that these people made, of everybody when left out."""
    choices = read_choices(store, loop_id)
    if unknown := sorted({*(actors or ())} - {*choices["actor"]}):
        known = ", ".join(sorted(set(choices["actor"]))) or "nobody yet"
        raise InputError(f"{unknown[0]!r} has not chosen anything; who has: {known}")
    asked = choices if actors is None else choices[choices["actor"].isin(actors)]
    return asked if kind is None else asked[asked["kind"] == kind]


def _rng(*parts: object) -> np.random.Generator:
    """The same parts give the same draws, on any machine."""
    digest = blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
