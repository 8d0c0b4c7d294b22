"""What the page about a file shows: the finding first, the split, the metrics, segments, warnings, downloads."""

import dataclasses
import shlex
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from organism.experiment.file_document import document
from organism.experiment.file_question import FileQuestion
from organism.experiment.file_words import FileReadout, Finding, figure, interval_words, percent, probability
from organism.wire import as_json
from ui import cards, charts
from ui.any_file import Answer, Picked
from ui.words import counted, literal

FINDINGS = {
    Finding.BETTER: ("green", "check_circle", "Better"),
    Finding.WORSE: ("red", "undo", "Worse"),
    Finding.UNCLEAR: ("orange", "hourglass_top", "Not to be told from chance"),
    Finding.UNKNOWN: ("gray", "help", "Cannot be said"),
    Finding.BLOCKED: ("violet", "block", "Blocked"),
}
MOST_BARS = 30


def verdict(answer: Answer, *, is_example: bool) -> None:
    """The finding first: an icon, a word, and the sentence."""
    color, icon, words = FINDINGS[answer.found.finding]
    with st.container(border=True, key="file_verdict", gap="xsmall"):
        st.header(f":{color}[{words}]", icon=f":material/{icon}:", anchor=False)
        st.markdown(f"**{literal(answer.found.sentence)}**")
        if is_example:
            st.badge("Synthetic example", icon=":material/biotech:", color="orange")


def vitals(answer: Answer) -> None:
    """Who was compared, and whether they split as planned."""
    loaded, srm = answer.found.loaded, answer.found.readout.srm
    units = loaded.units
    shown = ", ".join(f"{name} {n:,}" for name, n in list(units.variants.items())[:4])
    with st.container(horizontal=True):
        cards.vital("Units", f"{units.n_units:,}", f"By variant: {shown}. In {counted(loaded.rows.n_rows, 'row')}.")
        cards.vital(
            "Split as planned",
            None if srm.p_value is None else "no" if srm.blocked else "yes",
            f"Sample ratio mismatch, p = {probability(srm.p_value)}; below 0.001 no effect may be believed.",
        )
        cards.vital(
            "In two variants",
            f"{units.n_in_both:,}",
            "Units seen under two variants or more: left out. Above 0.1% of the units they block.",
        )
        cards.vital("Repeated rows", f"{loaded.rows.n_duplicates:,}", "Rows that copy another one exactly; kept.")


def withheld() -> None:
    """What stands where the effects of a blocked file would be."""
    st.caption("No effect is shown, since none can be believed. The JSON has the figures, marked as blocked.")


def metric_table(answer: Answer) -> pd.DataFrame:
    """Every metric and variant in words: means, effect, interval, relative effect, p."""
    is_sequence = answer.question.sequential
    return pd.DataFrame(
        [
            {
                "metric": one.metric,
                "variant": one.variant,
                "control_mean": figure(one.mean_control),
                "mean": figure(one.mean_treatment),
                "effect": figure(one.effect, signed=True),
                "interval": interval_words(one.sequence_ci if is_sequence else one.ci),
                "relative": percent(one.relative),
                "p": probability(one.sequence_p if is_sequence else one.p_value),
                "p_adjusted": probability(one.p_adjusted),
                "units": f"{one.n_control:,} and {one.n_treatment:,}",
                "method": one.method,
            }
            for one in answer.found.readout.metrics
        ]
    )


def table(answer: Answer) -> None:
    """The metrics as a table."""
    alpha = answer.question.alpha
    kind = "at every look" if answer.question.sequential else "for one look"
    column = st.column_config.TextColumn
    rows = metric_table(answer)
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "metric": column("Metric"),
            "variant": column("Variant"),
            "control_mean": column(f"Mean of {answer.question.control}", help="Adjusted for the covariates, if any."),
            "mean": column("Mean", help="Of the variant, adjusted for the covariates, if any."),
            "effect": column("Effect", help="Treatment − control, in the metric's own unit."),
            "interval": column(
                f"{100 * (1 - alpha):.3g}% interval", help=f"Holds {kind}; a dash where the data cannot say."
            ),
            "relative": column("Relative", help="The effect over the size of the control's value."),
            "p": column("p", help=f"Holds {kind}. A dash where the data cannot say."),
            "p_adjusted": column("p adjusted", help=_adjustment(answer.found)),
            "units": column("Units", help="With this metric: control and treatment."),
            "method": column("Method", width="large"),
        },
        alt=f"{counted(len(rows), 'comparison')} with their intervals",
    )


def _adjustment(found: FileReadout) -> str:
    words = {one.adjustment for one in found.readout.metrics if one.adjustment}
    return f"{'; '.join(sorted(words))}." if words else "Not adjusted."


def forest_rows(answer: Answer) -> pd.DataFrame:
    """Effects and intervals in units of the control's value, so that unlike metrics share an axis.

    Columns name, effect, low, high, better. The control's value is taken as known here, so that each interval excludes
    0 exactly where the table's does. Metrics without an interval, or with a control at 0, are left out.
    """
    rows: list[dict[str, Any]] = []
    several = len({one.variant for one in answer.found.readout.metrics}) > 1
    for one in answer.found.readout.metrics:
        pair = one.sequence_ci if answer.question.sequential else one.ci
        if pair is None or one.effect is None or not one.mean_control:
            continue
        size = abs(one.mean_control)
        name = f"{one.metric}, {one.variant}" if several else one.metric
        better = -1 if one.metric in answer.found.loaded.plan.lower_is_better else 1
        ends = {"effect": one.effect / size, "low": pair[0] / size, "high": pair[1] / size}
        rows.append({"name": name, **ends, "better": better})
    return pd.DataFrame(rows, columns=["name", "effect", "low", "high", "better"])


def forest(answer: Answer) -> None:
    """The metrics' intervals around zero."""
    rows = forest_rows(answer)
    if rows.empty:
        st.caption("No metric has an interval to draw.")
        return
    clear = int(((rows["low"] > 0) | (rows["high"] < 0)).sum())
    takeaway = f"{clear} of {counted(len(rows), 'interval')} exclude no difference, before any correction."
    if len(rows) > MOST_BARS:
        takeaway += f" The first {MOST_BARS} are drawn; the CSV has all."
    cards.chart(_forest(rows.head(MOST_BARS)), takeaway, rows, "file_metrics")


def segments(answer: Answer) -> None:
    """One metric within each value of each segment."""
    found = answer.found.readout
    if not found.segments:
        return
    st.header("Segments", anchor=False)
    keys = list(dict.fromkeys((one.metric, one.variant) for one in found.segments))
    picked = keys[0]
    if len(keys) > 1 and not cards.presenting():
        picked = st.selectbox(
            "Metric", keys, format_func=lambda key: f"{key[0]}, {key[1]}", key="file_segment_metric", width=480
        )
    chosen = [one for one in found.segments if (one.metric, one.variant) == picked]
    rows = pd.DataFrame(
        [
            {
                "name": f"{one.segment} = {one.value}",
                "effect": one.relative,
                "low": one.relative_ci[0] if one.relative_ci else None,
                "high": one.relative_ci[1] if one.relative_ci else None,
                "better": 1,
                "p_adjusted": one.p_adjusted,
                "n_control": one.n_control,
                "n_treatment": one.n_treatment,
                "note": one.note,
            }
            for one in chosen
        ]
    )
    clear = sum(one.p_adjusted is not None and one.p_adjusted <= one.alpha for one in chosen)
    spread = next((one for one in found.heterogeneity if (one.metric, one.variant) == picked), None)
    takeaway = (
        f"{picked[0]}: {clear} of {counted(len(rows), 'value')} differ from {answer.question.control} after "
        "Benjamini–Hochberg over all segments and metrics; intervals are for one look."
    )
    if spread is not None and spread.p_value is not None:
        takeaway += f" Do the effects differ by {spread.segment}? Cochran's Q, p = {probability(spread.p_value)}."
    cards.chart(_forest(rows), takeaway, rows, "file_segments")


def _forest(rows: pd.DataFrame) -> go.Figure:
    return charts.forest(rows, charts.DARK if st.context.theme.type == "dark" else charts.LIGHT)


def warnings(answer: Answer) -> None:
    """What to know before believing it."""
    found = [one for one in answer.found.warnings if one not in answer.found.blocked]
    st.header("What to know", anchor=False)
    for reason in answer.found.blocked:
        st.markdown(f":violet[:material/block:] {literal(reason)}")
    for warning in found:
        st.markdown(f":material/info: {literal(warning)}")
    if not answer.found.warnings:
        st.caption("Nothing was left out and nothing was assumed.")


def downloads(answer: Answer, picked: Picked) -> None:
    """The figures as files, and the same by command."""
    with st.container(horizontal=True):
        st.download_button(
            "JSON",
            data=lambda: as_json(document(answer.found)),
            file_name="analysis.json",
            mime="application/json",
            icon=":material/data_object:",
            on_click="ignore",
            key="file_json",
            help="Everything that was computed; docs/analyze.md describes the fields.",
        )
        if not answer.found.blocked:
            cards.csv_button(pd.DataFrame(document(answer.found)["metrics"]), "analysis")
    with st.expander("The same by command, and the statement that summed", icon=":material/terminal:"):
        st.code(command(picked.name, answer.question), language="bash")
        st.code(answer.found.sql, language="sql")


def command(name: str, question: FileQuestion) -> str:
    """The command line that gives the same answer."""
    words = ["organism", "analyze", name]
    flags = {"metrics": "--metric", "lower_is_better": "--lower-is-better"}
    plain = FileQuestion()
    for field in dataclasses.fields(question):
        value = getattr(question, field.name)
        if value == getattr(plain, field.name):
            continue
        flag = flags.get(field.name, "--" + (field.name.removesuffix("s") if isinstance(value, tuple) else field.name))
        if isinstance(value, bool):
            words.append(flag)
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [flag, f"{one:g}" if isinstance(one, float) else one]
    return shlex.join(words)
