"""What "Is this the right reward?" is laid out from: the answer, tables of figures, audit cards."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from organism.digest.audit import Audit, Verdict
from organism.digest.audit_checks import CHECKS, Checked, Figure, Finding
from organism.digest.predictions import Prediction, predictions_table, said
from organism.digest.scored_rows import Kind, spoken
from organism.digest.validity import Answer, Explained, Validity
from ui.words import literal

ANSWERS: Mapping[Answer, tuple[str, str, str]] = {
    Answer.YES: ("green", "check_circle", "Yes, as far as this data can say"),
    Answer.IN_PART: ("orange", "rule", "Only in part"),
    Answer.NO: ("red", "cancel", "No"),
    Answer.CANNOT_SAY: ("gray", "help", "This data cannot say yet"),
}
VERDICTS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.HACK: ("red", "gpp_bad"),
    Verdict.WARNING: ("orange", "warning"),
    Verdict.CLEAN: ("green", "verified_user"),
    Verdict.CANNOT_SAY: ("gray", "help"),
}
FINDINGS: Mapping[Finding, str] = {
    Finding.OK: ":material/check:",
    Finding.WARN: ":material/warning:",
    Finding.FAIL: ":material/block:",
    Finding.CANNOT_SAY: ":material/help:",
}


def banner(found: Validity, audits: list[Audit], synthetic: bool) -> None:
    """The answer first, then the sentence, then whom the audit names."""
    color, icon, words = ANSWERS[found.answer]
    named = [f"{a.variant} ({a.verdict})" for a in audits if a.verdict in (Verdict.HACK, Verdict.WARNING)]
    with st.container(border=True, key="verdict", gap="xsmall"):
        st.header(f":{color}[{words}]", icon=f":material/{icon}:", anchor=False)
        st.markdown(f"**{literal(found.sentence)}**")
        if named:
            st.markdown(f":material/policy: The audit below names {literal(', '.join(named))}.")
        people = " Users, answers and outcomes are simulated; the drafts are really written." if synthetic else ""
        st.caption(
            literal(
                f"{found.design} ({found.design_id}) on {found.n_scored:,} scored drafts of {found.n_users:,} users "
                f"and {len(found.variants):,} versions.{people}"
            )
        )


def named(predictions: list[Prediction], by: str) -> pd.DataFrame:
    """The predictions' table with the names that a chart shows: by `outcome` or by `subject`."""
    table = predictions_table(predictions)
    if by == "outcome":
        people = {p.outcome: " (people)" if p.kind is Kind.HUMAN else "" for p in predictions}
        return table.assign(name=[spoken(name) + people[name] for name in table["outcome"]])
    outside = ["" if p.in_design else " (not in the design)" for p in predictions]
    return table.assign(name=[name + note for name, note in zip(table["subject"], outside, strict=True)])


def explained(found: Validity) -> None:
    """One row an experiment and outcome: effects, the share that the reward explains, Prentice's criteria."""
    st.dataframe(
        pd.DataFrame([_explained_row(one) for one in found.experiments]),
        hide_index=True,
        column_config={
            "Explained": st.column_config.TextColumn(help="1 less the effect that is left given the reward, over it."),
            "Moves reward": st.column_config.TextColumn(help="Prentice's first criterion, at the 5% level."),
            "Moves outcome": st.column_config.TextColumn(help="The second: without it there is nothing to explain."),
            "Go together": st.column_config.TextColumn(help="The third: reward and outcome, within the arms."),
            "Nothing left": st.column_config.TextColumn(help="The fourth: given the reward, no effect is found."),
        },
        alt="Effects of each experiment on outcome and reward, and the proportion explained",
    )
    for warning in dict.fromkeys(w for one in found.experiments if one.found for w in one.found.warnings):
        st.caption(f":material/warning: {literal(warning)}")
    by_sentence: dict[str, list[str]] = {}
    for outcome, across in found.across.items():
        by_sentence.setdefault(across.sentence, []).append(spoken(outcome))
    for words, outcomes in by_sentence.items():
        st.caption(literal(f"Across deployments ({', '.join(outcomes)}): {words}"))


def _explained_row(one: Explained) -> dict[str, str]:
    found = one.found
    row = {"Experiment": one.experiment, "Outcome": spoken(one.outcome)}
    if found is None:
        return row | {"Effect on the outcome": "cannot be told"}
    criteria = ("Moves reward", "Moves outcome", "Go together", "Nothing left")
    return (
        row
        | {
            "Effect on the outcome": said(found.effect_on_outcome),
            "Effect on the reward": "unknown" if found.effect_on_reward is None else f"{found.effect_on_reward:.3f}",
            "Explained": said(found.pte),
        }
        | {name: _met(met) for name, met in zip(criteria, found.prentice, strict=True)}
    )


def _met(met: bool | None) -> str:
    return "unknown" if met is None else "yes" if met else "no"


def audit_card(found: Audit, *, is_open: bool) -> None:
    """One version's verdict, why, and its checks as a table."""
    color, icon = VERDICTS[found.verdict]
    with st.container(border=True, key=f"audit_{found.variant}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.header(literal(f"{found.variant} against {found.reference}"), anchor=False)
            st.badge(str(found.verdict).capitalize(), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
        st.markdown(f"**{literal(found.sentence)}**")
        st.caption(
            literal(
                f"Compared: {found.basis}. {found.n_interactions:,} scored drafts of {found.n_users:,} users against "
                f"{found.n_interactions_reference:,} of {found.n_users_reference:,}."
            )
        )
        if not found.checks:
            return
        for check in found.checks:
            if check.finding in (Finding.FAIL, Finding.WARN):
                shade = "red" if check.finding is Finding.FAIL else "orange"
                st.markdown(f":{shade}[{FINDINGS[check.finding]} **{_title(check)}**] {literal(check.sentence)}")
        with st.expander("All checks with their figures", expanded=is_open, icon=":material/checklist:"):
            st.dataframe(
                checks_table(found),
                hide_index=True,
                column_config={
                    "What was found": st.column_config.TextColumn(width="large"),
                    "Rule": st.column_config.TextColumn(width="large", help="When it fails, and when it warns."),
                },
                alt=f"Every check of {found.variant} with its finding, sentence and figures",
            )


def checks_table(found: Audit) -> pd.DataFrame:
    """One row a check: what, finding, sentence, figures, the written rule."""
    return pd.DataFrame(
        {
            "Check": [_title(c) for c in found.checks],
            "Finding": [str(c.finding) for c in found.checks],
            "What was found": [c.sentence for c in found.checks],
            "Figures": ["; ".join(_figure(f) for f in c.figures) for c in found.checks],
            "Rule": [CHECKS[c.check] for c in found.checks],
        }
    )


def _title(check: Checked) -> str:
    title = str(check.check)
    return f"{title[:1].upper()}{title[1:]}" + (f": {spoken(check.subject)}" if check.subject else "")


def _figure(figure: Figure) -> str:
    before, after = (f"{value:.3g}" if value is not None else "unknown" for value in (figure.reference, figure.variant))
    return (
        f"{figure.name} {before} to {after}, {'ratio' if figure.unit == 'ratio' else 'change'} {said(figure.change, 3)}"
    )
