"""The lower half of an experiment's page: what stands behind the verdict, a tab a question, and the exact SQL."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from organism.experiment.scorecard import PlanChange, Scorecard
from organism.measures.metric_names import label_of
from organism.store.experiments import RUNNING, Experiment
from ui import cards, charts, experiment_charts, runtime, scorecards, self_test
from ui.assignment_cards import assignment_card
from ui.experiment_views import guardrails, split_table
from ui.words import counted, literal, percent

Section = Callable[[Scorecard, Experiment], None]


@st.fragment
def details(card: Scorecard, experiment: Experiment) -> None:
    """The tabs, of which only the open one is drawn, then the SQL. A blocked experiment shows no effect in any.

    A fragment: another tab redraws nothing above it.
    """
    offered = {name: sections for name, (sections, has) in TABS.items() if has(card)}
    tabs = st.tabs(list(offered), key="detail", bind="query-params")
    for tab, sections in zip(tabs, offered.values(), strict=True):
        if tab.open:
            with tab:
                for section in sections:
                    section(card, experiment)
    if card.sql:
        exact_sql(card)


@st.fragment
def exact_sql(card: Scorecard) -> None:
    """What the store was asked for; written out when it is opened, since its colors cost thousands of elements."""
    with st.expander("The exact SQL", icon=":material/database:", key="exact_sql", on_change="rerun") as opened:
        if opened.open:
            st.caption(
                "What the store was asked for. Everything else on this page is arithmetic on its answer. Data version "
                f"{literal(card.data_version or str(runtime.data_version()))}."
            )
            st.code(card.sql, language="sql", wrap_lines=True, height=320)


def measures(card: Scorecard, experiment: Experiment) -> None:
    """Every metric of the plan, relative and in its own unit."""
    variant = _picked_variant(card, "measures")
    table = scorecards.relative_table(card, variant)
    with st.container(border=True):
        st.header("Everything measured", anchor=False)
        if table["effect"].notna().any():
            cards.chart(
                runtime.figure(charts.forest, table, about=(card.experiment_id, variant)),
                f"Change of each measure of {variant} relative to {card.control}, {relative_kind(table)}",
                table,
                "metrics",
            )
        words = scorecards.metric_table(card, variant).dropna(axis="columns", how="all")
        st.dataframe(
            words,
            hide_index=True,
            placeholder="",
            alt="Each measure of both variants with the difference, its intervals and p",
            column_config={name: st.column_config.Column(width=width) for name, width in _WIDTHS.items()},
        )
        if said := scorecards.chance_words(card, variant):
            st.markdown(literal(said))
        if card.adjustment:
            st.caption(literal(card.adjustment))
    if variant != card.treatment and scorecards.rows_of(card.guardrails, variant):
        with st.container(border=True):
            st.header(f"Guardrails of {literal(variant)}", anchor=False)
            guardrails(card, variant)


def relative_kind(table: pd.DataFrame) -> str:
    """Which interval the dots have; with a policy that follows results no interval for one look holds."""
    if table["low"].isna().all():
        return "by user; no interval for one look holds here, the table has those that do."
    missing = table["effect"].notna() & table["low"].isna()
    return "with its 95% interval for one look, by user (Fieller)" + (
        "; a dot without a line has none." if missing.any() else "."
    )


_WIDTHS = {"Measure": 138, "In the plan": 76, "p, one look": 76, "p, always": 70, "Users": 52}


def request_level(card: Scorecard, experiment: Experiment) -> None:
    """What a test over single drafts would have claimed."""
    if not card.request_sentence:
        return
    with st.container(border=True):
        st.header("Why users are counted, and not drafts", anchor=False)
        if line := scorecards.unit_line(card):
            st.markdown(line)
        st.markdown(literal(card.request_sentence))


def cuped(card: Scorecard, experiment: Experiment) -> None:
    """What users' own past took out of the noise."""
    found = card.cuped
    with st.container(border=True):
        st.header("What each user's own past explains (CUPED)", anchor=False)
        if found is None:
            st.caption(
                "The plan names no covariate, or nobody has a past in this loop. With one, noise that users bring "
                "along is taken out, and fewer users are needed."
            )
            return
        st.markdown(literal(found.sentence))
        if found.variance_reduction is None or found.variance_reduction <= 0:
            return  # a past that explains nothing: the sentence says so
        low, high = found.unadjusted_low, found.unadjusted_high
        with st.grid(3, min_column_width=190):
            st.metric(
                "Noise taken out",
                percent(found.variance_reduction),
                border=True,
                help=f"The share of the variance that {literal(', '.join(map(label_of, found.covariates)))} explains.",
            )
            st.metric(
                "As if more users had come",
                percent(found.worth_more_users),
                border=True,
                help="The same interval without the covariate would have needed so many more users.",
            )
            st.metric(
                "Effect without it",
                scorecards.change(card.primary, found.unadjusted_effect),
                scorecards.interval(card.primary, low, high),
                delta_color="off",
                delta_arrow="off",
                border=True,
                help="The same comparison on the raw figures, for one look.",
            )


def segments(card: Scorecard, experiment: Experiment) -> None:
    """Does it help everyone? A forest plot, and whether the differences are more than chance."""
    variant = _picked_variant(card, "segments")
    table = scorecards.segment_table(card, variant)
    with st.container(border=True):
        st.header("Does it help everyone?", anchor=False)
        if table["effect"].notna().any():
            figure = runtime.figure(
                experiment_charts.segments,
                table,
                scorecards.change_unit(card.primary),
                card.effect if variant == card.treatment else None,
                about=(card.experiment_id, variant),
            )
            clear = int(table["is_clear"].sum())
            cards.chart(
                figure,
                f"{clear} of {len(table)} segments are clear of 0 after the adjustment.",
                table,
                "segments",
            )
        else:
            st.caption("No segment has answers from both variants yet.")
        if card.segment_adjustment:
            st.caption(literal(card.segment_adjustment))
        for one in scorecards.rows_of(card.heterogeneity, variant):
            st.markdown(literal(one.sentence))


def novelty(card: Scorecard, experiment: Experiment) -> None:
    """Does the effect wear off?"""
    if card.novelty is None:
        return
    table = scorecards.novelty_table(card)
    with st.container(border=True):
        st.header("Does it wear off?", anchor=False)
        if table["effect"].notna().sum() > 1:
            figure = runtime.figure(
                experiment_charts.since_exposure,
                table,
                scorecards.change_unit(card.primary),
                card.effect,
                about=(card.experiment_id,),
            )
            cards.chart(figure, card.novelty.sentence, table, "days_since_exposure")
        else:
            st.caption(literal(card.novelty.sentence))


def weights(card: Scorecard, experiment: Experiment) -> None:
    """Which weights of the reward design would flip what it says."""
    found = card.weights_flip
    if found is None:
        return
    table = scorecards.weight_table(card)
    with st.container(border=True):
        st.header("Would other weights say otherwise?", anchor=False)
        st.markdown(literal(found.sentence))
        if len(table):
            figure = runtime.figure(experiment_charts.weights, table, about=(card.experiment_id,))
            cards.chart(
                figure,
                f'By the design "{found.design}" the reward changed by '
                f"{scorecards.change('reward', found.effect) or 'an unknown amount'} "
                f"({scorecards.interval('reward', found.low, found.high)}). One weight is moved at a time, the others "
                "stay.",
                table,
                "weights_flip",
            )


def power(card: Scorecard, experiment: Experiment) -> None:
    """How likely the experiment is to show what it was planned for; nothing of one that may not be read."""
    if not scorecards.is_read(card):
        return
    plan = card.plan or experiment.plan
    wanted = scorecards.change(card.primary, plan.get("minimum_effect"))
    with st.container(border=True):
        st.header("Power", anchor=False)
        with st.grid(3, min_column_width=190):
            st.metric(
                "Users",
                scorecards.users_words(card),
                scorecards.time_left(card),
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
                help=scorecards.users_help(card),
            )
            st.metric(
                "Power of the users so far",
                percent(card.power_now, 0),
                border=True,
                height="stretch",
                help=f"The chance that these users would have shown {wanted}, if it is there.",
            )
            st.metric(
                "Conditional power",
                percent(card.conditional_power, 0),
                border=True,
                height="stretch",
                help=f"The chance that the planned users will show it, given what was seen so far and {wanted} from "
                "here on.",
            )


def plan(card: Scorecard, experiment: Experiment) -> None:
    """What was agreed, and every change since."""
    with st.container(border=True):
        st.header(f"Plan, version {card.plan_version}", anchor=False)
        agreed(card.plan or experiment.plan)
    later = [change for change in card.plan_changes if change.version > 1]
    with st.container(border=True):
        st.header("What changed after the start", anchor=False)
        if not later:
            st.caption("Nothing. The plan is as it was when the experiment started.")
        for change in reversed(later):
            changed(change)
        if experiment.status == RUNNING:
            st.page_link(
                cards.page_file("plan_experiment"),
                label="Change the plan",
                icon=":material/edit_note:",
                query_params={"plan": experiment.experiment_id},
            )


def agreed(terms: dict[str, object]) -> None:
    """A plan's terms as a table of names and words."""
    lines = pd.DataFrame(scorecards.plan_lines(terms), columns=["Term", "Agreed"])
    st.table(lines, border="horizontal", hide_index=True, hide_header=True, alt="What the plan says")


def changed(change: PlanChange) -> None:
    """One later version: who, when, why, and what differs."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"Version {change.version}", icon=":material/edit_note:", color="orange")
        st.markdown(literal(change.why), width="stretch")
        st.caption(
            f"{literal(change.actor or 'nobody named')}, {literal(change.created_at[:16].replace('T', ' '))} UTC"
        )
    st.markdown("\n".join(f"- {literal(one)}" for one in change.changes))


def split(card: Scorecard, experiment: Experiment) -> None:
    """Did users fall into the variants as planned?"""
    found = card.srm
    with st.container(border=True):
        st.header("Did users fall as planned?", anchor=False)
        table = split_table(card)
        st.dataframe(
            table,
            hide_index=True,
            alt="Users of each variant against the planned shares",
            column_config={"Planned share": st.column_config.NumberColumn(format="percent")},
        )
        if found is not None:
            st.markdown(literal(found.sentence))
        st.caption(f"{counted(card.n_in_both, 'user')} met two variants or the wrong one and are in no figure.")


def assignment(card: Scorecard, experiment: Experiment) -> None:
    """How users are dealt, and who really met which variant."""
    assignment_card(experiment.experiment_id)


def _picked_variant(card: Scorecard, where: str) -> str:
    """The treatment to look at; asked only when there are several."""
    names = scorecards.treatments(card)
    if len(names) == 1:
        return names[0]
    picked = st.segmented_control(f"Against {card.control}", names, default=names[0], required=True, key=f"{where}_of")
    return str(picked)


def _always(card: Scorecard) -> bool:
    return True


TABS: dict[str, tuple[tuple[Section, ...], Callable[[Scorecard], bool]]] = {
    "Measures": ((measures, request_level, cuped), scorecards.is_read),
    "Segments": ((segments,), lambda card: scorecards.is_read(card) and bool(card.segments)),
    "Since exposure": ((novelty,), lambda card: scorecards.is_read(card) and card.novelty is not None),
    "Reward weights": ((weights,), lambda card: scorecards.is_read(card) and card.weights_flip is not None),
    "Power and plan": ((power, plan), _always),
    "Split and trust": ((split, assignment, self_test.section), _always),
}
"""The tabs in their order: what each draws, one section below the other, and when it is offered."""
