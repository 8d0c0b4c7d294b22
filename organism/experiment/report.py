"""An experiment as one HTML file that needs nothing else: verdict first, then figures, plan, SQL and record. Pure.

No script and no address of another file: the head forbids them too. The same subject gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from organism import __version__
from organism.experiment import report_findings as findings
from organism.experiment.figures import change, change_unit, interval, p_words
from organism.experiment.markup import Markup, el
from organism.experiment.plan import Guard, Plan, plan_of
from organism.experiment.report_findings import STATES, grid, said, section
from organism.experiment.report_style import STYLE
from organism.experiment.rules import RULES
from organism.experiment.scorecard import GuardrailState, IntervalKind, Scorecard
from organism.experiment.svg import Look
from organism.records import Variant, Verdict

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
VERDICTS = {
    Verdict.SHIP: ("good", "Ship it", "M4 11l4 4 8-9"),
    Verdict.KEEP_RUNNING: ("warn", "Keep running", "M10 5v5l3 3M10 2a8 8 0 1 0 .01 0"),
    Verdict.STOP: ("quiet", "Stop", "M5 5h10v10H5z"),
    Verdict.ROLL_BACK: ("bad", "Roll back", "M7 4L3 8l4 4M3 8h9a5 5 0 0 1 0 9H8"),
    Verdict.BLOCKED: ("violet", "Blocked", "M10 2a8 8 0 1 0 .01 0M5 5l10 10"),
}
"""The tone, the words and the icon's path (20 by 20) of each verdict."""
KINDS = {
    IntervalKind.ALWAYS_VALID: "always-valid",
    IntervalKind.FIXED: "at the planned size",
    IntervalKind.WITHHELD: "withheld",
}


class Decision(NamedTuple):
    """What somebody decided."""

    verdict: Verdict
    rule: str
    note: str
    actor: str
    decided_at: datetime


class Subject(NamedTuple):
    """What a report is about. `card` is None before the start; `asked` says then what the plan asks for.

    `decisions` are newest first. `looks` are the headline's track. `standing` says what the figures rest on, and
    `sha256` names the record of the last decision, None where there is none.
    """

    experiment_id: str
    name: str
    hypothesis: str
    loop_name: str
    status: str
    is_synthetic: bool
    started_at: datetime | None
    ended_at: datetime | None
    variants: tuple[Variant, ...]
    plan: Mapping[str, Any]
    decisions: tuple[Decision, ...]
    card: Scorecard | None
    looks: tuple[Look, ...]
    standing: str
    sha256: str | None
    asked: str = ""


def render(subject: Subject) -> str:
    """The whole document."""
    card = subject.card
    body = _planned(subject) if card is None else _read(subject, card)
    return document(subject.name, [_top(subject), *body])


def document(title: str, body: Sequence[Markup | None]) -> str:
    """A page of these parts that loads nothing."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width,initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content=f"Organism {__version__}"),
        el("title", f"{title} – experiment report"),
        el("style", Markup(STYLE)),
    )
    whole = el("html", head, el("body", el("main", body)), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _top(subject: Subject) -> Markup:
    since = f"since {_at(subject.started_at)}" if subject.started_at else "not started"
    until = f", ended {_at(subject.ended_at)}" if subject.ended_at else ""
    simulated = el("span", "Simulated people", class_="badge warn") if subject.is_synthetic else None
    return el(
        "header",
        el("p", f"Experiment of {subject.loop_name}, {subject.status}, {since}{until} ", simulated, class_="over"),
        el("h1", subject.name, dir="auto"),
        said(f"Hypothesis: {subject.hypothesis}" if subject.hypothesis else "", "over"),
    )


def _planned(subject: Subject) -> list[Markup | None]:
    word = icon_word("quiet", "Planned, not started", "M10 5v5l3 3M10 2a8 8 0 1 0 .01 0")
    rows = [
        [
            f"{one.name} (control)" if one is subject.variants[0] else one.name,
            findings.served_by(one.model_version_id, one.prompt),
            f"{one.share:.0%}",
        ]
        for one in subject.variants
    ]
    return [
        el("div", word, said(subject.asked), class_="verdict quiet"),
        section("Variants", grid(("Variant", "Served by", "Share"), rows, 2)),
        _plan(subject),
        _rules(None),
        _record(subject),
    ]


def _read(subject: Subject, card: Scorecard) -> list[Markup | None]:
    first = [_verdict(subject, card), _tiles(subject, card)]
    last = [
        _split(card),
        _plan(subject),
        _adjusted(card),
        _rules(card),
        _decisions(subject),
        _record(subject),
        _sql(card),
    ]
    if card.verdict is Verdict.BLOCKED:
        return [*first, *last]
    found = [
        findings.effect_by_day(card, subject.looks),
        findings.guardrails(card),
        findings.variants(card),
        findings.measures(card),
        findings.unit_of_analysis(card),
        findings.cuped(card),
        findings.segments(card),
        findings.novelty(card),
        findings.weights(card),
        _power(card),
    ]
    return [*first, *found, *last]


def icon_word(tone: str, words: str, path: str) -> Markup:
    """The finding in a word, with its icon: a path in a frame of 20 by 20."""
    icon = el(
        "svg",
        el("path", d=path, fill="none", stroke="currentColor", stroke_width=2.0, stroke_linecap="round"),
        viewBox="0 0 20 20",
        aria_hidden="true",
    )
    return el("div", icon, el("span", words), class_=f"word {tone}")


def _verdict(subject: Subject, card: Scorecard) -> Markup:
    """What to do, and why; a decided experiment says first what people decided."""
    tone, words, path = VERDICTS[card.verdict]
    lead, dot, figures = card.sentence.partition(". ")
    rules = [el("p", lead + ("." if dot else ""), class_="lead"), said(figures)]
    warnings = [said(warning, "small") for warning in card.warnings]
    if subject.ended_at is None or not subject.decisions:
        return el("div", icon_word(tone, words, path), rules, warnings, class_=f"verdict {tone}")
    last = subject.decisions[0]
    tone, decided, path = VERDICTS[last.verdict]
    who = f"{last.actor}, {_at(last.decided_at)}, by the rule {last.rule}"
    other = f"The rules say otherwise: {words[0].lower()}{words[1:]}." if last.verdict is not card.verdict else ""
    return el(
        "div",
        icon_word(tone, f"Decided: {decided[0].lower()}{decided[1:]}", path),
        el("p", f"“{last.note}” ", el("span", who, class_="small")),
        said(other),
        rules if card.sentence not in last.note else None,
        warnings,
        class_=f"verdict {tone}",
    )


def _tiles(subject: Subject, card: Scorecard) -> Markup:
    """The four figures that a meeting asks for; no effect of one that may not be read."""
    known = sum(row.n_known for row in card.variants)
    planned = f"of {card.n_planned:,} planned" if card.n_planned else "not planned to a size"
    left = f", {card.more_users:,} to go" if card.more_users and subject.ended_at is None else ""
    tiles = [_tile("Users with an answer", f"{known:,}", planned + left), _split_tile(card)]
    if card.verdict is Verdict.BLOCKED:
        return el("div", tiles, class_="tiles")
    effect = _tile(
        f"{card.primary_label}, {card.treatment}",
        change(card.primary, card.effect),
        "no interval yet"
        if card.ci_low is None
        else f"{interval(change_unit(card.primary), card.ci_low, card.ci_high)}, {KINDS[card.interval_kind]}",
    )
    return el("div", effect, tiles[0], _guardrail_tile(card), tiles[1], class_="tiles")


def _tile(label: str, value: str, below: str) -> Markup:
    return el("div", el("span", label), el("b", value), el("span", below), class_="tile")


def _split_tile(card: Scorecard) -> Markup:
    if card.srm is None or card.srm.p_value is None:
        return _tile("Split as planned?", "Not tested", "no fixed split, or no user yet")
    return _tile("Split as planned?", "No" if card.srm.blocked else "Yes", p_words(card.srm.deciding_p))


def _guardrail_tile(card: Scorecard) -> Markup:
    states = [one.state for one in card.guardrails if one.variant in ("", card.treatment)]
    if not states:
        return _tile("Guardrails", "None", "none planned")
    bad = [
        state for state in (GuardrailState.BROKEN, GuardrailState.OPEN, GuardrailState.UNMEASURED) if state in states
    ]
    below = f"{states.count(bad[0])} {STATES[bad[0]][1]}" if bad else "all within margin"
    return _tile("Guardrails", f"{states.count(GuardrailState.HOLDS)} of {len(states)} hold", below)


def _power(card: Scorecard) -> Markup | None:
    """How likely the experiment is to show what it was planned for."""
    if card.power_now is None and card.conditional_power is None:
        return None
    wanted = change(card.primary, (card.plan or {}).get("minimum_effect"))
    terms = [
        (f"The users so far would have shown {wanted}, if it is there, with a chance of", card.power_now),
        ("The planned users will show it, given what was seen so far, with a chance of", card.conditional_power),
    ]
    return section(
        "Power", el("ul", [el("li", f"{words} {share:.0%}.") for words, share in terms if share is not None])
    )


def _split(card: Scorecard) -> Markup | None:
    """Users of each variant beside the number that the planned shares ask for."""
    if card.srm is None:
        return None
    n, whole = sum(card.srm.counts.values()), sum(card.srm.shares.values()) or 1.0
    rows = [
        [name, f"{share / whole:.1%}", f"{card.srm.counts.get(name, 0):,}", f"{n * share / whole:,.0f}"]
        for name, share in card.srm.shares.items()
    ]
    met = f"{card.n_in_both:,} users met two variants or the wrong one and are in no figure."
    hidden = (
        "Effects are hidden until the split is explained: users who went missing may be those who would have changed "
        "the result."
        if card.verdict is Verdict.BLOCKED
        else ""
    )
    table = grid(("Variant", "Planned share", "Users", "Users expected"), rows)
    title = "Did users fall as planned? (sample ratio mismatch)"
    return section(title, said(card.srm.sentence), table, said(f"{met} {hidden}".strip(), "small"))


def _plan(subject: Subject) -> Markup:
    """What was agreed before the first user, and every change since."""
    card = subject.card
    plan = plan_of(subject.plan if card is None else card.plan or {})
    terms = el("dl", [Markup(el("dt", term) + el("dd", words)) for term, words in _terms(plan) if words])
    later = [one for one in card.plan_changes if one.version > 1] if card else []
    unchanged = said("Unchanged since the start.", "small") if card else None
    changes = [
        el(
            "li",
            f"Version {one.version} by {one.actor or 'nobody named'}, {one.created_at[:16].replace('T', ' ')} UTC: "
            f"{one.why} ({'; '.join(one.changes)})",
        )
        for one in later
    ]
    title = f"Plan, version {card.plan_version if card else 1}"
    return section(title, terms, el("ul", changes) if changes else unchanged)


def _terms(plan: Plan) -> list[tuple[str, str]]:
    return [
        ("Primary", ", ".join(plan.primary)),
        ("Guardrails", "; ".join(_guard(one) for one in plan.guardrails)),
        ("Watched", ", ".join(plan.watched)),
        ("Own past as covariate", ", ".join(plan.covariates)),
        ("Segments", ", ".join(plan.segments)),
        ("Worth shipping for", change(plan.primary[0], plan.minimum_effect)),
        ("Error rates", f"alpha {plan.alpha:g}, power {plan.power:.0%}"),
        ("Planned users", f"{plan.n_users:,}" if plan.n_users else "not planned to a size"),
        ("At least", f"{plan.min_users_per_arm:,} users a variant"),
        ("Reward design", plan.reward_design_id or ""),
    ]


def _guard(guard: Guard) -> str:
    if guard.is_relative:
        return f"{guard.metric} by {guard.margin:.0%} of the control"
    return f"{guard.metric} by {change(guard.metric, guard.margin).lstrip('+')}"


def _adjusted(card: Scorecard) -> Markup | None:
    """Which interval counts and what was adjusted, in words."""
    if card.verdict is Verdict.BLOCKED:
        return None
    words = (card.interval_sentence, card.adjustment, card.segment_adjustment)
    return section("What was adjusted", *(said(one) for one in words))


def _rules(card: Scorecard | None) -> Markup:
    """All rules in their order; the one that fired stands out."""
    items = [
        el(
            "li",
            f"{VERDICTS[rule.verdict][1]} when {rule.when}.",
            class_="fired" if card and rule.name == card.rule else None,
        )
        for rule in RULES
    ]
    fired = f"The rule that fired is {card.rule}. " if card else ""
    return section(
        "By written rules", said(f"{fired}The first rule that fits speaks; they stand in this order."), el("ol", items)
    )


def _decisions(subject: Subject) -> Markup | None:
    """Everything that was decided, where it is more than the decision at the top."""
    if subject.ended_at is not None and len(subject.decisions) == 1:
        return None
    rows = [
        [VERDICTS[one.verdict][1], one.note, f"{one.actor}, {_at(one.decided_at)}", one.rule]
        for one in subject.decisions
    ]
    return section("Decisions", grid(("Decided", "Why", "By", "Rule that fired"), rows, 4)) if rows else None


def _sql(card: Scorecard) -> Markup | None:
    """What the store was asked for."""
    if not card.sql:
        return None
    words = "What the store was asked for. Everything else in this report is arithmetic on its answer."
    return section("The exact SQL", said(words, "small"), el("pre", card.sql))


def _record(subject: Subject) -> Markup:
    """What the figures rest on, and how to come to them again."""
    card = subject.card
    terms = [("Experiment", subject.experiment_id), ("Data version", card.data_version if card else "")]
    terms += [("Record, SHA-256", subject.sha256 or "")]
    again = f"organism experiment replay {subject.experiment_id}"
    if subject.sha256 is None:
        again = f"organism experiment report {subject.experiment_id} --out report.html"
    return section(
        "Record",
        said(subject.standing),
        el("dl", [Markup(el("dt", term) + el("dd", el("code", words))) for term, words in terms if words]),
        el("p", "Reproduce: ", el("code", again), class_="keep"),
        said(f"Organism {__version__}.", "small"),
    )


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
