"""The same visit before and after a fine-tune, beside what the expert wrote; and a draft of your own transcript."""

import streamlit as st

from organism.deploy.flow import read_versions, version_by_name
from organism.measures.acceptance import measure, retained_runs
from organism.optimize.flow import read_eval_results
from ui import cards, runtime
from ui.words import literal, note, percent, points

cards.head(
    "Before and after",
    "One held-out visit, drafted by the base and by the tuned model. Neither has seen this visit, nor this expert.",
    "compare",
)
loop = runtime.chosen_loop()
versions = runtime.read(read_versions, loop.loop_id) if loop else None
judged = versions[versions["after"].notna()] if versions is not None else None
if loop is None or versions is None or judged is None or judged.empty:
    cards.empty(
        "Nothing to compare yet",
        "Once a fine-tune is evaluated, its drafts of held-out visits stand here, beside the base's and the expert's.",
        "compare",
        page="fine_tunes",
        action="Start a fine-tune",
    )
    st.stop()

# Which version, and which visit: both are in the address, so the link is the slide.
names = list(judged["name"])
asked = st.query_params.get("version")
if asked is not None and asked not in names:
    st.warning(f"No version `{asked}` has been evaluated here. Showing {names[0]}.", title="Unknown link")
version = asked if asked in names else names[0]
results = runtime.read(read_eval_results, judged.set_index("name").loc[version, "model_version_id"])
figures = results["measures"]
results = results.assign(
    kept_before=[m["retained_before"] / max(m["chars_before"], 1) for m in figures],
    kept_after=[m["retained_after"] / max(m["chars_after"], 1) for m in figures],
)
results["gain"] = results["kept_after"] - results["kept_before"]
orders = {
    "Best gains": results.sort_values("gain", ascending=False),
    "Worst losses": results.sort_values("gain"),
    "All": results,
}
asked_row = st.query_params.get("row", "")
rows = [str(number) for number in results["row_number"]]
if asked_row and asked_row not in rows:
    st.warning(
        f"There is no visit {literal(asked_row)} in this evaluation. Showing the best gain.", title="Unknown link"
    )


def go_to_version() -> None:
    st.query_params["version"] = st.session_state["version_pick"]
    st.query_params.pop("row", None)


def go_to_row() -> None:
    st.query_params["row"] = st.session_state["row_pick"]


def go_to_first() -> None:
    st.query_params.pop("row", None)


order = st.session_state.get("order_pick") or "Best gains"
listed = orders[order]
row = asked_row if asked_row in rows else str(listed["row_number"].iloc[0])
if not cards.presenting():
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state["version_pick"] = version
        st.selectbox("Version", names, key="version_pick", on_change=go_to_version, width=180)
        st.segmented_control(
            "Order", list(orders), key="order_pick", default="Best gains", required=True, on_change=go_to_first
        )
        choices = [str(number) for number in listed["row_number"]]
        gains = dict(zip(rows, results["gain"], strict=True))
        st.session_state["row_pick"] = row
        st.selectbox(
            "Visit",
            choices,
            key="row_pick",
            on_change=go_to_row,
            format_func=lambda number: f"Visit {number}, {points(gains[number])}",
            width=220,
        )
        cards.present_button()
for name, value in (("version", version), ("row", row)):
    if st.query_params.get(name) != value:
        st.query_params[name] = value

visit = results.set_index("row_number").loc[int(row)]
facts = visit["measures"]["facts"]
before, after = visit["before"], visit["after"]
expert = visit["final_text"]


def told(which: str) -> str:
    """How many of the facts that must be copied this draft has."""
    right = sum(bool(fact[which]) for fact in facts)
    return f"{right} of {len(facts)}" if facts else "none asked"


def columns_of(which: str, draft: str, title: str, color: str) -> None:
    """One draft: its figures, then its text with what the expert kept on a colored ground."""
    kept = measure(draft, expert)
    runs = [(run.in_draft, run.in_draft + run.size) for run in retained_runs(draft, expert)]
    with st.container(border=True, height="stretch", key=f"draft_{which}"):
        st.header(title, anchor=False)
        with st.container(horizontal=True, gap="medium"):
            st.metric(
                "Kept",
                percent(kept.retained_chars / max(kept.draft_chars, 1), 0),
                help="Retained characters: how much of this draft is still in the expert's note.",
                width="content",
            )
            st.metric(
                "Written",
                percent(kept.retained_chars / max(kept.final_chars, 1), 0),
                help="Written share: how much of the expert's note this draft had already written.",
                width="content",
            )
            st.metric(
                "Facts",
                told(which),
                help="Facts of the visit (drug and dose, vitals, durations) that the draft copies exactly.",
                width="content",
            )
        st.markdown(note(draft, runs, color) or "*The model wrote nothing.*")


st.caption(
    "In the drafts, :green-background[what the expert kept]. In the expert's note, "
    ":blue-background[what the expert had to write] beside the tuned draft."
)
left, middle, right = st.columns(3, gap="small")
with left:
    columns_of("before", before, "Base", "gray")
with middle:
    columns_of("after", after, version, "green")
with right.container(border=True, height="stretch", key="draft_expert"):
    st.header("Expert", anchor=False)
    kept_in_final = [(run.in_final, run.in_final + run.size) for run in retained_runs(after, expert)]
    st.metric(
        "Left to write",
        f"{len(expert) - sum(end - start for start, end in kept_in_final):,} characters",
        help="Characters of the expert's note that the tuned draft did not have.",
        width="content",
    )
    edges = [0, *(edge for run in kept_in_final for edge in run), len(expert)]
    st.markdown(note(expert, list(zip(edges[::2], edges[1::2], strict=True)), "blue"))

if wrong := [fact for fact in facts if not (fact["before"] and fact["after"])]:
    with st.expander(f"Facts that a draft got wrong ({len(wrong)} of {len(facts)})", icon=":material/fact_check:"):
        st.dataframe(
            [
                {
                    "Fact": fact["kind"],
                    "Must say": " or ".join(fact["any_of"]),
                    "Base": fact["before"],
                    version: fact["after"],
                }
                for fact in wrong
            ],
            hide_index=True,
            alt="Facts that one of the drafts did not copy exactly",
        )
with st.expander("Transcript", icon=":material/forum:", expanded=cards.presenting()):
    st.markdown(note(visit["prompt"], [], "green"))
if cards.presenting():
    cards.present_button()
    st.stop()

st.header("Write a draft now", anchor=False)
with st.form("draft_now", border=True):
    transcript = st.text_area(
        "Transcript",
        value=visit["prompt"],
        height=180,
        help="Type or paste a visit. Both models draft it on this machine; nothing leaves it and nothing is kept.",
    )
    asked_now = st.form_submit_button("Write both drafts", type="primary", icon=":material/edit_note:")
if asked_now:
    with cards.polite("No draft"), st.spinner("Both models are writing ...", show_time=True):
        writers = [version_by_name(runtime.store(), loop.loop_id, name) for name in (version, "base")]
        written = [runtime.opened().drafts.drafts(writer, [transcript])[0] for writer in writers]
        st.session_state["drafts_now"] = {"base": written[1], version: written[0]}
if drafts_now := st.session_state.get("drafts_now"):
    for column, (name, draft) in zip(st.columns(2, gap="small"), drafts_now.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.header(name, anchor=False)
            st.markdown(note(draft.text, [], "green") or "*The model wrote nothing.*")
            st.caption(f"{draft.output_tokens} tokens in {draft.latency_ms / 1000:.1f} s")
