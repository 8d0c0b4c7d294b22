"""What the model sees of the rows that it would learn from: token by token, what is learned, what is left out."""

from itertools import accumulate

import streamlit as st

from organism.optimize.seen import SeenRow, TokenPreview
from ui.words import counted, literal, note


def token_preview(found: TokenPreview) -> None:
    """The first rows with the learned tokens marked, and how many rows are left out for which reason."""
    st.caption(
        f"{found.n_usable:,} of {counted(found.n_rows, 'row')} can be learned from. Green is what the loss looks at; "
        "the rest the model only reads."
    )
    if found.dropped:
        rows = [{"Left out because": reason, "Rows": n} for reason, n in found.dropped.items()]
        st.dataframe(rows, hide_index=True, alt="Why rows are left out")
    for row in found.rows:
        left_out = f", left out: {row.reason}" if row.reason else ""
        title = f"Row {row.row + 1}, {row.part}: {row.n_tokens:,} tokens, {row.n_learned:,} learned{left_out}"
        with st.expander(literal(title)):
            st.markdown(note("".join(row.tokens), learned_runs(row), "green"))


def learned_runs(row: SeenRow) -> list[tuple[int, int]]:
    """Where in the joined text the learned tokens stand, as runs of (start, end)."""
    ends = list(accumulate(len(token) for token in row.tokens))
    starts = [0, *ends[:-1]]
    runs: list[tuple[int, int]] = []
    for start, end, is_learned in zip(starts, ends, row.is_learned, strict=True):
        if not is_learned:
            continue
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs
