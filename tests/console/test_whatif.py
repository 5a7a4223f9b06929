"""What-if beyond the first move: ramps and dead times on the trends, changes, the past, links."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import START, Rig
from tests.console.support import HORIZON_S, PERIOD_S, asked, box, chart, drag, ends, shown, to

LOW, HIGH = 0.5, 4.0  # of the pumps; 6 % of room on both sides is shown


def place(page: Page, after_s: float, value: float) -> tuple[float, float]:
    """Where a move lies on the trend of pump_1: one horizon of history left of now, one of future right of it."""
    left, top, width, height = box(page, "pump_1")
    room = 0.06 * (HIGH - LOW)
    share = (HIGH + room - value) / (HIGH - LOW + 2 * room)
    return left + width * (HORIZON_S + after_s) / (2 * HORIZON_S), top + height * share


def test_the_square_of_a_move_makes_it_a_ramp(console: Page, rig: Rig) -> None:
    to(console, "What-if")
    asked(console, "predict", lambda: console.get_by_label("Add a move of pump_1").click())
    console.get_by_label("pump_1, move 1: seconds").fill("150")
    value = console.get_by_label("pump_1, move 1: value")
    asked(console, "predict", lambda: value.fill("3.5"), lambda body: ends(body, "pump_1") == [3.5])
    chart(console, "pump_1").scroll_into_view_if_needed()
    present = float(rig.measured.values[-1][rig.measured.plant.names.index("pump_1")])

    drag(console, place(console, 150, present), place(console, 50, present))
    expect(console.get_by_label("pump_1, move 1: seconds")).to_have_value("50")
    expect(console.get_by_label("pump_1, move 1: ramp")).to_have_value("100")
    expect(value).to_have_value("3.5")

    drag(console, place(console, 150, 3.5), place(console, 200, 1.0))  # its circle takes the whole ramp along
    expect(console.get_by_label("pump_1, move 1: seconds")).to_have_value("100")
    expect(console.get_by_label("pump_1, move 1: ramp")).to_have_value("100")
    assert float(value.input_value()) == pytest.approx(1.0, abs=0.1)


def test_dead_times_are_on_the_trends_of_the_cvs(console: Page, rig: Rig) -> None:
    delays = rig.get(f"/v1/plants/tank/twins/{rig.twin}/step-responses")["dead_times_s"]["pump_1"]
    to(console, "What-if")
    asked(console, "predict", lambda: console.get_by_label("Add a move of pump_1").click())
    for cv, delay in delays.items():
        picture = chart(console, cv).get_by_role("img")
        if delay and delay["mean"]:
            words = re.compile(f"pump_1: dead time {shown(delay['mean'], 3)} s$")
            expect(picture).to_have_attribute("aria-label", words)
        else:
            expect(picture).not_to_have_attribute("aria-label", re.compile("dead time"))


def test_the_change_from_no_move_is_drawn(console: Page, rig: Rig) -> None:
    to(console, "What-if")
    asked(console, "predict", lambda: console.get_by_label("Add a move of pump_1").click())
    field = console.get_by_label("pump_1, move 1: value")
    _, answer = asked(console, "predict", lambda: field.fill("3.2"), lambda body: ends(body, "pump_1") == [3.2])
    console.get_by_role("checkbox", name="as change").check()
    change = answer["scenarios"][0]["change"]["level_1"][-1]
    picture = chart(console, "change of level_1").get_by_role("img")
    expect(picture).to_have_attribute(
        "aria-label", re.compile(f"no move 0 cm, A {re.escape(shown(change))} cm at the end")
    )


def test_asked_from_the_past_it_shows_what_came(console: Page, rig: Rig) -> None:
    to(console, "What-if")
    field = console.get_by_label("Ask from")
    expect(field).to_have_value(re.compile("2026"))
    field.fill("2026-01-01 01:00:03")  # between two rows: the one before is meant

    def at_one(body: dict[str, str]) -> bool:
        return body["at"] == "2026-01-01T01:00:00.000Z"

    asked(console, "predict", lambda: field.press("Enter"), at_one)
    row = round((pd.Timestamp("2026-01-01T01:05:00Z") - START).total_seconds() / PERIOD_S) - 1  # START is a row before
    names = rig.measured.plant.names
    came = float(rig.measured.values[row][names.index("level_1")])
    assert rig.measured.times[row] == pd.Timestamp("2026-01-01T01:05:00Z").to_datetime64()
    words = re.compile(f"what came {re.escape(shown(came))} cm")
    expect(chart(console, "level_1").get_by_role("img")).to_have_attribute("aria-label", words)
    field.fill("2020-01-01 00:00")
    field.press("Enter")
    expect(console.get_by_role("alert")).to_contain_text("There are no rows in the 4 min before 2020-01-01 00:00:00")


def test_a_link_can_be_copied_by_hand_where_the_clipboard_is_closed(console: Page, rig: Rig) -> None:
    to(console, "What-if")
    console.wait_for_url(re.compile("q="))
    console.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    console.get_by_role("button", name="Copy link").click()
    expect(console.get_by_label("Link", exact=True)).to_have_value(console.url)
