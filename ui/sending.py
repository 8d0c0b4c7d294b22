"""How events get in by hand: the command to copy, where the key is, the dropped file, the mended row."""

import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from organism.errors import InputError
from organism.records import EventKind
from ui import runtime

EXAMPLES: dict[EventKind, dict[str, Any]] = {
    EventKind.INTERACTIONS: {
        "external_id": "visit-1",
        "user_key": "dr-lee",
        "variant_id": "base",
        "prompt": "Doctor: What brings you in? ...",
        "output": "Cough for three days. ...",
        "latency_ms": 840,
        "cost_usd": 0.0004,
        "consent": True,
    },
    EventKind.FEEDBACK: {
        "external_id": "visit-1-edit",
        "interaction_external_id": "visit-1",
        "kind": "edit",
        "final_text": "Dry cough for three days, no fever. ...",
    },
    EventKind.OUTCOMES: {
        "external_id": "visit-1-signed",
        "business_key": "visit-1",
        "name": "signed_within_hour",
        "value": 1,
    },
}


def curl(kind: EventKind, loop: str) -> str:
    """A command that sends one event of this kind to where this page came from."""
    url = urlsplit(st.context.url or "http://127.0.0.1:8501")
    event = {"source": "my-app", "loop": loop, **EXAMPLES[kind]}
    return (
        f"curl -X POST {url.scheme}://{url.netloc}/v1/{kind} \\\n"
        f'  -H "Authorization: Bearer {_key_in_shell()}" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(event, indent=2))}"
    )


def where_the_key_is() -> str:
    """Where to find the key of the API; its first letters only, so that a shared screen gives nothing away."""
    key = runtime.place().api_key()
    if _is_in_environment():
        return f"The key is the one this server got as `ORGANISM_API_KEY`; it starts with `{key[:7]}`."
    return f"The key is in `{_key_file()}`; it starts with `{key[:7]}`."


def kept_upload(name: str, content: bytes) -> Path:
    """The dropped bytes as a file of the same name, in a folder that goes with this session."""
    if "upload_folder" not in st.session_state:
        st.session_state["upload_folder"] = tempfile.TemporaryDirectory(prefix="organism-upload-")
    file = Path(st.session_state["upload_folder"].name) / Path(name).name
    if not file.exists() or file.stat().st_size != len(content):
        file.write_bytes(content)
    return file


def patch(text: str, before: str) -> dict[str, Any]:
    """What an edited row changes: fields that were taken out are None. Raises InputError when it is no JSON object."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise InputError(f"the row is not JSON ({error}); wanted one object like the one that came") from error
    if not isinstance(row, dict):
        raise InputError("the row is not a JSON object; wanted one object like the one that came")
    return {**dict.fromkeys(json.loads(before)), **row}


def _is_in_environment() -> bool:
    return bool(os.environ.get("ORGANISM_API_KEY", "").strip())


def _key_file() -> Path:
    return runtime.place().path / "api_key"


def _key_in_shell() -> str:
    return "$ORGANISM_API_KEY" if _is_in_environment() else f"$(cat {shlex.quote(str(_key_file()))})"
