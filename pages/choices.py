"""Weights from choices: which of two drafts is better, and the weights that the answers ask for."""

import pandas as pd
import streamlit as st

from organism.digest.choices import ChoiceFit, ChoiceKind, design_from
from organism.digest.choices_flow import fit_choices, pair_for, variant_strengths
from organism.digest.design_files import to_link
from organism.digest.flow import live_design
from organism.errors import DesignError
from organism.store.choices import read_voters
from ui import cards, choice_charts, choosing, runtime
from ui.words import counted, literal, percent, sentence

KINDS = {ChoiceKind.DRAFTS: "Two drafts", ChoiceKind.VARIANTS: "Two versions' profiles"}

cards.head(
    "Weights from choices",
    "Say which of two is better, again and again: the choices tell which weights you use, and how surely.",
    "how_to_vote",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing to choose between yet",
        "Choices compare drafts whose signals are known: what they cost, how long they took, what people kept of them.",
        "how_to_vote",
        page="sources",
        action="Open Sources",
    )
    st.stop()

loop_id, design = loop.loop_id, runtime.read(live_design, loop.loop_id)
voters = runtime.read(read_voters, loop_id)
if not cards.presenting():
    with st.container(horizontal=True, vertical_alignment="bottom"):
        actor = st.text_input("Your name", key="voter", max_chars=80, width=260, help="Choices are kept under it.")
        kind = st.segmented_control(
            "Compare", list(KINDS), default=ChoiceKind.DRAFTS, format_func=KINDS.__getitem__, key="choice_kind"
        )
    kind = kind or ChoiceKind.DRAFTS
    about = (loop_id, design.id, kind, actor.strip())
    with cards.polite("No pair"):
        pair = choosing.current_pair(
            lambda: pair_for(runtime.store(), loop_id, design, actor=actor, kind=kind), about=about
        )
        if problem := st.session_state.pop("choice_problem", None):
            st.error(literal(problem), icon=":material/error:")
        if pair is None:
            st.caption(
                "There is no pair left to show: none that you have not seen has every signal of the live design "
                "on both sides."
            )
        else:
            choosing.buttons(pair, loop_id, actor)
            last = st.session_state.get("last_choice")
            st.caption(
                literal(last)
                if last
                else "Arrow keys work too: left, right, and down to skip. This pair is the one that would teach most "
                "beside the choices so far; the versions' names stay hidden until you chose."
            )
            choosing.show(pair)
            if loop.is_synthetic and kind is ChoiceKind.DRAFTS:
                st.caption("Both visits and both drafts are simulated.")
else:
    kind = ChoiceKind.DRAFTS

st.header("What the choices say", anchor=False)
if voters.empty:
    st.caption("Nobody has chosen yet. After the first choice the fitted weights stand here, beside the hand-set ones.")
    if cards.presenting():
        cards.present_button()
    st.stop()

everybody = voters["actor"].tolist()
simulated = set(voters.loc[voters["is_synthetic"], "actor"])
named = {actor: f"{actor} (simulated)" if actor in simulated else actor for actor in everybody}
if cards.presenting():
    counted_in = everybody
else:
    choosing.count_newcomers(everybody)
    counted_in = st.pills("Whose choices count", everybody, selection_mode="multi", format_func=named.get, key="whose")
shown = voters[voters["actor"].isin(counted_in)]
n_simulated = int(shown.loc[shown["is_synthetic"], "n_choices"].sum())


def weights_of(fit: ChoiceFit) -> pd.DataFrame:
    """The fitted weights as a table."""
    return pd.DataFrame([weight._asdict() for weight in fit.weights])


def findings(fit: ChoiceFit) -> None:
    """How much is known, the chart, and the sentences to keep in mind."""
    frame = weights_of(fit)
    loose = frame["holds_zero"] | frame["is_wide"]
    with st.grid(4, min_column_width=165):
        cards.vital(
            "Choices",
            f"{fit.n_pairs:,}",
            "Answered pairs whose two sides have every signal of the live design.",
        )
        cards.vital(
            "Loose weights",
            f"{int(loose.sum())} of {len(frame)}",
            "Weights whose interval holds 0 or is wider than the weight. Sixty pairs leave most of them loose.",
        )
        cards.vital(
            "Foreseen by the live design",
            percent(fit.foreseen_by_hand, 0),
            "Share of the choices that the hand-set weights rank as the person did. Half is a coin.",
        )
        cards.vital(
            "Foreseen by the fit",
            percent(fit.foreseen_by_fit, 0),
            "The same for the fitted weights, on the choices they were fitted to: it flatters them a little.",
        )
    moved = frame.loc[(frame["share"] - frame["hand_share"]).abs().idxmax()]
    takeaway = (
        f"{moved['signal']} moves most: {moved['hand_share']:.0%} hand-set, {moved['share']:.0%} by the choices "
        f"({moved['share_low']:.0%} to {moved['share_high']:.0%})."
        if pd.notna(moved["share"])
        else "The choices do not say anything about these weights."
    )
    cards.chart(
        runtime.figure(choice_charts.fitted_weights, frame, about=tuple(counted_in)), takeaway, frame, "weights"
    )
    if n_simulated:
        st.caption(f"Of {counted(int(shown['n_choices'].sum()), 'choice')}, {n_simulated:,} are by simulated people.")
    for words in fit.sentences:
        st.markdown(f"- {literal(words)}")


def to_designer(fit: ChoiceFit) -> None:
    """The way from here to the designer, or why there is none."""
    try:
        draft = design_from(fit, design)
    except DesignError as error:
        st.caption(literal(sentence(str(error))))
        return
    clipped = [weight.signal for weight in fit.weights if weight.weight < 0]
    if n_loose := sum(weight.holds_zero or weight.is_wide for weight in fit.weights):
        st.caption(
            f"{n_loose} of {len(fit.weights)} weights are loose: in the designer this draft is a question to discuss, "
            "not yet an answer."
        )
    st.page_link(
        cards.page_file("reward"),
        label="Open these weights in the designer",
        icon=":material/balance:",
        query_params={"draft": to_link(draft)},
        help="As an unsaved draft of the live design."
        + (f" Negative weights become 0 there: {', '.join(clipped)}." if clipped else ""),
    )


if not counted_in:
    st.caption("Pick at least one person whose choices count.")
else:
    people = tuple(counted_in)
    try:
        fit = runtime.read(fit_choices, loop_id, design, kind=kind, actors=people)
    except DesignError as error:
        st.caption(literal(sentence(str(error))))
    else:
        findings(fit)
        if not cards.presenting():
            to_designer(fit)
            with st.expander("Figures", icon=":material/table_rows:"):
                st.caption(
                    "A weight is the log odds of choosing the side that is better by a full step of utility. Intervals "
                    "are profile likelihood and take the choices as independent, those of one person too."
                )
                st.dataframe(
                    weights_of(fit)[
                        ["signal", "weight", "low", "high", "hand_share", "share", "saved_share", "n_more"]
                    ],
                    hide_index=True,
                    column_config={
                        "signal": "Signal",
                        "weight": st.column_config.NumberColumn("Weight", format="%.2f"),
                        "low": st.column_config.NumberColumn("From", format="%.2f"),
                        "high": st.column_config.NumberColumn("To", format="%.2f"),
                        "hand_share": st.column_config.NumberColumn("Hand-set", format="percent"),
                        "share": st.column_config.NumberColumn("By choices", format="percent"),
                        "saved_share": st.column_config.NumberColumn("In a design", format="percent"),
                        "n_more": st.column_config.NumberColumn("More pairs", help="About how many would settle it."),
                    },
                    alt="Fitted weights with intervals beside the hand-set ones",
                )
    ranked = runtime.read(variant_strengths, loop_id, actors=people)
    st.header("Which version people prefer", anchor=False)
    if ranked.variants:
        frame = pd.DataFrame([strength._asdict() for strength in ranked.variants])
        best = ranked.variants[0]
        cards.chart(
            runtime.figure(choice_charts.strengths, frame, about=people),
            f"{best.variant} is preferred most: it won {best.n_won} and lost {best.n_lost} of its comparisons "
            "(Bradley-Terry).",
            frame,
            "strengths",
        )
    st.caption(literal(ranked.sentence))

if cards.presenting():
    cards.present_button()
    st.stop()
st.header("Who chose", anchor=False)
st.dataframe(
    voters.assign(actor=voters["actor"].map(named))[["actor", "n_choices", "n_skipped", "last_at"]],
    hide_index=True,
    column_config={
        "actor": "Name",
        "n_choices": "Choices",
        "n_skipped": "Skipped",
        "last_at": st.column_config.DatetimeColumn("Last (UTC)", format="MMM D, HH:mm"),
    },
    alt="Who chose how often",
)
st.caption(f"{counted(int(voters['n_choices'].sum()), 'choice')} in all, drafts and profiles.")
cards.present_button()
