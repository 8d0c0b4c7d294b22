"""What speaks against a lead: that the audit suspects the winner, and that no experiment ran it side by side."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from organism.digest.audit import Audit, Verdict
from organism.digest.audit_checks import Check, Finding
from organism.digest.design_files import to_link
from organism.digest.scored_rows import spoken
from organism.digest.validity_flow import audit_versions
from organism.errors import OrganismError
from organism.records import RewardDesign
from organism.store.experiments import read_experiments
from ui import cards, runtime
from ui.words import literal


def doubts(loop_id: str, live: RewardDesign, draft: RewardDesign, leaders: Sequence[str]) -> None:
    """Under the lead of `leaders`, the winner first: what the audit of the live design and the experiments say of it.

    The audit depends on no weight of the draft: it is read once until the data changes, as the check page reads it.
    """
    if len(leaders) > 1 and not side_by_side(runtime.read(read_experiments, loop_id), *leaders[:2]):
        st.caption(
            f"No experiment ran {literal(leaders[0])} and {literal(leaders[1])} side by side: other users or weeks may "
            "explain the lead."
        )
    found = next((audit for audit in _audits(loop_id, live) if audit.variant == leaders[0]), None)
    if found and found.verdict is Verdict.HACK:
        st.warning(literal(suspicion(found)), icon=":material/gpp_bad:")
        if not cards.presenting():
            st.page_link(
                cards.page_file("reward_check"),
                label="See the audit of the live design",
                icon=":material/fact_check:",
                query_params={"draft": to_link(draft), "design": "live"},
            )


def suspicion(found: Audit) -> str:
    """The suspicion in one sentence: what the version is suspected of, and what fell meanwhile."""
    less = any(c.check is Check.OFFER and c.finding in (Finding.WARN, Finding.FAIL) for c in found.checks)
    fell = [
        spoken(c.subject) for c in found.checks if c.check in (Check.OUTCOME, Check.HUMAN) and c.finding is Finding.FAIL
    ]
    how = "by offering less" if less else "by something other than being better"
    said = f"The audit suspects that {found.variant} earns its reward {how}"
    return f"{said}: {' and '.join(fell)} fell." if fell else f"{said}."


def side_by_side(experiments: pd.DataFrame, first: str, second: str) -> bool:
    """Whether an experiment ever ran these two side by side; `experiments` as `read_experiments` gives them."""
    started = experiments[experiments["started_at"].notna()]
    return any({row.control, row.treatment} == {first, second} for row in started.itertuples())


def _audits(loop_id: str, live: RewardDesign) -> list[Audit]:
    """The audit of every version under the live design; none where that design cannot give a reward any more."""
    try:
        return runtime.read(audit_versions, loop_id, live)
    except OrganismError:
        return []
