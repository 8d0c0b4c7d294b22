"""What a team does with experiments in a real browser: one blocked, one of three variants, one planned."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from organism.config import ROOT

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def ids(clinic: Path) -> dict[str, str]:
    """The experiments by what they are: three, blocked, planned. Written before the server opens the workspace."""
    command = [sys.executable, "-m", "tests.pages.experiment_places", str(clinic)]
    written = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in written.splitlines())


@pytest.fixture(scope="module")
def url(ids: dict[str, str], url: str) -> str:
    """The server, started once the experiments are there."""
    return url


def test_a_blocked_experiment_says_why_and_shows_no_effect(ids: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/experiments?exp={ids['blocked']}")
    expect(page.get_by_role("heading", name="Blocked", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Why it is blocked")).to_be_visible()
    expect(page.get_by_role("heading", name="The effect so far")).to_have_count(0)
    expect(page.get_by_role("tab")).to_have_text(["Power and plan", "Split and trust"])


def test_a_tab_is_in_the_link_and_is_open_again_after_a_reload(
    ids: dict[str, str], open_page: Open, wait_until_drawn: Callable[[Page], None]
) -> None:
    page = open_page(f"/experiments?exp={ids['three']}")
    page.get_by_role("tab", name="Segments").click()
    expect(page.get_by_role("heading", name="Does it help everyone?")).to_be_visible()
    expect(page).to_have_url(re.compile("detail=Segments"))
    page.reload()
    wait_until_drawn(page)
    expect(page.get_by_role("heading", name="Does it help everyone?")).to_be_visible()
    page.get_by_role("radio", name="short-prompt").click()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_slide_fits_one_screen_and_a_page_fits_a_phone(ids: dict[str, str], open_page: Open, url: str) -> None:
    slide = open_page(f"/experiments?exp={ids['three']}&present=1")
    expect(slide.get_by_role("heading", name="Ship scribe-1")).to_be_visible()
    expect(slide.get_by_role("button", name="Leave presentation")).to_be_in_viewport()
    slide.set_viewport_size(PHONE)  # type: ignore[arg-type]
    slide.goto(f"{url}/experiments?exp={ids['three']}")
    expect(slide.get_by_role("heading", name="The effect so far")).to_be_visible()
    assert slide.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_planned_experiment_is_started_and_stopped_for_good(ids: dict[str, str], open_page: Open) -> None:
    page = open_page(f"/experiments?exp={ids['planned']}")
    expect(page.get_by_role("heading", name="Planned, not started")).to_be_visible()
    page.get_by_label("Your name").fill("Ana")
    page.get_by_role("button", name="Start the experiment").click()
    expect(page.get_by_role("heading", name="Keep running")).to_be_visible()
    page.get_by_role("radio", name="Stop", exact=True).click()
    page.get_by_label("In one sentence, why?").fill("Planned by mistake")
    page.get_by_label("Your name").fill("Ana")
    page.get_by_role("button", name="Record the decision").click()
    expect(page.get_by_role("heading", name="Decided: stop")).to_be_visible()
