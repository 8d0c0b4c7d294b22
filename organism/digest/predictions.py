"""One outcome's word on the reward, or on one of its signals: does it order interactions as the outcome does? Pure.

The rules are written in RULES, and shown wherever a word is.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from organism.digest.designs import ordered
from organism.digest.row_rewards import Numbers, rewards, utilities
from organism.digest.scored_rows import Kind, kind_of, spoken, without
from organism.records import Interval, RewardDesign
from organism.stats.rank_correlation import RankCorrelation, rank_correlation

MIN_ROWS, MIN_USERS = 100, 20
SMALL = 0.1
CELLS = 6_000_000


class Word(StrEnum):
    """What one outcome says about the reward, or about one signal."""

    PREDICTS = "predicts"
    OPPOSITE = "predicts the opposite"
    NOT_WITHIN = "does not predict within versions"
    SPURIOUS = "predicts only between versions: spurious"
    CANNOT_SAY = "cannot say"


RULES = (
    (
        f"{Word.CANNOT_SAY}: fewer than {MIN_ROWS} interactions or {MIN_USERS} users carry both numbers, or one of "
        "them does not vary within any version"
    ),
    f"{Word.PREDICTS}: the interval of the rank correlation within versions lies above 0",
    f"{Word.OPPOSITE}: that interval lies below 0, whatever the correlation over all",
    (
        f"{Word.SPURIOUS}: over all interactions the interval lies above 0, within versions it does not, and it lies "
        "below the correlation over all"
    ),
    f"{Word.NOT_WITHIN}: the interval within versions lies below {SMALL}",
    f"{Word.CANNOT_SAY}: otherwise, since the interval holds both 0 and {SMALL}",
)


class Prediction(NamedTuple):
    """How well a subject (the reward, or one signal) orders interactions as one outcome does.

    `is_part` says that the outcome is one of the design's own signals: then the reward is taken without it.
    """

    subject: str
    outcome: str
    kind: Kind
    is_part: bool
    in_design: bool
    correlation: RankCorrelation
    word: Word
    sentence: str


def word_of(found: RankCorrelation) -> Word:
    """The first rule of RULES that fits."""
    within, overall = found.within, found.overall
    too_few = found.n_rows < MIN_ROWS or found.n_users < MIN_USERS
    if too_few or within.estimate is None or within.low is None or within.high is None:
        return Word.CANNOT_SAY
    if within.low > 0:
        return Word.PREDICTS
    if within.high < 0:
        return Word.OPPOSITE
    if overall.estimate is not None and overall.low is not None and overall.low > 0 and within.high < overall.estimate:
        return Word.SPURIOUS
    return Word.NOT_WITHIN if within.high < SMALL else Word.CANNOT_SAY


def of_reward(rows: pd.DataFrame, design: RewardDesign, outcome: str, rng: np.random.Generator) -> Prediction:
    """The reward against one outcome; without that outcome's own line, where the design has one."""
    is_part = outcome in {spec.signal for spec in design.signals}
    judged = without(design, outcome) if is_part else design
    score = np.full(len(rows), np.nan) if judged is None else rewards(rows, judged)
    return _prediction("reward", rows, score, outcome, rng, is_part=is_part, in_design=True)


def of_signals(
    rows: pd.DataFrame,
    design: RewardDesign,
    outcomes: Sequence[str],
    candidates: Sequence[str],
    rng: np.random.Generator,
) -> list[Prediction]:
    """Each signal of the design by its utility where it is known, then the candidates as they stand."""
    scores = {spec.signal: utilities(rows, spec, fill=False) for spec in ordered(design.signals)}
    named = set(scores)
    scores |= {name: rows[name].to_numpy(dtype=float) for name in candidates if name in rows and name not in named}
    return [
        _prediction(signal, rows, score, outcome, rng, is_part=False, in_design=signal in named, effort=0.5)
        for signal, score in scores.items()
        for outcome in outcomes
        if signal != outcome
    ]


def predictions_table(predictions: Sequence[Prediction]) -> pd.DataFrame:
    """One row a prediction for charts and files: subject, outcome, kind, word, the figures, the sentence."""
    columns: Mapping[str, list[object]] = {
        "subject": [p.subject for p in predictions],
        "outcome": [p.outcome for p in predictions],
        "kind": [str(p.kind) for p in predictions],
        "word": [str(p.word) for p in predictions],
        "n_rows": [p.correlation.n_rows for p in predictions],
        "n_users": [p.correlation.n_users for p in predictions],
    }
    table = pd.DataFrame(columns)
    for name in ("overall", "within"):
        found = [getattr(p.correlation, name) for p in predictions]
        for place, column in enumerate((name, f"{name}_low", f"{name}_high")):
            table[column] = pd.Series([value[place] for value in found], dtype=float)
    return table.assign(sentence=[p.sentence for p in predictions])


def _prediction(
    subject: str,
    rows: pd.DataFrame,
    score: Numbers,
    outcome: str,
    rng: np.random.Generator,
    *,
    is_part: bool,
    in_design: bool,
    effort: float = 1.0,
) -> Prediction:
    resamples = int(min(1000, max(200, CELLS / max(len(rows), 1))) * effort)
    found = rank_correlation(score, rows[outcome], groups=rows["variant"], users=rows["user_key"], rng=rng, n=resamples)
    word, kind = word_of(found), kind_of(outcome)
    assert kind is not None
    sentence = _sentence(subject, outcome, word, found, is_part=is_part)
    return Prediction(subject, outcome, kind, is_part, in_design, found, word, sentence)


def _sentence(subject: str, outcome: str, word: Word, found: RankCorrelation, *, is_part: bool) -> str:
    who = "the reward" if subject == "reward" else subject
    if is_part:
        who = f"the reward without {outcome}, which is one of its own signals and would only predict itself,"
    figures = f"rank correlation {said(found.within)} within versions, {said(found.overall)} over all"
    match word:
        case Word.PREDICTS:
            return f"Within versions more of {who} goes with more of {spoken(outcome)}: {figures}."
        case Word.SPURIOUS:
            return f"More of {who} goes with {spoken(outcome)} only because some versions have more of both: {figures}."
        case Word.OPPOSITE:
            return f"Within versions more of {who} goes with less of {spoken(outcome)}: {figures}."
        case Word.NOT_WITHIN:
            return f"Within versions {who} says next to nothing about {spoken(outcome)}: {figures}."
    if found.n_rows < MIN_ROWS or found.n_users < MIN_USERS:
        return (
            f"{found.n_rows} interactions of {found.n_users} users carry both {who} and {spoken(outcome)}; "
            f"wanted {MIN_ROWS} of {MIN_USERS}."
        )
    if found.within.estimate is None:
        return f"Within each version either {who} or {spoken(outcome)} is always the same, so nothing can be ordered."
    return f"The data cannot tell yet whether {who} predicts {spoken(outcome)} within versions: {figures}."


def said(found: Interval, digits: int = 2) -> str:
    """An interval in words: 0.31 (0.27 to 0.35)."""
    if found.estimate is None:
        return "unknown"
    if found.low is None or found.high is None:
        return f"{found.estimate:.{digits}f} (interval unknown)"
    return f"{found.estimate:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
