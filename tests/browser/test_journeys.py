"""The journeys a person makes, in a real browser. The first test stays first: its server has had no visitor yet."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
PATHS = ("/", "/sources", "/reward", "/fine-tunes", "/before-after", "/experiments")


def test_the_first_visitors_deep_link_runs_the_shell_too(open_page: Open) -> None:
    """A sibling pages/ folder would let Streamlit run the page without its frame."""
    page = open_page("/experiments")
    expect(page.get_by_text("Idle")).to_have_count(1)
    expect(page.get_by_text("Synthetic demo data")).to_have_count(1)
    expect(page).to_have_url(re.compile("exp="))
    expect(page).to_have_title("Experiments, Organism")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_drawn_in_both_themes_and_asks_no_other_host(open_page: Open, path: str, theme: str) -> None:
    page = open_page(path, theme)
    ground = {"light": "rgb(252, 251, 248)", "dark": "rgb(14, 21, 19)"}[theme]
    expect(page.locator("[data-testid=stApp]")).to_have_css("background-color", ground)
    page.wait_for_function("() => [...document.fonts].some(font => font.status === 'loaded')")


def test_an_unknown_api_path_answers_json_and_not_a_page(open_page: Open) -> None:
    page = open_page("/")
    answer = page.request.get(page.url + "v1/nope")
    assert answer.status in (401, 404)
    assert answer.headers["content-type"].startswith("application/json")


def test_a_dropped_file_becomes_events(open_page: Open, tmp_path: Path) -> None:
    file = tmp_path / "chats.csv"
    file.write_text("external_id,user_key,prompt,output\n1,ann,Why?,Because.\n2,bob,How?,Like so.\n")
    page = open_page("/sources")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("2 new, 0 already here, 0 in quarantine.")).to_be_visible()


def test_a_run_is_started_survives_a_reload_and_is_stopped(
    open_page: Open, wait_until_drawn: Callable[[Page], None]
) -> None:
    page = open_page("/fine-tunes")
    page.get_by_role("button", name="New fine-tune").click()
    page.get_by_role("dialog").get_by_role("button", name="Start").click()
    stop = page.locator("[class*=st-key-stop_]").get_by_role("button")  # Streamlit has a Stop of its own.
    expect(stop).to_be_visible()
    page.reload()
    wait_until_drawn(page)
    expect(stop).to_be_visible()
    expect(page.get_by_text("1 running")).to_be_visible()
    stop.click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_text("Idle")).to_be_visible()


def test_an_experiment_is_started_and_decided_and_the_record_stands(
    open_page: Open, clinic: Path, wait_until_drawn: Callable[[Page], None]
) -> None:
    page = open_page(f"/fine-tunes?run={finished_run(clinic)}")
    page.get_by_role("button", name="Start an experiment").click()
    page.wait_for_url(re.compile("/experiments.*exp="))
    wait_until_drawn(page)
    page.get_by_label("In one sentence, why?").fill("Nobody came yet")
    page.get_by_label("Your name").fill("Ana")
    page.get_by_role("button", name="Record the decision").click()
    expect(page.get_by_text("Recorded: keep running")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Nobody came yet")).to_be_visible()


def finished_run(place: Path) -> str:
    """The clinic's own run, which made a version; the oldest, whatever the tests before have started."""
    return min(path.name for path in (place / "runs").iterdir())


def test_a_slide_is_entered_by_its_link_and_left_with_escape(open_page: Open) -> None:
    page = open_page("/before-after?present=1")
    leave = page.get_by_role("button", name="Leave presentation")
    expect(leave).to_be_visible()
    expect(page.get_by_text("Idle")).to_have_count(0)
    # The key is bound a moment after the button is drawn, and the next drawing takes a moment too.
    expect(pressed(page, "Escape", until=page.get_by_text("Idle"))).to_be_visible()


def pressed(page: Page, key: str, *, until: Locator, every_ms: int = 2000, at_most: int = 20) -> Locator:
    """Press a key until something shows that was not there."""
    for _ in range(at_most):
        page.keyboard.press(key)
        with suppress(TimeoutError):
            until.wait_for(timeout=every_ms)
            break
    return until
