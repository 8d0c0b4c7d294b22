"""Sources: who sends what, how to send more, a file of your own, and the rows that could not go in."""

import json

import streamlit as st

from organism.config import DEMO_LOOP, utcnow
from organism.ingest.files import import_file, preview_file
from organism.ingest.flow import retry_quarantined, retry_waiting
from organism.ingest.schemas import FIELDS
from organism.records import EventKind
from organism.store.quarantine import read_quarantine
from organism.store.sources import source_summary
from ui import cards, runtime, sending
from ui.words import ago, literal

LABELS = {EventKind.INTERACTIONS: "Interactions", EventKind.FEEDBACK: "Feedback", EventKind.OUTCOMES: "Outcomes"}
ABOUT = {
    EventKind.INTERACTIONS: "One row per draft: what the model was asked and what it wrote.",
    EventKind.FEEDBACK: "One row per answer of a person: accept, reject, edit (with the final text), rating, comment.",
    EventKind.OUTCOMES: "One row per late result, joined by business_key: signed within the hour, still active, sold.",
}

cards.head(
    "Sources",
    "Everything the product can taste: how much comes in, how fresh it is, and what was spoiled.",
    "nutrition",
)
loop = runtime.chosen_loop()
store = runtime.store()

sources = runtime.read(source_summary, runtime.now(minutes=1))
if sources.empty:
    cards.empty(
        "Nothing has come in yet",
        "Send a first event with the command below, or drop a file. Both land here within a second.",
        "nutrition",
    )
else:
    busiest = int(sources["n_rows"].max())
    table = sources.assign(fresh=[ago(seconds) for seconds in sources["fresh_s"]])
    st.dataframe(
        table[["source", "kind", "n_rows", "n_last_day", "fresh", "last_at", "n_quarantined"]],
        hide_index=True,
        placeholder="",
        column_config={
            "source": "Source",
            "kind": "Kind",
            "n_rows": st.column_config.ProgressColumn(
                "Rows", format="localized", max_value=busiest, help="Events kept, each once, however often it was sent."
            ),
            "n_last_day": st.column_config.NumberColumn(
                "Last 24 h", format="localized", help="Received in the last day."
            ),
            "fresh": st.column_config.TextColumn("Fresh", help="How long ago the latest one arrived."),
            "last_at": st.column_config.DatetimeColumn(
                "Latest event (UTC)", format="MMM D, HH:mm", help="When the latest event happened."
            ),
            "n_quarantined": st.column_config.NumberColumn("Quarantined", help="Rows that wait below to be mended."),
        },
        alt=f"{len(sources)} sources and kinds of event; the busiest has {busiest:,} rows",
    )

send, drop = st.tabs(["Drop a file", "Send events"])[::-1]
with send:
    kind = EventKind(
        st.segmented_control(
            "Kind of event",
            list(LABELS),
            format_func=lambda choice: LABELS[choice],
            default=EventKind.INTERACTIONS,
            required=True,
            key="send_kind",
        )
    )
    st.caption(ABOUT[kind])
    st.code(sending.curl(kind, loop.name if loop else DEMO_LOOP), language="bash")
    st.caption(
        f"{sending.where_the_key_is()} An answer of 202 means the events are on disk. "
        "The same `source` and `external_id` twice is one event. All fields: [/v1/docs](/v1/docs)."
    )

with drop:
    left, right = st.columns([1, 2], gap="medium")
    with left:
        file_kind = EventKind(
            st.segmented_control(
                "What does a row say?",
                list(LABELS),
                format_func=lambda choice: LABELS[choice],
                default=EventKind.INTERACTIONS,
                required=True,
                key="file_kind",
            )
        )
        st.caption(ABOUT[file_kind])
    with right:
        dropped = st.file_uploader(
            "CSV, Parquet or JSONL", type=["csv", "tsv", "parquet", "jsonl", "ndjson", "json"], key="dropped"
        )
    if dropped is not None:
        with cards.polite("This file cannot be read"):
            path = sending.kept_upload(dropped.name, dropped.getvalue())
            preview = preview_file(path, file_kind)
            st.header("Which column is what", anchor=False)
            st.caption(
                f"{dropped.name} has {len(preview.columns)} columns. Those with a known name are matched already; of "
                "interactions, the rest is kept as attributes. A row without an id gets one from its content."
            )
            mapping: dict[str, str | None] = {}
            with st.grid(4, min_column_width=190):
                for field in FIELDS[file_kind]:
                    guess = preview.mapping.get(field)
                    picked = st.selectbox(
                        f"{field} (needed)" if field in preview.missing else field,
                        preview.columns,
                        index=preview.columns.index(guess) if guess in preview.columns else None,
                        placeholder="not in this file",
                        key=f"map_{file_kind}_{field}",
                    )
                    mapping[field] = picked
            preview = preview_file(path, file_kind, mapping)
            st.dataframe(preview.sample, hide_index=True, alt=f"The first rows of {dropped.name} as events")
            for problem in preview.problems:
                st.warning(literal(problem), icon=":material/rule:")
            with st.container(horizontal=True, vertical_alignment="bottom"):
                into = st.text_input(
                    "Loop",
                    loop.name if loop else "my-loop",
                    key="import_loop",
                    help="For rows that name none.",
                    width=220,
                )
                source = st.text_input(
                    "Source",
                    dropped.name.rsplit(".", 1)[0],
                    key="import_source",
                    help="For rows that name none.",
                    width=220,
                )
                asked = st.button(
                    "Import", type="primary", icon=":material/download:", disabled=bool(preview.missing), key="import"
                )
            if asked:
                bar = st.progress(0.0, text="Reading the file")
                done = import_file(
                    store,
                    path,
                    file_kind,
                    mapping,
                    loop=into,
                    source=source,
                    now=utcnow(),
                    on_progress=lambda share: bar.progress(share, text=f"{share:.0%} of {dropped.name}"),
                )
                bar.empty()
                st.session_state["imported"] = (
                    f"{done.accepted:,} new, {done.duplicates:,} already here, {done.quarantined:,} in quarantine."
                )
                st.rerun()
    if said := st.session_state.pop("imported", None):
        st.success(said, title="Imported", icon=":material/check_circle:")

waiting = runtime.read(read_quarantine)
st.header("Quarantine", anchor=False)
if waiting.empty:
    st.caption(
        "No row waits. One that cannot go in is kept here as it came, with the reason, and costs the others nothing."
    )
else:
    st.caption(f"{len(waiting):,} rows could not go in. Mend one and send it again, or take them out as a file.")
    picked = st.dataframe(
        waiting[["kind", "source", "reason", "row", "created_at"]],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row-required",
        key="quarantine",
        height=240 if len(waiting) > 6 else "content",
        placeholder="",
        column_config={
            "kind": "Kind",
            "source": "Source",
            "reason": st.column_config.TextColumn("Why", width="large"),
            "row": st.column_config.TextColumn("As it came", width="medium"),
            "created_at": st.column_config.DatetimeColumn("Received (UTC)", format="MMM D, HH:mm"),
        },
        alt=f"{len(waiting)} quarantined rows with their reasons",
    )
    chosen = waiting.iloc[picked.selection.rows[0] if picked.selection.rows else 0]
    with st.container(border=True), st.form("mend", border=False):
        st.markdown(f"**{literal(chosen['reason'])}**")
        text = st.text_area(
            "The row as JSON",
            json.dumps(json.loads(chosen["row"]), indent=2, ensure_ascii=False),
            height=220,
            key=f"row_{chosen['quarantine_id']}",
        )
        if st.form_submit_button("Send again", type="primary", icon=":material/send:"):
            with cards.polite("Still not accepted"):
                done = retry_quarantined(
                    store, chosen["quarantine_id"], sending.patch(text, chosen["row"]), now=utcnow()
                )
                if done.reasons:
                    st.error(literal(done.reasons[0]), title="Still not accepted", icon=":material/error:")
                else:
                    st.toast("The row went in.", icon=":material/check_circle:")
                    st.rerun()
    with st.container(horizontal=True):
        if st.button(
            "Try all again", icon=":material/refresh:", help="After an interaction came late, its feedback goes in."
        ):
            done = retry_waiting(store, now=utcnow())
            st.toast(f"{done.accepted + done.duplicates} went in, {done.quarantined} still wait.")
            st.rerun()
        cards.csv_button(waiting, "quarantine")
