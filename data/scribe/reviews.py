"""Four simulated reviewers who rate a random sample of drafts from 1 to 5: the named rating `note_quality`.

They read a draft beside the note that was needed: how much of it the draft wrote, and whether its facts are right.
Price and speed they do not see, nor how little there was to strike.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from data.scribe.answered import AnsweredDraft
from data.scribe.weeks import FIRST_MONDAY, WEEK

REVIEW_SOURCE = "simulated-reviewers"
QUESTION = "note_quality"
REVIEWED_UNTIL = FIRST_MONDAY + 7 * WEEK + timedelta(days=4)  # Friday of week 8; the rating is done that day
LENIENCY = {"reviewer-01": -0.3, "reviewer-02": 0.0, "reviewer-03": 0.1, "reviewer-04": 0.25}
WRITTEN_WEIGHT, FACTS_WEIGHT = 0.55, 0.45
NOISE = 0.55
SECOND_REVIEW_SHARE = 1 / 3


def ratings(drafted: Sequence[AnsweredDraft], n_per_variant: int, rng: random.Random) -> list[dict[str, Any]]:
    """Feedback rows on as many random drafts of each variant; a third of them are rated by two reviewers."""
    sample = [
        draft
        for variant in sorted({d.variant for d in drafted})
        for draft in _some(drafted, variant, n_per_variant, rng)
    ]
    rng.shuffle(sample)
    rows: list[dict[str, Any]] = []
    at = REVIEWED_UNTIL + timedelta(hours=8)
    for draft in sample:
        for reviewer in rng.sample(sorted(LENIENCY), 2 if rng.random() < SECOND_REVIEW_SHARE else 1):
            at += timedelta(seconds=rng.randint(20, 90))
            rows.append({**_about(draft, reviewer), "value": float(_rating(draft, reviewer, rng)), "occurred_at": at})
    return rows


def _some(drafted: Sequence[AnsweredDraft], variant: str, n: int, rng: random.Random) -> list[AnsweredDraft]:
    of_variant = [draft for draft in drafted if draft.variant == variant]
    return rng.sample(of_variant, min(n, len(of_variant)))


def _rating(draft: AnsweredDraft, reviewer: str, rng: random.Random) -> int:
    """1 to 5, by what the draft wrote of the note and got right, this reviewer's leniency, and noise."""
    quality = WRITTEN_WEIGHT * draft.written_share + FACTS_WEIGHT * draft.facts_right
    return min(5, max(1, round(1.0 + 4.0 * quality + LENIENCY[reviewer] + rng.gauss(0.0, NOISE))))


def _about(draft: AnsweredDraft, reviewer: str) -> dict[str, Any]:
    return {
        "interaction_source": draft.source,
        "interaction_external_id": draft.external_id,
        "kind": "rating",
        "name": QUESTION,
        "final_text": None,
        "actor_kind": "code",
        "actor_key": reviewer,
        "source": REVIEW_SOURCE,
        "external_id": f"{QUESTION}/{draft.external_id}/{reviewer}",
    }
