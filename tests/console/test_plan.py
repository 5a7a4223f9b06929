"""Optimize beyond the plan: what limits are worth, links, the plan before."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.console.conftest import Rig
from tests.console.support import asked, shown, to


def plan(page: Page) -> tuple[dict, dict]:
    return asked(page, "optimize", lambda: page.get_by_role("button", name="Plan", exact=True).click())


def test_what_a_limit_is_worth(console: Page, rig: Rig) -> None:
    """The pump's rate limit is tightened by 2 %: the cost that this adds, over the room that it takes."""
    to(console, "Optimize")
    console.get_by_label("level_1 setpoint").fill("16")
    _, first = plan(console)
    active = console.get_by_role("listitem").filter(has_text="pump_1: its rate limit 0.05 is reached")
    ask = active.get_by_role("button", name="What is it worth?")
    body, other = asked(console, "optimize", lambda: ask.click())
    assert body["limits"]["pump_1"] == {"rate_per_s": 0.05 * 0.98}
    assert body["objective"] == {"setpoints": {"level_1": {"value": 16}}}
    slope = (other["cost"]["total"] - first["cost"]["total"]) / (0.05 * 0.02)
    assert slope > 0
    expect(active).to_contain_text(f"Each V/s more room would lower the cost by up to {shown(slope, 2)}")


def test_a_plan_is_shared_and_the_one_before_beside_it(console: Page, rig: Rig) -> None:
    to(console, "Optimize")
    console.get_by_label("level_1 setpoint").fill("12")
    console.get_by_label("pump_2 Hold".lower()).check()
    body, first = plan(console)
    assert body["hold_mvs"] == ["pump_2"]
    console.wait_for_url(re.compile("optimize.*q="))
    console.reload()
    expect(console.get_by_label("level_1 setpoint")).to_have_value("12")
    expect(console.get_by_label("pump_2 hold")).to_be_checked()

    console.get_by_label("level_1 setpoint").fill("9")
    _, second = plan(console)
    row = console.locator("aside tr").filter(has_text=re.compile("^pump_1")).first
    present = float(rig.measured.values[-1][rig.measured.plant.names.index("pump_1")])
    values = (second["next"]["pump_1"], present, first["next"]["pump_1"])
    cells = row.locator("td")
    for i, value in zip((1, 3, 4), values, strict=True):  # to, now, before: kept by the log over the reload
        expect(cells.nth(i)).to_have_text(shown(value))
    cost = console.locator("aside tr").filter(has_text="total")
    expect(cost.locator("td").nth(1)).to_have_text(shown(second["cost"]["total"], 3))
    expect(cost.locator("td").nth(2)).to_have_text(shown(first["cost"]["total"], 3))


def test_the_name_of_a_tag_keeps_its_points_in_the_cost(console: Page) -> None:
    def dotted(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        told["cost"]["by_term"]["prices.FIC 102.SP"] = 3.0
        route.fulfill(response=answer, json=told)

    console.route("**/optimize", dotted)
    to(console, "Optimize")
    console.get_by_label("level_1 setpoint").fill("12")
    plan(console)
    expect(console.locator("aside tr").filter(has_text="FIC").locator("td").first).to_have_text("prices: FIC 102.SP")
    expect(console.locator("aside tr").filter(has_text="total").locator("td").first).to_have_text("total")


def test_what_keeps_a_plan_from_its_setpoint(console: Page, rig: Rig) -> None:
    """Level 1 to its high limit while both pumps may hardly run: it ends far below, and the pumps' limits are named."""
    to(console, "Optimize")
    console.get_by_label("level_1 setpoint").fill("17")
    for pump in ("pump_1", "pump_2"):
        console.get_by_label(f"{pump} high").fill("1")
    _, found = plan(console)
    end = found["cvs"]["level_1"]["mean"][-1]
    assert end < 12, "two pumps at 1 V do not fill the tank"
    why = console.locator("section", has=console.get_by_role("heading", name="Why not better?"))
    expect(why).to_contain_text(f"level_1 comes to {shown(end)} cm by the end, not to 17.")
    expect(why).not_to_contain_text("No limit is in the way")
