"""What a person does on the reward designer, in a real browser."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
VIEWS = ("Trade-offs", "What would it grow?", "Signals")


def test_a_draft_by_slider_travels_in_its_link_through_the_views_and_is_saved_with_a_reason(
    open_page: Open, wait_until_drawn: Callable[[Page], None]
) -> None:
    page = open_page("/reward")
    page.get_by_role("slider", name="Price").press("ArrowRight")
    page.wait_for_url(re.compile("w_price=0.25"))
    expect(page.get_by_text("cost_usd 0.20 → 0.25")).to_be_visible()
    page.reload()
    wait_until_drawn(page)
    expect(page.get_by_role("slider", name="Price")).to_have_value("0.25")
    for view in VIEWS:
        page.get_by_role("radio", name=view).click()
        wait_until_drawn(page)
    page.get_by_role("button", name="Save as version 1").click()
    page.get_by_label("What should get better?").fill("Cheaper drafts")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Version 1 is live.")).to_be_visible()
    expect(page.get_by_text("The draft is the live design.")).to_be_visible()


def test_a_preset_is_a_link_that_another_person_opens(
    open_page: Open, wait_until_drawn: Callable[[Page], None]
) -> None:
    page = open_page("/reward")
    page.get_by_role("radio", name="Performance").click()
    page.wait_for_url(re.compile("draft="))
    expect(page.get_by_role("slider", name="Performance")).to_have_value("0.6")
    other = open_page(page.url.replace(page.url.split("/reward")[0], ""))
    expect(other.get_by_role("slider", name="Performance")).to_have_value("0.6")


def test_a_weight_is_typed_into_the_table_and_a_guardrail_without_a_bound_is_refused(open_page: Open) -> None:
    page = open_page("/reward")
    tables = page.get_by_role("button", name="Signals and anchors")
    tables.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_test_id("stDataFrame").first.click(position={"x": 245, "y": 50})
    page.keyboard.press("Enter")
    page.locator("#portal input").fill("0.5")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)  # The table hands an edit on a moment later.
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text(re.compile(r"accepted 0\.\d+ → 0\.50?\b"))).to_be_visible()
    tables.click()
    dialog.get_by_test_id("stDataFrame").last.click(position={"x": 100, "y": 50})
    option = page.locator("#portal").get_by_role("option", name="cost_usd")
    option.wait_for()
    for _ in range(20):  # Until the menu stands still, a click on it goes nowhere.
        option.click()
        with suppress(TimeoutError):
            option.wait_for(state="detached", timeout=2000)
            break
    expect(option).to_have_count(0)
    page.wait_for_timeout(1500)
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog.get_by_text("guards cost_usd without a bound")).to_be_visible()


def test_a_draft_is_there_again_after_a_look_at_another_page(open_page: Open) -> None:
    page = open_page("/reward")
    page.get_by_role("radio", name="Performance").click()
    page.wait_for_url(re.compile("draft="))
    page.get_by_role("link", name="Sources").click()
    expect(page.get_by_role("heading", name="Sources")).to_be_visible()
    page.get_by_role("link", name="Reward designer").click()
    expect(page.get_by_role("slider", name="Performance")).to_have_value("0.6")


def test_a_design_leaves_as_a_file_and_comes_back_as_a_draft(open_page: Open, tmp_path: Path) -> None:
    page = open_page("/reward?w_price=0.7")
    page.get_by_role("button", name="Share").click()
    with page.expect_download() as started:
        page.get_by_role("button", name="TOML").click()
    file = tmp_path / "cheap.toml"
    started.value.save_as(file)
    other = open_page("/reward")
    other.get_by_role("button", name="Share").click()
    other.locator("input[type=file]").set_input_files(file)
    expect(other.get_by_role("dialog")).to_have_count(0)
    expect(other.get_by_role("slider", name="Price")).to_have_value("0.7")


def test_a_file_that_is_no_design_is_one_sentence_and_the_draft_stays(open_page: Open, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("name = ")
    page = open_page("/reward")
    page.get_by_role("button", name="Share").click()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("dialog").get_by_text("The draft stays as it was")).to_be_visible()
