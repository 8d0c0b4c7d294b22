"""Whether held-out rows were really held out: prompts that training has nearly seen, users on both sides. Pure.

Near means what it means where training sets are frozen: most runs of five words in common (see near_duplicates).
"""

from collections.abc import Sequence
from typing import Any

from organism.measures.near_duplicates import NEAR, Nearest, nearest

MAX_TRAIN_PROMPTS = 20_000
MAX_EXAMPLES = 5
SHOWN_CHARS = 600


def nearness(train_prompts: Sequence[str], prompts: Sequence[str]) -> list[Nearest]:
    """Of each prompt the nearest training prompt; of a huge training set the last 20,000 are looked at."""
    return nearest(train_prompts[-MAX_TRAIN_PROMPTS:], prompts)


def contamination(
    train_prompts: Sequence[str],
    train_users: Sequence[str],
    prompts: Sequence[str],
    users: Sequence[str],
    near: Sequence[Nearest],
) -> dict[str, Any]:
    """n_checked, n_overlapping, threshold, n_train_prompts, n_users_shared, and examples, the nearest first.

    `near` is `nearness(train_prompts, prompts)`. n_train_prompts says how many of the training prompts were looked at.
    """
    looked_at = train_prompts[-MAX_TRAIN_PROMPTS:]
    overlapping = [place for place, found in enumerate(near) if found.similarity >= NEAR]
    worst = sorted(overlapping, key=lambda place: -near[place].similarity)[:MAX_EXAMPLES]
    return {
        "n_checked": len(prompts),
        "n_overlapping": len(overlapping),
        "threshold": NEAR,
        "n_train_prompts": len(looked_at),
        "n_users_shared": len(set(users) & set(train_users)),
        "examples": [
            {
                "row": place,
                "similarity": near[place].similarity,
                "train_prompt": _beginning(looked_at, near[place].train),
                "heldout_prompt": prompts[place][:SHOWN_CHARS],
            }
            for place in worst
        ],
    }


def _beginning(prompts: Sequence[str], place: int | None) -> str:
    return "" if place is None else prompts[place][:SHOWN_CHARS]
