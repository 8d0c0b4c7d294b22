"""The simulated clinic as somebody to serve: brings visits that no model has seen, and answers drafts.

Pure of the store: rows go out in the shape that `organism.ingest` takes, and all of them say that they are simulated.
"""

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from data.scribe import physicians
from data.scribe.encounters import Encounter
from data.scribe.physicians import Answer, Outcome, Physician
from organism.config import DEMO_LOOP

FRESH_FIRST_SEED = 1_000_000_000
SEEDS_PER_TURN = 1_000_000
SEEDS_PER_VISIT = 64
ANSWER_SOURCE = "simulated-physicians"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One simulated visit: whose it is, what the model is asked, and what is known for checking the draft."""

    physician: Physician
    encounter: Encounter
    encounter_id: str
    attributes: dict[str, Any]

    @property
    def user_key(self) -> str:
        return self.physician.user_key

    @property
    def region(self) -> str:
        return self.physician.clinic

    @property
    def consent(self) -> bool:
        return self.physician.consents

    @property
    def prompt(self) -> str:
        return self.encounter.transcript


class ScribeEnvironment:
    """The first `n_physicians` of the sixty, with fresh visits on demand."""

    def __init__(self, n_physicians: int = physicians.N_PHYSICIANS) -> None:
        self.physicians = physicians.physicians()[:n_physicians]

    def fresh_visits(self, n_per_user: int, *, seed: int) -> list[Visit]:
        """n visits a physician that neither the base nor the history has seen; another seed gives other visits.

        Give every turn its own seed: a version that was trained on the answers to these visits must not be
        tested on them.
        """
        first = FRESH_FIRST_SEED + seed * SEEDS_PER_TURN
        return [
            make_visit(
                who,
                f"visit-{seed}-{who.index:02d}-{number:03d}",
                first + (who.index * n_per_user + number) * SEEDS_PER_VISIT,
            )
            for number in range(n_per_user)
            for who in self.physicians
        ]

    def respond(
        self, visit: Visit, draft: str, *, interaction_id: str, now: datetime
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Feedback rows (none where the physician tells us nothing) and outcome rows for one draft.

        Time is compressed: the answer arrives at `now`, though the note was signed minutes or hours after the draft.
        Equal visits and drafts get equal answers.
        """
        answer = physicians.answer(
            visit.physician, visit.encounter, draft, rng=random.Random(f"answer to {visit.encounter_id}"), at=now
        )
        outcome = physicians.visit_outcome(visit.encounter_id, answer.signed_after_s, now)._replace(occurred_at=now)
        feedback = feedback_row(visit, answer, key=interaction_id, occurred_at=now)
        return (
            [{**feedback, "interaction_id": interaction_id}] if feedback else [],
            [outcome_row(outcome, key=interaction_id)],
        )


def make_visit(who: Physician, encounter_id: str, first_seed: int) -> Visit:
    """The visit of this physician's case load that starts from this seed."""
    seen = physicians.draw_visit(who, random.Random(f"case load {first_seed}"), first_seed)
    second = physicians.final_note(who, seen, random.Random(f"second draw {encounter_id}"))
    return Visit(
        physician=who,
        encounter=seen,
        encounter_id=encounter_id,
        attributes={
            "simulated": True,
            # Names in order, as the history's files keep them, so that a training set from either hashes alike.
            "facts": [{"any_of": list(check.any_of), "kind": check.kind} for check in physicians.checks_of(seen)],
            "encounter_seed": seen.seed,
            "second_final": second,
        },
    )


def feedback_row(visit: Visit, answer: Answer, *, key: str, occurred_at: datetime) -> dict[str, Any] | None:
    """The answer as a feedback event, or None where the physician told us nothing.

    `key` makes it unlike every other one; the caller adds which interaction it is about.
    """
    if answer.kind is None:
        return None
    return {
        "kind": answer.kind.value,
        "final_text": answer.final_text,
        "actor_kind": "code",
        "actor_key": visit.user_key,
        "occurred_at": occurred_at,
        "source": ANSWER_SOURCE,
        "external_id": f"answer/{key}",
    }


def outcome_row(outcome: Outcome, *, key: str) -> dict[str, Any]:
    """A late result as an outcome event; `key` makes it unlike every other one of that name."""
    return {
        "loop": DEMO_LOOP,
        **outcome._asdict(),
        "source": ANSWER_SOURCE,
        "external_id": f"{outcome.name}/{key}",
    }
