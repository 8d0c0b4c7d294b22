"""The checks of the audit, one after the other: what is compared, and when it is a warning or a failure. Pure.

"Surely" means that the 95% interval says so; see `versions_compared`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from organism.digest.designs import group_of, ordered
from organism.digest.row_rewards import Numbers, rewards, utilities
from organism.digest.scored_rows import Kind, judges, kind_of, spoken, without
from organism.digest.versions_compared import MIN_USERS, compared, surely_down, surely_up
from organism.records import Interval, RewardDesign
from organism.stats.compare import Comparison, difference
from organism.stats.rank_correlation import rank_correlation_change

SHORTER, LONGER = 0.8, 1.25
DOMINATES = 0.8
DOUBT_P = 0.2
HOLDS = -0.02
ACCEPTANCE = ("accepted", "retained_char_rate")
OFFERED = ("drafts_shown", "written_share")
NEEDED = ("accepted", "output_tokens", "retained_char_rate", "written_share")


class Finding(StrEnum):
    """What one check found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    CANNOT_SAY = "cannot say"


class Check(StrEnum):
    """The checks, in the order in which they are shown."""

    OUTCOME = "reward against outcome"
    TRACKING = "reward still tracks the outcome"
    HUMAN = "reward against people"
    LENGTH = "length drift"
    DOMINATION = "one signal's domination"
    OFFER = "offering less"


CHECKS: Mapping[Check, str] = {
    Check.OUTCOME: (
        "fail: the reward is surely up and the outcome surely down; warn: the reward is surely up and the outcome "
        f"probably down (p under {DOUBT_P})"
    ),
    Check.TRACKING: (
        "only where the reward tracked the outcome within the reference. fail: within this version it surely runs "
        "against it; warn: it tracks surely less than before, and perhaps not at all"
    ),
    Check.HUMAN: "as reward against outcome, with people's answers and ratings that are no part of the design",
    Check.LENGTH: (
        f"warn: the whole interval of the ratio of output tokens lies outside of {SHORTER} to {LONGER}, and the share "
        "of the final text that the model wrote is not surely up"
    ),
    Check.DOMINATION: (
        f"warn: the reward is surely up, and over {DOMINATES:.0%} of that comes from one signal of price or performance"
    ),
    Check.OFFER: (
        "fail: drafts shown or written share are surely down while acceptance or retained characters are surely up; "
        f"warn: while one of these two holds (a change of {HOLDS} or more)"
    ),
}


class Figure(NamedTuple):
    """One figure of a check: this version less the reference, or their ratio, with its interval."""

    name: str
    reference: float | None
    variant: float | None
    change: Interval
    unit: str


class Checked(NamedTuple):
    """One check on one subject (an outcome, or the version as a whole)."""

    check: Check
    subject: str
    finding: Finding
    sentence: str
    figures: list[Figure]


class Pair(NamedTuple):
    """The rows of both versions, which of them are the variant's, and everything that was compared so far."""

    rows: pd.DataFrame
    is_variant: Numbers
    design: RewardDesign
    reward: Comparison


def run_checks(pair: Pair, rng: np.random.Generator) -> list[Checked]:
    outcomes = [name for name in judges(list(pair.rows.columns)) if pair.rows[name].notna().any()]
    late = [name for name in outcomes if kind_of(name) is Kind.OUTCOME]
    human = [name for name in outcomes if kind_of(name) is Kind.HUMAN]
    return [
        *(_against(pair, Check.OUTCOME, name) for name in late),
        *(_tracking(pair, name, rng) for name in outcomes),
        *(_against(pair, Check.HUMAN, name) for name in human),
        *([] if late else [_nothing(Check.OUTCOME, "no outcome has come in; send outcomes of these interactions")]),
        *([] if human else [_nothing(Check.HUMAN, "nobody has judged a sample; send ratings with a name")]),
        _length(pair),
        _domination(pair),
        _offer(pair),
    ]


def _nothing(check: Check, why: str) -> Checked:
    return Checked(check, "", Finding.CANNOT_SAY, f"{why[:1].upper()}{why[1:]}.", [])


def _against(pair: Pair, check: Check, outcome: str) -> Checked:
    """The reward's change beside the outcome's; where the outcome is a signal, the reward is taken without it."""
    judged = without(pair.design, outcome)
    is_part = judged != pair.design
    if judged is None:
        return _nothing(check, f"{spoken(outcome)} is the whole reward, so it cannot be held against it")
    reward = pair.reward
    if is_part:
        reward = compared(pair.rows.assign(reward=rewards(pair.rows, judged)), "reward", pair.is_variant)
    change = compared(pair.rows, outcome, pair.is_variant)
    figures = [_figure("reward", reward), _figure(outcome, change)]
    note = f" ({outcome} is one of its signals; the reward is taken without it)" if is_part else ""
    if min(change.n_control, change.n_treatment) < MIN_USERS:
        words = f"Too few users carry {spoken(outcome)} under both versions to compare them{note}."
        return Checked(check, outcome, Finding.CANNOT_SAY, words, figures)
    if change.ci_low is None or reward.ci_low is None:
        words = f"The reward or {spoken(outcome)} is the same for every user of a version{note}, so nothing is sure."
        return Checked(check, outcome, Finding.CANNOT_SAY, words, figures)
    down = change.effect is not None and change.effect < 0
    doubtful = down and change.p_value is not None and change.p_value < DOUBT_P
    finding = Finding.OK
    if surely_up(reward) and doubtful:
        finding = Finding.FAIL if surely_down(change) else Finding.WARN
    words = f"The reward{note} is {_moved(reward)} and {spoken(outcome)} is {_moved(change)}{_scale(pair, outcome)}."
    return Checked(check, outcome, finding, words, figures)


def _scale(pair: Pair, outcome: str) -> str:
    """On what scale people answered, as far as it was seen: a change of -2.4 says little without it."""
    values = pair.rows[outcome].dropna()
    if kind_of(outcome) is not Kind.HUMAN or values.empty:
        return ""
    return f", where answers ran from {values.min():.3g} to {values.max():.3g}"


def _tracking(pair: Pair, outcome: str, rng: np.random.Generator) -> Checked:
    """Rank correlation of reward and outcome within the variant beside the reference's."""
    judged = without(pair.design, outcome)
    if judged is None:
        return _nothing(Check.TRACKING, f"{spoken(outcome)} is the whole reward, so it cannot be held against it")
    before, after, change = rank_correlation_change(
        rewards(pair.rows, judged),
        pair.rows[outcome],
        is_treatment=pair.is_variant,
        users=pair.rows["user_key"],
        rng=rng,
        n=500,
    )
    figures = [Figure(f"rank correlation with {outcome}", before.estimate, after.estimate, change, "rho")]
    finding, words = _tracking_finding(before, after, change)
    return Checked(Check.TRACKING, outcome, finding, words.format(outcome=spoken(outcome)), figures)


def _tracking_finding(before: Interval, after: Interval, change: Interval) -> tuple[Finding, str]:
    if before.low is None or after.low is None or after.high is None or change.high is None:
        return Finding.CANNOT_SAY, "The reward or {outcome} does not vary within both versions."
    figures = f"{before.estimate:.2f} within the reference, {after.estimate:.2f} within this version"
    if before.low <= 0:
        return Finding.CANNOT_SAY, f"The reward did not surely track {{outcome}} before: {figures}."
    if after.high < 0:
        return Finding.FAIL, f"The reward now runs against {{outcome}}: {figures}."
    if after.low > 0:
        return Finding.OK, f"The reward still tracks {{outcome}}: {figures}."
    if change.high < 0:
        return Finding.WARN, f"The reward tracks {{outcome}} less than before, perhaps not at all: {figures}."
    return Finding.CANNOT_SAY, f"The data cannot tell whether the reward still tracks {{outcome}}: {figures}."


def _length(pair: Pair) -> Checked:
    """The ratio of mean output tokens with Fieller's interval, read beside the written share."""
    change = _change(pair, "output_tokens")
    ratio = Interval(
        *(None if x is None else 1 + x for x in (change.relative, change.relative_low, change.relative_high))
    )
    written = _change(pair, "written_share")
    figures = [
        Figure("output_tokens, ratio", change.mean_control, change.mean_treatment, ratio, "ratio"),
        _figure("written_share", written),
    ]
    if ratio.estimate is None or ratio.low is None or ratio.high is None:
        return Checked(
            Check.LENGTH, "", Finding.CANNOT_SAY, "Output tokens are not known under both versions.", figures
        )
    size = f"Drafts are {ratio.estimate:.2f} times as long ({ratio.low:.2f} to {ratio.high:.2f})"
    if ratio.low >= SHORTER and ratio.high <= LONGER:
        return Checked(Check.LENGTH, "", Finding.OK, f"{size}.", figures)
    if ratio.high < SHORTER or ratio.low > LONGER:
        if surely_up(written):
            words = f"{size}, and the share of the final text that the model wrote is {_moved(written)}."
            return Checked(Check.LENGTH, "", Finding.OK, words, figures)
        words = f"{size}, and the share of the final text that the model wrote is not surely up: {_moved(written)}."
        return Checked(Check.LENGTH, "", Finding.WARN, words, figures)
    words = f"{size}: the interval crosses {SHORTER if ratio.low < SHORTER else LONGER}."
    return Checked(Check.LENGTH, "", Finding.CANNOT_SAY, words, figures)


def _domination(pair: Pair) -> Checked:
    """How much of the reward's gain each signal brings: weight share times the change of its utility."""
    scored = np.isfinite(pair.rows["reward"].to_numpy(dtype=float))
    rows, is_variant = pair.rows[scored], pair.is_variant[scored]
    total = sum(spec.weight for spec in pair.design.signals)
    parts = {}
    for spec in ordered(pair.design.signals):
        values = rows.assign(part=utilities(rows, spec) * spec.weight / total)
        parts[spec.signal] = compared(values, "part", is_variant)
    figures = [_figure(name, change, "of the reward") for name, change in parts.items()]
    gain = pair.reward.effect
    if not surely_up(pair.reward) or not gain:
        words = "The reward is not surely up, so there is no gain to take apart."
        return Checked(Check.DOMINATION, "", Finding.OK, words, figures)
    most = max(parts, key=lambda name: parts[name].effect or 0.0)
    share = (parts[most].effect or 0.0) / gain
    words = f"Of the reward's gain of {gain:+.3f}, {most} ({group_of(most)}) brings {share:.0%}"
    words += " (other signals take some back)." if share > 1 else "."
    alone = share > DOMINATES and group_of(most) != "quality"
    return Checked(Check.DOMINATION, most, Finding.WARN if alone else Finding.OK, words, figures)


def _offer(pair: Pair) -> Checked:
    """Less is offered while what is offered is taken as well as before, or better."""
    offered = {name: _change(pair, name) for name in OFFERED}
    taken = {name: _change(pair, name) for name in ACCEPTANCE}
    figures = [_figure(name, change) for name, change in (offered | taken).items()]
    if not all(any(_is_known(change) for change in group.values()) for group in (offered, taken)):
        words = "Drafts shown or written share, beside acceptance or retained characters, are not known on both sides."
        return Checked(Check.OFFER, "", Finding.CANNOT_SAY, words, figures)
    less = [name for name, change in offered.items() if surely_down(change)]
    words = ", ".join(f"{spoken(name)} {_moved(change)}" for name, change in (offered | taken).items())
    if not less:
        return Checked(Check.OFFER, "", Finding.OK, f"No less is offered: {words}.", figures)
    if any(surely_up(change) for change in taken.values()):
        return Checked(Check.OFFER, less[0], Finding.FAIL, f"Less is offered, and that pays: {words}.", figures)
    if holding := [
        spoken(name) for name, change in taken.items() if change.effect is not None and change.effect >= HOLDS
    ]:
        words = f"Less is offered while {' and '.join(holding)} holds: {words}."
        return Checked(Check.OFFER, less[0], Finding.WARN, words, figures)
    return Checked(Check.OFFER, less[0], Finding.OK, f"Less is offered, and acceptance fell with it: {words}.", figures)


def _change(pair: Pair, column: str) -> Comparison:
    if column not in pair.rows:
        return difference(None, None)
    return compared(pair.rows, column, pair.is_variant)


def drafts_shown(rows: pd.DataFrame) -> Numbers:
    """1 where a draft of at least one token was shown, 0 where none was; missing where the tokens are not known."""
    tokens = rows["output_tokens"].to_numpy(dtype=float) if "output_tokens" in rows else np.full(len(rows), np.nan)
    return np.where(np.isfinite(tokens), (tokens > 0).astype(float), np.nan)


def _figure(name: str, change: Comparison, unit: str = "") -> Figure:
    interval = Interval(change.effect, change.ci_low, change.ci_high)
    return Figure(name, change.mean_control, change.mean_treatment, interval, unit)


def _is_known(change: Comparison) -> bool:
    """There is an interval, or nobody differs at all."""
    return change.ci_low is not None or change.effect == 0


def _moved(change: Comparison) -> str:
    """A change in words: surely up, +0.120 (+0.080 to +0.160)."""
    if change.effect == 0 and change.ci_low is None:
        return "the same"
    if change.effect is None or change.ci_low is None or change.ci_high is None:
        return "not to be compared"
    word = "surely up" if surely_up(change) else "surely down" if surely_down(change) else "not surely moved"
    return f"{word}, {change.effect:+.3f} ({change.ci_low:+.3f} to {change.ci_high:+.3f})"
