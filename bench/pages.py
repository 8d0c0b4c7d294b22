"""How long a person waits: first page after start, click to redrawn, slider to redrawn. `python -m bench.pages`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

from bench._server import free_port
from organism.config import ROOT, utcnow, workspace
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.database import Store
from organism.store.schema import open_store

LIMIT_MS = 300.0
FIRST_PAGE_LIMIT_S = 60.0
N_INTERACTIONS = 100_000
BATCH = 5_000
CLICKS = 15
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
CLICK = """async ([link, title, charts]) => {
    const began = performance.now()
    document.querySelector(`[data-testid=stSidebarNav] a[href$='${link}']`).click()
    const drawn = () => document.querySelector('h1')?.innerText.includes(title)
        && document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'
        && !document.querySelector('[data-stale=true]')
        && document.querySelectorAll('.js-plotly-plot:has(.main-svg)').length >= charts
    while (!drawn()) await new Promise(requestAnimationFrame)
    return performance.now() - began
}"""
SLIDE = """async ([key]) => {
    const thumb = document.activeElement
    const app = document.querySelector('[data-testid=stApp]')
    const marks = () => [...document.querySelectorAll('.js-plotly-plot')].map(chart =>
        [...chart.querySelectorAll('.point')].map(point => point.getAttribute('transform')).join())
    const before = marks()
    const press = {key, code: key, bubbles: true, cancelable: true}
    thumb.dispatchEvent(new KeyboardEvent('keydown', press))
    const began = performance.now()
    thumb.dispatchEvent(new KeyboardEvent('keyup', press))
    const drawn = () => app.getAttribute('data-test-script-state') === 'notRunning'
        && !document.querySelector('[data-stale=true]')
        && before.length > 0 && marks().every((mark, number) => mark !== before[number])
    while (!drawn() && performance.now() - began < 20000) await new Promise(requestAnimationFrame)
    await new Promise(requestAnimationFrame)
    return performance.now() - began
}"""


TAB = """async ([name, title]) => {
    const began = performance.now()
    ;[...document.querySelectorAll('[role=tab]')].find(tab => tab.innerText === name).click()
    const drawn = () => [...document.querySelectorAll('h2')].some(head => head.innerText === title)
        && document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'
        && !document.querySelector('[data-stale=true]')
        && document.querySelectorAll('.js-plotly-plot:has(.main-svg)').length >= 3
    while (!drawn() && performance.now() - began < 20000) await new Promise(requestAnimationFrame)
    return performance.now() - began
}"""


def main() -> int:
    """Print each time beside its limit. Returns 1 when one is missed."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        empty = Path(folder) / "empty"
        with serving(empty, page) as first_page_s:
            empty_ms = click_to_drawn(page, there=("/fine-tunes", "Fine-tunes", 0), back=("/reward", "Reward", 0))
        full = Path(folder) / "full"
        with closing(open_store(workspace(full).database)) as store:
            fill(store)
        with serving(full, page):
            home_ms = click_to_drawn(page, there=("/", "Metabolism", 2), back=("/sources", "Sources", 0))
        with serving(Path(folder) / "demo", page, demo=True) as demo_s:
            slider_ms = slider_to_drawn(page)
            experiment_ms = click_to_drawn(
                page, there=("/experiments", "Experiments", 3), back=("/sources", "Sources", 0)
            )
            tab_ms = tab_to_drawn(page)
        browser.close()
    rows = [
        ("first page after start, s", first_page_s, FIRST_PAGE_LIMIT_S),
        ("empty page, click to redrawn, ms", empty_ms, LIMIT_MS),
        (f"home at {N_INTERACTIONS:,} interactions, ms", home_ms, LIMIT_MS),
        ("first page with the demo to seed, s", demo_s, FIRST_PAGE_LIMIT_S),
        ("reward designer, slider to redrawn, ms", slider_ms, LIMIT_MS),
        ("experiments, click to redrawn, ms", experiment_ms, LIMIT_MS),
        ("experiments, tab to redrawn, ms", tab_ms, LIMIT_MS),
    ]
    for name, value, limit in rows:
        print(f"{name:<42} {value:9.1f}   limit {limit:6.0f}   {value / limit:5.2f} of it")
    return 0 if all(value < limit for _, value, limit in rows) else 1


@contextmanager
def serving(place: Path, page: Page, *, demo: bool = False) -> Iterator[float]:
    """The app on this workspace; yields the seconds from its start until a browser shows the first page."""
    port, began = free_port(), time.perf_counter()
    command = [sys.executable, "-m", "organism", "serve", "--workspace", str(place), "--port", str(port)]
    command += [] if demo else ["--no-demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        wait_for(server, page, f"http://127.0.0.1:{port}/")
        yield time.perf_counter() - began
        server.terminate()


def wait_for(server: subprocess.Popen[bytes], page: Page, url: str) -> None:
    """Open the first page as soon as the server takes connections."""
    while server.poll() is None:
        try:
            page.goto(url)
        except Exception as error:
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            time.sleep(0.05)
        else:
            page.locator("h1").first.wait_for()
            page.wait_for_function("() => !!document.querySelector('[data-test-script-state=notRunning]')")
            return
    raise SystemExit(f"the server ended with {server.returncode} before it answered")


def click_to_drawn(page: Page, *, there: tuple[str, str, int], back: tuple[str, str, int]) -> float:
    """The median milliseconds from a click in the menu until the page is drawn with all its charts."""
    times = []
    for number in range(CLICKS + 3):
        page.evaluate(CLICK, list(back))
        taken = page.evaluate(CLICK, list(there))
        if number >= 3:
            times.append(float(taken))
    return median(times)


def tab_to_drawn(page: Page) -> float:
    """The median milliseconds from a click on an experiment's tab until its chart is drawn, two tabs in turn."""
    page.evaluate(CLICK, ["/experiments", "Experiments", 3])
    tabs = (("Segments", "Does it help everyone?"), ("Measures", "Everything measured"))
    times = [float(page.evaluate(TAB, list(tabs[number % 2]))) for number in range(CLICKS + 5)]
    return median(times[5:])


def slider_to_drawn(page: Page) -> float:
    """The median milliseconds from releasing the price slider until both charts of who wins are drawn anew.

    The thumb is moved by keyboard, one step forth and one back, so that each move changes what is drawn.
    """
    page.evaluate(CLICK, ["/reward", "Reward", 2])
    page.get_by_role("slider", name="Price").focus()
    times = []
    for number in range(CLICKS + 5):
        page.wait_for_timeout(150)
        taken = page.evaluate(SLIDE, ["ArrowLeft" if number % 2 else "ArrowRight"])
        if number >= 5:
            times.append(float(taken))
    return median(times)


def fill(store: Store) -> None:
    """A hundred thousand drafts of 400 users over eight weeks, nine of ten answered."""
    now = utcnow()
    began = now - timedelta(weeks=8)
    step = timedelta(weeks=8) / N_INTERACTIONS
    for first in range(0, N_INTERACTIONS, BATCH):
        numbers = range(first, first + BATCH)
        drafts = [_draft(n, began + n * step) for n in numbers]
        answers = [_answer(n, began + n * step + timedelta(seconds=90)) for n in numbers if n % 10]
        ingest(store, EventKind.INTERACTIONS, drafts, now=now).result()
        ingest(store, EventKind.FEEDBACK, answers, now=now).result()


def _draft(n: int, at: object) -> dict[str, object]:
    return {
        "loop": "bench",
        "source": "bench",
        "external_id": str(n),
        "user_key": f"user-{n % 400}",
        "variant_id": ("base", "tuned-1")[n * 7 % 11 % 2],
        "occurred_at": at,
        "prompt": f"Visit {n}",
        "output": f"Cough for {n % 9} days. No fever. Rest and fluids; come back in {n % 5} weeks if it stays.",
        "latency_ms": 300 + n % 500,
        "cost_usd": 0.0002,
        "consent": True,
    }


def _answer(n: int, at: object) -> dict[str, object]:
    return {
        "source": "bench",
        "external_id": f"a{n}",
        "interaction_external_id": str(n),
        "kind": "edit",
        "final_text": f"Cough {n % 9} days, no fever. Rest and fluids; come back in {n % 5} weeks if it stays.",
        "occurred_at": at,
    }


if __name__ == "__main__":
    sys.exit(main())
