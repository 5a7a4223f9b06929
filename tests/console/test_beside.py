"""What lies beside the four verbs: all plants, the controller, twins compared, audit log, keys, step tests."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import KEY, Rig, until
from tests.console.support import REFUSED, to
from twin.plants.quadruple_tank import QuadrupleTank


@pytest.fixture(scope="module")
def challenger(rig: Rig) -> str:
    """A second twin, trained with another seed."""
    job = rig.post("/v1/plants/tank/twins", {"budget_s": 1, "seed": 2})["job"]
    until(lambda: rig.get(f"/v1/jobs/{job}")["state"] not in ("queued", "running"), 240)
    twin: str = rig.get(f"/v1/jobs/{job}")["result"]["twin"]
    rig.client.put("/v1/plants/tank/aliases/challenger", json={"twin": twin}).raise_for_status()
    return twin


@pytest.fixture
def empty(rig: Rig) -> Iterator[str]:
    """A plant without telemetry."""
    tags = [{"name": "heat", "role": "mv", "unit": "kW", "low": 0, "high": 9}, {"name": "t", "role": "cv"}]
    body = {"name": "Boiler", "sample_period_s": 1, "tags": tags}
    rig.client.put("/v1/plants/boiler", json=body).raise_for_status()
    yield "boiler"
    rig.client.delete("/v1/plants/boiler").raise_for_status()


def test_all_plants_are_in_a_line_each(console: Page, rig: Rig, empty: str) -> None:
    console.reload()
    lines = console.locator("section", has=console.get_by_role("heading", name="Plants", exact=True))
    boiler = lines.get_by_role("row").filter(has_text="Boiler")
    expect(boiler).to_contain_text("no telemetry yet")
    expect(boiler).to_contain_text("none yet")
    expect(lines.get_by_role("row").filter(has_text=rig.twin)).to_contain_text("last row is")
    boiler.get_by_role("link").click()
    expect(console.get_by_text("No telemetry yet: upload some")).to_be_visible()


def test_where_a_cv_goes_if_nothing_is_moved(console: Page, rig: Rig) -> None:
    horizon_s = rig.get("/v1/plants/tank/twins/champion")["horizon_s"]
    baseline = rig.post("/v1/plants/tank/predict", {"horizon_s": horizon_s})["baseline"]
    for tag in QuadrupleTank.plant.cvs:
        row = console.get_by_role("row").filter(has=console.get_by_role("link", name=tag.name, exact=True))
        end = baseline[tag.name]["mean"][-1]
        expect(row.locator("td").nth(6)).to_have_text(f"{float(f'{end:.4g}'):.10g}")


def test_the_controller_is_shown_and_turned_off(console: Page, rig: Rig) -> None:
    state = {"mode": "advisory", "since": "2026-01-01T00:00:00Z", "why": "asked for by night", "period_s": 3600.0}
    state |= {"advice": {"pump_1": 2.75}, "ready": True, "closed_loop_allowed": False}
    rig.post("/v1/plants/tank/controller/cycles", {"run": "abc", "state": state})
    console.reload()
    panel = console.locator("section", has=console.get_by_role("heading", name="Controller"))
    expect(panel).to_contain_text("advisory: it shows its moves")
    expect(panel.get_by_role("row")).to_have_text(["pump_12.75V"])
    expect(panel.get_by_role("button")).to_have_text(["off", "shadow", "advisory"])  # closed takes more than a click
    panel.get_by_role("button", name="off").click()
    expect(panel).to_contain_text("off has been asked for")
    assert rig.get("/v1/plants/tank/controller")["wanted"]["mode"] == "off"


def test_champion_and_challenger_side_by_side_and_promoted(
    console: Page, rig: Rig, challenger: str, expected: list[str]
) -> None:
    expected.append(f"{REFUSED} 503")  # of /readyz, while a new champion is compiled
    ours, theirs = (rig.get(f"/v1/plants/tank/twins/{twin}/report")["backtest"] for twin in (rig.twin, challenger))
    to(console, "Twin")
    panel = console.locator("section", has=console.get_by_role("heading", name="Beside the challenger"))
    row = panel.get_by_role("row").filter(has_text=re.compile("^level_2"))
    for i, (a, b) in enumerate(zip(*(card["cvs"]["level_2"]["rmse"]["twin"] for card in (ours, theirs)), strict=True)):
        if i == 0:
            expect(row.locator("td").nth(2)).to_have_text(f"{float(f'{a:.3g}'):.10g}")
            expect(row.locator("td").nth(3)).to_have_text(f"{float(f'{b:.3g}'):.10g}")
    expected.append(f"{REFUSED} 422")
    panel.get_by_role("button", name="Compare on rows since both trainings").click()
    expect(panel.get_by_role("alert")).to_contain_text("0 forecasts can be held against")  # trained on all there is
    line = console.locator("tr").filter(has_text=challenger)
    line.get_by_role("button", name="make champion").click()
    assert rig.get("/v1/plants/tank/aliases")["champion"] == rig.twin  # asked once more first
    line.get_by_role("button", name="Yes, let it answer").click()
    expect(line.locator(".mark", has_text="champion")).to_be_visible()
    assert rig.get("/v1/plants/tank/aliases")["champion"] == challenger
    rig.client.put("/v1/plants/tank/aliases/champion", json={"twin": rig.twin}).raise_for_status()


def test_the_audit_log_and_keys_are_there_for_an_admin_alone(console: Page, rig: Rig, expected: list[str]) -> None:
    expected.append("status of 403")
    to(console, "Data")
    console.get_by_role("heading", name="API keys").click()
    console.get_by_label("Name", exact=True).fill("reader of the tank")
    console.get_by_label("predict", exact=True).uncheck()
    console.get_by_label("for this plant only").check()
    console.get_by_role("button", name="Make a key").click()
    text = console.get_by_text("The key, told this once:").locator("code").inner_text()
    [made] = [key for key in rig.get("/v1/keys")["items"] if key["name"] == "reader of the tank"]
    assert (made["scopes"], made["plants"]) == (["read"], ["tank"])

    console.get_by_role("heading", name="Audit log").click()
    log = console.locator("details", has=console.get_by_role("heading", name="Audit log"))
    log.get_by_role("button", name="Read again").click()
    expect(log.get_by_role("row").nth(1)).to_contain_text("reader of the tank")
    log.get_by_role("button", name="Is it what was written?").click()
    expect(log.get_by_text("Yes:")).to_be_visible()

    console.get_by_role("button", name="Leave").click()
    console.get_by_label("API key").fill(text)
    console.get_by_role("button", name="Open").click()
    expect(console.get_by_role("heading", name="Quality of what is stored")).to_be_visible()
    expect(console.get_by_text("rows, 2026-01-01")).to_be_visible()
    expect(console.get_by_role("heading", name="Audit log")).to_have_count(0)
    expect(console.get_by_role("heading", name="API keys")).to_have_count(0)
    console.evaluate("(key) => sessionStorage.setItem('key', key)", KEY)
    console.reload()
    console.get_by_role("heading", name="API keys").click()
    console.get_by_label("Revoke reader of the tank").click()
    console.get_by_role("button", name="Yes, revoke reader of the tank").click()
    expect(console.get_by_label("Revoke reader of the tank")).to_have_count(0)
    assert "reader of the tank" not in [key["name"] for key in rig.get("/v1/keys")["items"]]


def test_a_step_test_is_designed_and_saved(console: Page, rig: Rig) -> None:
    to(console, "Data")
    console.get_by_role("heading", name="Design a step test").click()
    form = console.locator("details", has=console.get_by_role("heading", name="Design a step test"))
    form.get_by_label("Settling time in seconds").fill("200")
    form.get_by_role("button", name="Design", exact=True).click()
    expect(form.locator("figure.chart")).to_have_count(2, timeout=60_000)
    with console.expect_download() as waiting:
        form.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    for mv in QuadrupleTank.plant.mvs:
        values = [float(row[mv.name]) for row in rows]
        assert mv.low <= min(values) < max(values) <= mv.high


def test_a_plant_without_a_twin_leads_to_one(console: Page, rig: Rig) -> None:
    """What-if and optimize say what is missing; they look again by themselves once there is a champion."""
    body = QuadrupleTank.plant.to_json() | {"name": "No twin yet"}
    rig.client.put("/v1/plants/no-twin", json=body).raise_for_status()
    try:
        for view in ("whatif", "optimize"):
            console.goto("about:blank")
            console.goto(f"/#/no-twin/{view}")
            expect(console.get_by_role("heading", name="No twin answers for this plant yet")).to_be_visible()
            expect(console.get_by_role("alert")).to_have_count(0)
            expect(console.get_by_role("link", name="train a twin")).to_have_attribute("href", "#/no-twin/twin")
        console.get_by_role("link", name="upload some").click()
        expect(console.get_by_role("heading", name="Upload telemetry")).to_be_visible()
    finally:
        console.goto("about:blank")  # the page asks again by itself, and would be told that the plant is gone
        rig.client.delete("/v1/plants/no-twin").raise_for_status()


def test_a_service_that_was_away_is_found_again(page: Page, rig: Rig, expected: list[str]) -> None:
    expected.append("Failed to load resource: net::ERR_FAILED")
    for path in ("**/v1/**", "**/readyz"):
        page.route(path, lambda route: route.abort())
    page.add_init_script(f"sessionStorage.setItem('key', '{KEY}')")
    page.goto("/#/tank/overview")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    expect(page.get_by_text("no answer")).to_be_visible()
    for path in ("**/v1/**", "**/readyz"):
        page.unroute(path)
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible(timeout=60_000)  # it asks now and then
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_key_that_is_refused_later_is_told_at_the_door(page: Page, rig: Rig, expected: list[str]) -> None:
    expected.append(f"{REFUSED} 401")
    page.add_init_script("sessionStorage.setItem('key', 'twin_revoked-meanwhile')")
    page.goto("/#/tank/overview")
    expect(page.get_by_role("alert")).to_contain_text("this key is unknown")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("navigation")).to_be_visible()
