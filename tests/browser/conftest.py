"""A real Chromium against a real server on a workspace of its own."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from organism.config import ROOT

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 90_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; skipped where there is none, but never in CI."""
    if not Path(CHROMIUM).exists():
        sentence = f"no Chromium at {CHROMIUM}; install it, or name it in CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one finished turn."""
    place = tmp_path_factory.mktemp("browser") / "workspace"
    subprocess.run([sys.executable, "-m", "tests.pages.clinic", str(place)], cwd=ROOT, check=True)
    return place


@pytest.fixture(scope="module")
def url(clinic: Path) -> Iterator[str]:
    """The address of a fresh server on that workspace."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "organism", "serve", "--workspace", str(clinic), "--port", str(port), "--no-demo"]
    log = clinic.parent / "server.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out) as server:
        for _ in range(600):
            assert server.poll() is None, log.read_text()[-3000:]
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens a path and waits until it is drawn. Fails on a script error or on a request to any other host."""
    contexts: list[Any] = []
    errors: list[str] = []
    outside: list[str] = []

    def opened(path: str, theme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: outside.append(sent.url) if not is_inside(sent.url, url) else None)
        page.goto(url + path)
        settled(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors
    assert not outside


def is_inside(asked: str, url: str) -> bool:
    return asked.startswith((url, url.replace("http", "ws", 1), "data:", "blob:"))


def settled(page: Page) -> None:
    """Wait until the page is drawn; no exception may stand on it."""
    page.locator("h1").first.wait_for()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"
    )
    assert page.locator("[data-testid=stException]").count() == 0


@pytest.fixture
def wait_until_drawn() -> Callable[[Page], None]:
    return settled
