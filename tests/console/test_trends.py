"""Trends: ways through time, bad quality, setpoints, dates."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import START, Rig
from tests.console.support import PERIOD_S, box, chart, drag, to

PLANT = {
    "name": "Spoilt",
    "sample_period_s": 10.0,
    "tags": [
        {"name": "valve", "role": "mv", "unit": "%", "low": 0.0, "high": 100.0},
        {"name": "level", "role": "cv", "unit": "m", "low": 0.0, "high": 10.0},
    ],
}


@pytest.fixture
def spoilt(rig: Rig) -> Iterator[str]:
    """Two hours, of which the level's values of 10:00 to 10:04:50 after the start are of bad quality."""
    rig.client.put("/v1/plants/spoilt", json=PLANT).raise_for_status()
    times = pd.date_range(START, periods=720, freq="10s")
    quality = np.where((np.arange(720) >= 60) & (np.arange(720) < 90), "bad", "good")
    frame = pd.DataFrame({"time": times, "valve": 50.0, "level": 5.0, "level__quality": quality})
    text = frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    headers = {"Content-Type": "text/csv"}
    rig.client.post("/v1/plants/spoilt/telemetry", content=text, headers=headers).raise_for_status()
    yield "spoilt"
    rig.client.delete("/v1/plants/spoilt").raise_for_status()


def span(page: Page) -> tuple[float, float]:
    """Seconds since START, as the two fields say."""
    ends = [pd.Timestamp(page.get_by_label(name, exact=True).input_value(), tz="UTC") for name in ("Start", "End")]
    return (ends[0] - START).total_seconds(), (ends[1] - START).total_seconds()


def test_bad_quality_is_hatched_where_it_is(spoilt: str, console: Page) -> None:
    console.goto(f"/#/{spoilt}/trends")
    console.reload()
    words = re.compile("bad quality from 2026-01-01 00:10:00 to 2026-01-01 00:14:50")
    expect(chart(console, "level").get_by_role("img")).to_have_attribute("aria-label", words)
    expect(chart(console, "valve").get_by_role("img")).not_to_have_attribute("aria-label", re.compile("bad"))


def test_ways_through_time(console: Page, rig: Rig) -> None:
    """By date, by key, by dragging with shift, and back."""
    to(console, "Trends")
    start = console.get_by_label("Start", exact=True)
    expect(start).to_have_value(re.compile("2026"))
    start.fill("2026-01-01 00:30")
    start.press("Enter")
    console.get_by_label("End", exact=True).fill("2026-01-01 00:50:00")
    console.get_by_label("End", exact=True).press("Enter")
    assert span(console) == (1800, 3000)

    picture = chart(console, "pump_1").get_by_role("img")
    picture.focus()
    picture.press("ArrowRight")
    expect(start).to_have_value("2026-01-01 00:34:00")  # a fifth of 1200 s
    picture.press("+")  # the width becomes 1200 / 1.25 s around the middle at 2640 s
    expect(start).to_have_value("2026-01-01 00:36:00")
    assert span(console) == (2160, 3120)

    left, top, width, height = box(console, "pump_1")
    console.keyboard.down("Shift")
    y = top + height / 2
    drag(console, (left + 0.75 * width, y), (left + 0.25 * width, y))  # half a width on
    console.keyboard.up("Shift")
    expect(start).to_have_value(re.compile("2026-01-01 00:4[34]:"))
    assert span(console) == pytest.approx((2640, 3600), abs=4)

    console.get_by_role("button", name="Back").click()
    console.get_by_role("button", name="Back").click()
    expect(start).not_to_have_value(re.compile("00:4[34]"))


def test_a_time_that_is_none_is_said_in_words(console: Page, rig: Rig) -> None:
    to(console, "Trends")
    console.get_by_label("Start", exact=True).fill("yesterday")
    console.get_by_label("Start", exact=True).press("Enter")
    expect(console.get_by_text("no time such as 2026-01-31 08:00")).to_be_visible()


def test_fingers_pinch_and_pan(console: Page, rig: Rig) -> None:
    to(console, "Trends")
    expect(chart(console, "pump_1").locator("canvas")).to_be_visible()
    before = span(console)
    over = chart(console, "pump_1").locator(".u-over")
    width = box(console, "pump_1")[2]

    def touch(kind: str, finger: int, share: float) -> None:
        script = """(over, [kind, id, x]) => {
            const { left, top } = over.getBoundingClientRect();
            over.setPointerCapture = () => null;
            const at = { clientX: left + x, clientY: top + 20, bubbles: true };
            over.dispatchEvent(new PointerEvent(kind, { ...at, pointerId: id, pointerType: "touch" }));
        }"""
        over.evaluate(script, [kind, finger, share * width])

    touch("pointerdown", 1, 0.25)
    touch("pointerdown", 2, 0.75)
    touch("pointermove", 1, 0.0)
    touch("pointermove", 2, 1.0)
    touch("pointerup", 1, 0.0)
    touch("pointerup", 2, 1.0)
    middle, half = sum(before) / 2, (before[1] - before[0]) / 4
    expect(console.get_by_label("End", exact=True)).not_to_have_value(re.compile(_shown(before[1])))
    assert span(console) == pytest.approx((middle - half, middle + half), abs=PERIOD_S)


def _shown(seconds: float) -> str:
    return (START + pd.Timedelta(seconds=seconds)).strftime("%H:%M:%S")


def test_any_tag_in_the_address_and_setpoints_of_the_last_plan(console: Page, rig: Rig) -> None:
    question = {"horizon_s": 300, "objective": {"setpoints": {"level_2": {"value": 12.5}}}}
    rig.post("/v1/plants/tank/optimize", question)
    with console.expect_request(re.compile("telemetry.*tags=level_2.*bad=true")) as waiting:
        console.goto("/#/tank/trends?tags=level_2")
        console.reload()
    assert httpx.URL(waiting.value.url).params["tags"] == "level_2"
    expect(console.locator("figure.chart")).to_have_count(1)
    lines = console.evaluate(
        """async (base) => {
            const { setpointLines } = await import(`${base}views/setpoints.js`);
            return setpointLines({ objective: { setpoints: { a: { value: 1.5 }, b: { trajectory: [1, 2] } },
                                                zones: { c: { low: 3 } } } });
        }""",
        console.evaluate("new URL('.', document.querySelector('script[type=module]').src).pathname"),
    )
    assert lines == {
        "a": [{"value": 1.5, "label": "setpoint 1.5", "kind": "setpoint"}],
        "b": [{"value": 2, "label": "setpoint 2", "kind": "setpoint"}],
        "c": [{"value": 3, "label": "zone from 3", "kind": "setpoint"}],
    }
