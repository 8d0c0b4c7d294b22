"""Which answers become training rows. Pure: the same candidates and settings give the same rows."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import DesignError
from organism.records import content_hash

MIN_TRAIN_ROWS = 20
NO_CONSENT = "no consent"
NO_USER = "no user named"
NO_FINAL_TEXT = "no final text"
REPEATED_PROMPT = "prompt already taken"
OVER_LIMIT = "over the limit, newest first"


class Choice(NamedTuple):
    """Positions of the chosen candidates by split, in the order they are frozen, and why the others were not."""

    train: list[int]
    heldout: list[int]
    dropped: dict[str, int]


def is_heldout(user_key: str, share: float) -> bool:
    """Whether this user is kept for evaluation: by a hash of the user alone, so that it is the same in every set.

    A larger share keeps everyone who was held out under a smaller one.
    """
    digest = hashlib.blake2b(f"heldout/{user_key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def choose(
    candidates: pd.DataFrame, *, heldout_share: float, max_rows: int, max_heldout_rows: int, seed: int
) -> Choice:
    """Split the candidates (newest first; the columns of `read_candidates`) by user and say what was dropped.

    Each prompt is taken once, from its newest answer, whichever side that is on: so no prompt is on both sides.
    The seed shuffles the order of the training rows.
    """
    dropped: Counter[str] = Counter()
    splits: dict[bool, list[int]] = {False: [], True: []}
    limits = {False: max_rows, True: max_heldout_rows}
    prompts: set[str] = set()
    columns = ["user_key", "consent", "has_final", "prompt_hash"]
    for place, (user, consent, has_final, prompt) in enumerate(candidates[columns].itertuples(index=False, name=None)):
        if reason := _unusable(user, consent, has_final, prompt in prompts):
            dropped[reason] += 1
            continue
        prompts.add(prompt)
        heldout = is_heldout(user, heldout_share)
        if len(splits[heldout]) < limits[heldout]:
            splits[heldout].append(place)
        else:
            dropped[OVER_LIMIT] += 1
    random.Random(seed).shuffle(splits[False])
    return Choice(splits[False], splits[True], dict(sorted(dropped.items())))


def check_choice(choice: Choice) -> None:
    """Raise DesignError, with what waits and what is missing, when the rows are too few to learn or to measure."""
    lost = ", ".join(f"{count} {reason}" for reason, count in choice.dropped.items()) or "none"
    if len(choice.train) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"{len(choice.train)} answers can be trained on (held out: {len(choice.heldout)}; dropped: {lost}); wanted "
            f"at least {MIN_TRAIN_ROWS} edited or accepted drafts from users who consent. Collect more feedback, then "
            "build the set again."
        )
    if not choice.heldout:
        raise DesignError(
            f"no user is held out, so nothing could be measured ({len(choice.train)} rows to train on; dropped: "
            f"{lost}). Wait for more users, or raise the held-out share."
        )


def rows_hash(rows: Sequence[Mapping[str, Any]]) -> str:
    """The SHA-256 of the rows' content and order: equal sets have equal hashes on any machine, whatever their ids."""
    kept = ("split", "user_key", "prompt", "completion", "facts")
    return content_hash([{name: row[name] for name in kept} for row in rows])


def _unusable(user: object, consent: bool, has_final: bool, repeated: bool) -> str | None:
    if not isinstance(user, str) or not user:
        return NO_USER
    if not consent:
        return NO_CONSENT
    if not has_final:
        return NO_FINAL_TEXT
    return REPEATED_PROMPT if repeated else None
