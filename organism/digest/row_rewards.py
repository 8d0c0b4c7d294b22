"""The reward of many interactions at once. Pure."""

import numpy as np
import pandas as pd

from organism.records import RewardDesign


def row_rewards(design: RewardDesign, rows: pd.DataFrame) -> pd.Series:
    """The reward of each row of signals (a float column each, NaN missing), as `rewards.reward` gives it one by one.

    NaN where a signal is missing and the design leaves such rows out. A signal without a column is missing throughout.
    """
    total = np.zeros(len(rows))
    for spec in design.signals:
        values = rows[spec.signal].to_numpy(dtype=float) if spec.signal in rows else np.full(len(rows), np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
        utility = np.clip((values - spec.worst) / (spec.best - spec.worst), 0.0, 1.0)
        missing = np.nan if spec.missing is None else spec.missing
        total += spec.weight * np.where(np.isnan(utility), missing, utility)
    return pd.Series(total / sum(spec.weight for spec in design.signals), index=rows.index)
