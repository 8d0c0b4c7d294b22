"""What a frozen set is made of: its rows by variant, kind of answer, user, label and reward. Pure."""

from typing import NamedTuple

import numpy as np
import pandas as pd

BINS = 20
SILENT = "no answer"
UNKNOWN_REGION = "not known"


class Composition(NamedTuple):
    """Counts of rows on both sides; each table has the columns train and heldout beside its own.

    variants: variant; answers: answer; regions: region; labels: label (desirable, undesirable; empty for other kinds);
    users: user_key and split, the one with most rows first; rewards: low and high of each twentieth from 0 to 1 (empty
    when no row's reward is known; a row without one is not counted); mean_reward is of the same rows, None without.
    A pair counts by its chosen draft.
    """

    variants: pd.DataFrame
    answers: pd.DataFrame
    regions: pd.DataFrame
    labels: pd.DataFrame
    users: pd.DataFrame
    rewards: pd.DataFrame
    mean_reward: float | None


def compose(origins: pd.DataFrame) -> Composition:
    """The composition of these rows; columns as of `read_dataset_origins`."""
    named = origins.assign(
        answer=origins["answer"].fillna(SILENT),
        region=origins["region"].fillna(UNKNOWN_REGION),
        label=origins["label"].map({True: "desirable", False: "undesirable"}),
    )
    users = named.groupby(["user_key", "split"]).size().rename("n_rows").reset_index()
    return Composition(
        variants=_sides(named, "variant"),
        answers=_sides(named, "answer"),
        regions=_sides(named, "region"),
        labels=_sides(named.dropna(subset=["label"]), "label"),
        users=users.sort_values(["n_rows", "user_key"], ascending=[False, True], ignore_index=True),
        rewards=_rewards(named.dropna(subset=["reward"])),
        mean_reward=float(named["reward"].mean()) if named["reward"].notna().any() else None,
    )


def _sides(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows by the words of a column, the most frequent first."""
    counts = pd.crosstab(rows[column], rows["split"]).reindex(columns=["train", "heldout"], fill_value=0)
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    return counts.loc[order].rename_axis(column).rename_axis(None, axis=1).reset_index()


def _rewards(rows: pd.DataFrame) -> pd.DataFrame:
    edges = np.linspace(0, 1, BINS + 1)
    sides = {
        split: np.histogram(rows.loc[rows["split"] == split, "reward"], edges)[0] for split in ("train", "heldout")
    }
    table = pd.DataFrame({"low": edges[:-1].round(2), "high": edges[1:].round(2), **sides})
    return table if len(rows) else table.iloc[:0]
