"""The upper half of an experiment's page: the verdict, one row of figures, the track and the guardrails; and the slide
for a meeting.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from organism.experiment.plan import plan_of
from organism.experiment.results import SRM_ALPHA
from organism.experiment.rules import RULES
from organism.experiment.scorecard import IntervalKind, Scorecard
from organism.records import Verdict
from organism.store.experiments import PLANNED, RUNNING, Experiment
from ui import cards, charts, experiment_charts, experiment_reading, runtime, scorecards
from ui.experiment_charts import Planned
from ui.words import counted, literal, sentence


def label(row: Any) -> str:
    """An experiment in the list: its name and how it stands."""
    if row.status == PLANNED:
        return f"{row.name}, planned"
    return f"{row.name}, since {charts.at(row.started_at)}" + ("" if row.status == RUNNING else ", decided")


def verdict(card: Scorecard, experiment: Experiment, decisions: pd.DataFrame) -> None:
    """What to do, and why, in one sentence; a decided experiment says first what people decided."""
    with st.container(border=True, key="verdict", gap="xsmall"):
        if experiment.ended_at is not None and len(decisions):
            last = decisions.iloc[0]
            color, icon, words = cards.VERDICTS[Verdict(last["verdict"])]
            _said(f"Decided: {words[:1].lower()}{words[1:]}", icon, color, experiment, card)
            st.markdown(f"{literal(last['note'])} :gray[{literal(last['actor'])}, {charts.at(last['created_at'])} UTC]")
            if Verdict(last["verdict"]) is not card.verdict:
                st.markdown(f"The rules say otherwise: {cards.VERDICTS[card.verdict][2].lower()}.")
            if card.sentence not in last["note"]:
                _sentence(card)
        else:
            color, icon, words = cards.VERDICTS[card.verdict]
            _said(words, icon, color, experiment, card)
            _sentence(card)
        st.caption(about(experiment))
        for warning in card.warnings:
            st.markdown(f":small[:material/info: {literal(warning)}]")


def _sentence(card: Scorecard, before: str = "") -> None:
    """What to do in bold, then the figures."""
    st.markdown(f"{before}**{literal(scorecards.short(card.sentence))}** {literal(scorecards.reasons(card.sentence))}")


def _said(words: str, icon: str, color: str, experiment: Experiment, card: Scorecard) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f":{color}[{words}]", icon=f":material/{icon}:", anchor=False, width="stretch")
        if any(change.version > 1 for change in card.plan_changes):
            st.badge("Plan changed after the start", icon=":material/edit_note:", color="orange")
        status(experiment)


def status(experiment: Experiment) -> None:
    """Whether it is planned, running or decided, and whether its people are simulated."""
    color, icon = {"running": ("blue", "autorenew"), "planned": ("gray", "event_upcoming")}.get(
        experiment.status, ("gray", "gavel")
    )
    st.badge(experiment.status.capitalize(), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
    if experiment.is_synthetic:
        cards.simulated_badge()


def about(experiment: Experiment) -> str:
    """The hypothesis, and since when."""
    since = f"since {charts.at(experiment.started_at)} UTC" if experiment.started_at else "not started"
    until = f" until {charts.at(experiment.ended_at)} UTC" if experiment.ended_at else ""
    people = (
        ". Users, visits and answers are simulated; the drafts are really written" if experiment.is_synthetic else ""
    )
    hypothesis = f"Hypothesis: {experiment.hypothesis.rstrip('.')}. " if experiment.hypothesis else ""
    return literal(f"{hypothesis}{sentence(since)}{until}{people}.")


def headline(card: Scorecard, experiment: Experiment) -> None:
    """The four figures that a meeting asks for: effect, users and days left, guardrails, split."""
    if not scorecards.is_read(card):
        left, right = st.columns(2)
        with left:
            users_tile(card, experiment)
        with right:
            split_tile(card)
        return
    first, second, third, fourth = st.columns([1.5, 1.1, 1, 1])
    with first:
        effect_tile(card)
    with second:
        users_tile(card, experiment)
    with third:
        held, worst = scorecards.guardrails_held(card)
        _tile("Guardrails", held, worst, "Measures that may not get worse by more than a margin, tested one-sided.")
    with fourth:
        split_tile(card)


def _tile(label: str, value: str | None, delta: str, about: str, color: str = "off") -> None:
    st.metric(
        label,
        value,
        delta,
        delta_color=color,  # type: ignore[arg-type]
        delta_arrow="off",
        border=True,
        height="stretch",
        help=about,
    )


def effect_tile(card: Scorecard) -> None:
    """The headline effect with the interval that counts, and which kind that is."""
    about = (
        f"{card.primary_label} of {card.treatment} minus {card.control}; users are the units. "
        f"{card.interval_sentence} {card.adjustment}"
    )
    several = len(scorecards.treatments(card)) > 1
    _tile(
        literal(f"{card.primary_label}, {card.treatment}" if several else card.primary_label),
        scorecards.change(card.primary, card.effect),
        f"{interval_words(card)}, {kind_words(card)}",
        literal(about),
    )


def interval_words(card: Scorecard) -> str:
    """The interval that counts."""
    return scorecards.interval(card.primary, card.ci_low, card.ci_high)


def kind_words(card: Scorecard) -> str:
    """Which interval is shown, briefly."""
    sure = f"{1 - plan_of(card.plan or {}).alpha:.0%}"
    return {
        IntervalKind.ALWAYS_VALID: f"{sure} always-valid",
        IntervalKind.FIXED: f"{sure} at the planned size",
        IntervalKind.WITHHELD: "withheld",
    }[card.interval_kind]


def users_tile(card: Scorecard, experiment: Experiment) -> None:
    """How many users have come, of how many planned, and how long the rest takes."""
    _tile("Users", scorecards.users_words(card), time_words(card, experiment), scorecards.users_help(card))


def time_words(card: Scorecard, experiment: Experiment) -> str:
    """How long it takes still, or when it ended."""
    if experiment.ended_at is not None:
        return f"decided {experiment.ended_at:%b} {experiment.ended_at.day}"
    return scorecards.time_left(card)


def split_tile(card: Scorecard) -> None:
    """Did users fall into the variants as planned?"""
    split = card.srm
    p = card.srm_p_value
    is_off = card.verdict is Verdict.BLOCKED if split is None else split.blocked
    if p is None:
        value, delta = "Not tested", "shares follow results"
    else:
        value, delta = ("No" if is_off else "Yes"), f"p {scorecards.p_words(p)}"
    counts = ", ".join(f"{name} {n:,}" for name, n in card.n_users.items())
    _tile(
        "Split as planned?",
        value,
        delta,
        f"Sample ratio mismatch: {literal(counts)} users. p holds at every look so far; below {SRM_ALPHA:g} the "
        "experiment is not read at all.",
        "red" if is_off else "off",
    )


def board(card: Scorecard, experiment: Experiment) -> None:
    """The track beside the guardrails; several variants first."""
    if len(card.variants) > 2:
        with st.container(border=True):
            st.header("All variants", anchor=False)
            variants_chart(card)
    left, right = st.columns([1.45, 1], gap="small")
    with left.container(border=True, height="stretch"):
        st.header("The effect so far", anchor=False)
        track_chart(card, experiment)
        rule_words(card)
    with right.container(border=True, height="stretch"):
        st.header("Guardrails", anchor=False)
        guardrails(card, card.treatment)


def track_chart(card: Scorecard, experiment: Experiment, *, big: bool = False) -> None:
    """The effect by day with both intervals and the planned size."""
    track = experiment_reading.track(experiment.experiment_id)
    known = track.dropna(subset=["effect"])
    if len(known) < 2:
        st.caption("The line starts with the second day on which both variants have answers.")
        return
    planned = planned_mark(card, known)
    unit = scorecards.change_unit(card.primary)
    worth = plan_of(card.plan or experiment.plan).minimum_effect
    figure = runtime.figure(
        experiment_charts.track, known, unit, planned, worth, big, about=(experiment.experiment_id, "track")
    )
    one_look = scorecards.interval(card.primary, card.fixed[0], card.fixed[1])
    always = scorecards.interval(card.primary, card.always[0], card.always[1])
    takeaway = (
        f"After {counted(len(track), 'day')} the effect stands at {scorecards.change(card.primary, card.effect)}. The "
        f"outer band ({always}) may be read at every look, the inner one ({one_look}) once, at the planned size."
    )
    cards.chart(figure, takeaway, track, "effect_by_day")
    if said := all_in_words(card, known):
        st.caption(said)


def all_in_words(card: Scorecard, track: pd.DataFrame) -> str:
    """Since when the planned users were in, where that is before the day that the verdict reads; else empty."""
    reached = track.loc[track["n_users"] >= (card.n_planned or float("inf")), "day"]
    last = track["day"].iloc[-1]
    if reached.empty or reached.iloc[0] == last:
        return ""
    first = reached.iloc[0]
    return (
        f"The {card.n_planned:,} planned users were all in by {first:%b} {first.day}; the verdict does not read that "
        f"day but the end of the line, {last:%b} {last.day}."
    )


def planned_mark(card: Scorecard, track: pd.DataFrame) -> Planned | None:
    """When the planned users were in, or when they will be at this rate; None when that is far off or unknown."""
    if not card.n_planned:
        return None
    first, last = track["day"].iloc[0], track["day"].iloc[-1]
    reached = track.loc[track["n_users"] >= card.n_planned, "day"]
    if len(reached):
        return Planned(reached.iloc[0].to_pydatetime(), f"Planned size: {card.n_planned:,} users")
    if card.days_left is None or card.days_left > max(7.0, 2 * (last - first).days):
        return None
    at = last + timedelta(days=card.days_left)
    return Planned(at.to_pydatetime(), f"Planned size, {at:%b} {at.day}")


def variants_chart(card: Scorecard, *, big: bool = False) -> None:
    """Each variant's mean with its interval."""
    table = scorecards.variant_table(card)
    unit = scorecards.level_unit(card.primary)
    figure = runtime.figure(experiment_charts.variants, table, unit, big, about=(card.experiment_id, "variants"))
    known = table.dropna(subset=["mean"])
    if known.empty:
        st.caption("No variant has answers yet.")
        return
    said = ", ".join(f"{row.name} {scorecards.level(card.primary, row.mean)}" for row in known.itertuples(index=False))
    cards.chart(
        figure,
        f"{card.primary_label}: {said}. Each interval is the variant's own; read differences from the verdict.",
        table,
        "variants",
    )


def guardrails(card: Scorecard, variant: str) -> None:
    """A treatment's guardrails: how much of each margin is used, then each in words."""
    guardrails_chart(card, variant)
    for guardrail in scorecards.rows_of(card.guardrails, variant):
        color, icon, word = scorecards.GUARDRAILS[guardrail.state]
        st.markdown(
            f":{color}-badge[:material/{icon}: {word.capitalize()}] {literal(scorecards.label_of(guardrail))}: "
            f":small[:gray[{literal(scorecards.margin_words(guardrail))}]]"
        )


def guardrails_chart(card: Scorecard, variant: str, *, big: bool = False) -> None:
    """How much of each margin a treatment uses."""
    table = scorecards.guardrail_table(card, variant)
    if table.empty:
        return
    figure = runtime.figure(experiment_charts.guardrails, table, big, about=(card.experiment_id, variant))
    states = list(table["state"])
    said = ", ".join(
        f"{word} {states.count(state)}" for state, (_, _, word) in scorecards.GUARDRAILS.items() if state in states
    )
    cards.chart(
        figure,
        f"{sentence(said)}. The dot is the estimate, the line reaches to the worst that the data allow; past the "
        "margin is too bad.",
        table,
        f"guardrails_{variant}",
    )


def rule_words(card: Scorecard) -> None:
    """The rule that speaks, and all rules in their order."""
    rules = {rule.name: f"{cards.VERDICTS[rule.verdict][2]} when {literal(rule.when)}." for rule in RULES}
    with st.expander(f"By the rule: {rules.get(card.rule, literal(card.rule))}", icon=":material/gavel:"):
        st.caption("The first rule that fits speaks; they stand in this order.")
        lines = [f"1. **{words}**" if name == card.rule else f"1. {words}" for name, words in rules.items()]
        st.markdown("\n".join(lines))


def blocked(card: Scorecard) -> None:
    """Why an experiment may not be read: its counts against the plan, and what to do; no effect is shown."""
    with st.container(border=True):
        st.header("Why it is blocked", anchor=False)
        if card.srm is not None and card.srm.blocked:
            st.markdown(literal(card.srm.sentence))
        st.dataframe(
            split_table(card),
            hide_index=True,
            alt="Users of each variant against the planned shares",
            column_config={"Planned share": st.column_config.NumberColumn(format="percent")},
        )
        st.caption(
            f"{counted(card.n_in_both, 'user')} met two variants or the wrong one. Effects are hidden until the split "
            "is explained: users who went missing may be those who would have changed the result."
        )
        rule_words(card)


def split_table(card: Scorecard) -> pd.DataFrame:
    """Users of each variant beside the number that the planned shares ask for."""
    shares = card.srm.shares if card.srm is not None else {row.name: row.share for row in card.variants}
    counts = card.srm.counts if card.srm is not None else card.n_users
    n, whole = sum(counts.values()), sum(shares.values()) or 1.0
    rows = [
        (name, share / whole, counts.get(name, 0), round(n * share / whole), counts.get(name, 0) - n * share / whole)
        for name, share in shares.items()
    ]
    made = pd.DataFrame(rows, columns=["Variant", "Planned share", "Users", "Users expected", "Off by"])
    return made.assign(**{"Off by": [f"{off:+.0f}" for off in made["Off by"]]})


def title_of(color: str, words: str, said: str) -> str:
    """The verdict in a word, then the sentence; a sentence that opens with the verdict itself says it alone."""
    word = words.removeprefix("Decided: ").partition(" ")[0]
    opening, colon, rest = said.partition(": ")
    if not colon or opening.partition(" ")[0].lower() != word.lower():
        return f":{color}[{words}]. {literal(said)}"
    opening = f"Decided to {opening[:1].lower()}{opening[1:]}" if words.startswith("Decided") else opening
    return f":{color}[{literal(opening)}]: {literal(rest)}"


def slide(card: Scorecard, experiment: Experiment, decisions: pd.DataFrame) -> None:
    """What a meeting needs on one screen, in letters for the back of the room."""
    decided = Verdict(decisions["verdict"].iloc[0]) if experiment.ended_at is not None and len(decisions) else None
    color, icon, words = cards.VERDICTS[decided or card.verdict]
    said = scorecards.short(card.sentence)
    if decided:
        words = f"Decided: {words[:1].lower()}{words[1:]}"
        said = said if decided is card.verdict else f"The rules say: {cards.VERDICTS[card.verdict][2].lower()}."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f":gray[{literal(experiment.name)}]", anchor=False, width="content")
        if experiment.is_synthetic:
            cards.simulated_badge()
    st.title(title_of(color, words, said), icon=f":material/{icon}:", anchor=False)
    if not scorecards.is_read(card):
        _big_row([(name, counted(n, "user")) for name, n in card.n_users.items()])
        return
    held, worst = scorecards.guardrails_held(card)
    users = scorecards.users_words(card)
    _big_row(
        [
            (card.primary_label, scorecards.change(card.primary, card.effect) or "unknown"),
            (sentence(kind_words(card)), interval_words(card)),
            (f"Users, {time_words(card, experiment)}", users),
            (f"Guardrails, {worst}", held),
        ]
    )
    left, right = st.columns([1.45, 1], gap="medium")
    with left:
        track_chart(card, experiment, big=True)
    with right:
        if len(card.variants) > 2:
            variants_chart(card, big=True)
        else:
            guardrails_chart(card, card.treatment, big=True)


def _big_row(figures: Sequence[tuple[str, str]]) -> None:
    with st.grid(len(figures), min_column_width=220):
        for label, value in figures:
            st.markdown(f"## :gray[{literal(label)}]\n# {literal(value)}", anchors=False)
