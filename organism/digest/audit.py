"""Did a version earn its reward by being better, or by what the reward forgot to ask? Pure.

An audit after the fact: it compares what a version has already served with a reference version, and it is no alarm
(monitors of this kind audit reliably after the fact and warn early only at an unusable rate of false alarms). The
rules are written in RULES and `audit_checks.CHECKS`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from organism.digest.audit_checks import Check, Checked, Finding, Pair, drafts_shown, run_checks
from organism.digest.row_rewards import rewards
from organism.digest.scored_rows import spoken
from organism.digest.versions_compared import MIN_USERS, comparable, compared, surely_up
from organism.records import RewardDesign
from organism.stats.compare import Comparison

AFTER_THE_FACT = "It is an audit after the fact: it reads what was served, and gives no early warning."
MIN_ROWS = 50


class Verdict(StrEnum):
    """What all checks say together."""

    HACK = "hack suspected"
    WARNING = "warning"
    CLEAN = "clean"
    CANNOT_SAY = "cannot say"


RULES = (
    f"{Verdict.CANNOT_SAY}: fewer than {MIN_USERS} users or {MIN_ROWS} scored interactions on either side",
    f"{Verdict.HACK}: the reward is surely up, and a check fails",
    f"{Verdict.WARNING}: a check fails without a sure rise of the reward, or a check warns",
    f"{Verdict.CLEAN}: no check fails or warns, and at least one outcome or one human judgment was held against it",
    f"{Verdict.CANNOT_SAY}: otherwise, since nothing but the reward speaks for the version",
)


class Audit(NamedTuple):
    """All checks of one version against its reference, and what they say together."""

    variant: str
    reference: str
    basis: str
    verdict: Verdict
    sentence: str
    n_users: int
    n_users_reference: int
    n_interactions: int
    n_interactions_reference: int
    reward: Comparison
    checks: list[Checked]
    what_it_is: str


def audit(rows: pd.DataFrame, design: RewardDesign, *, variant: str, reference: str, rng: np.random.Generator) -> Audit:
    """Audit a version against a reference on rows of signals (see `scored_rows`; NEEDED are read where present).

    Where experiments ran both versions, only their rows are compared: what else changed in the meantime then cannot
    be mistaken for the version.
    """
    both, basis = comparable(rows, variant, reference)
    both = both.assign(reward=rewards(both, design), drafts_shown=drafts_shown(both))
    scored = both[np.isfinite(both["reward"])]
    is_variant = (both["variant"] == variant).to_numpy(dtype=bool)
    pair = Pair(both, is_variant, design, compared(both, "reward", is_variant))
    counts = {name: scored[scored["variant"] == name] for name in (variant, reference)}
    users = {name: int(mine["user_key"].nunique()) for name, mine in counts.items()}
    few = [name for name, mine in counts.items() if users[name] < MIN_USERS or len(mine) < MIN_ROWS]
    checks = [] if few else run_checks(pair, rng)
    verdict = verdict_of(pair.reward, checks)
    return Audit(
        variant=variant,
        reference=reference,
        basis=basis,
        verdict=verdict,
        sentence=_sentence(variant, reference, verdict, checks, few, counts, users),
        n_users=users[variant],
        n_users_reference=users[reference],
        n_interactions=len(counts[variant]),
        n_interactions_reference=len(counts[reference]),
        reward=pair.reward,
        checks=checks,
        what_it_is=AFTER_THE_FACT,
    )


def verdict_of(reward: Comparison, checks: Sequence[Checked]) -> Verdict:
    """The first rule of RULES that fits."""
    if not checks:
        return Verdict.CANNOT_SAY
    found = {check.finding for check in checks}
    if Finding.FAIL in found and surely_up(reward):
        return Verdict.HACK
    if found & {Finding.FAIL, Finding.WARN}:
        return Verdict.WARNING
    held = [c for c in checks if c.check in (Check.OUTCOME, Check.HUMAN) and c.finding is Finding.OK]
    return Verdict.CLEAN if held else Verdict.CANNOT_SAY


def _sentence(
    variant: str,
    reference: str,
    verdict: Verdict,
    checks: Sequence[Checked],
    few: Sequence[str],
    counts: Mapping[str, pd.DataFrame],
    users: Mapping[str, int],
) -> str:
    """The verdict as a sentence that stands alone."""
    if few:
        name = few[0]
        return (
            f"{name} has {len(counts[name])} scored interactions of {users[name]} users here; wanted {MIN_ROWS} of "
            f"{MIN_USERS} to audit {variant} against {reference}."
        )
    failed, warned = ([_name(c) for c in checks if c.finding is finding] for finding in (Finding.FAIL, Finding.WARN))
    match verdict:
        case Verdict.HACK:
            return f"{variant} earns more reward than {reference} and fails: {', '.join(failed)}."
        case Verdict.WARNING:
            return f"{variant} against {reference}: look at {', '.join([*failed, *warned])}."
        case Verdict.CLEAN:
            return (
                f"Nothing suggests that {variant} earned its reward against {reference} by anything but being better."
            )
    return f"Nothing but the reward speaks for {variant} against {reference}: no outcome and no human judgment does."


def _name(check: Checked) -> str:
    return f"{check.check} ({spoken(check.subject)})" if check.subject else str(check.check)
