"""Where a run is worked on: on this machine, on several of its accelerators, or on a Ray cluster. No torch, no store.

Wherever that is, the process that `spawn` starts is a child on this machine, and its run folder is the one that counts:
the worker itself, or a bridge that ships the folder to the cluster and brings status, progress, log and results back
while they come. So whoever supervises asks three things that are the same for every place: is the child alive (its
process number), how far is it (status.json), and please stop (a file named `stop`).
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from organism.config import ROOT
from organism.errors import DesignError
from organism.optimize.runs import RunFolder, Status
from organism.records import RunStatus

LOCAL = "local"
RAY_ADDRESS = "RAY_ADDRESS"
_SEVERAL = re.compile(r"local:(\d{1,6})")
_RAY = re.compile(r"ray://[^\s/:]+(:\d+)?")


def place_of(on: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The place that was asked for: `local`, `local:N` (N processes under accelerate), or `ray://HOST:PORT`.

    None means the cluster that RAY_ADDRESS names, and this machine where it names none; `ray` means the former only.
    Raises DesignError for a place that nobody knows, or for Ray where it is not installed.
    """
    named = environment.get(RAY_ADDRESS, "").strip()
    if on in (None, "", LOCAL) or (on == "ray" and named):
        place = LOCAL if on == LOCAL or not named else named
    else:
        place = str(on)
    if place == "ray":
        raise DesignError(f"`--on ray` asks {RAY_ADDRESS} for the cluster, and it is not set; give ray://HOST:10001")
    if place != LOCAL:
        _require_known(place)
    return place


def _require_known(place: str) -> None:
    if several := _SEVERAL.fullmatch(place):
        if int(several[1]) < 2:
            raise DesignError(f"place '{place}' asks for fewer than two processes; give local, or local:2 for two")
        most = max(2, os.cpu_count() or 2)
        if int(several[1]) > most:
            raise DesignError(
                f"place '{place}' asks for more processes than this machine has cores; give at most {most}"
            )
    elif not _RAY.fullmatch(place):
        raise DesignError(
            f"nobody knows the place {place!r:.80}; give local, local:2 (two processes under accelerate), "
            "or the cluster's ray://HOST:10001"
        )
    elif find_spec("ray") is None:
        raise DesignError(
            f"a run on {place} needs Ray, which is not installed here: `pip install -r requirements-ray.txt`"
        )


def spawn(folder: RunFolder, place: str = LOCAL) -> "subprocess.Popen[bytes]":
    """Start the work on this folder in a session of its own, its words going to log.txt.

    Raises OSError when no process can be started. A place that cannot be reached is told in status.json.
    """
    folder.write_status(Status(RunStatus.QUEUED, "Starting", seconds=folder.status().seconds))
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            command(folder, place),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def command(folder: RunFolder, place: str) -> list[str]:
    """The command line of the child for this place."""
    worker = ["-m", "organism.optimize.worker", str(folder.path)]
    if place == LOCAL:
        return [sys.executable, *worker]
    if several := _SEVERAL.fullmatch(place):
        return [sys.executable, *_accelerate(int(several[1])), *worker]
    return [sys.executable, "-m", "organism.optimize.ray_place", str(folder.path), place]


def _accelerate(n_processes: int) -> list[str]:
    """accelerate's launcher; the processes take an accelerator each where there are any, else share the processor."""
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(n_processes)]
    return [
        *launcher,
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
    ]
