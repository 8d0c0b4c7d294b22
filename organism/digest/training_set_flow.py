"""Read, decide, write: feedback to frozen training sets."""

from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.digest.flow import live_design
from organism.digest.training_sets import Choice, check_choice, choose, rows_hash
from organism.errors import DesignError
from organism.records import new_id
from organism.store.database import Store
from organism.store.datasets import append_dataset, find_dataset, read_candidates, read_texts


class TrainingSet(NamedTuple):
    """A frozen set: its rows by split, and how many answers were dropped for which reason."""

    dataset_id: str
    content_hash: str
    n_train: int
    n_heldout: int
    n_users_train: int
    n_users_heldout: int
    dropped: dict[str, int]


def build_training_set(
    store: Store,
    loop_id: str,
    *,
    name: str | None = None,
    max_rows: int = 400,
    heldout_share: float = 0.25,
    max_heldout_rows: int = 300,
    seed: int = 0,
    now: datetime,
) -> TrainingSet:
    """Freeze pairs of prompt and the text that its expert stood behind, split by user, newest first.

    The same answers give the same set: a second call returns the one that is there. Raises DesignError
    when fewer than 20 rows could be trained on, or nobody is held out.
    """
    if not 0 < heldout_share < 1 or max_rows < 1 or max_heldout_rows < 1:
        raise DesignError(
            f"found a held-out share of {heldout_share}, at most {max_rows} training rows and {max_heldout_rows} "
            "held-out rows; wanted a share between 0 and 1 and at least one row each"
        )
    candidates = read_candidates(store, loop_id)
    choice = choose(
        candidates, heldout_share=heldout_share, max_rows=max_rows, max_heldout_rows=max_heldout_rows, seed=seed
    )
    check_choice(choice)
    rows = _rows(store, candidates, choice)
    header = _header(loop_id, candidates, choice, rows)
    dataset_id = find_dataset(store, loop_id, header["content_hash"])
    if dataset_id is None:
        dataset_id = new_id(now)
        kept = {
            "dataset_id": dataset_id,
            "name": name or f"notes until {header['latest_signal_at']:%Y-%m-%d}",
            "reward_design_id": live_design(store, loop_id).id,
            "created_at": now,
        }
        append_dataset(store, {**header, **kept}, rows)
    counts = ("content_hash", "n_train", "n_heldout", "n_users_train", "n_users_heldout", "dropped")
    return TrainingSet(dataset_id, *(header[key] for key in counts))


def _rows(store: Store, candidates: pd.DataFrame, choice: Choice) -> list[dict[str, Any]]:
    """The chosen rows with their texts, training rows first, numbered from 0."""
    chosen = candidates.iloc[choice.train + choice.heldout].reset_index(drop=True)
    texts = read_texts(store, chosen["feedback_id"].tolist())
    full = chosen.merge(texts, on="feedback_id", how="left", validate="one_to_one")
    full["split"] = ["train"] * len(choice.train) + ["heldout"] * len(choice.heldout)
    full["row_number"] = range(len(full))
    full["facts"] = pd.Series([f if isinstance(f, str) else None for f in full["facts"]], dtype=object)
    columns = ["row_number", "split", "interaction_id", "feedback_id", "user_key", "prompt", "completion", "facts"]
    return [dict(zip(columns, row, strict=True)) for row in full[columns].itertuples(index=False, name=None)]


def _header(loop_id: str, candidates: pd.DataFrame, choice: Choice, rows: list[dict[str, Any]]) -> dict[str, Any]:
    users = candidates["user_key"]
    return {
        "loop_id": loop_id,
        "content_hash": rows_hash(rows),
        "n_train": len(choice.train),
        "n_heldout": len(choice.heldout),
        "n_users_train": int(users.iloc[choice.train].nunique()),
        "n_users_heldout": int(users.iloc[choice.heldout].nunique()),
        "dropped": choice.dropped,
        "latest_signal_at": candidates["answered_at"].iloc[choice.train].max().to_pydatetime(),
    }
