"""Which interactions another reward design would see with other eyes. Pure."""

import pandas as pd

from organism.digest.row_rewards import rewards
from organism.records import RewardDesign


def rank_changes(rows: pd.DataFrame, live: RewardDesign, draft: RewardDesign, n: int = 8) -> pd.DataFrame:
    """The n interactions whose place changes most from one design to the other, the largest move first.

    `rows` as `read_signal_rows` gives them. Columns: interaction_id, variant, reward_live, reward_draft, place_live,
    place_draft (0 the worst, 1 the best of the rows that both designs score; equal rewards share a place), change.
    Rows that do not move are left out; of equal moves the later interaction comes first.
    """
    scored = rows[["interaction_id", "variant"]].assign(
        reward_live=rewards(rows, live), reward_draft=rewards(rows, draft)
    )
    scored = scored.dropna(subset=["reward_live", "reward_draft"])
    last = max(len(scored) - 1, 1)
    for design in ("live", "draft"):
        # Rounded first, so that equal rewards summed in another order do not look like two.
        scored[f"place_{design}"] = (scored[f"reward_{design}"].round(12).rank(method="average") - 1) / last
    scored["change"] = scored["place_draft"] - scored["place_live"]
    moved = scored[scored["change"] != 0]
    order = moved.assign(size=moved["change"].abs()).sort_values(["size", "interaction_id"], ascending=False)
    return order.drop(columns="size").head(n).reset_index(drop=True)
