"""Two versions side by side on rows of signals: which rows can be compared, and by how much a column differs. Pure.

Users are the units, and those seen under both versions count as the same people.
"""

import numpy as np
import pandas as pd

from organism.digest.rewards import moments_of_users
from organism.digest.row_rewards import Numbers
from organism.records import Moments
from organism.stats.compare import APART, Comparison, difference, overlap_of_ratios, ratio_of_sums

MIN_USERS = 20


def comparable(rows: pd.DataFrame, variant: str, reference: str) -> tuple[pd.DataFrame, str]:
    """The rows to compare and, in words, what makes them comparable: shared experiments, or nothing but chance."""
    both = rows[rows["variant"].isin([variant, reference])]
    inside = both.dropna(subset=["experiment_id"])
    arms = inside.groupby("experiment_id")["variant"].nunique()
    shared = inside[inside["experiment_id"].isin(arms.index[arms == 2])]
    users = shared.groupby("variant")["user_key"].nunique()
    if len(users) == 2 and users.min() >= MIN_USERS:
        return shared, "the interactions of experiments that ran both versions"
    return both, (
        "all interactions of both versions; no experiment ran them side by side, so other users or weeks may explain "
        "a difference"
    )


def compared(rows: pd.DataFrame, column: str, is_variant: Numbers, level: float = 0.95) -> Comparison:
    """The mean of a column over the variant's rows less the reference's, by user, shared users counted as such."""
    known = np.isfinite(rows[column].to_numpy(dtype=float))
    mine = pd.DataFrame(
        {
            "variant": np.where(is_variant[known], "treatment", "control"),
            "user_key": rows["user_key"].to_numpy()[known],
            "total": rows[column].to_numpy(dtype=float)[known],
            "n_rows": 1.0,
        }
    )
    users = moments_of_users(mine.groupby(["variant", "user_key"]).sum().reset_index(), [column])
    control, treatment = (users.variants.get(arm) for arm in ("control", "treatment"))
    both: Moments | None = users.shared.get(("control", "treatment"))
    overlap = APART if both is None or not control or not treatment else overlap_of_ratios(both, control, treatment)
    arms = [ratio_of_sums(arm) if arm else None for arm in (control, treatment)]
    return difference(arms[0], arms[1], level, overlap=overlap)


def surely_up(change: Comparison) -> bool:
    """The whole interval lies above 0."""
    return change.ci_low is not None and change.ci_low > 0


def surely_down(change: Comparison) -> bool:
    """The whole interval lies below 0."""
    return change.ci_high is not None and change.ci_high < 0
