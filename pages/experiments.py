"""Experiments: the verdict first, then the effect with its interval, what speaks against it, and the decision."""

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.demo import demo_environment
from organism.experiment.flow import analyze, effect_track
from organism.experiment.rules import RULES
from organism.loop import decide_and_apply
from organism.records import Verdict
from organism.store.decisions import read_decisions
from organism.store.experiments import read_experiments
from organism.traffic import run_simulated_traffic
from ui import cards, charts, runtime, scorecards
from ui.words import between, counted, literal, points

cards.head(
    "Experiments",
    "Is the new version really better? The verdict, its interval, and what stands behind it; share it by its address.",
    "science",
)
loop = runtime.chosen_loop()
found = runtime.read(read_experiments, loop.loop_id) if loop else pd.DataFrame()
if loop is None or found.empty:
    cards.empty(
        "No experiment yet",
        "An experiment gives each user one of two versions and compares what they keep. Start one from a fine-tune.",
        "science",
        page="fine_tunes",
        action="Open Fine-tunes",
    )
    st.stop()

# Which experiment: the address says it, and always does, so that a link stays a link to this one.
ids = list(found["experiment_id"])
asked = st.query_params.get("exp")
if asked is not None and asked not in ids:
    st.warning(
        f"There is no experiment `{asked}` in this loop. Showing the latest.",
        title="Unknown link",
        icon=":material/link_off:",
    )
chosen = asked if asked in ids else ids[0]


def go() -> None:
    st.query_params["exp"] = st.session_state["exp_pick"]


if not cards.presenting():
    names = dict(zip(ids, found["name"], strict=True))
    starts = dict(zip(ids, found["started_at"], strict=True))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state["exp_pick"] = chosen
        st.selectbox(
            "Experiment",
            ids,
            format_func=lambda identity: f"{names[identity]}, since {charts.at(starts[identity])}",
            key="exp_pick",
            on_change=go,
            width=420,
        )
        cards.present_button()
if asked != chosen:
    st.query_params["exp"] = chosen

experiment = found.set_index("experiment_id").loc[chosen]
is_running = experiment["status"] == "running"
card = runtime.read(analyze, chosen)
state = "running" if is_running else f"decided {charts.at(experiment['ended_at'])} UTC"
cards.verdict_banner(
    card.verdict,
    card.sentence,
    f"{experiment['hypothesis']}. Since {charts.at(experiment['started_at'])} UTC, {state}."
    + (" Users, visits and answers are simulated; the drafts are really written." if card.is_synthetic else ""),
)

with st.grid(4, min_column_width=180):
    st.metric(
        "Difference",
        points(card.effect),
        between(card.ci_low, card.ci_high, points),
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help="Retained characters of the treatment minus the control, with its 95% interval. Users are the units.",
    )
    scorecards.arm(card.treatment, card.mean_treatment, card.n_treatment, "Treatment")
    scorecards.arm(card.control, card.mean_control, card.n_control, "Control")
    st.metric(
        "Split as planned?",
        "Yes" if card.srm_p_value >= 0.001 else "No",
        f"p {scorecards.p_words(card.srm_p_value)}",
        delta_color="off" if card.srm_p_value >= 0.001 else "red",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"Sample ratio mismatch: {card.n_users['treatment']} and {card.n_users['control']} users for a share of "
        f"{experiment['treatment_share']:.0%}. Below 0.001 the experiment is not read at all.",
    )

left, right = st.columns([1.4, 1], gap="small")
with left.container(border=True, height="stretch"):
    st.header("The effect so far", anchor=False)
    track = runtime.read(effect_track, chosen)
    if track["effect"].notna().sum() < 2:
        st.caption("The line starts with the second day on which both arms have answers.")
    else:
        cards.chart(
            runtime.figure(charts.effect_track, track.dropna(subset=["effect"]), about=(chosen,)),
            f"After {counted(len(track), 'day')} the difference stands at {points(card.effect)}. Each interval "
            "is for one look: the first day that excludes 0 is no reason to stop.",
            track,
            "effect_by_day",
        )
with right.container(border=True, height="stretch"):
    st.header("Everything measured", anchor=False)
    table = scorecards.relative_table(card)
    if table["effect"].notna().any():
        cards.chart(
            runtime.figure(charts.forest, table, about=(chosen,)),
            "Relative change of each measure with its 95% interval by user (Fieller).",
            table,
            "metrics",
        )

with st.container(border=True):
    st.header("In its own units", anchor=False)
    st.dataframe(
        scorecards.metric_table(card),
        hide_index=True,
        placeholder="",
        alt="Each measure of both versions with the difference, its interval and p",
    )
    if card.request_sentence:
        st.markdown(scorecards.unit_line(card))
        st.caption(literal(card.request_sentence))

left, right = st.columns(2, gap="small")
with left.container(border=True, height="stretch"):
    st.header("Guardrails", anchor=False)
    for guardrail in card.guardrails:
        scorecards.guardrail_line(guardrail)
with right.container(border=True, height="stretch"):
    st.header("The rule that speaks", anchor=False)
    rules = {rule.name: f"{cards.VERDICTS[rule.verdict][2]} when {literal(rule.when)}." for rule in RULES}
    st.markdown(f"**{rules[card.rule]}**")
    with st.expander("All rules; the first that fits speaks", icon=":material/gavel:"):
        st.markdown("\n".join(f"1. {words}" for words in rules.values()))

if cards.presenting():
    cards.present_button()
    st.stop()


@st.fragment(run_every="1s" if chosen in runtime.errands() and runtime.errands()[chosen].is_running else None)
def traffic(experiment_id: str) -> None:
    """The simulated physicians at work: started here, followed from every page that shows this experiment."""
    errand = runtime.errands().get(experiment_id)
    if errand is not None and errand.is_running:
        st.progress(errand.share, text=literal(errand.text))
        st.session_state["traffic_watched"] = experiment_id
        return
    if errand is not None and st.session_state.pop("traffic_watched", None) == experiment_id:
        st.rerun()
    if errand is not None and errand.error:
        st.error(literal(errand.error), title="The simulated visits stopped", icon=":material/error:")
    elif errand is not None and errand.done:
        st.caption(literal(errand.done))
    with st.form("traffic", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        visits = st.number_input(
            "Visits a physician", 1, 50, 5, help="Each is drafted for real by its arm's version.", width=160
        )
        if st.form_submit_button("Serve simulated physicians", icon=":material/stethoscope:"):
            runtime.errands()[experiment_id] = runtime.Errand(
                "traffic", lambda errand: serve(errand, experiment_id, int(visits))
            )
            st.rerun()


def serve(errand: runtime.Errand, experiment_id: str, visits: int) -> str:
    """Serve fresh visits through both arms; returns a sentence. Runs in the errand's thread."""
    opened = runtime.opened()
    n_drafts = run_simulated_traffic(
        opened.store,
        opened.drafts,
        experiment_id,
        demo_environment(),
        visits_per_user=visits,
        progress=errand.say,
    )
    return f"{n_drafts:,} drafts were written and answered."


if is_running and experiment["is_synthetic"]:
    with st.container(border=True):
        st.header("Fresh visits", anchor=False)
        st.caption(
            "Sixty simulated physicians bring visits that no model has seen; each keeps the version the hash gave them."
        )
        traffic(chosen)

decisions = runtime.read(read_decisions, chosen)
with st.container(border=True):
    st.header("Decide" if is_running else "Decided", anchor=False)
    if said := st.session_state.pop("decided", None):
        st.success(literal(said), icon=":material/check_circle:")
    if is_running:
        with st.form("decide", border=False):
            verdict = st.segmented_control(
                "Verdict",
                [Verdict.SHIP, Verdict.KEEP_RUNNING, Verdict.ROLL_BACK],
                format_func=lambda verdict: cards.VERDICTS[verdict][2],
                default=card.verdict if card.verdict is not Verdict.BLOCKED else Verdict.KEEP_RUNNING,
                required=True,
                help="The rules suggest the chosen one. Ship also moves the live alias; only keep running goes on.",
            )
            left, right = st.columns([3, 1])
            why = left.text_input(
                "In one sentence, why?", placeholder="Kept more in every week, facts held", required=True
            )
            who = right.text_input("Your name", required=True)
            asked_to = st.form_submit_button("Record the decision", type="primary", icon=":material/gavel:")
        if asked_to:
            with cards.polite("Not recorded"):
                done = decide_and_apply(
                    runtime.store(), chosen, verdict=Verdict(verdict), note=why, actor=who, now=utcnow()
                )
                st.session_state["decided"] = done.sentence
                st.rerun()
    for decision in decisions.itertuples():
        color, icon, words = cards.VERDICTS[Verdict(decision.verdict)]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(words, icon=f":material/{icon}:", color=color)
            st.markdown(literal(decision.note), width="stretch")
            st.caption(
                f"{literal(decision.actor)}, {charts.at(decision.created_at)} UTC, by the rule {literal(decision.rule)}"
            )
