"""`organism serve`: the app on a socket without Nagle's delay (Streamlit's own leaves it on: 45 ms a request)."""

import argparse
import errno
import logging
import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from organism.cli.output import Result
from organism.config import ROOT, Workspace, workspace
from organism.errors import InputError, OrganismError
from organism.store.database import leave_card

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(args: argparse.Namespace) -> Result:
    """Serve until interrupted. Raises InputError when the port is taken."""
    place = workspace(args.workspace)
    bound = _bind(args.host, args.port)
    port = bound.getsockname()[1]
    url = f"http://{args.host}:{port}"
    os.environ["ORGANISM_WORKSPACE"] = str(place.path)
    if args.no_demo:
        os.environ["ORGANISM_DEMO"] = "0"
    if not place.database.exists() and not args.no_demo:
        print("Seeding the synthetic demo into a new workspace ...", file=sys.stderr, flush=True)
    _run(bound, names_of(args.host), lambda: _announce(url, place, args.open))
    return Result("stopped", {"status": "stopped"})


def _bind(host: str, port: int) -> socket.socket:
    try:
        bound = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} is taken by another program; choose another with --port N (0 picks a free one)."
            ) from error
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror}; choose another --host or --port."
        ) from error
    except OverflowError as error:
        raise InputError(f"port {port} does not exist; choose one from 0 to 65535 with --port N.") from error
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def names_of(host: str) -> list[str]:
    """Under which names a browser may open the pages: this machine alone, or what others in its network call it.

    A page opened under any other name is refused, so that no stranger's site can borrow a visitor's browser.
    """
    if host in LOOPBACK:
        return list(LOOPBACK[:2])
    own = socket.gethostname()
    found = {*LOOPBACK[:2], own, f"{own}.local", host}
    with suppress(OSError):
        found |= {str(address[4][0]) for address in socket.getaddrinfo(own, None)}
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; says which address faces the network
        found.add(probe.getsockname()[0])
    return sorted(found - {"0.0.0.0", "::"})


def _run(bound: socket.socket, names: list[str], announce: Callable[[], None]) -> None:
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    import uvicorn
    from streamlit import config as pages

    pages.get_config_options()
    pages.set_option("server.allowedHosts", names)
    config = uvicorn.Config(
        "app:app", access_log=False, log_level="warning", ws_max_size=200 * 2**20, ws_per_message_deflate=False
    )
    # Streamlit gives every logger a handler, which would switch the access log on again.
    logging.getLogger("uvicorn.access").disabled = True
    server = uvicorn.Server(config)
    threading.Thread(target=_once_started, args=(server, announce), daemon=True).start()
    with suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
    if not server.started:
        raise OrganismError("the app did not start; the lines above say why. `organism doctor` checks the rest.")


def _once_started(server: "uvicorn.Server", announce: Callable[[], None]) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.05)
    announce()


def _announce(url: str, place: Workspace, open_browser: bool) -> None:
    """Say where the app is, and leave the address for a second process to name."""
    if place.path.is_dir():
        leave_card(place.path, url)
    print(f"Organism is at {url}  (workspace {_short(place.path)}; Ctrl+C stops it)", file=sys.stderr, flush=True)
    if open_browser:
        webbrowser.open(url)


def _short(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
