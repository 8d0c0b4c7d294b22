"""Figures of two drafts for each prompt, from the rows of an evaluation as plain data. Pure: no torch, no store.

A row has user_key, prompt, before, after, final_text and measures (the counts of `evaluation.compare`); what older
evaluations lack is missing here, never 0. Intervals are at 95%, by user: those of changes resample whole users.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from organism.measures.text_overlap import MEASURES
from organism.records import Interval
from organism.stats.bootstrap import paired_bootstrap
from organism.stats.shared_votes import clustered_share

Row = Mapping[str, Any]
TIE = 0.01
"""Two drafts whose agreement with the final text differs by less are a tie: a reader would not tell them apart."""
MAX_FACTS = 50
SIDES = ("before", "after")


class Agreement(NamedTuple):
    """How well both drafts of a row agree with the final text, 0 to 1; change is after minus before."""

    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


def agreement(row: Row) -> Agreement:
    """Retained characters both ways: 2 retained / (draft + final characters), so that neither padding nor leaving out
    pays (Dice's coefficient on characters). Two empty texts agree.
    """
    counts = row["measures"]
    return Agreement(
        *(dice(counts[f"retained_{side}"], counts[f"chars_{side}"], counts["final_chars"]) for side in SIDES)
    )


def dice(retained: int, draft: int, final: int) -> float:
    """Twice the characters that two texts share over the characters of both; 1 for two empty texts."""
    return 2 * retained / (draft + final) if draft + final else 1.0


def outcome(row: Row) -> int:
    """1 where the new draft is nearer to the final text, -1 where the old one is, 0 for a tie."""
    change = agreement(row).change
    return 0 if abs(change) < TIE else 1 if change > 0 else -1


def worst_first(rows: Sequence[Row]) -> list[int]:
    """The places of the rows, the greatest loss of agreement with the final text first, then the most facts lost."""
    facts = [_facts_won(row) for row in rows]
    return sorted(range(len(rows)), key=lambda place: (agreement(rows[place]).change, facts[place], place))


def _facts_won(row: Row) -> int:
    return sum(fact["after"] - fact["before"] for fact in row["measures"]["facts"])


def win_rate(rows: Sequence[Row], outcomes: Sequence[int]) -> dict[str, Any]:
    """wins, ties, losses, the rate (a tie is half a win) and its interval for other users, of one outcome (1, 0, -1) a
    row.
    """
    share = clustered_share([(1 + result) / 2 for result in outcomes], [row["user_key"] for row in rows])
    counts = {name: sum(result == value for result in outcomes) for name, value in _OUTCOMES.items()}
    return {**counts, "rate": share.share, "ci": pair(Interval(share.share, share.low, share.high))}


_OUTCOMES = {"wins": 1, "ties": 0, "losses": -1}


def metric_figures(rows: Sequence[Row], seed: int) -> dict[str, dict[str, Any]]:
    """before, after and gain_ci of the mean of each usual measure of likeness; empty without a row."""
    if not rows:
        return {}
    return {name: _metric(rows, measure, seed) for name, measure in MEASURES.items()}


def _metric(rows: Sequence[Row], measure: Callable[[str, str], float], seed: int) -> dict[str, Any]:
    scores = {side: [measure(row[side], row["final_text"]) for row in rows] for side in SIDES}
    ones = [1] * len(rows)
    change = change_by_user(rows, scores["before"], ones, scores["after"], ones, seed)
    return {**{side: sum(scores[side]) / len(rows) for side in SIDES}, "gain_ci": pair(change)}


def facts_changed(rows: Sequence[Row]) -> dict[str, Any]:
    """Which facts the new model loses and which it wins: counts, and the first of the lost with row and wording."""
    lost, n_won = [], 0
    for number, row in enumerate(rows):
        for fact in row["measures"]["facts"]:
            if fact["before"] and not fact["after"]:
                wanted = fact["any_of"][0] if fact["any_of"] else ""
                lost.append({"row": number, "user_key": row["user_key"], "kind": fact["kind"], "wanted": wanted})
            n_won += fact["after"] and not fact["before"]
    return {"n_facts_lost": len(lost), "n_facts_won": n_won, "facts_lost": lost[:MAX_FACTS]}


def loss_figures(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """Nats a token on the final texts, with the perplexities and the interval of the change; None where not scored."""
    scored = [row for row in rows if "loss_before" in row["measures"]]
    n_tokens = sum(row["measures"]["loss_tokens"] for row in scored)
    if not n_tokens:
        return dict.fromkeys(("loss_before", "loss_after", "loss_gain_ci", "perplexity_before", "perplexity_after"))
    tokens = [row["measures"]["loss_tokens"] for row in scored]
    sums = {side: [row["measures"][f"loss_{side}"] for row in scored] for side in SIDES}
    means = {side: sum(sums[side]) / n_tokens for side in SIDES}
    change = change_by_user(scored, sums["before"], tokens, sums["after"], tokens, seed)
    return {
        **{f"loss_{side}": means[side] for side in SIDES},
        "loss_gain_ci": pair(change),
        **{f"perplexity_{side}": float(np.exp(means[side])) for side in SIDES},
    }


def change_by_user(
    rows: Sequence[Row],
    before_num: Sequence[float],
    before_den: Sequence[float],
    after_num: Sequence[float],
    after_den: Sequence[float],
    seed: int,
    level: float = 0.95,
) -> Interval:
    """The change of a ratio of sums, its interval resampling the users of the rows."""
    users = [row["user_key"] for row in rows]
    rng = np.random.default_rng(seed)
    return paired_bootstrap(before_num, before_den, after_num, after_den, users, rng=rng, level=level)


def pair(interval: Interval) -> list[float] | None:
    """Both ends as plain data; None where they are unknown."""
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]
