"""The whole path, by hand and eye alone: from a file on a disk to a plan for the plant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import START, Rig
from tests.console.support import REFUSED, asked, ends, to
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

ROWS = 30_000  # 42 hours, a row every 5 s
LEARNT = 1_200  # of them, the last


@pytest.fixture(scope="module")
def measured() -> Telemetry:
    return Simulator(QuadrupleTank(), 7, START).excite(ROWS)


@pytest.fixture
def file(rig: Rig, measured: Telemetry, tmp_path: Path) -> Iterator[Path]:
    """A file of a historian, with its own names and local times."""
    frame = measured.frame()
    frame.index = frame.index.tz_convert("Europe/Berlin").tz_localize(None)
    path = tmp_path / "historian.csv"
    frame.to_csv(path, sep=";", index_label="Timestamp", date_format="%Y-%m-%d %H:%M:%S")
    yield path
    rig.client.delete("/v1/plants/four-tanks").raise_for_status()


def test_from_a_file_to_a_plan(console: Page, rig: Rig, measured: Telemetry, file: Path, expected: list[str]) -> None:
    expected.append(f"{REFUSED} 503")  # of /readyz, while the first twin is compiled
    to(console, "Data")
    console.get_by_role("button", name="Describe another plant").click()
    console.get_by_label("Name", exact=True).fill("Four tanks")
    console.get_by_label("Tags from a CSV header").set_input_files(file)
    expect(console.get_by_label("Sample period in seconds")).to_have_value("5")
    for i, tag in enumerate(QuadrupleTank.plant.tags, start=1):
        expect(console.get_by_label(f"Tag {i} name")).to_have_value(tag.name)
        console.get_by_label(f"Tag {i} role").select_option(tag.role)
        console.get_by_label(f"Tag {i} unit").fill(tag.unit)
        numbers = {"Low": tag.low, "High": tag.high, "Low limit": tag.limit_low, "High limit": tag.limit_high}
        for label, value in {**numbers, "Rate/s": tag.rate_limit_per_s}.items():
            if value is not None:
                console.get_by_label(f"Tag {i} {label}", exact=True).fill(f"{value:g}")
    console.get_by_role("button", name="Save").click()

    console.get_by_label("Telemetry file").set_input_files(file)
    console.get_by_label("Times without an offset are in").select_option("Europe/Berlin")
    console.get_by_role("button", name="Upload", exact=True).click()
    receipt = console.locator("dl").filter(has_text="received")
    expect(receipt.locator("dt:text-is('stored') + dd")).to_have_text(str(ROWS))
    expect(console.get_by_text(f"{ROWS} rows, 2026-01-01 00:00:05")).to_be_visible()

    to(console, "Twin")
    start = measured.frame().index[-LEARNT]
    console.get_by_label("Learn from").fill(str(start.tz_localize(None)))
    console.get_by_label("Budget, s").fill("2")
    console.get_by_role("button", name="Train a new twin").click()
    expect(console.locator(".mark", has_text="champion")).to_be_visible(timeout=300_000)
    expect(console.get_by_text(f"{LEARNT} rows in 1 run, {start:%Y-%m-%d %H:%M:%S}")).to_be_visible()

    console.set_default_timeout(300_000)  # the first answers of a twin wait until its programs are compiled
    to(console, "What-if")
    asked(console, "predict", lambda: console.get_by_label("Add a move of pump_1").click())
    field = console.get_by_label("pump_1, move 1: value")
    _, answer = asked(console, "predict", lambda: field.fill("3.5"), lambda body: ends(body, "pump_1") == [3.5])
    moved = 3.5 - float(measured.values[-1][measured.plant.names.index("pump_1")])
    assert 1 < answer["scenarios"][0]["change"]["level_1"][-1] / moved < 10  # cm a volt, half way to a gain of about 5

    to(console, "Optimize")
    console.get_by_label("level_1 setpoint").fill("12")
    _, plan = asked(console, "optimize", lambda: console.get_by_role("button", name="Plan", exact=True).click())
    assert plan["status"] in ("optimal", "feasible")
    assert plan["cvs"]["level_1"]["mean"][-1] == pytest.approx(12, abs=0.5)
    expect(console.locator(".headline")).to_contain_text("every limit is kept")
