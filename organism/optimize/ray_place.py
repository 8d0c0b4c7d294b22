"""The bridge to a Ray cluster: `python -m organism.optimize.ray_place FOLDER ray://HOST:10001`.

It ships the run's folder, its base and this package to a node, and brings back status, progress, log, checkpoints and
results while they come. To the supervisor it is the run's process: it lives as long as the run, forwards `stop`, and
its own number stands in status.json. Nodes need the packages of requirements.txt; ORGANISM_RAY_RUNTIME_ENV, a JSON
object, is added to Ray's runtime environment (pip, container, env_vars).
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from organism.config import ROOT, Workspace
from organism.errors import OrganismError, RunError
from organism.optimize.ray_node import GROWING, News, NodeRun, pack, unpack
from organism.optimize.runs import RunFolder, Status, keep_lines, why_the_disk, write_json
from organism.records import Recipe, RunStatus

POLL_SECONDS = 0.5
KNOCKS = 3
LARGEST_BASE = 2 << 30
RUNTIME_ENV = "ORGANISM_RAY_RUNTIME_ENV"
ENDED = frozenset({RunStatus.DONE, RunStatus.STOPPED, RunStatus.FAILED})


class Bridge:
    """One run on its way to a cluster and back."""

    def __init__(self, run: RunFolder, address: str) -> None:
        self.run, self.address = run, address
        self.pid, self.born = os.getpid(), psutil.Process().create_time()
        self.stop_was_told = False
        self.checkpoint: str | None = None

    def say(self, state: RunStatus, message: str) -> None:
        """Write where the run stands, in the bridge's own words."""
        self.run.write_status(Status(state, message, self.pid, self.born, at=time.time()))

    def work(self) -> int:
        """Start it there and stay until it has ended; 0 when it ended as asked."""
        import ray  # an optional extra, and a second of imports

        self.say(RunStatus.RUNNING, f"Connecting to the Ray cluster at {self.address}")
        base_uri = str(self.run.config().base)
        base = _base_archive(Workspace(self.run.workspace).locate(base_uri))
        _require_portable(self.run)
        keep_lines(self.run.progress)
        _connect(ray, self.address)
        try:
            actor = ray.remote(NodeRun).options(**_resources(ray, self.run)).remote(self.run.run_id)
            began = actor.start.remote(pack(self.run.path, leave_out=("stop", "log.txt")), base, base_uri)
            if not self._wait_for(ray, began):
                self.say(RunStatus.STOPPED, "Stopped before the cluster had room for it")
                return 0
            try:
                return self._follow(ray, actor)
            finally:
                ray.get(actor.close.remote(), timeout=30)
        finally:
            ray.shutdown()

    def _wait_for(self, ray: Any, began: Any) -> bool:
        """Wait until the node has begun; False when somebody wants to stop before."""
        while True:
            ready, _ = ray.wait([began], timeout=POLL_SECONDS)
            if ready:
                self.say(RunStatus.RUNNING, f"Loading the model on node {ray.get(began)}")
                return True
            if self.run.stop.exists():
                return False
            self.say(RunStatus.RUNNING, f"Waiting for room on the Ray cluster at {self.address}")

    def _follow(self, ray: Any, actor: Any) -> int:
        # The node appends to the progress that it was sent, and begins a log of its own.
        seen = dict.fromkeys(GROWING, 0)
        progress = self.run.progress
        seen["progress.jsonl"] = progress.stat().st_size if progress.exists() else 0
        while True:
            if self.run.stop.exists() and not self.stop_was_told:
                ray.get(actor.stop.remote())
                self.stop_was_told = True
            news: News = ray.get(actor.news.remote(seen))
            for name, text in news.added.items():
                with (self.run.path / name).open("ab") as out:
                    out.write(text)
                seen[name] += len(text)
            status = json.loads(news.status) if news.status else {}
            if status.get("state") in ENDED or not news.is_alive:
                return self._take_home(ray, actor, status)
            self._tell(status)
            self._keep(ray, actor, news.checkpoint)
            time.sleep(POLL_SECONDS)

    def _tell(self, status: Mapping[str, Any]) -> None:
        """The node's word, under the bridge's own process number."""
        if status.get("pid"):  # before that it is the status that was sent there
            write_json(self.run.path / "status.json", {**status, "pid": self.pid, "pid_started_at": self.born})

    def _keep(self, ray: Any, actor: Any, newest: str | None) -> None:
        """Bring the newest checkpoint home, so that the loss of a node costs no more than the steps since."""
        if newest is None or newest == self.checkpoint or (self.run.checkpoints / newest).exists():
            return
        archive = ray.get(actor.checkpoint.remote(newest))
        if archive is not None:
            draft = self.run.path / "checkpoint.tmp"
            shutil.rmtree(draft, ignore_errors=True)
            unpack(archive, draft)
            self.run.checkpoints.mkdir(exist_ok=True)
            draft.rename(self.run.checkpoints / newest)
            if self.checkpoint is not None:
                shutil.rmtree(self.run.checkpoints / self.checkpoint, ignore_errors=True)
            self.checkpoint = newest

    def _take_home(self, ray: Any, actor: Any, status: Mapping[str, Any]) -> int:
        """Results first, then the last word: whoever reads `done` finds everything."""
        draft = self.run.path / "results.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        unpack(ray.get(actor.results.remote()), draft)
        _name_base(draft / "adapter" / "adapter_config.json", self.run)
        for item in sorted(draft.iterdir()):
            target = self.run.path / item.name
            if target.is_dir():
                shutil.rmtree(target)
            item.replace(target)
        draft.rmdir()
        if status.get("state") not in ENDED:
            raise RunError(
                "the training process on the node vanished (killed, or out of memory); resume the run: it goes on from "
                "its last checkpoint. log.txt has its last words"
            )
        self._tell(status)
        return 1 if status["state"] == RunStatus.FAILED else 0


def runtime_env(environment: Mapping[str, str]) -> dict[str, Any]:
    """This package for the nodes, and what ORGANISM_RAY_RUNTIME_ENV adds; raises RunError when that is no object."""
    said = environment.get(RUNTIME_ENV, "").strip() or "{}"
    try:
        added = json.loads(said)
    except ValueError as error:
        raise RunError(f'{RUNTIME_ENV} is no JSON ({error}); write it as {{"pip": [...]}}, or unset it') from error
    if not isinstance(added, dict):
        raise RunError(f'{RUNTIME_ENV} is a JSON {type(added).__name__}; wanted an object such as {{"pip": [...]}}')
    return {"py_modules": [str(ROOT / "organism")], "excludes": ["static", "__pycache__"], **added}


def _resources(ray: Any, run: RunFolder) -> dict[str, Any]:
    """One accelerator where the cluster has any, and as many processors as the run has threads."""
    gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    return {"num_cpus": run.config().threads or 1, "num_gpus": gpus}


def _base_archive(base: Path) -> bytes | None:
    """The base's files; None where they are too many to send, and the nodes must have them at the same place."""
    if sum(file.stat().st_size for file in base.rglob("*") if file.is_file()) > LARGEST_BASE:
        return None
    return pack(base)


def _require_portable(run: RunFolder) -> None:
    """Raise RunError for a run that needs other models of this machine."""
    description = run.description()
    judge = str(description["config"].get("judge") or "")
    if run.recipe() is Recipe.EVALUATE or (judge and not judge.startswith(("http://", "https://"))):
        raise RunError(
            "a run that reads other models of this workspace does not travel to a cluster; train it here "
            "(--on local), or name a judge by its endpoint"
        )


def _name_base(config: Path, run: RunFolder) -> None:
    """The base by its place here: the node's own is gone by now."""
    if config.is_file():
        values = json.loads(config.read_text(encoding="utf-8"))
        base = str(Workspace(run.workspace).locate(run.config().base))
        write_json(config, {**values, "base_model_name_or_path": base})


def main(folder: Path, address: str) -> int:
    """Be the run's process; 0 when it ended as asked (done or stopped), 1 when it failed."""
    run = RunFolder(folder.resolve())
    bridge = Bridge(run, address)

    def on_signal(number: int, frame: FrameType | None) -> None:
        run.stop.touch()

    signal.signal(signal.SIGTERM, on_signal)
    try:
        return bridge.work()
    except OrganismError as error:
        bridge.say(RunStatus.FAILED, str(error))
    except OSError as error:
        bridge.say(RunStatus.FAILED, why_the_disk(error, run.path) if error.errno else _lost(address, error))
    except Exception as error:  # Ray's client raises whatever the cluster leads to
        bridge.say(RunStatus.FAILED, _lost(address, error))
    return 1


def _connect(ray: Any, address: str) -> None:
    """Join the cluster; one that is busy may need a second knock, since it starts a server for every client."""
    asked = runtime_env(os.environ)
    for attempt in range(1, KNOCKS + 1):
        try:
            ray.init(address, runtime_env=asked, log_to_driver=False, logging_level="ERROR")
            return
        except ConnectionError:
            if attempt == KNOCKS:
                raise
            time.sleep(attempt)


def _lost(address: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return (
        f"the Ray cluster at {address} does not answer ({reason}); see that it runs (`ray status`) with the same Ray "
        "and Python as here, then resume the run"
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
