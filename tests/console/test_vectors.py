"""Vector tags in the console: described with a shape, shown with it, and no view stumbles over them."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.console.conftest import Rig
from tests.console.support import to

ROWS = "time,valve,moisture,NIR[0],NIR[1]\n2026-01-01T00:00:00Z,40,1.0,0.1,0.2\n2026-01-01T00:01:00Z,41,1.1,0.2,0.3\n"


def test_a_vector_tag_has_a_shape_and_no_limits(console: Page, rig: Rig) -> None:
    to(console, "Data")
    console.get_by_role("button", name="Describe another plant").click()
    console.get_by_label("Name", exact=True).fill("Dryer")
    console.get_by_label("Sample period in seconds").fill("60")
    for i, (name, role) in enumerate((("valve", "mv"), ("moisture", "cv"), ("NIR", "cv")), start=1):
        if i > 1:
            console.get_by_role("button", name="Add a tag").click()
        console.get_by_label(f"Tag {i} name").fill(name)
        console.get_by_label(f"Tag {i} role").select_option(role)
    console.get_by_label("Tag 1 Low", exact=True).fill("0")
    console.get_by_label("Tag 1 High", exact=True).fill("100")
    expect(console.get_by_label("Tag 1 Low limit", exact=True)).to_have_count(0)  # an MV has none
    expect(console.get_by_label("Tag 2 Rate/s", exact=True)).to_have_count(0)  # a CV has none
    console.get_by_label("Tag 3 formula").fill("valve * 2")  # of a CV: not sent once it is a vector
    console.get_by_label("Tag 3 role").select_option("ov")
    expect(console.get_by_label("Tag 3 Low", exact=True)).to_have_count(0)
    console.get_by_label("Tag 3 shape").fill("1 x 2")
    console.get_by_role("button", name="Save").click()
    try:
        expect(console.get_by_role("row").filter(has_text="NIR")).to_contain_text("OV 1 × 2")
        tags = {tag["name"]: tag for tag in rig.get("/v1/plants/dryer")["tags"]}
        assert tags["NIR"]["shape"] == [1, 2]
        assert "formula" not in tags["NIR"]

        headers = {"Content-Type": "text/csv"}
        rig.client.post("/v1/plants/dryer/telemetry", content=ROWS, headers=headers).raise_for_status()
        to(console, "Overview")
        plants = console.locator("section", has=console.get_by_role("heading", name="Plants", exact=True))
        expect(plants.get_by_role("row").filter(has_text="Dryer")).to_contain_text("none yet")
        expect(console.get_by_role("alert")).to_have_count(0)
    finally:
        rig.client.delete("/v1/plants/dryer").raise_for_status()
