"""Is this the right reward? What outcomes and people say about it, and what versions earned theirs by."""

import pandas as pd
import streamlit as st

from organism.digest.audit import AFTER_THE_FACT, RULES, Verdict
from organism.digest.predictions import Word
from organism.digest.scored_rows import spoken
from organism.digest.validity_flow import audit_versions, check_validity
from organism.errors import OrganismError
from ui import cards, designs, runtime, validity, validity_charts
from ui.validity_charts import VARIANCE, WEIGHT
from ui.words import literal, sentence

WARNED = {Word.OPPOSITE: "Predicts the opposite", Word.SPURIOUS: "Spurious, only between versions"}

cards.head(
    "Is this the right reward?",
    "A reward is right as far as it orders drafts as the late outcomes and people do, within each version; and a "
    "version deserves its reward if nothing else got worse.",
    "fact_check",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing to check yet",
        "A reward is held against what came of the drafts later. Send interactions, feedback and outcomes first.",
        "fact_check",
        page="sources",
        action="Open Sources",
    )
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    design = designs.choose(loop.loop_id)
    cards.present_button()
if design is None:
    st.stop()

try:
    with st.spinner("Ranking the drafts anew for every resample of the users…", show_time=True):
        found = runtime.read(check_validity, loop.loop_id, design)
        audits = runtime.read(audit_versions, loop.loop_id, design)
except OrganismError as error:
    st.error(literal(sentence(str(error))), title="No reward", icon=":material/error:")
    st.stop()

about = (loop.loop_id, design.id)
validity.banner(found, audits, loop.is_synthetic)

left, right = st.columns([1.5, 1], gap="small")
with left.container(border=True, height="stretch"):
    st.header(
        "Does it order drafts as the outcomes do?",
        anchor=False,
        help="Rank correlation of the reward with each outcome. Within versions is what counts: over all, a version "
        "that has more of both is enough.",
    )
    table = validity.named(found.reward, "outcome")
    if table["within"].notna().any() or table["overall"].notna().any():
        good = [spoken(p.outcome) for p in found.reward if p.word is Word.PREDICTS]
        cards.chart(
            runtime.figure(validity_charts.correlations, table, about=(*about, "reward")),
            f"Within versions the reward predicts {', '.join(good) or 'none of these'}.",
            table,
            "reward_and_outcomes",
        )
    for prediction in found.reward:
        st.caption(f"**{str(prediction.word).capitalize()}.** {literal(prediction.sentence)}")
    if not found.reward:
        st.caption(literal(found.sentence))
with right.container(border=True, height="stretch"):
    st.header(
        "What it is made of",
        anchor=False,
        help="The weight that you gave each signal, and how much of the reward's variance between users it makes. A "
        "signal that hardly varies has hardly a say, whatever its weight.",
    )
    parts = pd.DataFrame(found.components)
    column, named = ("variance_share", VARIANCE) if parts["variance_share"].notna().any() else ("weight_share", WEIGHT)
    first = parts["signal"].iloc[int(parts[column].fillna(0.0).argmax())]
    cards.chart(
        runtime.figure(validity_charts.components, parts, about=about),
        f"{first} has the largest {named[:1].lower()}{named[1:]}.",
        parts,
        "components",
    )

if found.reward:
    outcomes = [p.outcome for p in sorted(found.reward, key=lambda p: -p.correlation.n_rows)]
    outcome = (
        st.segmented_control(
            "Outcome", outcomes, default=outcomes[0], format_func=spoken, key="outcome", required=True, width="content"
        )
        or outcomes[0]
    )
    left, right = st.columns(2, gap="small")
    with left.container(border=True, height="stretch"):
        st.header(
            "Calibration",
            anchor=False,
            help="Drafts in ten groups by reward, lowest first; equal rewards share a group. A right reward climbs.",
        )
        tenths = found.calibration[found.calibration["outcome"] == outcome]
        if tenths.empty:
            st.caption("No scored draft carries this outcome.")
        else:
            mean = float((tenths["mean"] * tenths["n_rows"]).sum() / tenths["n_rows"].sum())
            cards.chart(
                runtime.figure(validity_charts.calibration, tenths, spoken(outcome), mean, about=(*about, outcome)),
                f"Mean {spoken(outcome)}: {tenths['mean'].iloc[0]:.2f} in the lowest tenth of the reward, "
                f"{tenths['mean'].iloc[-1]:.2f} in the highest, {mean:.2f} over all (dotted).",
                tenths,
                "calibration",
            )
    with right.container(border=True, height="stretch"):
        st.header(
            "Signal by signal",
            anchor=False,
            help="Each signal of the design by its utility, and the team's own SQL signals as they stand. A signal "
            "that predicts only between versions tells versions apart, and no draft from another.",
        )
        single = validity.named([p for p in found.signals if p.outcome == outcome], "subject")
        if single["within"].notna().any() or single["overall"].notna().any():
            words = " ".join(
                f"{words}: {', '.join(found_so)}."
                for word, words in WARNED.items()
                if len(found_so := single.loc[single["word"] == word, "subject"])
            )
            cards.chart(
                runtime.figure(validity_charts.correlations, single, about=(*about, outcome)),
                words or "No signal is spurious, and none predicts the opposite.",
                single,
                "signals_and_outcome",
            )
        else:
            st.caption("No signal can be held against this outcome yet.")

if found.experiments:
    with st.container(border=True):
        st.header(
            "How much of an experiment's effect does the reward explain?",
            anchor=False,
            help="Freedman's proportion of the treatment effect explained, with an interval over resampled users; "
            "Prentice's four criteria: the treatment moves the reward, moves the outcome, the reward goes with the "
            "outcome, and given the reward the treatment adds nothing.",
        )
        validity.explained(found)

st.header("What did each version earn its reward by?", anchor=False)
st.caption(f"{AFTER_THE_FACT} Each version is held against the live one, and the live one against its base.")
if not audits:
    st.caption("There is one version only, so there is nothing to compare it with yet.")
for audit in audits:
    validity.audit_card(audit, is_open=audit.verdict is Verdict.HACK)

with st.expander("The rules behind these words", icon=":material/gavel:"):
    for title, rules in (
        ("The answer", found.answer_rules),
        ("A word for each outcome, the first that fits", found.rules),
        ("A verdict for each version, the first that fits", RULES),
    ):
        st.markdown(f"**{title}**\n" + "\n".join(f"1. {literal(rule)}" for rule in rules))
for note in found.notes:
    st.caption(literal(note))
