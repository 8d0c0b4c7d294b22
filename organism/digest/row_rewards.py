"""Utilities and rewards of many rows at once, as `draft_reward.utility` and `draft_reward.reward` give them. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from organism.records import RewardDesign, SignalSpec

Numbers = npt.NDArray[np.float64]


def utilities(columns: Mapping[str, Numbers] | pd.DataFrame, spec: SignalSpec, *, fill: bool = True) -> Numbers:
    """0 at worst, 1 at best, linear between, clipped; a missing value is what the spec says, or NaN without `fill`."""
    values = np.asarray(columns[spec.signal], dtype=float)
    known = np.isfinite(values)
    scaled = np.clip((np.where(known, values, spec.worst) - spec.worst) / (spec.best - spec.worst), 0.0, 1.0)
    return np.where(known, scaled, np.nan if spec.missing is None or not fill else spec.missing)


def utility_table(
    columns: Mapping[str, Numbers] | pd.DataFrame, specs: Sequence[SignalSpec], *, fill: bool = True
) -> Numbers:
    """The utilities of several signals, in their order: shape (rows, signals)."""
    return np.column_stack([utilities(columns, spec, fill=fill) for spec in specs])


def rewards(rows: pd.DataFrame, design: RewardDesign) -> Numbers:
    """Each row's reward; NaN where a signal is missing and the design leaves such rows out."""
    weights = np.array([spec.weight for spec in design.signals])
    found: Numbers = utility_table(rows, design.signals) @ weights / weights.sum()
    return found
