"""A simulated product manager who chooses between pairs of drafts, from weights that nobody is shown."""

import math
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from data.scribe.answered import AnsweredDraft
from data.scribe.first_design import FIRST_DESIGN
from data.scribe.reviews import REVIEWED_UNTIL
from organism.measures.draft_reward import utility

CHOICE_SOURCE = "simulated-choices"
CHOOSER = "simulated-pm-1"
HIDDEN_WEIGHTS = {"accepted": 0.10, "cost_usd": 0.10, "latency_ms": 0.10, "retained_char_rate": 0.70}
DECISIVENESS = 5.0  # log-odds of preferring the draft that is better by one whole unit of hidden reward


def simulated_choices(drafted: Sequence[AnsweredDraft], n: int, rng: random.Random) -> list[dict[str, Any]]:
    """Pairs of drafts of different variants whose signals are all known, with the side that was chosen."""
    known = [draft for draft in drafted if None not in draft.signals.values()]
    by_variant = {name: [draft for draft in known if draft.variant == name] for name in {d.variant for d in known}}
    at = REVIEWED_UNTIL + timedelta(hours=14)
    rows = []
    for number in range(1, n + 1):
        left, right = (rng.choice(by_variant[name]) for name in rng.sample(sorted(by_variant), 2))
        at += timedelta(seconds=rng.randint(10, 40))
        rows.append(
            {
                "left_source": left.source,
                "left_external_id": left.external_id,
                "right_source": right.source,
                "right_external_id": right.external_id,
                "chosen": _chosen(left, right, rng),
                "actor": CHOOSER,
                "occurred_at": at,
                "external_id": f"choice-{number:03d}",
            }
        )
    return rows


def hidden_reward(draft: AnsweredDraft) -> float:
    """What the draft is worth to the simulated product manager, from 0 to 1."""
    utilities = {spec.signal: utility(spec, draft.signals[spec.signal]) for spec in FIRST_DESIGN.signals}
    return sum(weight * (utilities[signal] or 0.0) for signal, weight in HIDDEN_WEIGHTS.items())


def _chosen(left: AnsweredDraft, right: AnsweredDraft, rng: random.Random) -> str:
    odds = math.exp(DECISIVENESS * (hidden_reward(left) - hidden_reward(right)))
    return "left" if rng.random() < odds / (1.0 + odds) else "right"
