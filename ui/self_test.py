"""The A/A self-test on an experiment's page: a button, its progress, and how often both tests cry wolf."""

import threading
from typing import NamedTuple

import pandas as pd
import streamlit as st

from organism.experiment.plan import plan_of
from organism.experiment.reading import metric_names
from organism.experiment.scorecard import Scorecard
from organism.experiment.selftest import PERMUTATIONS, SelfTest, rate_words
from organism.experiment.selftest_flow import self_test_experiment
from organism.store.experiments import Experiment
from ui import cards, runtime, self_test_charts
from ui.runtime import Errand
from ui.words import literal, percent, sentence

PATIENCE_S = 2.0


class Asked(NamedTuple):
    """What one self-test is of: the answer is kept for it until the data change."""

    experiment_id: str
    metric: str
    treatment: str
    permutations: int
    version: int


class Work:
    """One self-test at work in a thread, and its finding once it is there."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.found: SelfTest | None = None
        self._store, self._ended = runtime.store(), threading.Event()
        self.errand = Errand(f"Self-test {asked.metric}", self._run)

    def _run(self, errand: Errand) -> str:
        asked = self.asked
        try:
            self.found = self_test_experiment(
                self._store,
                asked.experiment_id,
                metric=asked.metric,
                treatment=asked.treatment,
                permutations=asked.permutations,
                progress=errand.say,
            )
            return self.found.sentence
        finally:
            self._ended.set()

    def finding(self) -> SelfTest | None:
        """The finding, waited for a moment; None while it takes longer, or where there is none."""
        self._ended.wait(PATIENCE_S)
        return self.found


def section(card: Scorecard, experiment: Experiment) -> None:
    """Does the test keep its promise on these users? Split them at random and see."""
    with st.container(border=True):
        st.header("Does the test keep its promise here?", anchor=False)
        st.caption(
            "An A/A self-test on this experiment's own users: who is in which variant is drawn anew at random, so that "
            "nothing can differ. At alpha 5% a test may then find a difference in 5% of the draws."
        )
        if experiment.is_synthetic:
            cards.simulated_badge()
        names, treatments = metric_names(plan_of(card.plan or experiment.plan)), experiment.variants[1:]
        with st.container(horizontal=True, vertical_alignment="bottom"):
            metric = st.selectbox("Metric", names, key="selftest_metric", width=240)
            permutations = st.selectbox(
                "Random splits", [PERMUTATIONS, 5000], key="selftest_n", width=140, format_func="{:,}".format,
                help="More splits tell the rates more exactly.",
            )  # fmt: skip
            treatment = treatments[0].name
            if len(treatments) > 1:
                treatment = st.selectbox(
                    f"Against {experiment.control}", [one.name for one in treatments], key="selftest_of", width=200
                )
            asked = Asked(experiment.experiment_id, metric, treatment, int(permutations), runtime.data_version())
            if st.button("Run the self-test", icon=":material/rule:", key="selftest_run"):
                st.session_state["selftest"] = Work(asked)
        work: Work | None = st.session_state.get("selftest")
        if work is not None and work.asked == asked:
            _answer(work)


def _answer(work: Work) -> None:
    """The finding; what is done within two seconds is there at once, longer work shows how far it is."""
    found = work.finding()
    if found is not None:
        _finding(found, work.asked)
    elif work.errand.error:
        st.error(literal(sentence(work.errand.error)), title="Not tested", icon=":material/error:")
    else:
        _bar(work.errand)


@st.fragment(run_every="0.5s")
def _bar(errand: Errand) -> None:
    if not errand.is_running:
        st.rerun()
    st.progress(errand.share, text=literal(errand.text))


def _finding(found: SelfTest, asked: Asked) -> None:
    st.markdown(f"**{literal(found.sentence)}**")
    with st.grid(3, min_column_width=190):
        for label, rate, help_text in (
            (
                "False alarms, by user",
                found.ours,
                "The test that this page uses: users' sums, delta method, Welch's t.",
            ),
            ("False alarms, by request", found.naive, "A z-test that takes every request for a user of its own."),
        ):
            st.metric(
                label,
                percent(rate.rate),
                None if rate.low is None else f"{percent(rate.low)} to {percent(rate.high)}",
                delta_color="off",
                delta_arrow="off",
                border=True,
                help=f"{help_text} Below it the 95% interval of the random splits (Wilson).",
            )
        st.metric(
            "Design effect",
            None if found.design_effect is None else f"{found.design_effect:.2f}",
            border=True,
            height="stretch",
            help="How many times too small the variance by request is (the median of the splits).",
        )
    table = pd.DataFrame(found.histogram)
    table["ours"] /= max(found.ours.n, 1)
    table["naive"] /= max(found.naive.n, 1)
    cards.chart(
        runtime.figure(self_test_charts.p_values, table, found.alpha, about=tuple(asked)),
        f"p-values of {found.n_permutations:,} random splits: by user {rate_words(found.ours)} are at most "
        f"{100 * found.alpha:g}%, by request {rate_words(found.naive)}. Even bars are a test that keeps its promise.",
        table,
        "self_test",
    )
    for note in found.notes:
        st.caption(literal(note))
    st.caption(f"Seed {found.seed}; the same splits every time. The intervals are of the splits, not of other users.")
