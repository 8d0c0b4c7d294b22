"""What people do with an experiment: decide with a sentence and a name, and send simulated physicians through it."""

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.demo import demo_environment
from organism.experiment.scorecard import Scorecard
from organism.loop import decide_and_apply
from organism.records import Verdict
from organism.store.experiments import RUNNING, Experiment
from organism.traffic import run_simulated_traffic
from ui import cards, charts, runtime, scorecards
from ui.experiment_record import take_away
from ui.words import literal

CHOICES = (Verdict.SHIP, Verdict.KEEP_RUNNING, Verdict.STOP, Verdict.ROLL_BACK)


def decision(card: Scorecard, experiment: Experiment, decisions: pd.DataFrame) -> None:
    """The form while it runs, and the record of what was decided."""
    is_running = experiment.status == RUNNING
    with st.container(border=True):
        st.header("Decide" if is_running else "Decided", anchor=False)
        if said := st.session_state.pop("decided", None):
            st.success(literal(said), icon=":material/check_circle:")
        if is_running:
            form(card, experiment)
        for made in decisions.itertuples():
            line(made, of_several=len(experiment.variants) > 2)
        take_away(experiment, decisions)


def form(card: Scorecard, experiment: Experiment) -> None:
    """Verdict, sentence and name; the rules' verdict is chosen beforehand."""
    with st.form("decide", border=False):
        verdict = st.segmented_control(
            "Verdict",
            CHOICES,
            format_func=lambda verdict: cards.VERDICTS[verdict][2],
            default=card.verdict if card.verdict in CHOICES else Verdict.KEEP_RUNNING,
            required=True,
            help="The rules suggest the chosen one. Ship also makes the treatment live; only keep running goes on.",
        )
        treatment = _about(card)
        left, right = st.columns([3, 1])
        why = left.text_input("In one sentence, why?", placeholder="Kept more in every week, facts held", required=True)
        who = right.text_input("Your name", required=True)
        asked = st.form_submit_button("Record the decision", type="primary", icon=":material/gavel:")
    if asked:
        with cards.polite("Not recorded"):
            done = decide_and_apply(
                runtime.store(),
                experiment.experiment_id,
                verdict=Verdict(verdict),
                note=why,
                actor=who,
                treatment=treatment,
                now=utcnow(),
            )
            st.session_state["decided"] = done.sentence
            st.rerun()


def _about(card: Scorecard) -> str:
    """The treatment that the decision is about; asked only when there are several."""
    names = scorecards.treatments(card)
    if len(names) == 1:
        return card.treatment
    return str(
        st.selectbox(
            "Treatment",
            names,
            index=names.index(card.treatment),
            width=320,
            help=f"Which one is shipped, or rolled back. {literal(card.treatment)} does best; the rules speak of it.",
        )
    )


def line(made: object, *, of_several: bool = False) -> None:
    """One decision: what, of several treatments about which, why, who, when, and what the rules had said."""
    color, icon, words = cards.VERDICTS[Verdict(made.verdict)]  # type: ignore[attr-defined]
    with st.container(horizontal=True, vertical_alignment="center"):
        about = f": {literal(made.treatment)}" if of_several and made.treatment else ""  # type: ignore[attr-defined]
        st.badge(f"{words}{about}", icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
        st.markdown(literal(made.note), width="stretch")  # type: ignore[attr-defined]
        st.caption(
            f"{literal(made.actor)}, {charts.at(made.created_at)} UTC, by the rule {literal(made.rule)}"  # type: ignore[attr-defined]
        )


def fresh_visits(experiment: Experiment) -> None:
    """The simulated physicians at work: started here, followed from every page that shows this experiment."""
    errand = runtime.errands().get(experiment.experiment_id)

    @st.fragment(run_every="1s" if errand is not None and errand.is_running else None)
    def traffic(experiment_id: str) -> None:
        at_work = runtime.errands().get(experiment_id)
        if at_work is not None and at_work.is_running:
            st.progress(at_work.share, text=literal(at_work.text))
            st.session_state["traffic_watched"] = experiment_id
            return
        if at_work is not None and st.session_state.pop("traffic_watched", None) == experiment_id:
            st.rerun()
        if at_work is not None and at_work.error:
            st.error(literal(at_work.error), title="The simulated visits stopped", icon=":material/error:")
        elif at_work is not None and at_work.done:
            st.caption(literal(at_work.done))
        _ask(experiment_id)

    with st.container(border=True):
        st.header("Fresh visits", anchor=False)
        st.caption(
            "Sixty simulated physicians bring visits that no model has seen; each keeps the variant the hash gave them."
        )
        traffic(experiment.experiment_id)


def _ask(experiment_id: str) -> None:
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
    """Serve fresh visits through all variants; returns a sentence. Runs in the errand's thread."""
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
