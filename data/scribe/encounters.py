"""Draw synthetic doctor-patient encounters: facts first, then the talk that states them, then the check of a note.

Copying is forced: ages, durations, vitals, doses and follow-ups are random numbers, and a share of the drug names is
made up from syllables, so that a model can be right on them only by reading. No patient, clinic or study stands behind
any of it, and the facts mean nothing medically.
"""

import random
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from data.scribe import lexicon
from data.scribe.lexicon import Complaint, Term
from organism.records import FactCheck

WORD_FOR_NUMBER_SHARE = 0.5
SMALL_TALK_SHARE = 0.15
REPORTED_FIRST_SHARE = 0.7
USUAL_N_DRUGS = (1, 1, 2)


class Topic(StrEnum):
    """What a visit can speak about; the curriculum trains on visits cut down to a few of these."""

    COMPLAINT = "complaint"
    SEVERITY = "severity"
    SYMPTOMS = "symptoms"
    HISTORY = "history"
    ALLERGY = "allergy"
    VITALS = "vitals"
    EXAM = "exam"
    DIAGNOSIS = "diagnosis"
    PRESCRIPTIONS = "prescriptions"
    LAB = "lab"
    REFERRAL = "referral"
    FOLLOW_UP = "follow_up"


class Span(NamedTuple):
    """A length of time, such as three weeks."""

    number: int
    unit: str
    unit_short: str

    @property
    def words(self) -> str:
        return f"{self.number} {self.unit}" + ("" if self.number == 1 else "s")

    @property
    def short(self) -> str:
        return f"{self.number}{self.unit_short}"


class Symptom(NamedTuple):
    """One symptom the doctor asked for, and whether the patient has it."""

    name: str
    present: bool


class Prescription(NamedTuple):
    """One drug with its dose, how often it is taken, and for how many days where the doctor says so."""

    drug: str
    dose_mg: int
    frequency: Term
    days: int | None


class SymptomCount(NamedTuple):
    """Of the symptoms asked for, how many a note puts on the right side of reported and denied."""

    right: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encounter:
    """One synthetic visit: its facts, the topics that came up, and the transcript ("D: ..." and "P: ..." lines)."""

    seed: int
    topics: frozenset[Topic]
    complaint: Complaint
    age: int
    sex: str
    duration: Span
    severity: int
    symptoms: tuple[Symptom, ...]
    history: tuple[Term, ...]
    allergen: Term | None
    systolic: int
    diastolic: int
    heart_rate: int
    temperature_c: str
    oxygen_percent: int
    vitals_taken: tuple[str, ...]
    finding: tuple[str, str]
    prescriptions: tuple[Prescription, ...]
    lab: Term | None
    specialty: Term | None
    follow_up: Span
    transcript: str = ""

    @property
    def person(self) -> str:
        return "man" if self.sex == "M" else "woman"

    @property
    def present(self) -> tuple[str, ...]:
        return tuple(symptom.name for symptom in self.symptoms if symptom.present)

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(symptom.name for symptom in self.symptoms if not symptom.present)


def encounter(seed: int, novel_share: float = 0.3) -> Encounter:
    """A whole visit with a little small talk; equal seeds give equal visits.

    novel_share is the chance that a prescribed drug has a made-up name instead of one of the complaint's own drugs.
    """
    rng = random.Random(seed)
    facts = _draw_facts(rng, seed, novel_share, rng.choice(lexicon.COMPLAINTS))
    return replace(facts, transcript=_transcript(facts, random.Random(seed * 7919 + 1), small_talk=True))


def part(
    seed: int,
    n_topics: int,
    *,
    among: Collection[Topic] = tuple(Topic),
    novel_share: float = 0.5,
    n_drugs: Sequence[int] = USUAL_N_DRUGS,
) -> Encounter:
    """A visit cut down to at most n_topics topics, without small talk: one step of the training curriculum.

    Its symptoms and drugs are those of any complaint, so that the transcript tells them and the complaint does not.
    """
    rng = random.Random(seed * 7919 + 2)
    complaint = rng.choice(lexicon.COMPLAINTS)._replace(symptoms=_ALL_SYMPTOMS, drugs=_ALL_DRUGS)
    facts = _draw_facts(random.Random(seed), seed, novel_share, complaint, n_drugs)
    possible = [topic for topic in Topic if topic in among]
    facts = replace(facts, topics=frozenset(rng.sample(possible, min(n_topics, len(possible)))))
    return replace(facts, transcript=_transcript(facts, rng, small_talk=False))


def facts_to_check(visit: Encounter) -> tuple[FactCheck, ...]:
    """The facts a right note of this visit must state, each with every wording that any note style may use."""
    checks: list[FactCheck] = []
    if Topic.COMPLAINT in visit.topics:
        age, sex = visit.age, visit.sex
        checks.append(FactCheck("age", (f"{age}-year-old", f"{age} y.o.", f"{age} yo", f"{age}{sex} ")))
    if Topic.VITALS in visit.topics:
        checks += [FactCheck("vitals", _vital_wordings(visit)[name]) for name in visit.vitals_taken]
    if Topic.PRESCRIPTIONS in visit.topics:
        checks += [FactCheck("drug_dose", (f"{rx.drug} {rx.dose_mg} mg",)) for rx in visit.prescriptions]
    return tuple(checks)


def symptoms_right(visit: Encounter, note: str) -> SymptomCount:
    """Count the symptoms that the note reports or denies as the patient did; a symptom left out is not right."""
    if Topic.SYMPTOMS not in visit.topics:
        return SymptomCount(0, 0)
    right = sum(_stated_polarity(note, symptom.name) == symptom.present for symptom in visit.symptoms)
    return SymptomCount(right, len(visit.symptoms))


def listed(items: Sequence[str], last: str) -> str:
    """The items as English lists them: "a", "a and b", "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + f" {last} {items[-1]}"


def is_reserved(name: str) -> bool:
    """Whether a made-up drug name belongs to the half that pre-training never sees, so that it can be tested on."""
    return zlib.crc32(name.encode()) % 2 == 0


def is_made_up(drug: str) -> bool:
    """Whether the drug is none of the lexicon's."""
    return drug not in _ALL_DRUGS


_ALL_DRUGS = tuple(sorted({drug for complaint in lexicon.COMPLAINTS for drug in complaint.drugs}))
_ALL_SYMPTOMS = tuple(sorted({symptom for complaint in lexicon.COMPLAINTS for symptom in complaint.symptoms}))
_POLARITY = re.compile(
    r"(?P<present>\breports\b|\bendorses\b|\bpositive for\b|\bnotes\b|\bpresent:|(?<!\S)\+)"
    r"|(?P<absent>\bdenies\b|\bnegative for\b|\bno\b|\babsent:|(?<!\S)-(?=\w|$))",
    re.IGNORECASE,
)


def _stated_polarity(note: str, symptom: str) -> bool | None:
    """True for reported, False for denied, None where no sentence of the note says either."""
    names = "|".join(re.escape(name) for name in (symptom, lexicon.SHORT_SYMPTOMS.get(symptom)) if name)
    for found in re.finditer(rf"(?<!\w)({names})(?!\w)", note, re.IGNORECASE):
        sentence = re.split(r"[.\n]", note[: found.start()])[-1]
        marks = list(_POLARITY.finditer(sentence))
        if marks:
            return marks[-1].group("present") is not None
    return None


def _vital_wordings(visit: Encounter) -> dict[str, tuple[str, ...]]:
    pressure = f"{visit.systolic}/{visit.diastolic}"
    pulse, temperature, oxygen = visit.heart_rate, visit.temperature_c, f"{visit.oxygen_percent}%"
    return {
        "pressure": (f"BP {pressure}", f"BP: {pressure}", f"blood pressure {pressure}"),
        "pulse": (f"HR {pulse}", f"HR: {pulse}", f"heart rate {pulse}", f"{pulse} bpm"),
        "temperature": (f"T {temperature}", f"Temp: {temperature}", f"temperature {temperature}", f"{temperature} C"),
        "oxygen": (f"SpO2 {oxygen}", f"SpO2: {oxygen}", f"oxygen saturation {oxygen}"),
    }


def _draw_facts(
    rng: random.Random,
    seed: int,
    novel_share: float,
    complaint: Complaint,
    n_drugs: Sequence[int] = USUAL_N_DRUGS,
) -> Encounter:
    systolic = rng.randint(96, 188)
    return Encounter(
        seed=seed,
        topics=frozenset(Topic),
        complaint=complaint,
        age=rng.randint(18, 94),
        sex=rng.choice("MF"),
        duration=_draw_span(rng, 21),
        severity=rng.randint(2, 10),
        symptoms=_draw_symptoms(rng, complaint),
        history=tuple(rng.sample(lexicon.PAST_PROBLEMS, rng.choice((0, 1, 1, 2)))),
        allergen=rng.choice((None, None, rng.choice(lexicon.ALLERGENS))),
        systolic=systolic,
        diastolic=rng.randint(54, min(112, systolic - 20)),
        heart_rate=rng.randint(48, 128),
        temperature_c=f"{rng.randint(361, 397) / 10:.1f}",
        oxygen_percent=rng.randint(88, 100),
        vitals_taken=tuple(rng.sample(("pressure", "pulse", "temperature", "oxygen"), rng.randint(2, 4))),
        finding=rng.choice(complaint.findings),
        prescriptions=_draw_prescriptions(rng, complaint, novel_share, n_drugs),
        lab=rng.choice((None, rng.choice(lexicon.LABS))),
        specialty=rng.choice((None, None, rng.choice(lexicon.SPECIALTIES))),
        follow_up=_draw_span(rng, 12),
    )


def _draw_span(rng: random.Random, most: int) -> Span:
    return Span(rng.randint(1, most), *rng.choice(lexicon.UNITS))


def _draw_symptoms(rng: random.Random, complaint: Complaint) -> tuple[Symptom, ...]:
    """Three or four symptoms, at least one present and one absent, asked for in any order."""
    names = rng.sample(complaint.symptoms, rng.randint(3, 4))
    n_present = rng.randint(1, len(names) - 1)
    symptoms = [Symptom(name, place < n_present) for place, name in enumerate(names)]
    rng.shuffle(symptoms)
    return tuple(symptoms)


def _draw_prescriptions(
    rng: random.Random, complaint: Complaint, novel_share: float, n_drugs: Sequence[int]
) -> tuple[Prescription, ...]:
    drawn = []
    for known in rng.sample(complaint.drugs, rng.choice(n_drugs)):
        drug = _made_up_name(rng) if rng.random() < novel_share else known
        days = rng.choice((None, rng.randint(3, 30)))
        drawn.append(Prescription(drug, rng.choice(lexicon.DOSES_MG), rng.choice(lexicon.FREQUENCIES), days))
    return tuple(drawn)


def _made_up_name(rng: random.Random) -> str:
    return "".join(rng.sample(lexicon.SYLLABLES, rng.choice((3, 3, 4))))


def _transcript(visit: Encounter, rng: random.Random, *, small_talk: bool) -> str:
    lines = _opening_talk(rng) if small_talk else []
    for topic, talk in _TALK.items():
        if topic in visit.topics:
            lines += talk(visit, rng)
    if small_talk and rng.random() < 0.3:
        lines.append("P: " + rng.choice(("Thank you, doctor.", "Thanks.", "See you then.")))
    return "\n".join(lines)


def _opening_talk(rng: random.Random) -> list[str]:
    lines = ["D: " + rng.choice(lexicon.GREETINGS)]
    if rng.random() < 0.4:
        lines.append("P: " + rng.choice(lexicon.REPLIES))
    if rng.random() < SMALL_TALK_SHARE:
        asked, answered = rng.choice(lexicon.SMALL_TALK)
        lines += [f"D: {asked}", f"P: {answered}"]
    return lines


def _talk_complaint(visit: Encounter, rng: random.Random) -> list[str]:
    article = "an" if visit.age == 18 or 80 <= visit.age < 90 else "a"
    spoken, who = visit.complaint.spoken, f"{article} {visit.age} year old {visit.person}"
    count, unit = visit.duration.number, visit.duration.words.split()[1]
    in_words = count < len(lexicon.NUMBER_WORDS) and rng.random() < WORD_FOR_NUMBER_SHARE
    length = f"{lexicon.NUMBER_WORDS[count] if in_words else count} {unit}"
    asked = ("What brings you in?", "What can I do for you?", "Tell me what is going on.")
    told = (
        f"I'm {who} and I have {spoken}.",
        f"I have {spoken}. I'm {who}.",
        f"It's {spoken}, I'm {who}.",
    )
    how_long = ("How long?", "When did it start?", "How long has it been going on?")
    since = (f"About {length}.", f"For {length} now.", f"It started {length} ago.", f"Maybe {length}.")
    pairs = ((asked, told), (how_long, since))
    return [line for ask, tell in pairs for line in ("D: " + rng.choice(ask), "P: " + rng.choice(tell))]


def _talk_severity(visit: Encounter, rng: random.Random) -> list[str]:
    asked = rng.choice(("How bad from one to ten?", "Rate it out of ten."))
    told = rng.choice(("{} out of ten.", "I'd say {}.", "A {}.")).format(visit.severity)
    return [f"D: {asked}", f"P: {told}"]


def _talk_symptoms(visit: Encounter, rng: random.Random) -> list[str]:
    """What the patient has and what the patient denies, each in one answer, with yes or no beside the word."""
    have = rng.choice(("Yes, {}.", "I have had {}.", "Yes, I noticed {}.")).format(listed(visit.present, "and"))
    asked = rng.choice(("Any {}?", "Have you had {}?", "What about {}?")).format(listed(visit.absent, "or"))
    deny = rng.choice((", no ", " and no ")).join(visit.absent)
    reported = ["D: " + rng.choice(("Anything else?", "Any other symptoms?", "What else?")), f"P: {have}"]
    denied = [f"D: {asked}", "P: " + rng.choice(("No {}.", "No, no {}.")).format(deny)]
    return reported + denied if rng.random() < REPORTED_FIRST_SHARE else denied + reported


def _talk_history(visit: Encounter, rng: random.Random) -> list[str]:
    if not visit.history:
        return []
    asked = rng.choice(("Any medical problems?", "Any past history?"))
    told = rng.choice(("I have ", "Just ", "There's ")) + " and ".join(term.spoken for term in visit.history)
    return [f"D: {asked}", f"P: {told}."]


def _talk_allergy(visit: Encounter, rng: random.Random) -> list[str]:
    if visit.allergen is None:
        return []
    told = rng.choice(("Yes, {}.", "I'm allergic to {}.")).format(visit.allergen.spoken)
    return ["D: Any allergies?", f"P: {told}"]


def _talk_vitals(visit: Encounter, rng: random.Random) -> list[str]:
    pressure = rng.choice(("blood pressure is {} over {}", "pressure {} over {}"))
    said = {
        "pressure": pressure.format(visit.systolic, visit.diastolic),
        "pulse": rng.choice(("heart rate {}", "pulse is {}")).format(visit.heart_rate),
        "temperature": rng.choice(("temperature {}", "you are at {} degrees")).format(visit.temperature_c),
        "oxygen": rng.choice(("oxygen is {} percent", "oxygen {} percent")).format(visit.oxygen_percent),
    }
    numbers = ", ".join(said[name] for name in visit.vitals_taken)
    return ["D: " + rng.choice(("Let me see, ", "Okay, ", "Your numbers: ")) + numbers + "."]


def _talk_exam(visit: Encounter, rng: random.Random) -> list[str]:
    return ["D: " + rng.choice(("On exam I find ", "I see ", "There is ")) + visit.finding[0] + "."]


def _talk_diagnosis(visit: Encounter, rng: random.Random) -> list[str]:
    opening = rng.choice(("I think this is ", "This looks like ", "It seems you have "))
    return [f"D: {opening}{visit.complaint.diagnosis_spoken}."]


def _talk_prescriptions(visit: Encounter, rng: random.Random) -> list[str]:
    wordings = (
        "I'll start you on {} {} milligrams {}",
        "Take {} {} milligrams {}",
        "I'm prescribing {} {} milligrams {}",
    )
    lines = []
    for drug, dose_mg, frequency, days in visit.prescriptions:
        said = rng.choice(wordings).format(drug, dose_mg, frequency.spoken)
        lines.append(f"D: {said}" + (f" for {days} days." if days else "."))
    return lines


def _talk_lab(visit: Encounter, rng: random.Random) -> list[str]:
    if visit.lab is None:
        return []
    return ["D: " + rng.choice(("We will get ", "I'm ordering ", "Let's do ")) + visit.lab.spoken + "."]


def _talk_referral(visit: Encounter, rng: random.Random) -> list[str]:
    if visit.specialty is None:
        return []
    return ["D: " + rng.choice(("I'll refer you to {}.", "You should see {}.")).format(visit.specialty.spoken)]


def _talk_follow_up(visit: Encounter, rng: random.Random) -> list[str]:
    wordings = ("Come back in {}.", "See me in {}.", "Let's follow up in {}.")
    return ["D: " + rng.choice(wordings).format(visit.follow_up.words)]


_TALK: dict[Topic, Callable[[Encounter, random.Random], list[str]]] = {
    Topic.COMPLAINT: _talk_complaint,
    Topic.SEVERITY: _talk_severity,
    Topic.SYMPTOMS: _talk_symptoms,
    Topic.HISTORY: _talk_history,
    Topic.ALLERGY: _talk_allergy,
    Topic.VITALS: _talk_vitals,
    Topic.EXAM: _talk_exam,
    Topic.DIAGNOSIS: _talk_diagnosis,
    Topic.PRESCRIPTIONS: _talk_prescriptions,
    Topic.LAB: _talk_lab,
    Topic.REFERRAL: _talk_referral,
    Topic.FOLLOW_UP: _talk_follow_up,
}
