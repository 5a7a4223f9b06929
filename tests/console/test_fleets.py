"""Fleets in the console: learnt from chosen plants, watched, and a new twin that starts from one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import Rig
from tests.console.support import REFUSED, shown, to
from tests.twin.fleet.units import plant, unit

OTHER = ("FIC-1", "TI-2", "LI-3")
SLOW_MS = 120_000


@pytest.fixture(scope="module")
def units(rig: Rig) -> Iterator[list[str]]:
    """Two plants alike, one of them with other names, and a new one with few rows."""
    names = ["unit-1", "unit-2", "unit-new"]
    for number, name in enumerate(names):
        of = plant(name, OTHER) if name == "unit-2" else plant(name)
        rig.client.put(f"/v1/plants/{name}", json=of.to_json()).raise_for_status()
        rows = unit(name, 110 if name == "unit-new" else 400, 1.0 + 0.2 * number, number, 0.3, of, 0.05).frame()
        text, headers = rows.to_csv(date_format="%Y-%m-%dT%H:%M:%SZ"), {"Content-Type": "text/csv"}
        rig.client.post(f"/v1/plants/{name}/telemetry", content=text, headers=headers).raise_for_status()
    yield names
    rig.client.delete("/v1/fleets/pumps")
    for name in names:
        rig.client.delete(f"/v1/plants/{name}").raise_for_status()


def test_a_fleet_is_learnt_from_chosen_plants_and_a_twin_starts_from_it(
    console: Page, rig: Rig, units: list[str], expected: list[str]
) -> None:
    expected.append(f"{REFUSED} 503")  # while the new twin is compiled
    console.reload()
    to(console, "Fleets")
    expect(console.get_by_text("No fleet yet")).to_be_visible()
    learn = console.get_by_role("button", name=re.compile("^Learn from"))
    console.get_by_label("unit-1").check()
    expect(learn).to_be_disabled()  # one is no fleet
    console.get_by_label("unit-2").check()
    for tag, own in zip(("flow", "ambient", "level"), OTHER, strict=True):
        console.get_by_label(f"{tag} in unit-2").select_option(own)
    console.get_by_label("Name", exact=True).fill("pumps")
    console.get_by_label("Horizon, s").fill("160")
    console.get_by_label("Budget, s").fill("1")
    with console.expect_response(lambda answer: answer.url.endswith("/v1/fleets/pumps")) as waiting:
        learn.click()
    mapped = dict(zip(("flow", "ambient", "level"), OTHER, strict=True))
    assert waiting.value.request.post_data_json == {
        "units": [{"plant": "unit-1", "tags": {}}, {"plant": "unit-2", "tags": mapped}],
        "horizon_s": 160,
        "budget_s": 1,
    }
    row = console.get_by_role("row").filter(has=console.get_by_role("button", name="pumps", exact=True))
    expect(row).to_be_visible(timeout=SLOW_MS)
    fleet = rig.get("/v1/fleets/pumps")
    expect(row.locator("td")).to_have_text(
        ["pumps", fleet["version"], "2", "800", "3 min", shown(fleet["card"]["residual"]["out_of_unit"], 3)]
    )
    expect(console.get_by_text("flow is FIC-1, ambient is TI-2, level is LI-3")).to_be_visible()

    console.goto("/#/unit-new/twin")
    console.get_by_label("Start from").select_option("pumps")
    expect(console.get_by_label("two time scales")).to_be_disabled()
    expect(console.get_by_label("Horizon, s")).to_have_count(0)  # it is the fleet's
    console.get_by_label("Budget, s").fill("0.001")
    with console.expect_response(lambda answer: answer.request.method == "POST") as waiting:
        console.get_by_role("button", name="Train a new twin").click()
    assert waiting.value.request.post_data_json == {"budget_s": 0.001, "from_fleet": "pumps"}
    kept = console.get_by_role("row").filter(has_text="from the fleet (2 units)")
    expect(kept).to_be_visible(timeout=SLOW_MS)
    twin = rig.get("/v1/plants/unit-new/twins")["items"][0]["twin"]
    common = rig.get(f"/v1/plants/unit-new/twins/{twin}/report")["training"]["common"]
    expect(kept.locator("td").nth(1)).to_have_text(shown(common["out_of_fold"]["common"], 3))


def test_a_fleet_that_cannot_be_is_refused_in_words(console: Page, units: list[str], expected: list[str]) -> None:
    expected.append(f"{REFUSED} 503")  # where a twin is still being compiled
    console.reload()
    to(console, "Fleets")
    console.get_by_label("unit-1").check()
    console.get_by_label("unit-2").check()
    console.get_by_label("Name", exact=True).fill("unmapped")
    console.get_by_label("Budget, s").fill("1")
    console.get_by_role("button", name="Learn from 2 plants").click()
    expect(console.get_by_role("alert")).to_contain_text("there is no tag 'flow'", timeout=SLOW_MS)
