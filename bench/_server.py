"""The HTTP API alone on a socket of this machine, for benchmarks: `python -m bench._server WORKSPACE PORT`."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
KEY = "bench"


def main(folder: str, port: int) -> None:
    """Serve until killed."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from organism.api.app import create_api
    from organism.config import Workspace
    from organism.store.schema import open_store

    store = open_store(Workspace(Path(folder)).database)
    bound = socket.create_server(("127.0.0.1", port), backlog=256)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    app = Starlette(routes=[Mount("/v1", create_api(lambda: store, KEY))])
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[bound])
    store.close()


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def start(command: list[str], port: int) -> subprocess.Popen[Any]:
    """Start a server as a child of its own session and return it once its health route answers."""
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the child writes to it for as long as it lives
    child = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"ORGANISM_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
    )
    for _ in range(1200):
        if child.poll() is not None:
            log.seek(0)
            raise SystemExit(f"the server ended with {child.returncode} before it answered:\n{log.read()[-3000:]}")
        with suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/v1/health").status_code == 200:
                return child
        time.sleep(0.05)
    kill(child)
    raise SystemExit("the server did not answer within a minute")


def kill(child: subprocess.Popen[Any]) -> None:
    """End the child and its own children at once, as a power cut would."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
