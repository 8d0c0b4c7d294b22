"""What leaves an experiment's page: the report as one file, the record of its decision, and the record judged anew."""

import pandas as pd
import streamlit as st

from organism.experiment.record import Outcome
from organism.experiment.record_flow import record_of, replay_decision
from organism.experiment.report_flow import report_of
from organism.store.experiments import PLANNED, Experiment
from ui import cards, runtime
from ui.words import literal


def take_away(experiment: Experiment, decisions: pd.DataFrame | None = None) -> None:
    """Buttons for the report and the record; a record that is on file can be judged anew here."""
    has_record = decisions is not None and bool(decisions["has_record"].head(1).any())
    has_decision = decisions is not None and not decisions.empty
    with st.container(horizontal=True, vertical_alignment="center"):
        report_button(experiment)
        if experiment.status != PLANNED and (has_record or not has_decision):
            record_button(experiment, has_record)
        asked = has_record and st.button(
            "Replay the record",
            icon=":material/replay:",
            type="tertiary",
            help="Judge the recorded evidence anew: every byte must come out the same, or, under another build or "
            "library, the same to rounding.",
        )
        if has_decision and not has_record:
            st.caption("Decided before records were kept; the scorecard as it was seen is all there is.")
    if asked:
        with cards.polite("Not replayed"):
            found = replay_decision(runtime.store(), experiment.experiment_id)
            show, icon = (st.success, "check_circle") if found.outcome is not Outcome.DIFFERS else (st.error, "error")
            show(literal(found.sentence), icon=f":material/{icon}:")


def report_button(experiment: Experiment) -> None:
    """The report; it is only drawn when asked for."""
    store, experiment_id = runtime.store(), experiment.experiment_id
    st.download_button(
        "Report",
        data=lambda: report_of(store, experiment_id).encode(),
        file_name=f"experiment-{experiment_id}.html",
        mime="text/html",
        icon=":material/description:",
        type="tertiary",
        on_click="ignore",
        key="report",
        help="One HTML file with verdict, charts, plan, SQL and record: to send, to print on A4, to keep.",
    )


def record_button(experiment: Experiment, has_record: bool) -> None:
    """The record's canonical bytes."""
    store, experiment_id = runtime.store(), experiment.experiment_id
    about = "of the last decision, as it was kept" if has_record else "as of now; nobody has decided yet"
    st.download_button(
        "Record",
        data=lambda: record_of(store, experiment_id).content,
        file_name=f"experiment-{experiment_id}.json",
        mime="application/json",
        icon=":material/data_object:",
        type="tertiary",
        on_click="ignore",
        key="record",
        help=f"The record {about}: evidence, scorecard, plan and SQL as JSON; `organism experiment replay` reads it.",
    )
