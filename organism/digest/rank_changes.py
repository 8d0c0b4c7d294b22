"""Which interactions another reward design would see with other eyes. Pure."""

import pandas as pd

from organism.digest.row_rewards import rewards
from organism.records import RewardDesign


def rank_changes(rows: pd.DataFrame, live: RewardDesign, draft: RewardDesign, n: int = 8) -> pd.DataFrame:
    """The n interactions whose place changes most from one design to the other: `moves` of their `places`."""
    return moves(places(rows, live, draft), n)


def places(rows: pd.DataFrame, live: RewardDesign, draft: RewardDesign) -> pd.DataFrame:
    """The place under both designs of each interaction that both can score; `rows` as `read_signal_rows` gives them.

    Columns: interaction_id, variant, reward_live, reward_draft, place_live, place_draft (0 the worst, 1 the best of
    these interactions; equal rewards share a place), change.
    """
    scored = rows[["interaction_id", "variant"]].assign(
        reward_live=rewards(rows, live), reward_draft=rewards(rows, draft)
    )
    scored = scored.dropna(subset=["reward_live", "reward_draft"])
    last = max(len(scored) - 1, 1)
    for design in ("live", "draft"):
        # Rounded first, so that equal rewards summed in another order do not look like two.
        scored[f"place_{design}"] = (scored[f"reward_{design}"].round(12).rank(method="average") - 1) / last
    return scored.assign(change=scored["place_draft"] - scored["place_live"])


def moves(placed: pd.DataFrame, n: int = 8) -> pd.DataFrame:
    """The n largest moves of `places`, the largest first.

    Rows that do not move are left out; of equal moves the later interaction comes first.
    """
    moved = placed[placed["change"] != 0]
    order = moved.assign(size=moved["change"].abs()).sort_values(["size", "interaction_id"], ascending=False)
    return order.drop(columns="size").head(n).reset_index(drop=True)
