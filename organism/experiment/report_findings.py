"""The parts of a report that say what was found: effect by day, guardrails, measures, segments, weights. Pure."""

from collections.abc import Sequence

from organism.experiment import svg
from organism.experiment.figures import (
    PERCENT,
    change,
    change_unit,
    interval,
    label_of,
    level,
    level_unit,
    margin_words,
    p_figure,
    p_words,
    segment_name,
    worse_words,
)
from organism.experiment.markup import Markup, el
from organism.experiment.scorecard import Guardrail, GuardrailState, MetricRow, Scorecard, SegmentRow
from organism.experiment.svg import Line, Look, Mark

STATES = {
    GuardrailState.HOLDS: ("good", "holds"),
    GuardrailState.BROKEN: ("bad", "broken"),
    GuardrailState.OPEN: ("warn", "not settled"),
    GuardrailState.UNMEASURED: ("quiet", "not measured"),
}
INKS = {GuardrailState.HOLDS: "good", GuardrailState.BROKEN: "bad", GuardrailState.OPEN: "warn"}
MARGIN_SHOWN = 2.0
MOST_TREATMENTS = 6
MOST_LETTERS = 400
NO_DIFFERENCE = Line(0.0, "No difference")


def section(title: str, *parts: Markup | Sequence[Markup | None] | None) -> Markup:
    """A heading and what stands under it."""
    return el("section", el("h2", title), *parts)


def said(words: str, class_: str | None = None) -> Markup | None:
    """A paragraph; None where there is nothing to say."""
    return el("p", words, class_=class_) if words else None


def grid(headings: Sequence[str], rows: Sequence[Sequence[str | Markup]], n_text: int = 1) -> Markup:
    """A table; all columns but the first `n_text` are figures."""
    sides = [None if place < n_text else "n" for place in range(len(headings))]
    head = el("tr", [el("th", words, class_=side) for words, side in zip(headings, sides, strict=True)])
    body = [el("tr", [el("td", cell, class_=side) for cell, side in zip(row, sides, strict=True)]) for row in rows]
    return el("div", el("table", el("thead", head), el("tbody", body)), class_="wide")


def figure(chart: Markup, caption: str, legend: Markup | None = None) -> Markup:
    """A picture under its legend, with its takeaway below."""
    return el("figure", legend, chart, el("figcaption", caption))


def treatments(card: Scorecard) -> list[str]:
    """The variants that are looked at in full: the headline's first, of many the first few."""
    names = [row.name for row in card.variants if not row.is_control]
    return [card.treatment, *(name for name in names if name != card.treatment)][:MOST_TREATMENTS]


def effect_by_day(card: Scorecard, looks: Sequence[Look]) -> Markup | None:
    """The track with both bands; None before the second day with answers of both variants."""
    known = [one for one in looks if one.value is not None]
    if len(known) < 2:
        return None
    unit = change_unit(card.primary)
    better = next((row.better for row in card.metrics if row.metric == card.primary), 1)
    worth = float((card.plan or {}).get("minimum_effect") or 0.0) * (better or 1)
    lines = [NO_DIFFERENCE, *([Line(worth, "Worth shipping for", "good", "2 3")] if worth else [])]
    always, fixed = (interval(unit, one[0], one[1]) for one in (card.always, card.fixed))
    takeaway = (
        f"After {len(looks):,} days the effect stands at {change(card.primary, card.effect)}. The outer band "
        f"({always}) may be read at every look, the inner one ({fixed}) once, at the planned size."
    )
    legend = el(
        "div",
        el("span", el("i", class_="e"), "effect so far"),
        el("span", el("i", class_="f"), "interval for one look"),
        el("span", el("i", class_="a"), "always-valid interval"),
        class_="legend",
    )
    title = f"The effect so far: {card.primary_label}, {card.treatment} against {card.control}"
    return section(title, figure(svg.track(known, unit, takeaway, lines=lines), takeaway, legend))


def guardrails(card: Scorecard) -> Markup | None:
    """How much of each margin is used, and each in words."""
    if not card.guardrails:
        return None
    parts = []
    for name in treatments(card):
        rows = [one for one in card.guardrails if one.variant in ("", name)]
        parts += [_of(card, name), _margins(rows), grid(_GUARDRAIL_HEAD, [_guardrail(one) for one in rows], 2)]
    words = "Measures that may not get worse by more than a margin, each tested one-sided."
    return section("Guardrails", said(words, "small"), *parts)


_GUARDRAIL_HEAD = ("Measure", "State", "May get worse by", "Found", "p, one-sided")


def _guardrail(one: Guardrail) -> list[str | Markup]:
    tone, word = STATES[one.state]
    return [
        label_of(one),
        el("span", word, class_=f"state {tone}"),
        margin_words(one),
        worse_words(one),
        p_figure(one.p_value),
    ]


def _margins(rows: Sequence[Guardrail]) -> Markup | None:
    marks = [
        Mark(
            label_of(one),
            f"{one.worse / one.limit:z.0%} used, {one.worse_at_most / one.limit:z.0%} at most".replace("-", "−"),
            one.worse / one.limit,
            one.worse / one.limit,
            one.worse_at_most / one.limit,
            INKS.get(one.state, "control"),
        )
        for one in rows
        if one.limit and one.worse is not None and one.worse_at_most is not None
    ]
    if not marks:
        return None
    words = "How much of each margin is used: the dot is the estimate, the line reaches to the worst the data allow."
    lines = [Line(0.0, "as the control"), Line(1.0, "margin", "bad", "none")]
    return figure(svg.forest(marks, PERCENT, words, lines=lines, reach=(-MARGIN_SHOWN, MARGIN_SHOWN)), words)


def variants(card: Scorecard) -> Markup:
    """Each variant: what serves it, its users, and its own mean."""
    unit = level_unit(card.primary)
    rows = [
        [
            f"{one.name} (control)" if one.is_control else one.name,
            served_by(one.model_version_id, one.prompt),
            f"{one.share:.0%}",
            f"{one.n_users:,}",
            f"{one.n_known:,}",
            level(card.primary, one.mean),
            interval(unit, one.low, one.high, sign=""),
        ]
        for one in card.variants
    ]
    head = ("Variant", "Served by", "Share", "Users", "With answer", card.primary_label, "Its own interval")
    left = len(card.variants) - 1 - len(treatments(card))
    words = f"{left} more treatments are in the record in full; below are those that come first." if left > 0 else ""
    return section("Variants", grid(head, rows, 2), said(words, "small"))


def served_by(model_version_id: str | None, prompt: str | None) -> str:
    """What answers under a variant's name."""
    served = "a version of this loop" if model_version_id else "the product itself"
    if not prompt:
        return served
    words = prompt if len(prompt) <= MOST_LETTERS else f"{prompt[:MOST_LETTERS]}… ({len(prompt):,} letters in all)"
    return f"{served}, with the prompt “{words}”"


def measures(card: Scorecard) -> Markup:
    """Every metric of the plan, relative as a forest and in its own unit."""
    parts = []
    for name in treatments(card):
        rows = [row for row in card.metrics if row.variant in ("", name)]
        head = ("Measure", "In the plan", card.control, name, "Difference", f"{_sure(card)}, one look", "Always valid")
        table = grid((*head, "p, one look"), [_measure(row) for row in rows], 2)
        parts += [_of(card, name), _forest(card, name, rows), table]
        parts += [said(f"{label_of(row)}: {row.note}", "small") for row in rows if row.note]
    return section("Everything measured", *parts)


def _sure(card: Scorecard) -> str:
    return f"{100 * (1 - float((card.plan or {}).get('alpha', 0.05))):.4g}%"


def _measure(row: MetricRow) -> list[str | Markup]:
    found, unit = row.comparison, change_unit(row.metric)
    return [
        label_of(row),
        row.role.value,
        level(row.metric, found.mean_control),
        level(row.metric, found.mean_treatment),
        change(row.metric, found.effect),
        interval(unit, found.ci_low, found.ci_high),
        interval(unit, row.sequence_low, row.sequence_high),
        p_figure(found.p_value),
    ]


def _forest(card: Scorecard, name: str, rows: Sequence[MetricRow]) -> Markup | None:
    marks = [
        Mark(
            label_of(row),
            f"{PERCENT.said(one.relative, '+')} ({interval(PERCENT, one.relative_low, one.relative_high)})",
            one.relative,
            one.relative_low,
            one.relative_high,
            _ink(row),
        )
        for row in rows
        for one in (row.comparison,)
        if one.relative is not None
    ]
    if not marks:
        return None
    words = f"Change of each measure of {name} relative to {card.control}, with its interval for one look (Fieller)."
    return figure(svg.forest(marks, PERCENT, words, lines=[Line(0.0)]), words)


def _ink(row: MetricRow) -> str:
    """Green where surely better for one look, red where surely worse."""
    low, high = row.comparison.relative_low, row.comparison.relative_high
    if low is None or high is None or low <= 0 <= high or not row.better:
        return "control"
    return "good" if (low > 0) == (row.better > 0) else "bad"


def unit_of_analysis(card: Scorecard) -> Markup | None:
    """The right p beside the one that a test over single drafts would claim, struck through."""
    right = card.fixed[2] if card.fixed[2] is not None else card.p_value
    wrong = card.request_level.p_value
    if right is None or wrong is None or not card.request_sentence:
        return None
    line = el("p", f"By user, {p_words(right)}. ", el("s", f"By single draft, {p_words(wrong)}."))
    return section("Why users are counted, and not drafts", line, said(card.request_sentence))


def cuped(card: Scorecard) -> Markup | None:
    """What users' own past took out of the noise."""
    found = card.cuped
    if found is None:
        return None
    raw = interval(change_unit(card.primary), found.unadjusted_low, found.unadjusted_high)
    words = f"Without it the effect is {change(card.primary, found.unadjusted_effect)} ({raw}, for one look)."
    known = found.variance_reduction is not None and found.unadjusted_effect is not None
    return section("What each user's own past explains (CUPED)", said(found.sentence), said(words) if known else None)


def segments(card: Scorecard) -> Markup | None:
    """Does it help everyone? A forest plot by segment, adjusted, and whether the differences are more than chance."""
    if not card.segments:
        return None
    alpha = float((card.plan or {}).get("alpha", 0.05))
    parts = []
    for name in treatments(card):
        rows = [row for row in card.segments if row.variant in ("", name)]
        clear = sum(row.p_adjusted is not None and row.p_adjusted <= alpha for row in rows)
        words = f"{clear} of {len(rows)} segments are clear of 0 after the adjustment (filled dots)."
        overall = [Line(card.effect, "all users", "treatment", "2 3")] if card.effect and name == card.treatment else []
        chart = svg.forest(
            _segment_marks(rows, alpha), change_unit(card.primary), words, lines=[Line(0.0, "no difference"), *overall]
        )
        parts += [_of(card, name), figure(chart, words)]
        parts.append(grid(_SEGMENT_HEAD, [_segment(card, row) for row in rows], 2))
        parts += [said(one.sentence) for one in card.heterogeneity if one.variant in ("", name)]
    return section("Does it help everyone?", said(card.segment_adjustment, "small"), *parts)


_SEGMENT_HEAD = ("Segment", "Value", "Users", "Control", "Treatment", "Difference", "p", "p, adjusted")


def _segment(card: Scorecard, row: SegmentRow) -> list[str | Markup]:
    return [
        segment_name(row),
        row.value,
        f"{row.n_control + row.n_treatment:,}",
        level(card.primary, row.mean_control),
        level(card.primary, row.mean_treatment),
        change(card.primary, row.effect),
        p_figure(row.p_value),
        p_figure(row.p_adjusted),
    ]


def _segment_marks(rows: Sequence[SegmentRow], alpha: float) -> list[Mark]:
    marks, last = [], None
    for row in rows:
        if row.segment != last:
            marks.append(Mark(segment_name(row), is_head=True))
            last = row.segment
        unit = change_unit(row.metric)
        words = f"{unit.said(row.effect, '+')} ({interval(unit, row.low, row.high)})" if row.effect is not None else ""
        is_clear = row.p_adjusted is not None and row.p_adjusted <= alpha
        label = f"{row.value} ({row.n_control + row.n_treatment:,})"
        marks.append(Mark(label, words or row.note or "–", row.effect, row.low, row.high, is_filled=is_clear))
    return marks


def novelty(card: Scorecard) -> Markup | None:
    """Does the effect wear off?"""
    found = card.novelty
    if found is None:
        return None
    marks = [Mark(str(one.day), "", one.effect, one.low, one.high) for one in found.days]
    chart = None
    if sum(mark.value is not None for mark in marks) > 1:
        overall = [] if card.effect is None else [Line(card.effect, "all days", "treatment", "2 3")]
        unit = change_unit(card.primary)
        chart = svg.since_exposure(marks, unit, found.sentence, lines=[NO_DIFFERENCE, *overall])
    return section("Does it wear off?", figure(chart, found.sentence) if chart else said(found.sentence))


def weights(card: Scorecard) -> Markup | None:
    """Which weights of the reward design would flip what it says."""
    found = card.weights_flip
    if found is None:
        return None
    unit = change_unit("reward")
    rows = [
        [
            one.signal,
            unit.said(one.utility_effect, "+"),
            f"{one.weight:g}",
            f"{one.share:.0%}",
            *("never" if at is None else f"{round(at, 9) + 0.0:.3g}" for at in (one.unsure_at, one.zero_at)),
        ]
        for one in found.flips
    ]
    head = ("Signal", "Effect on its utility", "Weight", "Part of all", "Sure or not flips at", "Sign flips at")
    effect = f"By the design {found.design} the reward changed by {unit.said(found.effect, '+')} ("
    words = f"{effect}{interval(unit, found.low, found.high)}). One weight is moved at a time, the others stay."
    title = "Would other weights say otherwise?"
    return section(title, said(found.sentence), grid(head, rows) if rows else None, said(words, "small"))


def _of(card: Scorecard, name: str) -> Markup | None:
    """Whose rows follow, where there are several treatments."""
    if len(treatments(card)) == 1:
        return None
    return el("p", el("b", f"{name} against {card.control}"), class_="keep")
