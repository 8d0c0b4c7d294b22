"""Is everything in place? Each check says what was found, and what to do when that is not what was wanted."""

import json
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from organism.config import BUNDLED_BASE, ROOT, Workspace
from organism.errors import OrganismError
from organism.store.schema import open_store

MIN_FREE_GB = 1.0
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class Check(NamedTuple):
    """One thing looked at; `mend` says what to do and is empty when all is well."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def examine(workspace: Workspace, port: int) -> list[Check]:
    """Every check, in the order in which to mend: installation, model, demo, workspace, port."""
    return [*_installation(), _model(workspace), _history(), *_workspace(workspace), _port(port), _browser()]


def _installation() -> Iterator[Check]:
    found = f"Python {sys.version.split()[0]}"
    yield Check("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer")
    wrong = [f"{name} {have or 'missing'}, wanted {want}" for name, want, have in _packages() if have != want]
    yield Check(
        "packages",
        not wrong,
        "; ".join(wrong) or "every package at its pinned version",
        "run `make run`, or: .venv/bin/pip install -r requirements.txt" if wrong else "",
    )


def _packages() -> Iterator[tuple[str, str, str | None]]:
    """Name, pinned version, installed version; a local build tag such as +cpu does not count."""
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if match := re.match(r"([\w.-]+)==([\w.]+)", line):
            try:
                yield match[1], match[2], version(match[1]).split("+")[0]
            except PackageNotFoundError:
                yield match[1], match[2], None


def _model(workspace: Workspace) -> Check:
    mend = "restore the folder from the repository: git checkout -- data/scribe/base"
    try:
        folder = workspace.locate(BUNDLED_BASE)
    except OrganismError as error:
        return Check("model", False, str(error), mend)
    if missing := [name for name in MODEL_FILES if not (folder / name).is_file()]:
        return Check("model", False, f"{BUNDLED_BASE} lacks {', '.join(missing)}", mend)
    if problem := weights_problem(folder / "model.safetensors"):
        return Check("model", False, problem, mend)
    size = (folder / "model.safetensors").stat().st_size / 1e6
    return Check("model", True, f"the shipped base model, {size:.1f} MB of weights")


def weights_problem(file: Path) -> str:
    """What is wrong with a safetensors file by its header and length; empty when nothing is."""
    with file.open("rb") as handle:
        header_size = int.from_bytes(handle.read(8), "little")
        try:
            header = json.loads(handle.read(header_size)) if header_size < 10_000_000 else None
        except (ValueError, MemoryError):
            header = None
    if not isinstance(header, dict):
        return f"{file.name} is not a safetensors file: its header cannot be read"
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    if not all(isinstance(entry, dict) and "data_offsets" in entry for entry in tensors):
        return f"{file.name} is not a safetensors file: its header does not describe tensors"
    end = max((entry["data_offsets"][1] for entry in tensors), default=0)
    wanted, found = 8 + header_size + end, file.stat().st_size
    return "" if wanted == found else f"{file.name} has {found} bytes, its header wants {wanted}: it is cut or damaged"


def _history() -> Check:
    manifest = ROOT / "data" / "scribe" / "history" / "manifest.json"
    if not manifest.is_file():
        return Check("demo", False, "the demo's history is not there", "git checkout -- data/scribe/history")
    return Check("demo", True, "the synthetic history is there")


def _workspace(workspace: Workspace) -> Iterator[Check]:
    parent = next(folder for folder in (workspace.path, *workspace.path.parents) if folder.exists())
    free = shutil.disk_usage(parent).free / 1e9
    yield Check(
        "disk",
        free >= MIN_FREE_GB,
        f"{free:.1f} GB free",
        "" if free >= MIN_FREE_GB else f"free some space: at least {MIN_FREE_GB:.0f} GB is wanted",
    )
    if not workspace.database.exists():
        yield Check("workspace", True, f"{workspace.path} is new; it is made on the first start")
        return
    try:
        store = open_store(workspace.database)
    except OrganismError as error:
        yield Check("workspace", False, str(error), "follow the sentence, then run doctor again")
        return
    changes = store.version("interactions", "feedback_events", "outcomes")
    store.close()
    yield Check("workspace", True, f"{workspace.path} opens; {changes:,} durable writes of events so far")


def _port(port: int) -> Check:
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    return Check(
        "port", not taken, f"port {port} is {'taken' if taken else 'free'}", "serve with --port N" if taken else ""
    )


def _browser() -> Check:
    found = shutil.which("chromium")
    return Check(
        "chromium",
        True,
        found or "not installed; only the browser tests want it (apt-get install chromium)",
    )
