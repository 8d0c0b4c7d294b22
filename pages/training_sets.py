"""Training sets: what a model learns from, where each row came from, what was dropped and why."""

import json
from typing import Any

import streamlit as st

from organism.config import utcnow
from organism.digest.flow import live_design
from organism.digest.set_files import FileForm
from organism.digest.set_reading import FrozenSet, describe, export, list_sets
from organism.digest.training_sets import HASHED
from organism.optimize.flow import SftConfig, read_runs, start_run
from organism.records import DatasetKind
from organism.store.datasets import read_dataset_rows
from organism.store.interactions import read_regions, read_variants
from ui import cards, charts, designs, runtime
from ui.set_builder import KINDS, build
from ui.sets import composition, drops, example, leaks
from ui.words import literal

cards.head(
    "Training sets",
    "What a model learns from: frozen rows of people who consented, split by user, each with the draft and the answer "
    "it came from.",
    "dataset",
)
loop = runtime.chosen_loop()
if loop is None:
    cards.empty(
        "Nothing to learn from yet",
        "A training set is made of drafts that people accepted, edited or rejected. Send interactions and feedback.",
        "dataset",
        page="sources",
        action="Open Sources",
    )
    st.stop()

store, loop_id = runtime.store(), loop.loop_id
sets = {one.dataset_id: one for one in runtime.read(list_sets, loop_id)}
if not cards.presenting():
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("New training set", type="primary", icon=":material/add:", shortcut="n", key="new_set"):
            st.session_state["building_set"] = True
        if st.session_state.get("building_set"):
            regions = runtime.read(read_regions, loop_id)
            build(loop_id, designs.names_of(loop_id), runtime.read(read_variants, loop_id), regions)
        cards.present_button()
if not sets:
    cards.empty(
        "No training set yet",
        "Choose what a row is and which drafts count, look at the counts, and freeze it: a frozen set never changes.",
        "dataset",
    )
    st.stop()

asked = st.query_params.get("set")
if asked is not None and asked not in sets:
    st.warning(f"There is no training set {literal(asked)} here. Showing the newest.", title="Unknown link")
chosen = sets[asked] if asked in sets else next(iter(sets.values()))


def go_to_set() -> None:
    st.query_params["set"] = st.session_state["set_pick"]


def title_of(dataset_id: str) -> str:
    return f"{sets[dataset_id].name}, {charts.at(sets[dataset_id].created_at)}"


if not cards.presenting():
    st.session_state["set_pick"] = chosen.dataset_id
    st.selectbox("Set", list(sets), key="set_pick", on_change=go_to_set, format_func=title_of)
if st.query_params.get("set") != chosen.dataset_id:
    st.query_params["set"] = chosen.dataset_id

found = runtime.read(describe, loop_id, chosen.dataset_id, n_examples=0)
with st.container(border=True):
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(literal(chosen.name), anchor=False, width="content")
        if loop.is_synthetic:
            cards.simulated_badge()
    st.caption(
        f"{KINDS[chosen.kind]}. Frozen {charts.at(chosen.created_at)} UTC as `{chosen.content_hash[:12]}`. {HASHED}: "
        "any machine finds the same one, and two designs that pick the same rows share it."
    )
    with st.grid(4, min_column_width=165):
        cards.vital("Rows to train on", f"{chosen.n_train:,}", "Rows that a trainer reads.")
        cards.vital(
            "Rows held out", f"{chosen.n_heldout:,}", "Rows of other users, kept to judge by; never trained on."
        )
        cards.vital(
            "Users",
            f"{chosen.n_users_train:,} / {chosen.n_users_heldout:,}",
            "Users on the training side and on the held-out side. Nobody is on both.",
        )
        cards.vital(
            "Near duplicates",
            None if chosen.leakage is None else f"{chosen.leakage['n_leaking']:,}",
            "Training rows dropped because their prompt is nearly a held-out one.",
        )

composition(chosen, found.composition)
left, right = st.columns(2, gap="small")
with left.container(border=True, height="stretch"):
    st.header("What was dropped, and why", anchor=False)
    drops(chosen)
with right.container(border=True, height="stretch"):
    st.header("Leakage", anchor=False)
    leaks(chosen.leakage)


st.header("Rows", anchor=False)
rows = runtime.read(read_dataset_rows, chosen.dataset_id)
with st.container(horizontal=True, vertical_alignment="bottom"):
    side = st.segmented_control(
        "Side", ["train", "heldout"], default="train", required=True, key="set_side",
        format_func={"train": "Training", "heldout": "Held out"}.__getitem__,
    )  # fmt: skip
    listed = rows[rows["split"] == side]
    st.session_state["set_row"] = min(max(st.session_state.get("set_row", 1), 1), len(listed))
    number = st.number_input("Row", 1, len(listed), key="set_row", width=140, help=f"1 to {len(listed):,}")
if chosen.kind is DatasetKind.PREFERENCE:
    st.caption("Chosen: :green-background[what it adds]. Rejected: :red-background[what it had and chosen has not].")
example(chosen, listed.iloc[int(number) - 1], is_synthetic=loop.is_synthetic)


def settings_of(header: FrozenSet) -> dict[str, Any]:
    """What was asked for, without what was left open."""
    return {name: value for name, value in (header.settings or {}).items() if value not in (None, [], "")}


if cards.presenting():
    cards.present_button()
else:
    st.header("Where it went", anchor=False)
    runs = runtime.read_with_runs(read_runs, loop_id)
    learned = runs[runs["dataset_id"] == chosen.dataset_id]
    if learned.empty and chosen.kind is not DatasetKind.SFT:
        st.caption("The fine-tunes here imitate completions. Download this set for a trainer of pairs or labels (TRL).")
    elif learned.empty:
        st.caption("No fine-tune has learned from this set yet.")
    else:
        st.dataframe(
            learned[["created_at", "status", "version_name", "run_id"]],
            hide_index=True,
            column_config={
                "created_at": st.column_config.DatetimeColumn("Started (UTC)", format="MMM D, HH:mm"),
                "status": "Status",
                "version_name": "Version",
                "run_id": "Run",
            },
            alt="Fine-tunes that learned from this set",
        )
    if chosen.kind is DatasetKind.SFT and st.button(
        "Fine-tune on this set", icon=":material/model_training:", key="tune"
    ):
        with cards.polite("Not started"):
            run_id = start_run(
                store, runtime.place(), loop_id, chosen.dataset_id, SftConfig(),
                design=live_design(store, loop_id), now=utcnow(),
            )  # fmt: skip
            st.switch_page(cards.page_file("fine_tunes"), query_params={"run": run_id})
    with st.expander("Settings", icon=":material/tune:"):
        if chosen.settings is None:
            st.caption("This set was frozen before settings were kept.")
        else:
            st.code(json.dumps(settings_of(chosen), indent=2), language="json")
    with st.container(horizontal=True, vertical_alignment="center"):
        for form, mime in ((FileForm.JSONL, "application/x-ndjson"), (FileForm.PARQUET, "application/octet-stream")):
            st.download_button(
                f"Download {'JSONL' if form is FileForm.JSONL else 'Parquet'}",
                data=lambda form=form: export(store, loop_id, chosen.dataset_id, form=form),
                file_name=f"{chosen.kind}-{chosen.content_hash[:12]}.{form}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"download_{form}",
                help="In the columns that TRL's trainers take, both sides, with the ids of where each row came from. "
                "Where experts decided, draft_reward is what the draft earned that they answered, not their text.",
            )
