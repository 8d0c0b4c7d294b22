"""A run on a node of a Ray cluster: the folder arrives as an archive, the worker works on it, news and results leave.

It knows nothing of Ray: the bridge (ray_place.py) makes an actor of `NodeRun`. The worker is the same child process as
at home, so what a run computes does not depend on where.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from organism.optimize.runs import RunFolder, write_json

GROWING = ("progress.jsonl", "log.txt")
STAYS = frozenset({"config.json", "data.jsonl", "heldout.jsonl", "status.json", "stop", *GROWING})


class News(NamedTuple):
    """What happened on the node: status.json, what was added to the growing files, the newest checkpoint, liveness."""

    status: bytes
    added: dict[str, bytes]
    checkpoint: str | None
    is_alive: bool


class NodeRun:
    """One attempt at one run, on a node."""

    def __init__(self, run_id: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="organism-run-"))
        self.run = RunFolder(self.home / "runs" / run_id)
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, folder: bytes, base: bytes | None, base_uri: str) -> str:
        """Unpack and begin; returns the node's name. Without an archive the base must be at its address here too."""
        unpack(folder, self.run.path)
        if base is not None:
            unpack(base, self.home / "base")
            base_uri = str(self.home / "base")
        description = self.run.description()
        write_json(
            self.run.path / "config.json", {**description, "config": {**description["config"], "base": base_uri}}
        )
        with self.run.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "organism.optimize.worker", str(self.run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return os.uname().nodename

    def news(self, seen: Mapping[str, int]) -> News:
        """What is new beyond the first `seen` bytes of each growing file."""
        is_alive = self.child is not None and self.child.poll() is None  # before the files: the last word is then there
        status = self.run.path / "status.json"
        added = {name: _after(self.run.path / name, seen.get(name, 0)) for name in GROWING}
        newest = max(self._checkpoints(), key=lambda folder: int(folder.name.split("-")[1]), default=None)
        return News(
            status.read_bytes() if status.is_file() else b"",
            {name: text for name, text in added.items() if text},
            newest.name if newest else None,
            is_alive,
        )

    def checkpoint(self, name: str) -> bytes | None:
        """A checkpoint as an archive; None when it was removed meanwhile."""
        try:
            return pack(self.run.checkpoints / name)
        except OSError:
            return None

    def stop(self) -> None:
        """Ask the worker to save a checkpoint and leave."""
        self.run.stop.touch()

    def results(self) -> bytes:
        """All that the worker left, but for what was there before and what was told as news."""
        return pack(self.run.path, leave_out=STAYS)

    def close(self) -> None:
        """End what still runs, and leave nothing behind."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        """Those that were written to their end: the trainer's state is the last file it writes."""
        found = self.run.checkpoints.glob("checkpoint-*/trainer_state.json")
        return [file.parent for file in found if _is_json(file)]


def pack(folder: Path, leave_out: Iterable[str] = ()) -> bytes:
    """The folder's files as a tar archive; raises OSError when one cannot be read."""
    out, unwanted = io.BytesIO(), set(leave_out)
    with tarfile.open(fileobj=out, mode="w") as archive:
        for item in sorted(folder.iterdir()):
            if item.name not in unwanted:
                archive.add(item, item.name)
    return out.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """The files of `pack`, into a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def _after(file: Path, n_bytes: int) -> bytes:
    if not file.is_file():
        return b""
    with file.open("rb") as stream:
        stream.seek(n_bytes)
        return stream.read()


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return True
