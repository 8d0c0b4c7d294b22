"""A run on a Ray cluster computes what it computes at home, tells how far it is, and stops when asked.

The cluster is a real one of two workers on this machine, reached as any other: by its ray:// address.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from organism.config import ROOT
from organism.errors import DesignError, RunError
from organism.optimize.configs import SftConfig
from organism.optimize.places import command, place_of, spawn
from organism.optimize.ray_node import NodeRun, pack, unpack
from organism.optimize.ray_place import RUNTIME_ENV, runtime_env
from organism.optimize.runs import Example, RunFolder, make_run_folder, training_steps
from organism.records import Recipe, RunStatus

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is an optional extra: pip install -r requirements-ray.txt"
)
N_ROWS, BATCH = 48, 8


def make_run(home: Path, run_id: str, base: Path, epochs: int = 1) -> RunFolder:
    """A run of six steps an epoch on a tiny model."""
    config = SftConfig(
        base=str(base), epochs=epochs, batch_size=BATCH, checkpoint_every=2, max_new_tokens=8, threads=1, bf16=False
    )
    rows = [
        Example(f"Patient {n} takes drug {n} mg.", f"Note: drug {n} mg.", f"user {n % 3}", str(n)) for n in range(54)
    ]
    description = {"recipe": Recipe.SFT, "config": asdict(config), "dataset_id": "d"}
    return make_run_folder(home / "runs" / run_id, description, rows[:N_ROWS], rows[N_ROWS:])


def wait_until(reached: Callable[[], object], seconds: float = 240.0) -> None:
    ends_at = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.05)


def _free_ports(n: int) -> list[int]:
    bound = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in bound]
    for one in bound:
        one.close()
    return ports


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray of two workers; its files live under a short path, since sockets' names are short."""
    home = Path("/tmp") / f"ray-{os.getpid()}"
    port, client = _free_ports(2)
    words = f"start --head --block --num-cpus 2 --port {port} --ray-client-server-port {client} --temp-dir {home}"
    words += " --min-worker-port 0 --max-worker-port 0 --node-ip-address 127.0.0.1 --object-store-memory 100000000"
    words += " --include-dashboard=false --disable-usage-stats"
    head = subprocess.Popen(
        [str(Path(sys.executable).parent / "ray"), *words.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )
    try:
        wait_until(lambda: _listens(client))
        yield f"ray://127.0.0.1:{client}"
    finally:
        head.terminate()
        head.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@needs_ray
def test_a_run_on_the_cluster_equals_one_at_home_and_another_beside_it_stops(
    cluster: str, tiny_base: Path, tmp_path: Path
) -> None:
    home, away = (make_run(tmp_path, name, tiny_base) for name in ("home", "away"))
    stopped = make_run(tmp_path, "stopped", tiny_base, epochs=50)
    children = [spawn(away, place_of(cluster)), spawn(stopped, place_of(cluster)), spawn(home)]
    wait_until(
        lambda: (len(training_steps(stopped)) >= 3 and stopped.status().total_steps) or children[1].poll() is not None
    )
    told = stopped.status()
    assert (told.state, told.pid) == (RunStatus.RUNNING, children[1].pid), told
    assert told.total_steps == 50 * N_ROWS // BATCH
    stopped.stop.touch()
    assert [child.wait(240) for child in children] == [0, 0, 0], (away.status(), away.log.read_text()[-2000:])
    last = stopped.status()
    assert (last.state, last.message.startswith("Stopped after step")) == (RunStatus.STOPPED, True)
    assert list(stopped.checkpoints.glob("checkpoint-*")), "what it had learned came home"
    assert away.status().state is RunStatus.DONE
    at_home, abroad = (load_file(run.adapter / "adapter_model.safetensors") for run in (home, away))
    assert at_home.keys() == abroad.keys()
    assert all((at_home[name] == abroad[name]).all() for name in at_home)
    assert [row["loss"] for row in training_steps(home)] == [row["loss"] for row in training_steps(away)]
    summaries = [json.loads(run.evaluation.read_text())["summary"] for run in (home, away)]
    assert summaries[0]["after"] == summaries[1]["after"]
    assert json.loads((away.adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_base)
    assert json.loads((away.path / "config.json").read_text())["config"]["base"] == str(tiny_base)


@needs_ray
def test_a_cluster_that_does_not_answer_fails_the_run_with_a_sentence(tiny_base: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, "lost", tiny_base)
    child = spawn(run, f"ray://127.0.0.1:{_free_ports(1)[0]}")
    assert child.wait(240) == 1
    status = run.status()
    assert status.state is RunStatus.FAILED
    assert "does not answer" in status.message


def test_the_node_side_trains_tells_and_hands_over_without_ray(tiny_base: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, "r", tiny_base)
    node = NodeRun("r")
    try:
        node.start(pack(run.path), pack(tiny_base), str(tiny_base))
        wait_until(lambda: not node.news({}).is_alive)
        news = node.news({"progress.jsonl": 0, "log.txt": 1 << 30})
        assert json.loads(news.status)["state"] == "done"
        assert news.added["progress.jsonl"].count(b'"train"') == N_ROWS // BATCH
        assert "log.txt" not in news.added
        unpack(node.results(), tmp_path / "back")
        assert {file.name for file in (tmp_path / "back").iterdir()} >= {"adapter", "evaluation.json", "trained.json"}
        assert not (tmp_path / "back" / "data.jsonl").exists()
    finally:
        node.close()
    assert not node.home.exists()


def test_places_are_named_and_unknown_ones_are_refused() -> None:
    assert place_of(None, {}) == place_of("local", {"RAY_ADDRESS": "ray://a:1"}) == "local"
    assert place_of("local:2", {}) == "local:2"
    for wrong, said in (("mars", "nobody knows"), ("local:0", "fewer than two processes"), ("ray", "RAY_ADDRESS")):
        with pytest.raises(DesignError, match=said):
            place_of(wrong, {})
    with pytest.raises(DesignError, match="more processes than this machine has cores; give at most"):
        place_of("local:99999", {})
    with pytest.raises(DesignError, match="nobody knows the place"):
        place_of("local:" + "9" * 5000, {})


@needs_ray
def test_the_cluster_of_the_environment_is_used_unless_another_is_named() -> None:
    named = {"RAY_ADDRESS": "ray://head:10001"}
    assert place_of(None, named) == place_of("ray", named) == "ray://head:10001"
    assert place_of("ray://other:10001", named) == "ray://other:10001"


def test_several_processes_are_started_by_accelerate(tmp_path: Path) -> None:
    words = command(RunFolder(tmp_path), "local:2")
    assert words[1:6] == ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    assert words[-3:] == ["-m", "organism.optimize.worker", str(tmp_path)]


def test_two_processes_under_accelerate_learn_what_one_learns_and_stop_together(
    tiny_base: Path, tmp_path: Path
) -> None:
    alone, shared = (make_run(tmp_path, name, tiny_base) for name in ("alone", "shared"))
    stopped = make_run(tmp_path, "stopped", tiny_base, epochs=50)
    children = [spawn(alone), spawn(shared, "local:2"), spawn(stopped, "local:2")]
    wait_until(lambda: len(training_steps(stopped)) >= 3 or children[2].poll() is not None)
    stopped.stop.touch()
    assert [child.wait(240) for child in children] == [0, 0, 0], (shared.log.read_text()[-20000:], stopped.status())
    assert stopped.status().message.startswith("Stopped after step")
    assert shared.status().state is RunStatus.DONE
    losses = [[row["loss"] for row in training_steps(run)] for run in (alone, shared)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    one, two = (load_file(run.adapter / "adapter_model.safetensors") for run in (alone, shared))
    assert all(abs(one[name] - two[name]).max() < 1e-4 for name in one)
    told = [json.loads(line)["step"] for line in shared.progress.read_text().splitlines() if '"train"' in line]
    assert told == list(range(1, 7)), "only the first process speaks"


def test_the_runtime_environment_takes_what_a_team_adds_and_refuses_what_is_no_object() -> None:
    added = runtime_env({RUNTIME_ENV: '{"pip": ["x"]}'})
    assert (added["pip"], added["py_modules"]) == (["x"], [str(ROOT / "organism")])
    for wrong in ("{", "[1]"):
        with pytest.raises(RunError, match=RUNTIME_ENV):
            runtime_env({RUNTIME_ENV: wrong})
