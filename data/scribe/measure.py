"""How faithful a model's notes are: facts copied, symptoms on the right side, on visits it has never seen."""

from collections.abc import Sequence
from typing import NamedTuple

from data.scribe.encounters import (
    Encounter,
    encounter,
    facts_to_check,
    is_made_up,
    is_reserved,
    symptoms_right,
)
from organism.lm.decoder import Decoder
from organism.measures.facts import right_facts

UNSEEN_SEED = 900_000_000
Group = str


class Share(NamedTuple):
    """How many of n were right."""

    right: int
    n: int

    @property
    def share(self) -> float | None:
        """None where there was nothing to be right on."""
        return self.right / self.n if self.n else None

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927): (0, 1) where there was nothing to be right on."""
        if not self.n:
            return 0.0, 1.0
        share, spread = self.right / self.n, z * z / self.n
        middle = (share + spread / 2) / (1 + spread)
        half = z / (1 + spread) * (share * (1 - share) / self.n + spread / (4 * self.n)) ** 0.5
        return max(0.0, middle - half), min(1.0, middle + half)


class _Judged(NamedTuple):
    group: Group
    right: int
    n: int


def unseen_visits(n: int, first_seed: int = UNSEEN_SEED) -> list[Encounter]:
    """Whole visits outside the training seeds, whose made-up drug names are all from the reserved half."""
    visits: list[Encounter] = []
    seed = first_seed
    while len(visits) < n:
        visit = encounter(seed)
        if all(is_reserved(rx.drug) for rx in visit.prescriptions if is_made_up(rx.drug)):
            visits.append(visit)
        seed += 1
    return visits


def measure(decoder: Decoder, n_visits: int = 400, first_seed: int = UNSEEN_SEED) -> dict[Group, Share]:
    """Draft the unseen visits greedily and count what is right, by kind of fact."""
    visits = unseen_visits(n_visits, first_seed)
    drafts = decoder.generate([visit.transcript for visit in visits], batch_size=32)
    return count_right(visits, [draft.text for draft in drafts])


def count_right(visits: Sequence[Encounter], notes: Sequence[str]) -> dict[Group, Share]:
    """Shares right by kind: known and made-up drug with dose, vitals, age, symptoms, and visits without any error."""
    judged = [row for visit, note in zip(visits, notes, strict=True) for row in _judge(visit, note)]
    groups = ("drug_dose known", "drug_dose made up", "vitals", "age", "symptoms", "all facts", "all and symptoms")
    return {
        group: Share(
            sum(row.right for row in judged if row.group == group), sum(row.n for row in judged if row.group == group)
        )
        for group in groups
    }


def _judge(visit: Encounter, note: str) -> list[_Judged]:
    rows = []
    drugs = iter(visit.prescriptions)
    checks = facts_to_check(visit)
    for check, is_right in zip(checks, right_facts(note, checks), strict=True):
        group: Group = check.kind
        if group == "drug_dose":
            group += " made up" if is_made_up(next(drugs).drug) else " known"
        rows.append(_Judged(group, int(is_right), 1))
    facts_right = all(row.right for row in rows)
    symptoms = symptoms_right(visit, note)
    rows.append(_Judged("symptoms", symptoms.right, symptoms.asked))
    rows.append(_Judged("all facts", int(facts_right), 1))
    rows.append(_Judged("all and symptoms", int(facts_right and symptoms.right == symptoms.asked), 1))
    return rows
