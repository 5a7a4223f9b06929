"""What the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

NAMED = 100  # refusals that a receipt names
FRACTION = re.compile(r"(?<=T\d\d:\d\d:\d\d)\.\d+(?=Z|\+)")  # of a second, in a time

console = Console()
errors = Console(stderr=True)


def as_json(body: Any) -> None:
    """Print JSON, for programs."""
    print(json.dumps(body, indent=2, ensure_ascii=False))  # noqa: T201


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table, for people: names stand whole and as they are, brackets included, however narrow the terminal."""
    cells = [[cell(value) for value in row] for row in rows]
    ids = not any(" " in row[0] for row in cells)  # to be copied: kept on one line
    heads = [Column(Text(column), overflow="fold", no_wrap=ids and not k) for k, column in enumerate(columns)]
    shown = Table(*heads, title=Text(title) if title else None, title_justify="left")
    for row in cells:
        shown.add_row(*map(Text, row))
    console.print(shown)


def cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return FRACTION.sub("", str(value))


def bands(times: Sequence[str], cvs: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Print a forecast: each CV with its band at up to ten times."""
    rows = sorted({round(i * (len(times) - 1) / 9) for i in range(10)})
    cells = [
        [times[k], *(f"{cv['mean'][k]:.4g} [{cv['low'][k]:.4g}, {cv['high'][k]:.4g}]" for cv in cvs.values())]
        for k in rows
    ]
    table(["time", *cvs], cells, title)


def supposed(answer: Mapping[str, Any], tags: Iterable[str]) -> None:
    """Print what an answer supposes of DVs whose course nobody announced."""
    for tag in tags:
        path = answer["disturbances"][tag]
        course = f"stay at {path[0]:.4g}" if min(path) == max(path) else f"go from {path[0]:.4g} to {path[-1]:.4g}"
        console.print(f"{tag} was not announced: the twin expects it to {course}", markup=False, highlight=False)


def verdict(trust: Mapping[str, Any]) -> None:
    """Print how far an answer can be trusted."""
    if trust["in_distribution"]:
        console.print(f"[green]inside what the twin has seen[/green] (score {trust['score']:.2f})")
    else:
        console.print(f"[yellow]outside what the twin has seen[/yellow] (score {trust['score']:.2f})")
    for reason in trust["reasons"]:
        console.print(f"  {reason['detail']}", markup=False)


def problem(detail: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Print why the service refused."""
    errors.print(detail, style="red", markup=False, highlight=False)
    for item in items if len(items) > 1 else ():
        errors.print(f"  {'.'.join(map(str, item['loc']))}: {item['msg']}", markup=False)


def training() -> Progress:
    """A bar with the remaining time that the job tells, and its losses."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[eta]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[losses]}"),
        console=errors,
    )


def transfer() -> Progress:
    """A bar with the bytes sent, their rate and the remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=errors,
    )


def receipt(name: str, told: Mapping[str, Any]) -> None:
    """Print what became of an upload, and why values were rejected: each reason once."""
    table(["receipt", name], [(key, value) for key, value in told.items() if key != "rejected"])
    if told["rejected"]:
        refusals(told["rejected"], "rejected because")


def refusals(rejected: Sequence[Mapping[str, Any]], why: str) -> None:
    """Print the reasons why rows and values were refused, alike ones together."""
    alike: dict[tuple[str | None, str], list[Mapping[str, Any]]] = {}
    for each in rejected:
        alike.setdefault((each["tag"], re.sub(r"'.*'|\d+", "#", each["reason"])), []).append(each)
    rows = [(of[0]["row"], of[0]["tag"], of[0]["reason"], len(of) - 1 or "") for of in alike.values()]
    table(["row", "tag", why, "and so more"], rows)
    if len(rejected) >= NAMED:
        console.print(f"These are the first {len(rejected)} only; all are counted.", highlight=False)
