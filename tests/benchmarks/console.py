"""The console in a real browser: from the hand to the picture, a year of trends, the size of the page. Prints a table.

A Chromium must be on the path. The browser runs beside the service on the same machine and draws without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.support.service import Service, running
from twin.plant import Plant, Tag
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

RESULTS = Path(__file__).parent / "results"
SIZE = {"width": 1280, "height": 720}
YEAR_ROWS = 365 * 24 * 60  # a row a minute
TAGS = 10

# A picture is there when the browser has painted the frame after the change. A chart says what it shows in words; they
# change in the task that draws it.
HELPERS = """
window.painted = () => new Promise((done) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => done(performance.now());
  channel.port2.postMessage(null);
}));
window.picture = (tag) => [...document.querySelectorAll("figure.chart")]
  .find((figure) => figure.querySelector("b").textContent === tag)?.querySelector("[role=img]");
window.changed = (element) => new Promise((done, fail) => {
  const watch = new MutationObserver(() => { watch.disconnect(); done(); });
  setTimeout(() => fail(new Error(`no new picture in 60 s; it says ${element.getAttribute("aria-label")}; `
    + [...document.querySelectorAll(".trouble")].map((box) => box.textContent).join("; "))), 60_000);
  watch.observe(element, { attributes: true, attributeFilter: ["aria-label"] });
});
"""

DRAG = """async ([count, place]) => {
  const over = picture("pump_1").querySelector(".u-over");
  const { left, top, width, height } = over.getBoundingClientRect();
  const at = (kind, k) => over.dispatchEvent(new PointerEvent(kind, { bubbles: true, cancelable: true, pointerId: 1,
    pointerType: "mouse", clientX: left + place * width, clientY: top + (0.25 + 0.02 * (k % 25)) * height }));
  over.setPointerCapture = () => null;
  at("pointerdown", 0);
  await new Promise((done) => setTimeout(done, 1000));
  const spent = [];
  for (let k = 1; k <= count; k += 1) {
    const forecast = changed(picture("level_1"));
    const begin = performance.now();
    at("pointermove", k);
    await forecast;
    spent.push((await painted()) - begin);
    await new Promise((done) => setTimeout(done, 30));
  }
  at("pointerup", count);
  return spent;
}"""

FIRST = """async (tags) => {
  const drawn = () => document.querySelectorAll("figure.chart [role=img] canvas").length;
  while (drawn() < tags) await painted();
  return painted();
}"""

ZOOM = """async (count) => {
  const over = document.querySelector("figure.chart .u-over");
  const { left, top, width } = over.getBoundingClientRect();
  const turn = (deltaY, shiftKey) => over.dispatchEvent(new WheelEvent("wheel",
    { bubbles: true, cancelable: true, deltaY, shiftKey, clientX: left + width / 2, clientY: top + 20 }));
  const spent = [];
  let last = await painted();
  for (let k = 0; k < count; k += 1) {
    turn(k % 40 < 20 ? -60 : 60, k % 5 === 4);
    const now = await painted();
    spent.push(now - last);
    last = now;
  }
  return spent;
}"""


def year() -> Telemetry:
    """Ten tags over a year: daily and weekly swings, noise, now and then a step."""
    rng = np.random.default_rng(0)
    tags = tuple(Tag(f"t{i}", "mv" if i < 3 else "cv", "1", low=-10.0, high=10.0) for i in range(TAGS))
    times = pd.date_range("2025-01-01", periods=YEAR_ROWS, freq="60s", tz="UTC")
    days = np.arange(YEAR_ROWS)[:, None] / 1440
    values = np.sin(2 * np.pi * days * rng.uniform(0.5, 2, TAGS)) + 2 * np.sin(2 * np.pi * days / 7)
    values += 0.2 * rng.standard_normal((YEAR_ROWS, TAGS))
    frame = pd.DataFrame(values, index=times, columns=[tag.name for tag in tags])
    return Telemetry.from_frame(Plant("Year", 60.0, tags), frame)


def quantiles(spent: list[float]) -> dict[str, float]:
    p50, p99 = np.quantile(spent, [0.5, 0.99]).tolist()
    return {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "max_ms": round(max(spent), 1)}


def what_if(page: Page, count: int) -> dict[str, Any]:
    """Drag a move and wait for the forecast that follows it to be painted."""
    page.goto("/#/tank/whatif")
    page.reload()
    page.get_by_label("Add a move of pump_1").wait_for()
    page.locator("[role=img][aria-label*='no move']").first.wait_for(timeout=120_000)  # the first forecast is there
    page.evaluate(DRAG, [20, 0.8])
    return quantiles(page.evaluate(DRAG, [count, 0.6]))  # elsewhere: where the first began, its ramp would be taken


def trends(page: Page, count: int) -> dict[str, Any]:
    """Open a year of ten tags; turn the wheel once a frame."""
    names = ",".join(f"t{i}" for i in range(TAGS))
    start = int(pd.Timestamp("2025-01-01", tz="UTC").timestamp())
    page.goto("about:blank")
    page.goto(f"/#/year/trends?tags={names}&start={start}&end={start + 60 * YEAR_ROWS}")
    first = page.evaluate(FIRST, TAGS)
    page.evaluate(ZOOM, 10)
    return {"first_paint_ms": round(first), "zoom_frame": quantiles(page.evaluate(ZOOM, count))}


def size(page: Page) -> dict[str, int]:
    """Bytes of everything that the page loads, packed and unpacked, as the browser counts them."""
    script = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .filter((entry) => !entry.name.includes("/v1/") && !entry.name.includes("/readyz"))
      .map((entry) => [entry.encodedBodySize, entry.decodedBodySize])"""
    page.goto("about:blank")
    page.goto("/#/tank/overview")
    page.get_by_role("navigation").wait_for()
    entries = page.evaluate(script)
    return {
        "files": len(entries),
        "packed_bytes": sum(e[0] for e in entries),
        "unpacked_bytes": sum(e[1] for e in entries),
    }


def measure(service: Service, chromium: str, count: int) -> dict[str, Any]:
    """All of it in one browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        try:
            context = browser.new_context(viewport=SIZE, base_url=service.url, timezone_id="UTC")
            context.add_init_script(f"if (location.host) sessionStorage.setItem('key', {json.dumps(service.key)});")
            context.add_init_script(HELPERS)
            page = context.new_page()
            results = {"what_if": what_if(page, count), "trends": trends(page, count)}
            fresh = context.new_page()  # as one who comes for the first time
            fresh.context.clear_cookies()
            return {**results, "page": size(fresh), "browser": browser.version}
        finally:
            browser.close()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="drags and frames measured")
    count = parser.parse_args().count
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium on the path; on Debian: apt-get install chromium")
    load = os.getloadavg()[0]
    with running() as service:
        tank = Simulator(QuadrupleTank(), 1).excite(2000)
        service.put_plant("tank", tank.plant)
        service.upload("tank", tank)
        service.train("tank", budget_s=30.0)
        a_year = year()
        service.put_plant("year", a_year.plant)
        service.upload("year", a_year)
        results = measure(service, chromium, count)
    drag, frames = results["what_if"], results["trends"]["zoom_frame"]
    print(f"{'':44}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    print(f"{'what-if, from the hand to the picture':44}{drag['p50_ms']:9}{drag['p99_ms']:9}{drag['max_ms']:9}")
    print(
        f"{'trends of 10 tags x 1 year, a zoom frame':44}{frames['p50_ms']:9}{frames['p99_ms']:9}{frames['max_ms']:9}"
    )
    print(f"trends, from nothing to the picture: {results['trends']['first_paint_ms']} ms")
    page = results["page"]
    print(f"page: {page['files']} files, {page['packed_bytes']:,} bytes packed, {page['unpacked_bytes']:,} unpacked")
    RESULTS.mkdir(exist_ok=True)
    document = {"count": count, "cores": os.cpu_count(), "load_before": round(load, 1), **results}
    (RESULTS / "console.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
