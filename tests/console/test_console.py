"""The console in a real browser, against a real service: from the key to the plan."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from api.http.examples import SOURCES
from tests.console.conftest import KEY, ROWS, Rig
from tests.console.support import HORIZON_S, PERIOD_S, REFUSED, asked, chart, ends, shown, to


class TestDoor:
    def test_a_wrong_key_is_refused_in_words(self, page: Page, rig: Rig, expected: list[str]) -> None:
        expected.append(f"{REFUSED} 401")
        page.goto("/")
        page.get_by_label("API key").fill("not-a-key-of-this-service")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_contain_text("does not know this key")

    def test_the_key_is_asked_for_once_a_tab(self, console: Page) -> None:
        expect(console.get_by_label("API key")).to_have_count(0)
        console.reload()
        expect(console.get_by_role("navigation")).to_be_visible()
        assert console.evaluate("sessionStorage.getItem('key')") == KEY
        assert KEY not in json.dumps(console.evaluate("({...localStorage})"))
        console.get_by_role("button", name="Leave").click()
        expect(console.get_by_label("API key")).to_be_visible()
        assert console.evaluate("sessionStorage.getItem('key')") is None


def test_overview_shows_the_last_values_against_their_limits(console: Page, rig: Rig) -> None:
    last = rig.measured.values[-1]
    for tag, value in zip(rig.measured.plant.tags, last, strict=True):
        row = console.get_by_role("row").filter(has=console.get_by_role("link", name=tag.name, exact=True))
        expect(row.locator("td").nth(1)).to_have_text(shown(value))
        above = tag.limit_high is not None and value > tag.limit_high
        expect(row).to_contain_text(f"above high limit {tag.limit_high:g}" if above else "within")
    expect(console.locator("dd", has_text=rig.twin)).to_be_visible()
    expect(console.get_by_text("last row is")).to_have_class("mark attention")  # the telemetry ends long ago


def test_overview_names_a_broken_limit(console: Page, rig: Rig) -> None:
    """level_1 stays, its high limit is lowered below it: the words must follow."""
    plant = rig.get("/v1/plants/tank")
    low = float(rig.measured.values[-1][rig.measured.plant.names.index("level_1")]) - 0.5
    body = {name: plant[name] for name in ("name", "sample_period_s", "tags")}
    tighter = [tag | ({"limit_high": low} if tag["name"] == "level_1" else {}) for tag in body["tags"]]
    rig.client.put("/v1/plants/tank", json=body | {"tags": tighter}).raise_for_status()
    try:
        console.reload()
        row = console.get_by_role("row").filter(has_text=re.compile("^level_1"))
        expect(row.locator(".mark.attention")).to_contain_text(f"above high limit {shown(low)}")
    finally:
        rig.client.put("/v1/plants/tank", json=body).raise_for_status()


def test_a_move_drawn_by_hand_is_asked_for_and_its_forecast_shown(console: Page, rig: Rig) -> None:
    to(console, "What-if")
    over = chart(console, "pump_1").locator(".u-over")
    box = over.bounding_box()
    assert box
    x, y = box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"]
    console.mouse.move(x, y)
    console.mouse.down()
    console.mouse.move(x, y - 20, steps=6)
    console.mouse.up()
    after, value = console.get_by_label("pump_1, move 1: seconds"), console.get_by_label("pump_1, move 1: value")
    console.wait_for_url(re.compile("q="))
    # Three quarters of the picture is half of the future; its height shows 0.5 V to 4 V and 6 % more on both sides.
    after_s, drawn = float(after.input_value()), float(value.input_value())
    assert after_s == pytest.approx(HORIZON_S / 2, abs=2 * PERIOD_S)
    assert after_s % PERIOD_S == 0
    assert drawn == pytest.approx(2.25 + 20 / box["height"] * 1.12 * 3.5, abs=0.08)

    _, answer = asked(console, "predict", lambda: value.fill("9"), lambda body: ends(body, "pump_1") == [9.0])
    direct = rig.post(
        "/v1/plants/tank/predict",
        {"horizon_s": HORIZON_S, "moves": {"pump_1": [{"after_s": after_s, "value": 9.0}]}},
    )["scenarios"][0]
    row = console.get_by_role("row").filter(has_text=re.compile("^level_1"))
    cvs = direct["cvs"]["level_1"]["mean"]
    expect(row.locator("td").nth(3)).to_contain_text(shown(cvs[-1]))
    assert answer["scenarios"][0]["cvs"]["level_1"]["mean"] == pytest.approx(cvs)
    expect(console.get_by_text("Not done as asked")).to_be_visible()
    expect(console.locator("li", has_text="pump_1: 9 V asked for")).to_contain_text("above the high limit 4 V")


def test_scenarios_side_by_side_are_shared_and_exported(console: Page, rig: Rig) -> None:
    to(console, "What-if")
    asked(console, "predict", lambda: console.get_by_label("Add a move of pump_2").click())
    asked(console, "predict", lambda: console.get_by_label("pump_2, move 1: value").fill("2"))
    console.get_by_label("pump_2, move 1: ramp").fill("10")
    console.get_by_role("button", name="+ scenario").click()
    field = console.get_by_label("pump_2, move 1: value")
    body, answer = asked(console, "predict", lambda: field.fill("3.5"), lambda body: ends(body, "pump_2") == [2.0, 3.5])
    present = float(rig.measured.values[-1][rig.measured.plant.names.index("pump_2")])
    ramp = {s["name"]: s["moves"]["pump_2"] for s in body["scenarios"]}
    for name, end in (("A", 2.0), ("B", 3.5)):  # two periods of 5 s: half way first
        assert [step["after_s"] for step in ramp[name]] == [0, 5]
        assert [step["value"] for step in ramp[name]] == pytest.approx([(present + end) / 2, end])
    expect(console.get_by_role("columnheader", name="B (change)")).to_be_visible()

    with console.expect_download() as waiting:
        console.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    future = [row for row in rows if row["no move: level_2 mean"]]
    assert len(future) == HORIZON_S / PERIOD_S
    assert float(future[-1]["B: level_2 low"]) == pytest.approx(answer["scenarios"][1]["cvs"]["level_2"]["low"][-1])
    assert float(rows[-len(future) - 1]["level_2"]) == pytest.approx(rig.measured.values[-1][4])

    console.wait_for_url(re.compile(r"q=.*3\.5"))
    shared = console.url
    console.goto("about:blank")
    _, again = asked(console, "predict", lambda: console.goto(shared))
    assert again["scenarios"] == answer["scenarios"]


def test_a_plan_is_drawn_certified_and_tried_in_what_if(console: Page, rig: Rig) -> None:
    to(console, "Optimize")
    console.get_by_label("level_1 setpoint").fill("13")
    console.get_by_label("level_3 high").fill("6")
    body, plan = asked(console, "optimize", lambda: console.get_by_role("button", name="Plan").click())
    assert body["objective"]["setpoints"] == {"level_1": {"value": 13}}
    assert body["limits"] == {"level_3": {"high": 6}}
    expect(console.locator(".headline")).to_contain_text(plan["status"].capitalize())
    table = console.locator("section", has=console.get_by_role("heading", name="Certificate"))
    expect(table.locator("tbody tr")).to_have_count(len(plan["certificate"]))
    row = table.locator("tr").filter(has_text=re.compile("^level_3high6"))
    entry = next(e for e in plan["certificate"] if (e["tag"], e["side"]) == ("level_3", "high"))
    expect(row.locator("td").nth(4)).to_have_text(shown(entry["margin"], 3))
    expect(row).to_contain_text("kept" if entry["kept"] else "relaxed by")
    for mv, value in plan["next"].items():
        expect(console.locator("aside tr").filter(has_text=mv).first).to_contain_text(shown(value))

    _, tried = asked(console, "predict", lambda: console.get_by_role("link", name="Try it in what-if").click())
    for mv, values in plan["moves"].items():
        assert tried["scenarios"][0]["moves"][mv] == pytest.approx(values, abs=0.02)


def test_a_refused_question_is_told_in_words_where_it_was_asked(console: Page, rig: Rig, expected: list[str]) -> None:
    expected.append(f"{REFUSED} 422")
    to(console, "Optimize")
    console.get_by_label("level_1 high").fill("26")
    console.get_by_role("button", name="Plan").click()
    expect(console.get_by_role("alert")).to_have_text(re.compile("26 is wider than the plant's limit 18"))


def test_contradicting_limits_are_a_status(console: Page, rig: Rig) -> None:
    to(console, "Optimize")
    for tag in ("level_1", "level_2"):
        console.get_by_label(f"{tag} low").fill("17.9")
    _, plan = asked(console, "optimize", lambda: console.get_by_role("button", name="Plan").click())
    assert plan["status"] in ("relaxed", "abstained")
    expect(console.locator(".headline .mark.attention")).to_contain_text(plan["status"].capitalize())


def test_the_report_and_promotion(console: Page, rig: Rig) -> None:
    card = rig.get(f"/v1/plants/tank/twins/{rig.twin}/report")
    to(console, "Twin")
    expect(console.get_by_text(f"{ROWS} rows in 1 run")).to_be_visible()
    cvs, mvs = len(card["plant"]["tags"]) - 3, 2
    for name in ("Step responses", "Gains over the operating range"):
        panel = console.locator("section", has=console.get_by_role("heading", name=name, exact=True))
        expect(panel.locator("table.matrix td svg, table.matrix td p")).to_have_count(cvs * mvs)
    drift = rig.get(f"/v1/plants/tank/twins/{rig.twin}/drift")
    assert drift["status"] == "unknown"  # it was trained on all there is
    since = console.locator("section", has=console.get_by_role("heading", name="Since its training", exact=True))
    expect(since).to_contain_text(f"Not known yet: {drift['detail']}")
    gain = card["step_responses"]["gains"]["pump_1"]["level_1"]
    row = console.get_by_role("row").filter(has_text="pump_1 → level_1")
    expect(row).to_contain_text(f"{shown(gain['mean'], 3)} ({shown(gain['low'], 3)} … {shown(gain['high'], 3)})")
    console.get_by_text("As a table").click()
    figures = console.locator("details").filter(has=console.get_by_text("As a table"))
    row = figures.locator("tr").filter(has_text=re.compile("^level_1"))
    expect(row.locator("td").nth(2)).to_have_text(shown(card["backtest"]["cvs"]["level_1"]["rmse"]["twin"][0], 3))
    console.locator("tr.chosen").get_by_role("button", name="make challenger").click()
    expect(console.locator("tr.chosen .mark", has_text="challenger")).to_be_visible()
    assert rig.get("/v1/plants/tank/aliases")["challenger"] == rig.twin


def test_training_goes_on_before_ones_eyes_and_can_be_cancelled(console: Page, rig: Rig) -> None:
    to(console, "Twin")
    console.get_by_label("Budget, s").fill("120")
    console.get_by_role("button", name="Train a new twin").click()
    expect(console.get_by_role("progressbar")).to_be_visible()
    losses = re.compile("best free-run error so far|Collapse watch: SIGReg")  # they come as server-sent events
    expect(console.get_by_text(losses)).to_be_visible(timeout=120_000)
    console.get_by_role("button", name="cancel").click()
    expect(console.get_by_text("cancelled")).to_be_visible()
    [last] = rig.get("/v1/jobs", plant="tank", limit=1)["items"]
    assert last["state"] == "cancelled"


def test_trends_zoom_by_asking_the_service_for_the_span(console: Page, rig: Rig) -> None:
    to(console, "Trends")
    expect(chart(console, "pump_1").locator("canvas")).to_be_visible()
    console.get_by_role("checkbox", name="level_4").check()
    expect(chart(console, "level_4").locator("figcaption")).to_contain_text(shown(rig.measured.values[-1][6], 3))
    with console.expect_request(re.compile("telemetry.*start=")) as waiting:
        console.get_by_role("button", name="All").click()
    query = httpx.URL(waiting.value.url).params
    assert query["start"].startswith("2026-01-01T00:00:05")
    assert query["tags"].split(",")[-1] == "level_4"

    box = chart(console, "pump_1").locator(".u-over").bounding_box()
    assert box
    y = box["y"] + 20
    with console.expect_request(re.compile("telemetry.*start=")) as waiting:
        console.mouse.move(box["x"] + box["width"] / 4, y)
        console.mouse.down()
        console.mouse.move(box["x"] + box["width"] / 2, y, steps=4)
        console.mouse.up()
    query = httpx.URL(waiting.value.url).params
    whole = (ROWS - 1) * PERIOD_S
    start, end = (_seconds(query[name]) for name in ("start", "end"))
    assert start - PERIOD_S == pytest.approx(whole / 4, abs=0.01 * whole)
    assert end - PERIOD_S == pytest.approx(whole / 2, abs=0.01 * whole)

    console.get_by_label("Time zone").select_option("Asia/Dubai")  # UTC + 4 h
    expect(console.get_by_label("Start", exact=True)).to_have_value(re.compile("^2026-01-01 04:"))


def _seconds(stamp: str) -> float:
    """Since the first of January 2026, UTC."""
    day, _, rest = stamp.partition("T")
    hours, minutes, seconds = rest.removesuffix("Z").split(":")
    assert day in ("2026-01-01", "2026-01-02")
    return 86400 * (day == "2026-01-02") + 3600 * int(hours) + 60 * int(minutes) + float(seconds)


FILE = """Zeitstempel;valve;temp C;spare
2026-02-01T00:00:00Z;10.5;80.1;1
2026-02-01T00:01:00Z;10.5;80.2;1
2026-02-01T00:02:00Z;text;80.3;1
not a time;10.5;80.4;1
2026-02-01T00:20:00Z;11;80.5;1
2026-02-01T00:20:00Z;11;80.5;1
"""


def test_a_plant_is_described_and_a_file_dropped_on_it(console: Page, rig: Rig, expected: list[str]) -> None:
    expected.append(f"{REFUSED} 422")
    to(console, "Data")
    console.get_by_role("button", name="Describe another plant").click()
    console.get_by_label("Name", exact=True).fill("Small Heater")
    file = {"name": "heater.csv", "mimeType": "text/csv", "buffer": FILE.encode()}
    console.get_by_label("Tags from a CSV header").set_input_files(file)
    expect(console.get_by_label("Sample period in seconds")).to_have_value("60")
    console.get_by_label("Remove tag 3").click()
    console.get_by_label("Tag 2 name").fill("temperature")
    console.get_by_label("Tag 2 unit").fill("degC")
    console.get_by_label("Tag 1 role").select_option("mv")
    console.get_by_label("Tag 1 Low", exact=True).fill("100")
    console.get_by_label("Tag 1 High", exact=True).fill("50")
    console.get_by_role("button", name="Save").click()
    expect(console.get_by_role("alert")).to_contain_text("low 100 is not below high 50")
    console.get_by_label("Tag 1 Low", exact=True).fill("0")
    console.get_by_role("button", name="Save").click()
    expect(console.get_by_role("heading", name="Small Heater", exact=True)).to_be_visible()

    _drop(console, FILE)
    console.get_by_label("temp C is").select_option("temperature")
    expect(console.get_by_label("Zeitstempel is")).to_have_value("time")
    expect(console.get_by_label("spare is")).to_have_value("")
    console.get_by_role("button", name="Upload").click()
    receipt = console.locator("dl").filter(has_text="received")
    # Six rows: one has no time, one is there twice; the row with text keeps its temperature.
    for label, count in {
        "received": 6,
        "stored": 4,
        "duplicate": 1,
        "rejected": 1,
        "values refused in kept rows": 1,
    }.items():
        expect(receipt.locator(f"dt:text-is('{label}') + dd")).to_have_text(str(count))
    expect(console.get_by_text("left out: spare")).to_be_visible()
    refused = console.locator("table").filter(has_text="Refused because").locator("tbody tr")
    expect(refused.filter(has_text=re.compile("^3valve"))).to_have_count(1)
    expect(refused.filter(has_text=re.compile("^4"))).to_have_count(1)
    expect(console.get_by_text("1 gap of 18 min in all")).to_be_visible()
    expect(console.get_by_text("A twin cannot be trained on this yet: ")).to_be_visible()

    console.get_by_role("button", name="take back").click()
    console.get_by_role("button", name="Yes, take back 4 rows").click()
    expect(console.get_by_text("No telemetry yet.")).to_be_visible()
    assert rig.get("/v1/plants/small-heater/telemetry")["times"] == []
    rig.client.delete("/v1/plants/small-heater").raise_for_status()


def _drop(page: Page, text: str) -> None:
    script = """(text) => {
        const dropped = new DataTransfer();
        dropped.items.add(new File([text], "heater.csv", { type: "text/csv" }));
        return dropped;
    }"""
    data = page.evaluate_handle(script, text)
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": data})


def test_sources_of_a_collector_show_in_the_data_view(console: Page, rig: Rig) -> None:
    sound = SOURCES["sources"][0]
    broken = {
        **sound,
        "name": "broker",
        "kind": "mqtt",
        "connected": False,
        "refused": 7,
        "skew_s": 3600.0,
        "full": True,
    }
    rig.client.put("/v1/plants/tank/sources", json={"sources": [sound, broken]}).raise_for_status()
    to(console, "Data")
    table = console.locator("section.panel").filter(has=console.get_by_role("heading", name="Sources"))
    expect(table.get_by_role("row").filter(has_text="plc")).to_contain_text("connected")
    row = table.get_by_role("row").filter(has_text="broker")
    for text in ("not connected", "▲ 7", "▲ 3600", "◆ 250"):
        expect(row).to_contain_text(text)


def test_works_by_keyboard_and_in_the_dark(console: Page, rig: Rig) -> None:
    light = console.evaluate("getComputedStyle(document.body).backgroundColor")
    console.get_by_role("button", name="Dark").press("Enter")
    assert console.evaluate("getComputedStyle(document.body).backgroundColor") != light
    console.get_by_role("link", name="What-if").press("Enter")
    asked(console, "predict", lambda: console.get_by_label("Add a move of pump_1").press("Enter"))
    field = console.get_by_label("pump_1, move 1: value")
    field.select_text()
    asked(console, "predict", lambda: console.keyboard.type("2.5"), lambda body: ends(body, "pump_1") == [2.5])
    console.keyboard.press("Tab")
    assert console.evaluate("document.activeElement.getAttribute('aria-label')") == "pump_1, move 1: ramp in seconds"


def test_moves_become_steps_and_steps_become_ramps(console: Page) -> None:
    """On paper: from 1, a ramp of 15 s to 4 is three periods of 5 s, +1 each; then a step to 2 at 30 s."""
    base = console.evaluate("new URL('.', document.querySelector('script[type=module]').src).pathname")
    steps, ramps = console.evaluate(
        """async (base) => {
            const { asSteps, asRamps } = await import(`${base}views/ramps.js`);
            const moves = [{ after_s: 30, value: 2 }, { after_s: 5, value: 4, ramp_s: 15 }];
            return [asSteps(moves, 1, 5), asRamps([1, 2, 3, 4, 4, 4, 2, 2], 1, 5)];
        }""",
        base,
    )
    assert steps == [{"after_s": t, "value": v} for t, v in ((5, 2), (10, 3), (15, 4), (30, 2))]
    assert ramps == [{"after_s": 5, "value": 4, "ramp_s": 15}, {"after_s": 30, "value": 2, "ramp_s": 0}]
