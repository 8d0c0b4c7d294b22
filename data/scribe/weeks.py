"""Live through simulated weeks of the clinic: who has visits when, what the model drafts, what the physicians answer.

The drafts are real outputs of a real model. Latency is MODELED from token counts with seeded noise, so that the weeks
come out byte-identical on every machine; cost is tokens times the draft server's stated price.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from data.scribe import physicians
from data.scribe.environment import SEEDS_PER_VISIT, Visit, feedback_row, make_visit, outcome_row
from data.scribe.physicians import Answer, Physician
from organism.config import DEMO_LOOP
from organism.measures.prices import cost_usd

FIRST_MONDAY = datetime(2026, 1, 5)
WEEK = timedelta(weeks=1)
N_WEEKS = 8
HISTORY_SOURCE = "simulated-clinic"
HISTORY_FIRST_SEED = 500_000_000
SEEDS_PER_SEED = 10_000_000
VISITS_PER_PHYSICIAN_WEEK = 32

DAY_WEIGHTS = (1.15, 1.1, 1.0, 1.05, 0.9, 0.16, 0.07)
HOUR_WEIGHTS = {8: 0.7, 9: 1.2, 10: 1.3, 11: 1.1, 12: 0.3, 13: 0.8, 14: 1.2, 15: 1.1, 16: 0.9, 17: 0.5, 18: 0.15}
ACTIVITY_KNOWN_AFTER = timedelta(days=6, hours=23, minutes=30)


class Draft(Protocol):
    """What the weeks need of a written draft; the decoder's Generation is one. (Its module would load torch.)"""

    @property
    def text(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def finish_reason(self) -> str: ...


Drafter = Callable[[Sequence[str]], Sequence[Draft]]


class Planned(NamedTuple):
    """One visit in the calendar, and which variant will draft its note."""

    visit: Visit
    at: datetime
    variant: str


@dataclass(slots=True)
class Ledger:
    """The rows of the weeks lived so far, in the shape that ingest takes."""

    interactions: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Clinic:
    """The simulated clinic between two weeks: who still uses the scribe, and everything on record.

    `load` scales how many visits a week brings; it is 1 but for quick tests.
    """

    seed: int
    staff: tuple[Physician, ...]
    load: float = 1.0
    ledger: Ledger = field(default_factory=Ledger)
    active_by_week: list[frozenset[int]] = field(default_factory=list)
    n_visits: int = 0

    def live(
        self, variant_of: Callable[[Physician], str], drafters: Mapping[str, Drafter], experiment: str | None = None
    ) -> None:
        """Live one more week; `variant_of` says whose drafts come from which of the `drafters`."""
        week = len(self.active_by_week)
        planned = self._plan(week, variant_of)
        written = _drafted(planned, drafters)
        answers = [self._serve(plan, draft, experiment) for plan, draft in zip(planned, written, strict=True)]
        active = frozenset(plan.visit.physician.index for plan in planned)
        self.active_by_week.append(active)
        if week >= 4:
            self._record_activity(week)
        self.staff = tuple(who for who in self.staff if self._stays(who, week, planned, answers))

    def _plan(self, week: int, variant_of: Callable[[Physician], str]) -> list[Planned]:
        slots = sorted(
            (at, who.index, number, who)
            for who in self.staff
            for number, at in enumerate(visit_times(who, week, self.load, self._rng("times", who.index, week)))
        )
        planned = []
        for at, index, number, who in slots:
            self.n_visits += 1
            first_seed = (
                HISTORY_FIRST_SEED
                + self.seed * SEEDS_PER_SEED
                + ((week * physicians.N_PHYSICIANS + index) * VISITS_PER_PHYSICIAN_WEEK + number) * SEEDS_PER_VISIT
            )
            visit = make_visit(who, f"visit-{self.n_visits:05d}", first_seed)
            planned.append(Planned(visit, at, variant_of(who)))
        return planned

    def _serve(self, plan: Planned, draft: Draft, experiment: str | None) -> Answer:
        visit, at = plan.visit, plan.at
        row = interaction_row(plan, draft, experiment, self._rng("latency", visit.encounter_id))
        answer = physicians.answer(
            visit.physician, visit.encounter, draft.text, rng=self._rng("answer", visit.encounter_id), at=at
        )
        signed_at = at + timedelta(seconds=answer.signed_after_s)
        feedback = feedback_row(visit, answer, key=visit.encounter_id, occurred_at=signed_at)
        outcome = physicians.visit_outcome(visit.encounter_id, answer.signed_after_s, at)
        self.ledger.interactions.append(row)
        if feedback:
            about = {"interaction_source": HISTORY_SOURCE, "interaction_external_id": visit.encounter_id}
            self.ledger.feedback.append({**feedback, **about})
        self.ledger.outcomes.append(outcome_row(outcome, key=visit.encounter_id))
        return answer

    def _record_activity(self, week: int) -> None:
        known_at = FIRST_MONDAY + week * WEEK + ACTIVITY_KNOWN_AFTER
        everybody = physicians.physicians()
        for index in sorted(self.active_by_week[week - 4]):
            outcome = physicians.activity_outcome(everybody[index], index in self.active_by_week[week], known_at)
            self.ledger.outcomes.append(outcome_row(outcome, key=f"{outcome.business_key}/week-{week + 1}"))

    def _stays(self, who: Physician, week: int, planned: Iterable[Planned], answers: Iterable[Answer]) -> bool:
        saved = [
            physicians.saved_share(who, len(plan.visit.attributes["second_final"]), answer.seconds)
            for plan, answer in zip(planned, answers, strict=True)
            if plan.visit.physician.index == who.index
        ]
        return not saved or physicians.keeps_using(sum(saved) / len(saved), self._rng("stays", who.index, week))

    def _rng(self, purpose: str, *place: object) -> random.Random:
        return random.Random(f"{self.seed} {purpose} {' '.join(map(str, place))}")


def interaction_row(plan: Planned, draft: Draft, experiment: str | None, rng: random.Random) -> dict[str, Any]:
    """The draft as an interaction event; `experiment_id` holds the experiment's key in the history."""
    visit = plan.visit
    latency_ms, ttft_ms = modeled_latency_ms(draft.prompt_tokens, draft.output_tokens, rng)
    return {
        "loop": DEMO_LOOP,
        "session_id": f"{visit.user_key}/{plan.at:%Y-%m-%d}",
        "user_key": visit.user_key,
        "variant_id": plan.variant,
        "experiment_id": experiment,
        "occurred_at": plan.at,
        "prompt": visit.prompt,
        "output": draft.text,
        "input_tokens": draft.prompt_tokens,
        "output_tokens": draft.output_tokens,
        "latency_ms": latency_ms,
        "ttft_ms": ttft_ms,
        "cost_usd": cost_usd(draft.prompt_tokens, draft.output_tokens),
        "finish_reason": draft.finish_reason,
        "business_key": visit.encounter_id,
        "consent": visit.consent,
        "region": visit.region,
        "is_synthetic": True,
        "source": HISTORY_SOURCE,
        "external_id": visit.encounter_id,
        "attributes": visit.attributes,
    }


def modeled_latency_ms(input_tokens: int, output_tokens: int, rng: random.Random) -> tuple[float, float]:
    """A modeled, not measured, (latency, time to first token): 0.3 ms a prompt token, 1.9 ms a written one, noise."""
    ttft = (18.0 + 0.3 * input_tokens) * rng.lognormvariate(0.0, 0.18)
    writing = 1.9 * output_tokens * rng.lognormvariate(0.0, 0.12)
    return round(ttft + writing, 1), round(ttft, 1)


def visit_times(who: Physician, week: int, load: float, rng: random.Random) -> list[datetime]:
    """Distinct times of a week's visits, to the second, mostly in the office hours of weekdays."""
    expected = who.visits_per_week * load * rng.uniform(0.8, 1.2)
    n_visits = min(VISITS_PER_PHYSICIAN_WEEK, max(1, int(expected + rng.random())))
    monday = FIRST_MONDAY + week * WEEK
    times: set[datetime] = set()
    while len(times) < n_visits:
        [day] = rng.choices(range(7), DAY_WEIGHTS)
        [hour] = rng.choices(list(HOUR_WEIGHTS), list(HOUR_WEIGHTS.values()))
        times.add(monday + timedelta(days=day, hours=hour, seconds=rng.randrange(3600)))
    return sorted(times)


def _drafted(planned: Sequence[Planned], drafters: Mapping[str, Drafter]) -> list[Draft]:
    """One real draft a visit, by the variant that was planned for it."""
    drafts: dict[int, Draft] = {}
    for variant in sorted({plan.variant for plan in planned}):
        places = [place for place, plan in enumerate(planned) if plan.variant == variant]
        texts = drafters[variant]([planned[place].visit.prompt for place in places])
        drafts.update(zip(places, texts, strict=True))
    return [drafts[place] for place in range(len(planned))]
