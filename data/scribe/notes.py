"""Write the note of a visit in a style: the plain generic one, a random house's, or one of the clinic's physicians'.

A style is data: labels, sentence templates and switches. The generic style and the clinic's house style are two points
of the same space from which `random_style` draws, so a model pre-trained on random styles knows the building blocks of
the house style without having met it as a whole.
"""

import random
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from data.scribe.encounters import Encounter, Prescription, Topic, listed
from data.scribe.lexicon import SHORT_SYMPTOMS, Term

T = TypeVar("T")
MOST_HOUSE_BLOCKS = 17  # of a style's 25 blocks; a random style shares about 9 with the house's


class VitalWords(NamedTuple):
    """How a style writes each vital sign, what leads them in, and what stands between them."""

    lead: str
    pressure: str
    pulse: str
    temperature: str
    oxygen: str
    between: str


class PrescriptionWords(NamedTuple):
    """How a style writes a prescription, and how it adds the number of days."""

    order: str
    course: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One way of writing notes. Templates are `str.format` strings over the words `_words` gives."""

    complaint_label: str | None
    story_label: str
    opening: str
    severity: str
    symptoms: str
    short_symptoms: bool
    history_label: str
    short_history: bool
    allergy_label: str
    no_allergy: str | None
    exam_label: str
    vitals: VitalWords
    exam: str
    short_exam: bool
    assessment_label: str
    assessment: str
    plan_label: str
    prescription: PrescriptionWords
    short_frequency: bool
    lab: str
    short_lab: bool
    referral: str
    follow_up: str
    plan_break: str
    closing: str | None


OPENINGS = (
    "The patient is a {age}-year-old {person} who presents with {complaint} for {length}.",
    "The patient is a {age}-year-old {person} with {complaint} for {length}.",
    "{age}-year-old {person}, {complaint} for {length}.",
    "{age}-year-old {person} with {complaint} for {length}.",
    "{age} y.o. {person} presenting with {complaint} ({length}).",
    "{age} yo {person} with {complaint} x {length}.",
    "{age}{sex} c/o {complaint} x{short_length}.",
)
SEVERITIES = (
    "Severity is rated {severity} out of 10.",
    "Severity {severity}/10.",
    "Pain score {severity}/10.",
    "Rated {severity} of 10.",
    "{severity}/10.",
)
SYMPTOM_SENTENCES = (
    "{He} reports {present}. {He} denies {absent}.",
    "Reports {present}. Denies {absent}.",
    "Reports {present} but denies {absent}.",
    "Endorses {present}. Denies {absent}.",
    "Positive for {present}. Negative for {absent}.",
    "Notes {present}; no {absent_or}.",
    "{plus}, {minus}.",
)
VITAL_WORDS = (
    VitalWords(
        "Vital signs show ",
        "blood pressure {} mmHg",
        "heart rate {} bpm",
        "temperature {} C",
        "oxygen saturation {}%",
        "and",
    ),
    VitalWords("", "blood pressure {}", "heart rate {}", "temperature {}", "oxygen saturation {}%", ", "),
    VitalWords("", "BP {}", "HR {}", "T {}", "SpO2 {}%", ", "),
    VitalWords("", "BP: {} mmHg", "HR: {} bpm", "Temp: {} C", "SpO2: {}%", "; "),
    VitalWords("VS: ", "BP {} mmHg", "HR {} bpm", "T {} C", "SpO2 {}%", " "),
    VitalWords("", "BP {} mmHg", "HR {} bpm", "T {} C", "SpO2 {}%", ", "),
)
PRESCRIPTION_WORDS = (
    PrescriptionWords("Start {drug} {dose} mg {often}", " for {days} days"),
    PrescriptionWords("Begin {drug} {dose} mg by mouth {often}", " for {days} days"),
    PrescriptionWords("Rx {drug} {dose} mg {often}", " for {days} days"),
    PrescriptionWords("{drug} {dose} mg PO {often}", " x{days}d"),
    PrescriptionWords("{drug} {dose}mg {often}", " x{days}d"),
    PrescriptionWords("Start {drug} {dose} mg PO {often}", " x {days} days"),
)
FOLLOW_UPS = (
    "The patient should return for follow-up in {length}.",
    "Return in {length}.",
    "Follow up in {length}.",
    "Recheck in {length}.",
    "RTC in {length}.",
    "RTC {short_length}.",
)
CLOSINGS = (
    "Return precautions given.",
    "Patient agrees with plan.",
    "Handout given.",
    "Discussed risks and benefits.",
)
TIME_NOTES = ("25 min spent.", "Time 30 min.", "15 min visit.")

GENERIC_STYLE = Style(
    complaint_label="Chief Complaint",
    story_label="History of Present Illness",
    opening=OPENINGS[0],
    severity=SEVERITIES[0],
    symptoms=SYMPTOM_SENTENCES[0],
    short_symptoms=False,
    history_label="Past Medical History",
    short_history=False,
    allergy_label="Allergies",
    no_allergy=None,
    exam_label="Physical Examination",
    vitals=VITAL_WORDS[0],
    exam="Examination reveals {finding}.",
    short_exam=False,
    assessment_label="Assessment",
    assessment="The findings are consistent with {diagnosis}.",
    plan_label="Plan",
    prescription=PRESCRIPTION_WORDS[0],
    short_frequency=False,
    lab="Obtain {lab}.",
    short_lab=False,
    referral="Refer to {specialty}.",
    follow_up=FOLLOW_UPS[0],
    plan_break=" ",
    closing=None,
)

HOUSE_STYLE = Style(
    complaint_label="Chief Complaint",
    story_label="HPI",
    opening=OPENINGS[3],
    severity=SEVERITIES[1],
    symptoms=SYMPTOM_SENTENCES[1],
    short_symptoms=True,
    history_label="PMH",
    short_history=True,
    allergy_label="Allergies",
    no_allergy="NKDA",
    exam_label="Exam",
    vitals=VITAL_WORDS[5],
    exam="{Finding}.",
    short_exam=False,
    assessment_label="Assessment",
    assessment="{Diagnosis}.",
    plan_label="Plan",
    prescription=PRESCRIPTION_WORDS[5],
    short_frequency=True,
    lab="Order {lab}.",
    short_lab=True,
    referral="Refer to {specialty}.",
    follow_up=FOLLOW_UPS[4],
    plan_break="\n- ",
    closing=None,
)


def generic_note(visit: Encounter) -> str:
    """The note as a careful stranger would write it: whole sentences, nothing abbreviated."""
    return _write(visit, GENERIC_STYLE)


def styled_note(visit: Encounter, style: Style, rng: random.Random) -> str:
    """The note in this style; one whole visit in ten ends with the minutes it took, which nothing foretells."""
    note = _write(visit, style)
    if len(visit.topics) == len(Topic) and rng.random() < 0.1:
        note += "\n" + rng.choice(TIME_NOTES)
    return note


def physician_note(visit: Encounter, physician_index: int, rng: random.Random) -> str:
    """The note this physician would write: the house style, their stable habits, and a few whims of the moment."""
    style = physician_style(physician_index)
    if rng.random() < 0.15:
        style = replace(style, severity=rng.choice(SEVERITIES[2:4]))
    if rng.random() < 0.20:
        style = replace(style, closing=rng.choice(CLOSINGS))
    if rng.random() < 0.15:
        style = replace(style, short_symptoms=False, short_lab=False)
    if rng.random() < 0.15:
        style = replace(style, follow_up=rng.choice(FOLLOW_UPS[1:4]))
    note = _write(visit, style)
    if rng.random() < 0.20:
        note += "\n" + rng.choice(TIME_NOTES)
    return note


def physician_style(physician_index: int) -> Style:
    """The house style with the small habits of one physician, the same in every note of theirs."""
    habit = random.Random(f"physician {physician_index}")
    return replace(
        HOUSE_STYLE,
        symptoms=_mostly(habit, SYMPTOM_SENTENCES[1], SYMPTOM_SENTENCES[3]),
        no_allergy=_mostly(habit, "NKDA", "None known"),
        prescription=_mostly(habit, PRESCRIPTION_WORDS[5], PRESCRIPTION_WORDS[3]),
        follow_up=_mostly(habit, FOLLOW_UPS[4], FOLLOW_UPS[2]),
        short_exam=_mostly(habit, False, True),
        closing=_mostly(habit, None, habit.choice(CLOSINGS)),
    )


def random_style(rng: random.Random) -> Style:
    """A house style drawn at random, block by block; never the clinic's own."""
    style = _draw_style(rng)
    while _agreement(style, HOUSE_STYLE) > MOST_HOUSE_BLOCKS:
        style = _draw_style(rng)
    return style


def _agreement(style: Style, other: Style) -> int:
    return sum(getattr(style, name) == getattr(other, name) for name in Style.__slots__)


def _mostly(rng: random.Random, usual: T, rare: T, share: float = 0.8) -> T:
    return usual if rng.random() < share else rare


def _draw_style(rng: random.Random) -> Style:
    return Style(
        complaint_label=rng.choice(("Chief Complaint", "CC", "Reason for visit", None)),
        story_label=rng.choice(("History of Present Illness", "HPI", "History", "Subjective", "S")),
        opening=rng.choice(OPENINGS),
        severity=rng.choice(SEVERITIES),
        symptoms=rng.choice(SYMPTOM_SENTENCES),
        short_symptoms=rng.random() < 0.5,
        history_label=rng.choice(("Past Medical History", "PMH", "PMHx")),
        short_history=rng.random() < 0.5,
        allergy_label=rng.choice(("Allergies", "ALL", "Allergy")),
        no_allergy=rng.choice((None, "NKDA", "None known", "No known drug allergies")),
        exam_label=rng.choice(("Physical Examination", "Exam", "PE", "Objective", "O")),
        vitals=rng.choice(VITAL_WORDS),
        exam=rng.choice(("{Finding}.", "{Finding}.", "Examination reveals {finding}.")),
        short_exam=rng.random() < 0.5,
        assessment_label=rng.choice(("Assessment", "A", "Impression", "Dx")),
        assessment=rng.choice(("The findings are consistent with {diagnosis}.", "{Diagnosis}.", "{short_diagnosis}.")),
        plan_label=rng.choice(("Plan", "P", "A/P", "Recommendations")),
        prescription=rng.choice(PRESCRIPTION_WORDS),
        short_frequency=rng.random() < 0.5,
        lab=rng.choice(("Obtain {lab}.", "Order {lab}.", "Check {lab}.", "Get {lab}.")),
        short_lab=rng.random() < 0.5,
        referral=rng.choice(("Refer to {specialty}.", "Referral to {specialty}.", "ref {short_specialty}.")),
        follow_up=rng.choice(FOLLOW_UPS),
        plan_break=rng.choice((" ", "\n- ", "\n* ")),
        closing=rng.choice((None, None, *CLOSINGS)),
    )


def _write(visit: Encounter, style: Style) -> str:
    words = _words(visit, style)
    has = visit.topics.__contains__
    sections = [
        (style.complaint_label, "{Complaint}." if has(Topic.COMPLAINT) else ""),
        (style.story_label, _story(visit, style)),
        (style.history_label, _history(visit, style) if has(Topic.HISTORY) else ""),
        (style.allergy_label, _allergy(visit, style) if has(Topic.ALLERGY) else ""),
        (style.exam_label, _examination(visit, style)),
        (style.assessment_label, style.assessment if has(Topic.DIAGNOSIS) else ""),
    ]
    lines = [f"{label}: {text}" for label, text in sections if label and text]
    orders = _orders(visit, style)
    if orders:
        start = style.plan_break if style.plan_break.startswith("\n") else " "
        lines.append(f"{style.plan_label}:{start}" + style.plan_break.join(orders))
    return "\n".join(lines).format_map(words) or "None."


def _words(visit: Encounter, style: Style) -> dict[str, object]:
    shorten = SHORT_SYMPTOMS.get if style.short_symptoms else _unchanged
    present = [shorten(name, name) for name in visit.present]
    absent = [shorten(name, name) for name in visit.absent]
    pronoun = {"M": "He", "F": "She"}[visit.sex] if Topic.COMPLAINT in visit.topics else "The patient"
    return {
        "age": visit.age,
        "person": visit.person,
        "sex": visit.sex,
        "He": pronoun,
        "complaint": visit.complaint.written,
        "Complaint": _capital(visit.complaint.written),
        "length": visit.duration.words,
        "short_length": visit.duration.short,
        "severity": visit.severity,
        "present": listed(present, "and"),
        "absent": listed(absent, "and"),
        "absent_or": listed(absent, "or"),
        "plus": " ".join("+" + name for name in present),
        "minus": " ".join("-" + name for name in absent),
        "diagnosis": visit.complaint.diagnosis,
        "Diagnosis": _capital(visit.complaint.diagnosis),
        "short_diagnosis": visit.complaint.diagnosis_short,
    }


def _story(visit: Encounter, style: Style) -> str:
    told = (
        (Topic.COMPLAINT, style.opening),
        (Topic.SEVERITY, style.severity),
        (Topic.SYMPTOMS, style.symptoms),
    )
    return " ".join(sentence for topic, sentence in told if topic in visit.topics)


def _history(visit: Encounter, style: Style) -> str:
    if not visit.history:
        return ""
    if style.short_history:
        return ", ".join(term.short for term in visit.history) + "."
    return _capital(listed([term.written for term in visit.history], "and")) + "."


def _allergy(visit: Encounter, style: Style) -> str:
    if visit.allergen is None:
        return f"{style.no_allergy}." if style.no_allergy else ""
    return _capital(visit.allergen.written) + "."


def _examination(visit: Encounter, style: Style) -> str:
    said = []
    if Topic.VITALS in visit.topics:
        said.append(_vitals(visit, style.vitals))
    if Topic.EXAM in visit.topics:
        finding = visit.finding[1] if style.short_exam else visit.finding[0]
        said.append(style.exam.format(finding=finding, Finding=_capital(finding)))
    return " ".join(said)


def _vitals(visit: Encounter, words: VitalWords) -> str:
    written = {
        "pressure": words.pressure.format(f"{visit.systolic}/{visit.diastolic}"),
        "pulse": words.pulse.format(visit.heart_rate),
        "temperature": words.temperature.format(visit.temperature_c),
        "oxygen": words.oxygen.format(visit.oxygen_percent),
    }
    taken = [written[name] for name in visit.vitals_taken]
    joined = listed(taken, "and") if words.between == "and" else words.between.join(taken)
    return f"{words.lead}{joined}."


def _orders(visit: Encounter, style: Style) -> list[str]:
    orders = []
    if Topic.PRESCRIPTIONS in visit.topics:
        orders += [_prescription(rx, style) for rx in visit.prescriptions]
    if Topic.LAB in visit.topics and visit.lab:
        orders.append(style.lab.format(lab=visit.lab.short if style.short_lab else visit.lab.written))
    if Topic.REFERRAL in visit.topics and visit.specialty:
        specialty: Term = visit.specialty
        orders.append(style.referral.format(specialty=specialty.written, short_specialty=specialty.short))
    if Topic.FOLLOW_UP in visit.topics:
        after = visit.follow_up
        orders.append(style.follow_up.format(length=after.words, short_length=after.short))
    if style.closing and len(visit.topics) == len(Topic):
        orders.append(style.closing)
    return orders


def _prescription(rx: Prescription, style: Style) -> str:
    often = rx.frequency.short if style.short_frequency else rx.frequency.written
    order = style.prescription.order.format(drug=rx.drug, dose=rx.dose_mg, often=often)
    return order + (style.prescription.course.format(days=rx.days) if rx.days else "") + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _unchanged(_: str, name: str) -> str:
    return name
