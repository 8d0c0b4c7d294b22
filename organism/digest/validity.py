"""Is this the right reward? It is as far as it orders interactions as the outcomes do, within each version. Pure.

Over all versions a reward may go with an outcome only because one version has more of both. Such a reward says which
version to keep, and nothing about which draft to learn from: trained on, it drifts. So what counts is the rank
correlation within versions; the one over all rows stands beside it. The rules are in `predictions`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from organism.digest.designs import group_of, listed, ordered
from organism.digest.predictions import RULES, Prediction, Word, of_reward, of_signals
from organism.digest.reversals import Reversal, in_words, reversals
from organism.digest.rewards import component_shares, moments_of_users
from organism.digest.row_rewards import rewards
from organism.digest.scored_rows import judges, spoken, utility_sums, without
from organism.records import RewardDesign
from organism.stats.rank_correlation import calibration
from organism.stats.surrogate import AcrossDeployments, Surrogate, across_deployments, surrogate


class Answer(StrEnum):
    """Is this the right reward?"""

    YES = "yes"
    IN_PART = "in part"
    NO = "no"
    CANNOT_SAY = "cannot say"


ANSWERS = (
    f"{Answer.CANNOT_SAY}: no outcome and no human judgment can say anything",
    f"{Answer.NO}: none of those that can is predicted within versions",
    (
        f"{Answer.IN_PART}: some are predicted and some are not, or of two versions one earns surely more, has surely "
        "less of an outcome, and no guardrail of the design bars it"
    ),
    f"{Answer.YES}: all that can say anything are predicted",
)
NOTE = (
    "Outcomes are read as: more is better. Intervals are for one look at one outcome; with many outcomes some stand "
    "out by chance."
)


class Component(NamedTuple):
    """One signal's part of the reward: of the weight, and of the reward's variance between users (None unknown)."""

    signal: str
    group: str
    weight_share: float
    variance_share: float | None


class Trial(NamedTuple):
    """An experiment as far as validity needs it: control and treatment are variants."""

    experiment_id: str
    name: str
    control: str
    treatment: str


class Explained(NamedTuple):
    """How much of an experiment's effect on an outcome goes through the reward; None where it cannot be judged."""

    experiment: str
    control: str
    treatment: str
    outcome: str
    found: Surrogate | None


class Validity(NamedTuple):
    """Everything that speaks for or against a reward design; tables have the columns of their functions.

    `reversals` names barred versions too; `barred` says by version which guardrails of the design it breaks.
    """

    design_id: str
    design: str
    answer: Answer
    sentence: str
    n_interactions: int
    n_scored: int
    n_users: int
    variants: list[str]
    reward: list[Prediction]
    reversals: list[Reversal]
    barred: dict[str, list[str]]
    signals: list[Prediction]
    components: list[Component]
    calibration: pd.DataFrame
    experiments: list[Explained]
    across: dict[str, AcrossDeployments]
    rules: tuple[str, ...]
    answer_rules: tuple[str, ...]
    notes: list[str]


def validity(
    rows: pd.DataFrame,
    design: RewardDesign,
    *,
    trials: Sequence[Trial] = (),
    candidates: Sequence[str] = (),
    barred: Mapping[str, Sequence[str]] | None = None,
    rng: np.random.Generator,
) -> Validity:
    """Judge a design by the outcomes and human judgments among the rows' columns (see `scored_rows`).

    `candidates` are signals outside of the design that are judged beside its own, as they stand: higher is better.
    `barred` says by variant which guardrails of the design it breaks: such a variant may not win, whatever it earns.
    """
    outcomes = [name for name in judges(list(rows.columns)) if rows[name].notna().any()]
    score = rewards(rows, design)
    predictions = [of_reward(rows, design, outcome, rng) for outcome in outcomes]
    explained = [_explained(rows, design, trial, outcome, rng) for trial in trials for outcome in outcomes]
    turned = reversals(rows, design, outcomes)
    broken = {name: list(bounds) for name, bounds in (barred or {}).items()}
    answer, sentence = _answer(predictions, turned, broken)
    known = rows[np.isfinite(score)]
    return Validity(
        design_id=design.id,
        design=design.name,
        answer=answer,
        sentence=sentence,
        n_interactions=len(rows),
        n_scored=len(known),
        n_users=int(known["user_key"].nunique()),
        variants=sorted(set(rows["variant"])),
        reward=predictions,
        reversals=turned,
        barred=broken,
        signals=of_signals(rows, design, outcomes, candidates, rng),
        components=_components(rows, design),
        calibration=_calibrations(rows, design, outcomes),
        experiments=explained,
        across={outcome: _across(explained, outcome) for outcome in outcomes},
        rules=RULES,
        answer_rules=ANSWERS,
        notes=_notes(known, design, outcomes),
    )


def _answer(
    predictions: Sequence[Prediction], turned: Sequence[Reversal], broken: Mapping[str, Sequence[str]]
) -> tuple[Answer, str]:
    """One answer from all outcomes that can say something, and the sentence that a page shows first."""
    heard = [p for p in predictions if p.word != Word.CANNOT_SAY]
    good = [spoken(p.outcome) for p in heard if p.word == Word.PREDICTS]
    bad = [f"{spoken(p.outcome)} ({_why_not(p)})" for p in heard if p.word != Word.PREDICTS]
    silent = [spoken(p.outcome) for p in predictions if p.word == Word.CANNOT_SAY]
    rest = f" About {listed(silent)} the data cannot say." if silent else ""
    if not predictions:
        return Answer.CANNOT_SAY, (
            "Nothing can be held against this reward yet: no outcome and no human judgment has come in. "
            "Send outcomes, or ratings with a name."
        )
    if not heard:
        return Answer.CANNOT_SAY, f"The data cannot say yet whether this reward is right about {listed(silent)}."
    if not good:
        return Answer.NO, f"This reward does not order drafts as it should: {listed(bad)}.{rest}"
    if wrong := in_words(turned, broken):
        rest = f" {wrong}{rest}"
    if bad:
        return Answer.IN_PART, f"This reward predicts {listed(good)}, but not {listed(bad)}.{rest}"
    answer = Answer.IN_PART if any(reversal.preferred not in broken for reversal in turned) else Answer.YES
    return answer, f"Within each version, more reward goes with more of {listed(good)}.{rest}"


def _why_not(prediction: Prediction) -> str:
    match prediction.word:
        case Word.SPURIOUS:
            return "only between versions"
        case Word.OPPOSITE:
            return "it predicts the opposite"
    return "next to nothing within versions"


def _components(rows: pd.DataFrame, design: RewardDesign) -> list[Component]:
    sums = utility_sums(rows, design)
    specs = ordered(design.signals)
    shares = component_shares(moments_of_users(sums, [spec.signal for spec in specs]), design) if len(sums) else {}
    total = sum(spec.weight for spec in specs)
    return [
        Component(spec.signal, group_of(spec.signal), spec.weight / total, shares.get(spec.signal)) for spec in specs
    ]


def _calibrations(rows: pd.DataFrame, design: RewardDesign, outcomes: Sequence[str]) -> pd.DataFrame:
    """The mean of each outcome by tenth of the reward: columns outcome and those of `calibration`."""
    parts = []
    for outcome in outcomes:
        judged = without(design, outcome) or design
        found = calibration(rewards(rows, judged), rows[outcome], users=rows["user_key"])
        parts.append(found.assign(outcome=outcome))
    empty = calibration([], [], users=[]).assign(outcome=pd.Series(dtype=object))
    return pd.concat(parts, ignore_index=True) if parts else empty


def _explained(
    rows: pd.DataFrame, design: RewardDesign, trial: Trial, outcome: str, rng: np.random.Generator
) -> Explained:
    judged = without(design, outcome)
    mine = rows[(rows["experiment_id"] == trial.experiment_id) & rows["variant"].isin([trial.control, trial.treatment])]
    found = None
    if judged is not None and len(mine):
        found = surrogate(
            (mine["variant"] == trial.treatment).to_numpy(dtype=float),
            rewards(mine, judged),
            mine[outcome].to_numpy(dtype=float),
            users=mine["user_key"].to_numpy(dtype=object),
            rng=rng,
        )
    return Explained(trial.name, trial.control, trial.treatment, outcome, found)


def _across(explained: Sequence[Explained], outcome: str) -> AcrossDeployments:
    effects = [
        (e.found.effect_on_reward, e.found.effect_on_outcome.estimate)
        for e in explained
        if e.outcome == outcome and e.found is not None
    ]
    return across_deployments([(r, t) for r, t in effects if r is not None and t is not None])


def _notes(known: pd.DataFrame, design: RewardDesign, outcomes: Sequence[str]) -> list[str]:
    """What a reader must know of these rows before believing a figure."""
    notes = [NOTE] if outcomes else []
    parts = [name for name in outcomes if name in {spec.signal for spec in design.signals}]
    if parts:
        notes.append(f"{listed(parts)} is part of this design; the reward is held against it without that part.")
    if len(known) and known["user_key"].nunique() == 1:
        notes.append("All interactions are of one user, so no interval can be given; wait for more users.")
    if len(known) and known["variant"].nunique() == 1:
        notes.append("There is one version only, so over all and within versions are the same.")
    if not len(known):
        notes.append("No interaction carries all signals of this design, so nothing could be scored.")
    return notes
