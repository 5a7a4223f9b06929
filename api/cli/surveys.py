"""`twin upload --dry-run`: which column is which tag, in which unit, and how the times are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from api.cli import show
from api.client.types import PlantAnswer
from api.client.uploads import headers_of
from connectors.formats.survey import survey
from twin.errors import TelemetryError
from twin.plant import Plant

MANY = 0.2  # of the values outside the tag's range: perhaps another unit


def of_files(described: PlantAnswer, files: Sequence[Path], timezone: str | None) -> tuple[list[dict[str, Any]], bool]:
    """What each file would be, ready for JSON; and whether all could be read."""
    plant = Plant.from_json({k: v for k, v in described.items() if k in ("name", "sample_period_s", "tags")})
    found = [_of_file(plant, path, timezone) for path in files]
    return found, not any("error" in each for each in found)


def _of_file(plant: Plant, path: Path, timezone: str | None) -> dict[str, Any]:
    headers = headers_of(path)
    try:
        with path.open("rb") as stream:
            seen = survey(stream, headers["Content-Type"], headers.get("Content-Encoding"), plant, timezone)
    except TelemetryError as error:
        return {"file": str(path), "error": error.detail}
    return {"file": str(path), **asdict(seen)}


def show_all(described: PlantAnswer, found: Sequence[dict[str, Any]], timezone: str | None) -> None:
    """Print the mapping of each file, and what would be refused."""
    tags = {tag["name"]: tag for tag in described["tags"]}
    for each in found:
        show.console.print(f"\n{each['file']}", style="bold", markup=False, highlight=False)
        if "error" in each:
            show.console.print(f"cannot be read: {each['error']}", style="red", markup=False)
            continue
        columns = ["column", "is", "role", "unit", "values", "from", "to", "remark"]
        show.table(columns, [_row(name, use, each, tags) for name, use in each["columns"].items()])
        if each["long"]:
            rows = [_row(tag, tag, each, tags) for tag in each["seen"]]
            show.table(["tag", *columns[1:]], rows)
            if each["unknown_tags"]:
                show.console.print(f"no tags of the plant: {', '.join(each['unknown_tags'])}", markup=False)
        _show_rows(each, timezone)
    missing = [name for name in tags if not any(name in each.get("seen", ()) for each in found)]
    if missing and any("seen" in each for each in found):
        show.console.print(f"\nwithout any value: {', '.join(missing)}", style="yellow", markup=False)
    show.console.print("\nNothing was sent.")


def _row(name: str, use: str, each: dict[str, Any], tags: dict[str, Any]) -> list[Any]:
    tag, seen = tags.get(name, {}), each["seen"].get(name)
    if not use or use.startswith("did you mean"):
        return [name, "left out", None, None, None, None, None, use or "no tag of the plant"]
    if seen is None:
        return [name, use, tag.get("role"), tag.get("unit"), 0 if tag else None, None, None, ""]
    remark = ""
    if seen["outside"]:
        remark = f"{seen['outside'] / seen['count']:.1%} outside {_range(tag)}"
        remark += ": is the unit right?" if seen["outside"] > MANY * seen["count"] else ""
    return [name, use, tag["role"], tag["unit"], seen["count"], seen["low"], seen["high"], remark]


def _range(tag: dict[str, Any]) -> str:
    low, high = (show.cell(tag.get(side)) for side in ("low", "high"))
    return f"{low} to {high}"


def _show_rows(each: dict[str, Any], timezone: str | None) -> None:
    zone = f"times without an offset are {timezone}" if timezone else "every time must have its offset"
    if each["first_time"] is not None:
        if each["first_read"] is not None:
            show.console.print(f"{each['first_written']} is read as {each['first_read']}; {zone}", markup=False)
        show.console.print(f"{each['first_time']} to {each['last_time']}", markup=False)
    refused = f"{each['rows_rejected']} refused" + (
        f", and {each['cells_rejected']} single values" if each["cells_rejected"] else ""
    )
    show.console.print(f"{each['rows_received']} rows, {refused}", markup=False)
    if each["rejected"]:
        show.refusals(each["rejected"], "refused because")
