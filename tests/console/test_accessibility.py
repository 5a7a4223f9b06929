"""Every view, light and dark, by axe-core; none wider than its screen, from a control room's to a phone's."""

from __future__ import annotations

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.console.conftest import SHOTS, Rig
from tests.console.support import asked, to

VIEWS = ("Overview", "Trends", "What-if", "Optimize", "Twin", "Data", "Fleets")
SIZES = {"control-room": (1280, 720), "tablet": (1024, 768), "tablet-upright": (768, 1024), "phone": (400, 800)}
SERIOUS = ("serious", "critical")


def filled(page: Page, view: str) -> None:
    """Go to a view and have it show what it can."""
    to(page, view)
    if view == "What-if":
        asked(page, "predict", lambda: page.get_by_label("Add a move of pump_1").click())
        page.get_by_label("pump_1, move 1: value").fill("9")  # beyond the limit: told in words
        expect(page.get_by_text("Not done as asked")).to_be_visible()
    if view == "Optimize":
        page.get_by_label("level_1 low").fill("17.9")
        asked(page, "optimize", lambda: page.get_by_role("button", name="Plan", exact=True).click())
    page.locator("details").evaluate_all("all => all.forEach((one) => (one.open = true))")
    waiting = page.get_by_text("Reading …")
    expect(waiting).to_have_count(0)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_serious_in_any_view(console: Page, rig: Rig, theme: str) -> None:
    switch = console.get_by_role("button", name=theme, exact=True)
    if switch.count():
        switch.click()
    axe = Axe()
    for view in VIEWS:
        filled(console, view)
        found = axe.run(console, options={"resultTypes": ["violations"]})
        assert len(found["passes"]) > 15, "axe looked at nothing"
        serious = [v for v in found["violations"] if v["impact"] in SERIOUS]
        told = [(v["id"], v["help"], [node["html"] for node in v["nodes"][:3]]) for v in serious]
        assert not told, f"{view}: {told}"
        console.screenshot(path=SHOTS / f"{view.lower()}-{theme.lower()}.png", full_page=True)


@pytest.mark.parametrize("name", SIZES)
def test_no_view_is_wider_than_its_screen(console: Page, rig: Rig, name: str) -> None:
    width, height = SIZES[name]
    console.set_viewport_size({"width": width, "height": height})
    for view in VIEWS:
        filled(console, view)
        assert console.evaluate("document.documentElement.scrollWidth") <= width, view
        console.screenshot(path=SHOTS / f"{view.lower()}-{name}.png")
