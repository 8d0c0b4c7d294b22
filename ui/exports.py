"""A version's card, written from the facts, and its export: a folder that transformers and vLLM load."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from organism.deploy.export import export_version, facts_of
from organism.deploy.flow import read_version
from organism.deploy.model_cards import written_card
from organism.store.database import Store
from ui import runtime
from ui.words import counted, literal, sentence


def card(version: pd.Series) -> None:
    """The card in a popover, and as a file."""
    about = "Lineage, training, figures, limits: written from the facts"
    with st.popover("Model card", icon=":material/description:", help=about):
        text: str = runtime.read_with_runs(read_card, version["model_version_id"])
        st.markdown(text.split("---", 2)[-1] if text.startswith("---") else text)
        st.download_button(
            "Markdown", data=text, file_name=f"{version['name']}.md", mime="text/markdown", type="tertiary",
            icon=":material/download:", on_click="ignore", key="card_file",
        )  # fmt: skip


def read_card(store: Store, model_version_id: str) -> str:
    """The card of a version in Markdown; a question for `runtime.read`."""
    return written_card(facts_of(store, runtime.place(), read_version(store, model_version_id)))


def export(version: pd.Series) -> None:
    """Write the folder in a thread of this process, and hand it out as one file."""
    model_version_id, name = str(version["model_version_id"]), str(version["name"])
    folder = _folder(name)
    errand = runtime.errands().get(_subject(model_version_id))

    @st.fragment(run_every="1s" if errand and errand.is_running else None)
    def part() -> None:
        running = runtime.errands().get(_subject(model_version_id))
        if running is not None and running.is_running:
            st.caption(f":material/autorenew: {literal(running.text)}")
            return
        if errand and errand.is_running:
            st.rerun()
        if running is not None and running.error:
            st.error(literal(sentence(running.error)), title="Not exported", icon=":material/error:")
        if folder.is_dir():
            st.download_button(
                "Download the export", data=lambda: zipped(folder), file_name=f"{name}.zip", mime="application/zip",
                icon=":material/folder_zip:", on_click="ignore", key=f"export_file_{model_version_id}",
                help=f"Adapter, merged weights, tokenizer, card, training set and settings; also in {folder}.",
            )  # fmt: skip
        elif st.button(
            "Export", icon=":material/ios_share:", key=f"export_{model_version_id}",
            help="Adapter and merged weights as safetensors, tokenizer, card, training set: ready for transformers and "
            "vLLM. Takes some seconds.",
        ):  # fmt: skip
            work = _work(model_version_id, folder)
            runtime.errands()[_subject(model_version_id)] = runtime.Errand(f"export {name}", work)
            st.rerun()

    part()


def zipped(folder: Path) -> bytes:
    """The folder as one zip file; weights do not get smaller, so nothing is compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
    return out.getvalue()


def _work(model_version_id: str, folder: Path) -> Callable[[runtime.Errand], str]:
    """What the thread does: the reads of the store and the child process that adds the weights."""
    store, place = runtime.store(), runtime.place()

    def work(errand: runtime.Errand) -> str:
        errand.say("export", 0.1, "Adding the adapter into its base, and checking that it drafts the same ...")
        folder.parent.mkdir(parents=True, exist_ok=True)
        done = export_version(store, place, read_version(store, model_version_id), folder)
        return f"{counted(len(done.files), 'file')} in {done.folder}"

    return work


def _folder(name: str) -> Path:
    return runtime.place().path / "exports" / name


def _subject(model_version_id: str) -> str:
    return f"export {model_version_id}"
