"""A room's journey: a ballot is opened on the big screen, judged on a phone, closed, and the phone says the names."""

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

Open = Callable[..., Page]
PHONE = {"width": 390, "height": 844}
TOP = "document.querySelector('[data-testid=stMain]').scrollTop"


def test_a_ballot_is_opened_judged_on_a_phone_and_closed(open_page: Open, browser: Browser, url: str) -> None:
    room = open_page("/before-after?view=vote")
    room.get_by_text("Open a ballot", exact=True).click()
    room.get_by_role("button", name="Open the ballot").click()
    link = room.locator("[data-testid=stCode]").inner_text().strip()
    assert link.startswith(f"{url}/vote?ballot=")
    context = browser.new_context(viewport=PHONE, color_scheme="dark")  # type: ignore[arg-type]
    phone = context.new_page()
    phone.goto(link)
    phone.get_by_role("textbox", name="Your name").fill("Ana")
    phone.get_by_role("button", name="Start").click()
    for place in range(1, 9):
        expect(phone.get_by_text(f"Pair {place} of 8")).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(phone.get_by_role("button", name="Second", exact=True)).to_be_in_viewport()
        phone.wait_for_function(f"() => {TOP} === 0")
        phone.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 9999)")
        phone.get_by_role("button", name="First" if place % 2 else "Same", exact=True).click()
    expect(phone.get_by_text("All 8 are judged")).to_be_visible()
    expect(room.get_by_text(re.compile("1 voter cast 8 votes"))).to_be_visible()
    expect(room.get_by_text(re.compile("Model 1|Model 2")).first).to_be_visible()
    room.get_by_role("button", name="Close and say the names").click()
    expect(room.get_by_text("Prompt by prompt")).to_be_visible()
    expect(phone.get_by_text(re.compile("You preferred (base|scribe-1) in"))).to_be_visible()
    context.close()
