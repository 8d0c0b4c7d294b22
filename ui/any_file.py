"""What the page about a file asks: the file, what its columns are, and the analysis with its progress."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from organism.errors import OrganismError
from organism.experiment.any_file import FileLook, analyze_file, look_at_file
from organism.experiment.file_example import EXAMPLE_NAME, write_example
from organism.experiment.file_question import CORRECTIONS, FileQuestion
from organism.experiment.file_words import FileReadout
from ui.runtime import Errand
from ui.words import literal

TYPES = ["csv", "tsv", "parquet", "jsonl", "ndjson", "json", "gz"]
ROWS_ARE_UNITS = "Each row is a unit"
# A larger file is read in a thread, so that the page shows how far it is.
LARGE = 4 * 2**20


class Picked(NamedTuple):
    """The file of this session, and what its first rows show. `key` is another for every file."""

    path: Path
    name: str
    key: str
    is_example: bool
    look: FileLook


class Answer(NamedTuple):
    """What was found in which file, and by which question."""

    key: str
    question: FileQuestion
    found: FileReadout


def pick() -> Picked | None:
    """A dropped file, or the example; None until there is one that can be read."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dropped = st.file_uploader("CSV, Parquet or JSON lines", type=TYPES, key="analyze_dropped", max_upload_size=200)
        if st.button(
            "Try an example",
            icon=":material/biotech:",
            help="A synthetic file, made up on the spot: requests of 1,200 users under two variants.",
        ):
            st.session_state["analyze_example"] = True
    if dropped is not None:
        st.session_state.pop("analyze_example", None)
        path = _folder() / f"{dropped.file_id}{''.join(Path(dropped.name).suffixes[-2:])}"
        if not path.exists():
            path.write_bytes(dropped.getvalue())
        return _looked(path, dropped.name, dropped.file_id, is_example=False)
    if st.session_state.get("analyze_example"):
        path = _folder() / EXAMPLE_NAME
        if not path.exists():
            write_example(path)
        return _looked(path, EXAMPLE_NAME, "example", is_example=True)
    return None


def _folder() -> Path:
    """A folder that goes with this session."""
    if "analyze_folder" not in st.session_state:
        st.session_state["analyze_folder"] = tempfile.TemporaryDirectory(prefix="organism-analyze-page-")
    return Path(st.session_state["analyze_folder"].name)


def _looked(path: Path, name: str, key: str, *, is_example: bool) -> Picked:
    kept: Picked | None = st.session_state.get("analyze_picked")
    if kept is None or kept.key != key:
        kept = Picked(path, name, key, is_example, look_at_file(path, name=name))
        st.session_state["analyze_picked"] = kept
    return kept


def ask(picked: Picked) -> FileQuestion | None:
    """The question, filled in by what the columns are called; returned when the button is pressed."""
    look, key = picked.look, picked.key
    guess = look.guess
    with st.container(border=True):
        with st.grid(3, min_column_width=220):
            unit = st.selectbox(
                "Unit",
                [ROWS_ARE_UNITS, *look.columns],
                index=look.columns.index(guess.unit) + 1 if guess.unit else 0,
                key=f"unit_{key}",
                help="Who was assigned, such as the user. The rows of a unit are summed before they are compared.",
            )
            variant = st.selectbox(
                "Variant",
                look.columns,
                index=look.columns.index(guess.variant),
                key=f"variant_{key}",
                help="The column that says which variant a row belongs to.",
            )
            control = _control(picked, variant)
        chosen = _metrics(picked)
        with st.expander("Segments, covariates and settings", icon=":material/tune:"):
            named = [name for names in chosen.values() for name in names]
            chosen |= _settings(picked, named)
        if not st.button("Compare", type="primary", icon=":material/science:", key=f"compare_{key}"):
            return None
    given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in chosen.items()}
    return FileQuestion(unit=None if unit == ROWS_ARE_UNITS else unit, variant=variant, control=control, **given)


def _control(picked: Picked, variant: str) -> str | None:
    values = picked.look.labels.get(variant, ())
    about = "The variant that the others are compared with; effect = treatment − control."
    if not values:
        return st.text_input("Control", key=f"control_{picked.key}_{variant}", help=about) or None
    guess = picked.look.guess.control
    index = values.index(guess) if guess in values else 0
    return st.selectbox("Control", values, index=index, key=f"control_{picked.key}_{variant}", help=about)


def _metrics(picked: Picked) -> dict[str, Any]:
    look, key = picked.look, picked.key
    with st.grid(2, min_column_width=300):
        return {
            "metrics": st.multiselect(
                "Means",
                look.numbers,
                default=list(look.guess.metrics),
                key=f"metrics_{key}",
                help="Columns whose mean is compared. The first one makes the headline.",
            ),
            "ratios": st.multiselect(
                "Ratios of sums",
                [],
                key=f"ratios_{key}",
                accept_new_options=True,
                placeholder="such as accepted_chars/suggested_chars",
                help="Two columns with a slash between: the sum of the first over the sum of the second.",
            ),
            "proportions": st.multiselect(
                "Proportions",
                [name for name in look.numbers if _is_binary(look.labels.get(name, ()))],
                key=f"proportions_{key}",
                help="Columns of 0 and 1, or of true and false: how often they are 1.",
            ),
            "quantiles": st.multiselect(
                "Quantiles",
                [f"{name}:p{at}" for name in look.numbers for at in (50, 95)],
                key=f"quantiles_{key}",
                accept_new_options=True,
                help="A column and a share, such as latency_ms:0.95; over rows, clustered by unit.",
            ),
        }


def _settings(picked: Picked, metrics: list[str]) -> dict[str, Any]:
    with st.grid(3, min_column_width=220):
        return {**_further_columns(picked, metrics), **_rules(picked.key)}


def _further_columns(picked: Picked, metrics: list[str]) -> dict[str, Any]:
    look, key = picked.look, picked.key
    return {
        "segments": st.multiselect(
            "Segments", list(look.labels), key=f"segments_{key}", help="Compare within each value, too."
        ),
        "covariates": st.multiselect(
            "Covariates (CUPED)",
            look.numbers,
            default=list(look.guess.covariates),
            key=f"covariates_{key}",
            help="Values known before the experiment. They take noise out; one from during it hides effect.",
        ),
        "lower_is_better": st.multiselect(
            "Less is better",
            metrics,
            key=f"lower_{key}",
            placeholder="of all, more is better",
            help="The metrics above of which less is better, such as a latency.",
        ),
    }


def _rules(key: str) -> dict[str, Any]:
    return {
        "margins": st.multiselect(
            "Margins (guardrails)",
            [],
            key=f"margins_{key}",
            accept_new_options=True,
            placeholder="such as latency_ms=20",
            help="A metric, = and how much worse it may get, in its own unit: is it surely not worse by that much?",
        ),
        "shares": st.multiselect(
            "Planned shares",
            [],
            key=f"shares_{key}",
            accept_new_options=True,
            placeholder="such as A=0.5",
            help="A variant, = and its planned share, for each variant. Equal shares when empty.",
        ),
        "winsorize": st.selectbox(
            "Cap values at",
            [None, 0.999, 0.99, 0.95],
            format_func=lambda at: "no cap" if at is None else f"the {at:.1%} quantile",
            key=f"winsorize_{key}",
            help="One cap for all variants, from all rows together; it is stated beside the figures.",
        ),
        "alpha": st.number_input(
            "Alpha", 0.001, 0.49, 0.05, 0.01, format="%.3f", key=f"alpha_{key}", help="The rate of false alarms."
        ),
        "correction": st.selectbox(
            "Correction for several metrics",
            list(CORRECTIONS),
            index=list(CORRECTIONS).index("holm"),
            key=f"correction_{key}",
            help="Holm holds the chance of even one false alarm over all metrics and variants.",
        ),
        "sequential": st.toggle(
            "Still running",
            key=f"sequential_{key}",
            help="Intervals that hold at every look, for an experiment that is watched while it runs.",
        ),
    }


def _is_binary(values: tuple[str, ...]) -> bool:
    return bool(values) and {value.lower() for value in values} <= {"0", "1", "0.0", "1.0", "true", "false"}


class Reading:
    """One analysis: at once where the file is small, else in a thread, with its progress."""

    def __init__(self, picked: Picked, question: FileQuestion) -> None:
        self.key = picked.key
        self.answer: Answer | None = None
        self._picked, self._question = picked, question
        self.errand = Errand(f"Analyze {picked.name}", self._work) if picked.path.stat().st_size > LARGE else None
        if self.errand is None:
            self._analyze(lambda share, text: None)

    def _work(self, errand: Errand) -> str:
        self._analyze(lambda share, text: errand.say("analyze", share, text))
        return "done"

    def _analyze(self, on_progress: Any) -> None:
        picked, question = self._picked, self._question
        found = analyze_file(picked.path, question, name=picked.name, on_progress=on_progress)
        self.answer = Answer(picked.key, question, found)


def start(picked: Picked, question: FileQuestion) -> None:
    """Begin; a question that cannot be answered is shown as a sentence and leaves nothing behind."""
    st.session_state.pop("analyze_reading", None)
    try:
        with st.spinner("Comparing the variants"):
            st.session_state["analyze_reading"] = Reading(picked, question)
    except OrganismError as error:
        st.error(literal(str(error)), title="This cannot be compared", icon=":material/error:")


def wait(picked: Picked) -> Answer | None:
    """The answer about this file once it is there; meanwhile a bar that moves by itself."""
    reading: Reading | None = st.session_state.get("analyze_reading")
    if reading is None or reading.key != picked.key:
        return None
    if reading.errand is not None and reading.errand.is_running:
        _bar(reading.errand)
        return None
    if reading.errand is not None and reading.errand.error:
        st.error(literal(reading.errand.error), title="This cannot be compared", icon=":material/error:")
        return None
    return reading.answer


@st.fragment(run_every="0.5s")
def _bar(errand: Errand) -> None:
    if not errand.is_running:
        st.rerun()
    st.progress(errand.share, text=errand.text)
