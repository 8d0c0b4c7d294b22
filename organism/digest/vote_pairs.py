"""Blind votes as candidates of a training set: what voters preferred is the text to choose, the other one to reject."""

import json

import pandas as pd


def vote_candidates(items: pd.DataFrame) -> pd.DataFrame:
    """One candidate an item that was voted on (the columns of `read_voted_items`), in the same order.

    The columns are those of `read_candidates` with reward, which is unknown, and those of `read_texts`: final is what
    most voters preferred, output the other; is_changed says that there is a majority, ties counting for neither.
    `origin` is JSON of ballot_id, item_number, vote_ids and n_for and n_against, the votes for either text.
    """
    for_b = items["n_b"] > items["n_a"]
    keys = items["prompt"].str.lower().str.split().str.join("")
    return pd.DataFrame(
        {
            "interaction_id": items["interaction_id"],
            "feedback_id": None,
            "user_key": items["user_key"],
            "variant": items["variant"],
            "region": items["region"],
            "answer": None,
            "consent": items["consent"] | items["interaction_id"].isna(),
            "has_prompt": True,
            "has_output": True,
            "has_final": True,
            "is_changed": items["n_a"] != items["n_b"],
            "prompt_hash": items["prompt"],
            "prompt_key": keys,
            "answered_at": items["voted_at"],
            "reward": float("nan"),
            "prompt": items["prompt"],
            "final": items["text_b"].where(for_b, items["text_a"]),
            "output": items["text_a"].where(for_b, items["text_b"]),
            "facts": None,
            "origin": _origins(items),
        }
    )


def _origins(items: pd.DataFrame) -> list[str]:
    return [
        json.dumps(
            {
                "ballot_id": row.ballot_id,
                "item_number": row.item_number,
                "vote_ids": row.vote_ids,
                "n_for": max(row.n_a, row.n_b),
                "n_against": min(row.n_a, row.n_b),
                "is_synthetic": row.is_synthetic,
            }
        )
        for row in items.itertuples(index=False)
    ]
