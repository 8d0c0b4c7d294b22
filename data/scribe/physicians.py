"""Sixty simulated physicians: what they see, how they answer a draft, how long it takes them, and what comes of it.

Nobody real stands behind them. Each has stable traits (drawn from the index alone) and answers by rules over what the
draft kept of the note that this physician would have written, so a better draft earns better answers, faster.
"""

import itertools
import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from data.scribe import lexicon, notes
from data.scribe.encounters import Encounter, encounter, facts_to_check
from organism.measures.acceptance import measure, retained_runs
from organism.measures.facts import right_facts
from organism.records import FactCheck, FeedbackKind

N_PHYSICIANS = 60
REFUSERS = frozenset({11, 23, 38, 52})
CLINICS = ("north", "harbor", "valley")
USUAL_COMPLAINTS = 5
OTHER_COMPLAINT_SHARE = 0.35

READ_CHARS_PER_S = 28.0
STRIKE_CHARS_PER_S = 45.0
HOUR_S = 3600.0
FOUR_WEEKS = timedelta(weeks=4)
MIDDAY = 13
TIRED_SHARE = 0.06
UNUSABLE_SHARE = 0.30
HURRIED_REJECT_SHARE = 0.03
WRITES_ANYWAY_SHARE = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Physician:
    """One simulated physician; `accept_at` is the retained share from which a draft counts as theirs."""

    index: int
    clinic: str
    usual: tuple[str, ...]
    visits_per_week: float
    answer_share: float
    accept_at: float
    reject_share: float
    type_chars_per_s: float
    patience_s: float
    consents: bool

    @property
    def user_key(self) -> str:
        return f"physician-{self.index:02d}"


class Answer(NamedTuple):
    """What a physician did with a draft.

    kind is None when they told us nothing; final_text is None when we do not see their note. `seconds` is the work on
    the note, `signed_after_s` the time from the draft to the signature.
    """

    kind: FeedbackKind | None
    final_text: str | None
    seconds: float
    signed_after_s: float


class Outcome(NamedTuple):
    """A late result; `business_key` is the encounter's or the physician's."""

    business_key: str
    name: str
    value: float
    occurred_at: datetime
    attribution_window_s: int


def physicians() -> tuple[Physician, ...]:
    """All of them, by index; the same on every machine."""
    return tuple(_physician(index) for index in range(N_PHYSICIANS))


def draw_visit(who: Physician, rng: random.Random, first_seed: int) -> Encounter:
    """A visit of this physician's case load: the first seed from `first_seed` on whose complaint they take.

    Usual complaints are always taken, others one time in three; give each call its own block of seeds.
    """
    seed = first_seed
    while True:
        visit = encounter(seed)
        if visit.complaint.written in who.usual or rng.random() < OTHER_COMPLAINT_SHARE:
            return visit
        seed += 1


def final_note(who: Physician, visit: Encounter, rng: random.Random) -> str:
    """The note that this physician signs for this visit."""
    return notes.physician_note(visit, who.index, rng)


def checks_of(visit: Encounter) -> tuple[FactCheck, ...]:
    """The facts that a draft of this visit must carry, as the house's own record."""
    return tuple(FactCheck(check.kind, tuple(check.any_of)) for check in facts_to_check(visit))


def answer(
    who: Physician,
    visit: Encounter,
    draft: str,
    *,
    rng: random.Random,
    at: datetime,
    is_beginning: bool = False,
) -> Answer:
    """Read the draft, make it the physician's own note, and say so, or not.

    The final text is always the physician's own note, even on an accept (their light touches), so that what is
    retained is measured and never assumed. A reject shows a final text only where they wrote the note in our editor.
    A draft that is offered as a beginning is judged by the part of the note that it reaches, and nobody strikes it
    for being short; the rest has to be typed all the same.
    """
    own = final_note(who, visit, rng)
    kind = judge(who, visit, draft, own, rng=rng, is_beginning=is_beginning)
    kept = measure(draft, own)
    used = 0 if kind is FeedbackKind.REJECT else kept.retained_chars
    seconds = _work_seconds(who, len(draft), len(own), used, rng)
    signed_after_s = _signed_after(who, seconds, at, rng)
    tired = TIRED_SHARE if at.hour >= MIDDAY else 0.0
    if rng.random() > who.answer_share - tired:
        return Answer(None, None, seconds, signed_after_s)
    seen = kind is not FeedbackKind.REJECT or rng.random() < WRITES_ANYWAY_SHARE
    return Answer(kind, own if seen else None, seconds, signed_after_s)


def judge(
    who: Physician, visit: Encounter, draft: str, own: str, *, rng: random.Random, is_beginning: bool = False
) -> FeedbackKind:
    """What this physician makes of the draft beside their own note, whether or not they tell us."""
    kept = measure(draft, own)
    checks = checks_of(visit)
    if is_beginning:
        checks = tuple(itertools.compress(checks, right_facts(_reached(draft, own), checks)))
    n_wrong = right_facts(draft, checks).count(False)
    retained_rate, written_share = kept.retained_chars / max(1, len(draft)), kept.retained_chars / max(1, len(own))
    tolerated = (1.0 - who.reject_share) ** n_wrong * (1.0 - HURRIED_REJECT_SHARE)
    useful = retained_rate if is_beginning else written_share
    if rng.random() > tolerated or useful < UNUSABLE_SHARE:
        return FeedbackKind.REJECT
    if n_wrong == 0 and min(retained_rate, written_share) >= who.accept_at:
        return FeedbackKind.ACCEPT
    return FeedbackKind.EDIT


def visit_outcome(encounter_id: str, signed_after_s: float, at: datetime) -> Outcome:
    """Whether the note was signed within the hour; known when the hour is over, or at the signature."""
    in_time = signed_after_s <= HOUR_S
    known_at = at + timedelta(seconds=min(signed_after_s, HOUR_S))
    return Outcome(encounter_id, "signed_within_hour", float(in_time), known_at, int(HOUR_S))


def activity_outcome(who: Physician, active: bool, known_at: datetime) -> Outcome:
    """Whether a physician who used the scribe is still using it four weeks later."""
    window = int(FOUR_WEEKS.total_seconds())
    return Outcome(who.user_key, "active_after_four_weeks", float(active), known_at, window)


def keeps_using(saved_share: float, rng: random.Random) -> bool:
    """Whether a physician comes back next week, given the share of the writing work that drafts saved this week.

    The weekly chance of leaving falls from 4% where drafts save nothing to under 0.5% where they save most.
    """
    return rng.random() >= 0.04 * math.exp(-3.5 * max(0.0, saved_share))


def saved_share(who: Physician, final_chars: float, seconds: float) -> float:
    """The share of the time that writing the note unaided would have taken which the draft saved (may be negative)."""
    return 1.0 - seconds / (final_chars / who.type_chars_per_s)


def _physician(index: int) -> Physician:
    rng = random.Random(f"simulated physician {index}")
    written = sorted(complaint.written for complaint in lexicon.COMPLAINTS)
    return Physician(
        index=index,
        clinic=CLINICS[index % len(CLINICS)],
        usual=tuple(rng.sample(written, USUAL_COMPLAINTS)),
        visits_per_week=rng.uniform(5.8, 9.0),
        answer_share=rng.uniform(0.72, 0.88),
        accept_at=rng.uniform(0.78, 0.94),
        reject_share=rng.uniform(0.15, 0.60),
        type_chars_per_s=rng.uniform(3.5, 6.5),
        patience_s=rng.uniform(45.0, 90.0),
        consents=index not in REFUSERS,
    )


def _reached(draft: str, own: str) -> str:
    """The physician's note up to where the draft leaves it: the end of the last run that both share."""
    runs = retained_runs(draft, own)
    return own[: runs[-1].in_final + runs[-1].size] if runs else ""


def _work_seconds(who: Physician, n_draft: int, n_final: int, used: int, rng: random.Random) -> float:
    """Read the draft, strike what goes, type what is missing; with a quarter's noise."""
    planned = (
        n_draft / READ_CHARS_PER_S + (n_draft - used) / STRIKE_CHARS_PER_S + (n_final - used) / who.type_chars_per_s
    )
    return round(planned * rng.lognormvariate(0.0, 0.25), 1)


def _signed_after(who: Physician, seconds: float, at: datetime, rng: random.Random) -> float:
    """A short job is done between two visits; a long one waits for the evening, more than an hour away.

    Everything is signed before midnight of the same day, but for drafts of its last minutes.
    """
    put_off = 1.0 / (1.0 + math.exp(-(seconds - who.patience_s) / 25.0))
    if rng.random() < put_off:
        wait = HOUR_S + rng.uniform(300.0, 4 * HOUR_S)
    else:
        wait = min(HOUR_S - 60.0 - seconds, rng.lognormvariate(6.2, 0.6))
    midnight = datetime(at.year, at.month, at.day) + timedelta(days=1)
    left = (midnight - at).total_seconds() - 60.0
    return round(min(max(wait, 0.0) + seconds, max(left, seconds)), 1)
