"""Analyze a file: an experiment that lives in a table, compared without importing it."""

import streamlit as st

from ui import any_file, cards, file_findings

cards.head(
    "Analyze a file",
    "An experiment that already lives in a table: drop it, say what is what, read the verdict. Nothing is imported.",
    "table_view",
)
picked: any_file.Picked | None = st.session_state.get("analyze_picked")
if not cards.presenting():
    picked = None
    with cards.polite("This file cannot be read"):
        picked = any_file.pick()
        if picked is None:
            cards.empty(
                "No file yet",
                "Drop a CSV, Parquet or JSON lines file with one row a user or one row a request, a column that says "
                "the variant, and what to compare. Or try the synthetic example.",
                "table_view",
            )
if picked is None:
    if cards.presenting():
        st.caption("A presentation shows what was compared in this session; there is nothing yet.")
        cards.present_button()
    st.stop()

if not cards.presenting():
    rows = "the first 2,000 rows" if len(picked.look.sample) >= 2000 else f"{len(picked.look.sample):,} rows"
    st.caption(f"{picked.name}: {len(picked.look.columns)} columns, guessed from {rows}.")
    question = any_file.ask(picked)
    if question is not None:
        any_file.start(picked, question)

answer = any_file.wait(picked)
if answer is not None:
    file_findings.verdict(answer, is_example=picked.is_example)
    cards.present_button()
    file_findings.vitals(answer)
    if answer.found.blocked:
        file_findings.withheld()
    else:
        file_findings.table(answer)
        file_findings.forest(answer)
        file_findings.segments(answer)
    file_findings.warnings(answer)
    if not cards.presenting():
        file_findings.downloads(answer, picked)
elif cards.presenting():
    cards.present_button()
