"""What tests of the console do again and again: go to a view, find a chart, act and catch the request that follows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Response

from twin.plants.quadruple_tank import QuadrupleTank

PERIOD_S = QuadrupleTank.plant.sample_period_s
HORIZON_S = 300
REFUSED = "Failed to load resource: the server responded with a status of"


def to(page: Page, view: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=view, exact=True).click()


def chart(page: Page, tag: str) -> Locator:
    return page.locator("figure.chart").filter(has=page.locator("figcaption b", has_text=re.compile(f"^{tag}$")))


def shown(value: float, digits: int = 4) -> str:
    """A number as the console writes it (below a million)."""
    if 0 < abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-")
    return f"{float(f'{value:.{digits}g}'):.10g}"


def asked(
    page: Page, verb: str, act: Any, meant: Callable[[dict[str, Any]], bool] = lambda body: True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Body and answer of the request that an act leads to: of the first whose body is the one meant."""

    def this(answer: Response) -> bool:
        return answer.url.endswith(f"/{verb}") and answer.ok and meant(answer.request.post_data_json)

    with page.expect_response(this) as waiting:
        act()
    return waiting.value.request.post_data_json, waiting.value.json()


def ends(body: dict[str, Any], mv: str) -> list[float]:
    """Where each scenario leaves an MV."""
    return [scenario["moves"][mv][-1]["value"] for scenario in body["scenarios"]]


def box(page: Page, tag: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of the ground of a chart."""
    found = chart(page, tag).locator(".u-over").bounding_box()
    assert found
    return found["x"], found["y"], found["width"], found["height"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move and let go."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()
