"""Simulated physicians vote blind on a ballot: which draft they would rather sign, by what they would keep of it.

Nobody real stands behind them. Each compares both drafts with the note that this physician would have written of the
visit; wrong facts count against a draft, and a close call is a tie more often than not.
"""

import math
import random
from collections.abc import Sequence

from data.scribe import physicians
from data.scribe.encounters import Encounter, encounter
from data.scribe.physicians import Physician
from organism.digest.votes import Answer
from organism.measures.acceptance import measure
from organism.measures.facts import right_facts

N_VOTERS = 9
N_ITEMS = 10
DECISIVENESS = 9.0  # log odds of preferring the draft that is better by one whole unit of worth
CLOSE = 0.04
TIE_SHARE = 0.6
WRONG_FACT = 0.06


def voters() -> Sequence[Physician]:
    """Who votes: every seventh of the sixty, so that all clinics and styles have a say."""
    return physicians.physicians()[::7][:N_VOTERS]


def answer(who: Physician, encounter_seed: int, first: str, second: str, place: str) -> Answer:
    """What this physician says of the two texts; equal arguments give equal answers."""
    rng = random.Random(f"vote {who.user_key} {place}")
    visit = encounter(encounter_seed)
    own = physicians.final_note(who, visit, rng)
    gap = worth(visit, second, own) - worth(visit, first, own)
    if abs(gap) < CLOSE and rng.random() < TIE_SHARE:
        return Answer.TIE
    return Answer.SECOND if rng.random() < 1.0 / (1.0 + math.exp(-DECISIVENESS * gap)) else Answer.FIRST


def worth(visit: Encounter, draft: str, own: str) -> float:
    """How near the draft is to the physician's own note: what is kept both ways, less for each wrong fact."""
    kept = measure(draft, own)
    rate, written = kept.retained_chars / max(1, len(draft)), kept.retained_chars / max(1, len(own))
    n_wrong = right_facts(draft, physicians.checks_of(visit)).count(False)
    return (rate + written) / 2 - WRONG_FACT * n_wrong
