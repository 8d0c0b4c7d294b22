"""Rows of signals under a reward design: which columns may judge it, the design without one, sums by user. Pure.

A table of rows has the columns of `read_signal_rows`: interaction_id, variant, user_key, region, experiment_id,
occurred_at, and one float column a signal, NaN where it is missing.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import StrEnum

import pandas as pd

from organism.digest.designs import ordered
from organism.digest.row_rewards import Numbers, utilities
from organism.records import RewardDesign

OUTCOME, ANSWER, RATING = "outcome.", "answer.", "rating"


class Kind(StrEnum):
    """What stands against the reward: a late result, or a person's judgment."""

    OUTCOME = "outcome"
    HUMAN = "human judgment"


def kind_of(name: str) -> Kind | None:
    """Whether this signal can judge a reward, and as what; None for the signals of everyday."""
    if name.startswith(OUTCOME):
        return Kind.OUTCOME
    return Kind.HUMAN if name.startswith(ANSWER) or name == RATING else None


def judges(names: Collection[str]) -> list[str]:
    """Those of the signals that can judge a reward: outcomes first, then human judgments, by name."""
    found = {name: kind_of(name) for name in names}
    return sorted((name for name, kind in found.items() if kind), key=lambda name: (found[name] != Kind.OUTCOME, name))


def spoken(name: str) -> str:
    """A signal's name in a sentence: outcome.signed_within_hour as signed within hour."""
    return name.removeprefix(OUTCOME).removeprefix(ANSWER).replace("_", " ")


def without(design: RewardDesign, signal: str) -> RewardDesign | None:
    """The design less one signal, the others' weights as they stand; None when nothing with a weight is left."""
    kept = tuple(spec for spec in design.signals if spec.signal != signal)
    return replace(design, signals=kept) if any(spec.weight > 0 for spec in kept) else None


def utility_sums(rows: pd.DataFrame, design: RewardDesign) -> pd.DataFrame:
    """What `read_utility_sums` reads, from rows: variant, user_key, u0, u1, … (signals by name), n_rows."""
    specs = ordered(design.signals)
    parts: Mapping[str, Numbers] = {f"u{place}": utilities(rows, spec) for place, spec in enumerate(specs)}
    table = rows[["variant", "user_key"]].assign(**parts, n_rows=1.0).dropna()
    return table.groupby(["variant", "user_key"], sort=True).sum().reset_index()
