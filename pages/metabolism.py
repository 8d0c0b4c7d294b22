"""Home: is the loop alive, what did it eat, what did that become, and what needs a person."""

import streamlit as st

from organism.deploy.flow import live_version
from organism.observe.flow import cycles, flow_counts, needs_you, vitals, weekly_retained
from organism.optimize.flow import read_evaluation
from ui import cards, charts, runtime
from ui.vitals import cycle_bars, cycle_name, five_vitals, links, need_line
from ui.words import counted, percent

cards.head(
    "Metabolism",
    "Is the loop alive? What comes in, what it becomes, and whether the product gets better for it.",
    "ecg_heart",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing has been eaten yet",
        "This loop lives on what users do with drafts. Send an event or drop a file, and its vital signs start.",
        "ecg_heart",
        page="sources",
        action="Open Sources",
    )
    st.stop()

now = runtime.now()
weeks = runtime.read(weekly_retained, loop.loop_id)
live = runtime.read(live_version, loop.loop_id)
judged = runtime.read(read_evaluation, live.model_version_id) if live else None
with st.grid(5, min_column_width=170):
    five_vitals(runtime.read(vitals, loop.loop_id, now), weeks)

with st.container(border=True):
    st.header("Retained characters by week and version", anchor=False)
    floor, ceiling = (judged["floor"], judged["ceiling"]) if judged else (None, None)
    last = weeks[weeks["week"] == weeks["week"].max()]
    if last.empty:
        st.caption("The first answered draft starts this line.")
    else:
        words = ", ".join(f"{row.variant} keeps {percent(row.retained_char_rate, 0)}" for row in last.itertuples())
        levels = (
            " The floor is what unrelated notes share, the ceiling a second note of the same expert." if judged else ""
        )
        cards.chart(
            runtime.figure(
                charts.retained_by_week, weeks, live.name if live else None, floor, ceiling, about=(loop.loop_id,)
            ),
            f"In the latest week {words}.{levels}",
            weeks,
            "retained_by_week",
        )

left, right = st.columns([1.75, 1], gap="small")
with left.container(border=True, height="stretch"):
    st.header("What the product ate, and what it became", anchor=False)
    flow = runtime.read(flow_counts, loop.loop_id, now)
    labels, steps = links(flow)
    cards.chart(
        runtime.figure(charts.flow, labels, steps, about=(loop.loop_id, now)),
        f"Of {loop.n_interactions:,} drafts: what people answered, what was trained on, what reached a live version.",
        flow,
        "flow",
    )
with right.container(border=True, height="stretch"):
    st.header("Needs you", anchor=False)
    needs = runtime.read_with_runs(needs_you, loop.loop_id, now)
    for number, need in enumerate(needs[:5]):
        need_line(need, number)
    if not needs:
        st.caption("Nothing waits for a person. Only things with an action appear here.")

with st.container(border=True):
    st.header("Turns of the loop", anchor=False)
    turns = runtime.read_with_runs(cycles, loop.loop_id, now=now)
    bars = cycle_bars(turns, now)
    if bars.empty:
        st.caption("The first fine-tune starts the first turn.")
    else:
        newest = turns.to_dict("records")[0]
        standing = f"{cycle_name(newest)} stands at: {newest['stage']}"
        cards.chart(
            runtime.figure(charts.timeline, bars, about=(loop.loop_id, now, len(bars))),
            f"{counted(len(turns), 'turn')} so far; {standing}. Gaps between the bars are waiting; hatched bars go on.",
            bars,
            "turns",
        )
cards.present_button()
