"""What a router or policy would have earned: the log that policies are judged on, and refusal. Pure.

A policy says for each segment which share of the drafts each variant writes. It is judged on interactions of
experiments, where the probability of the variant is on record. Users were assigned, not drafts: weights, intervals
and the effective sample size are all by user.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.digest.policies import EVERYWHERE, Policy, in_words, named_segment, target_shares
from organism.errors import InputError
from organism.records import Interval
from organism.stats.off_policy import Logged, WeightCheck, estimates, weight_check

Matrix = npt.NDArray[np.float64]

MIN_EFFECTIVE_USERS = 10
MAX_LARGEST_SHARE = 0.25
MIN_CELL_USERS = 3
FOLDS = 5
NOTHING = Interval(None, None, None)
CLIP = 10.0
METHODS = {
    "dr": "Doubly robust (DR)",
    "snips": "Self-normalized weights (SNIPS)",
    "ips": "Weights (IPS)",
    "clipped_ips": f"Weights up to {CLIP:g} (clipped IPS)",
    "dm": "Model-based (DM)",
}


class MethodEstimate(NamedTuple):
    """The policy's mean reward a draft by one method; `is_model_based` says that no weights check the model.

    Such a one has no interval: resampling users says nothing about how wrong the model is.
    """

    method: str
    label: str
    estimate: float | None
    low: float | None
    high: float | None
    is_model_based: bool


class SegmentRow(NamedTuple):
    """One segment of the log: its drafts and users by variant, and what the policy would do there."""

    segment: str
    variant: str
    n_rows: int
    n_users: int
    mean_reward: float | None
    policy_share: float


class Preview(NamedTuple):
    """The estimate, or why there is none: `refusal` is None or a sentence, and then only DM is in `estimates`.

    `logged` is what the same drafts earned as they were, `gain` how much more the policy would have (DR; None when
    refused). `left_out` counts drafts that could not be used, by reason.
    """

    policy: str
    sentence: str
    refusal: str | None
    estimates: list[MethodEstimate]
    logged: Interval
    gain: Interval
    check: WeightCheck
    n_rows: int
    n_users: int
    left_out: dict[str, int]
    segments: list[SegmentRow]


def usable_log(rows: pd.DataFrame, propensities: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows whose propensity is known, with columns assigned, tried, probability, and why others were left out.

    `rows` has variant, user_key, experiment_id, reward (NaN unknown) and segment (None unknown).
    """
    known = rows.merge(propensities, on=["experiment_id", "user_key"], how="left", validate="many_to_one")
    reasons = {
        "outside of any experiment: nobody logged how probable the variant was": known["probability"].isna(),
        "served by another variant than the user was assigned to": known["variant"] != known["assigned"],
        "a signal of the design is missing": known["reward"].isna(),
        "the segment is unknown": known["segment"].isna(),
    }
    left_out, open_rows = {}, pd.Series(True, index=known.index)
    for reason, applies in reasons.items():
        if count := int((open_rows & applies).sum()):
            left_out[reason] = count
        open_rows &= ~applies
    return known[open_rows].reset_index(drop=True), left_out


def judged_on(log: pd.DataFrame, policy: Policy) -> tuple[pd.DataFrame, int]:
    """The rows of the experiments that tried every variant the policy wants there, and how many rows that drops."""
    wanted = {variant for shares in policy.rules.values() for variant, share in shares.items() if share > 0}
    tried = log.groupby("experiment_id")["tried"].first().map(wanted.issubset)
    if not len(tried):
        return log, 0
    kept = log[log["experiment_id"].map(tried).astype(bool)].reset_index(drop=True)
    return kept, len(log) - len(kept)


def expected_rewards(fit: pd.DataFrame, log: pd.DataFrame, variants: Sequence[str]) -> Matrix:
    """The mean reward of each variant in each row's segment, from the rows of other users; shape (rows, variants).

    Cross-fitted by a hash of the user: no user's reward predicts itself. Where a segment has no such row the
    variant's mean over all segments stands in, then the mean of everything.
    """
    fold, at = _folds(fit["user_key"]), _folds(log["user_key"])
    expected = np.full((len(log), len(variants)), np.nan)
    for number in range(FOLDS):
        others, here = fit[fold != number], np.flatnonzero(at == number)
        by_cell = others.pivot_table(index="segment", columns="variant", values="reward", aggfunc="mean")
        cells = by_cell.reindex(index=log["segment"].iloc[here], columns=variants).to_numpy(dtype=float)
        overall = others.groupby("variant")["reward"].mean().reindex(variants).to_numpy(dtype=float)
        whole = float(others["reward"].mean()) if len(others) else np.nan
        expected[here] = np.where(np.isnan(cells), np.where(np.isnan(overall), whole, overall), cells)
    return expected


def learn_router(log: pd.DataFrame, policy: Policy) -> Policy:
    """The variant with the best mean reward of each segment, by inverse probability; ties to the first by name.

    A variant with fewer than MIN_CELL_USERS users in a segment does not count there; a segment without any such
    variant takes the best of all. Raises InputError when the log is empty.
    """
    if log.empty:
        raise InputError("there are no drafts of experiments to learn a router from; run an experiment first")
    overall = _best(log)
    rules = {}
    for segment, rows in log.groupby("segment", sort=True):
        n_users = rows.groupby("variant")["user_key"].nunique()
        enough = rows[rows["variant"].isin(n_users.index[n_users >= MIN_CELL_USERS])]
        rules[str(segment)] = {_best(enough) if len(enough) else overall: 1.0}
    return Policy(policy.text, policy.segment_by, rules | {EVERYWHERE: {overall: 1.0}})


def in_learning_half(user_keys: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether each user is in the half that a router is learned on: by a hash of the user alone."""
    return np.array([_hash(f"half {user}") % 2 == 0 for user in user_keys], dtype=bool)


def preview(
    policy: Policy,
    log: pd.DataFrame,
    everything: pd.DataFrame,
    left_out: Mapping[str, int],
    *,
    rng: np.random.Generator,
    n: int = 1000,
) -> Preview:
    """What the policy would have earned on the log, or why nobody can tell.

    `everything` are all rows with a reward, in or out of experiments: DM falls back on them for a variant that no
    experiment tried. Refused without overlap, under MIN_EFFECTIVE_USERS effective users, or where one user carries
    more than MAX_LARGEST_SHARE.
    """
    variants = sorted({*everything["variant"], *(variant for tried in set(log["tried"]) for variant in tried)})
    target_shares(policy, [], variants)
    judged, elsewhere = judged_on(log, policy)
    told = dict(left_out) | ({"their experiment did not try what the policy picks": elsewhere} if elsewhere else {})
    rows = judged if len(judged) else log
    logged = _logged(rows, judged if len(judged) else everything, policy, variants)
    target = np.asarray(logged.target, dtype=float)
    users = rows["user_key"].to_numpy(dtype=object)
    check = weight_check(logged, users)
    refusal = _refusal(rows, judged, target, variants, check)
    found = estimates(logged, users, rng=rng, methods=["logged", "dr_gain", *METHODS], clip=CLIP, n=n)
    kept = [
        _method(method, label, found[method])
        for method, label in METHODS.items()
        if len(rows) and (refusal is None or method == "dm")
    ]
    own, gain = found["logged"], NOTHING if refusal else found["dr_gain"]
    words = in_words(policy)
    return Preview(
        policy=words,
        sentence=_said(words, refusal, kept, own, gain),
        refusal=refusal,
        estimates=kept,
        logged=own,
        gain=gain,
        check=check,
        n_rows=len(rows),
        n_users=int(rows["user_key"].nunique()),
        left_out=told,
        segments=_segment_rows(rows, target, variants),
    )


def _logged(rows: pd.DataFrame, fit: pd.DataFrame, policy: Policy, variants: Sequence[str]) -> Logged:
    """The rows as the estimators take them, with expected rewards from `fit`."""
    return Logged(
        rows["reward"].to_numpy(dtype=float),
        rows["variant"].map({variant: i for i, variant in enumerate(variants)}).to_numpy(dtype=int),
        rows["probability"].to_numpy(dtype=float),
        target_shares(policy, rows["segment"].tolist(), variants),
        expected_rewards(fit, rows, variants),
    )


def _refusal(
    rows: pd.DataFrame, judged: pd.DataFrame, target: Matrix, variants: Sequence[str], check: WeightCheck
) -> str | None:
    """Why the weights cannot carry an estimate, as a sentence; None when they can."""
    if rows.empty:
        return "No draft of an experiment can be used: without logged probabilities nothing can be weighed."
    if judged.empty:
        wanted = [variants[i] for i in np.flatnonzero(target.max(axis=0) > 0).tolist()]
        among = f"to {wanted[0]}" if len(wanted) == 1 else f"among all of {', '.join(wanted)}"
        return (
            f"No overlap: no experiment assigned users at random {among}, so what that would have earned is not "
            "identified by the log. Run an experiment that tries it."
        )
    seen = pd.crosstab(rows["segment"], rows["variant"]).reindex(columns=variants, fill_value=0)
    for segment in seen.index:
        wants = target[np.flatnonzero(rows["segment"] == segment)[0]]
        if never := [v for v, share in zip(variants, wants, strict=True) if share > 0 and not seen.at[segment, v]]:
            return (
                f"No overlap: the policy picks {never[0]} for {named_segment(str(segment))}, where the log never has "
                "it; what it would have earned there is not identified."
            )
    if check.effective is None or check.effective < MIN_EFFECTIVE_USERS:
        return (
            f"Too few users: the estimate would rest on {check.effective or 0:.1f} effective users, and "
            f"{MIN_EFFECTIVE_USERS} are wanted before intervals over resampled users mean anything."
        )
    if check.largest_share is not None and check.largest_share > MAX_LARGEST_SHARE:
        return (
            f"One user carries {check.largest_share:.0%} of the weight, more than {MAX_LARGEST_SHARE:.0%}: "
            "the estimate would be about that user."
        )
    return None


def _method(method: str, label: str, found: Interval) -> MethodEstimate:
    if method == "dm":
        return MethodEstimate(method, label, found.estimate, None, None, is_model_based=True)
    return MethodEstimate(method, label, *found, is_model_based=False)


def _said(words: str, refusal: str | None, kept: Sequence[MethodEstimate], own: Interval, gain: Interval) -> str:
    best = kept[0] if kept else None
    if best is None or best.estimate is None or own.estimate is None:
        return f"Nobody can tell from this log what {words} would have earned."
    if refusal:
        return (
            f"A model guesses {best.estimate:.3f} a draft for {words}, unchecked by any weights; "
            f"the drafts as they were written earned {own.estimate:.3f}."
        )
    interval = "" if best.low is None else f" ({best.low:.3f} to {best.high:.3f})"
    return f"{words} would have earned about {best.estimate:.3f}{interval} a draft{_against(own.estimate, gain)}."


def _against(own: float, gain: Interval) -> str:
    """How that compares with the drafts as they were written, and whether it can be told from no difference."""
    if gain.estimate is None or gain.low is None or gain.high is None:
        return f"; the drafts as they were written earned {own:.3f}"
    said = f", {abs(gain.estimate):.3f} {'more' if gain.estimate >= 0 else 'less'} than the drafts as they were written"
    if gain.low <= 0 <= gain.high:
        return f"{said}: not to be told from no difference ({gain.low:+.3f} to {gain.high:+.3f})"
    return f"{said} ({gain.low:+.3f} to {gain.high:+.3f})"


def _segment_rows(rows: pd.DataFrame, target: Matrix, variants: Sequence[str]) -> list[SegmentRow]:
    found = []
    for segment, at in sorted(rows.groupby("segment").indices.items()):
        here = rows.iloc[at]
        for i, variant in enumerate(variants):
            mine = here[here["variant"] == variant]
            share = float(target[at[0], i])
            if len(mine) or share:
                mean = float(mine["reward"].mean()) if len(mine) else None
                found.append(SegmentRow(str(segment), variant, len(mine), mine["user_key"].nunique(), mean, share))
    return found


def _best(rows: pd.DataFrame) -> str:
    weights = 1 / rows["probability"]
    sums = pd.DataFrame({"variant": rows["variant"], "num": rows["reward"] * weights, "den": weights})
    means = sums.groupby("variant")[["num", "den"]].sum()
    return str((means["num"] / means["den"]).idxmax())


def _folds(user_keys: pd.Series) -> npt.NDArray[np.int_]:
    codes, names = pd.factorize(user_keys)
    folds: npt.NDArray[np.int_] = np.array([_hash(f"fold {name}") % FOLDS for name in names], dtype=int)[codes]
    return folds


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
