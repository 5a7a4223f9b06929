"""Trials as pictures: what was wanted, what came, within which limits, by which moves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib

from twin.errors import QuestionError
from twin.sandbox.figures import trials
from twin.sandbox.loop import Outcome

COLUMNS = (
    "scenario",
    "by",
    "cost",
    "paid / h",
    "offset",
    "CV beyond",
    "worst",
    "MV viol",
    "travel",
    "statuses",
    "CPU ms",
)


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The table, a row an outcome, in the order of `COLUMNS`: offset and worst in % of span, CPU time p50 and p99."""
    return [
        (
            o.scenario,
            o.controller,
            f"{o.cost:.2e}",
            f"{o.paid_per_h:.4g}" if o.paid_per_h else "–",
            "–" if o.offset is None else f"{100 * o.offset:.2f} %",
            str(o.cv_rows),
            f"{100 * o.cv_worst:.2f} %",
            str(o.mv_violations),
            f"{o.travel:.2f}",
            ", ".join(f"{count} {status}" for status, count in o.statuses.items()) or "–",
            f"{o.cpu_ms_p50:.1f} {o.cpu_ms_p99:.1f}" if o.statuses else "–",
        )
        for o in outcomes
    ]


def write(outcomes: Sequence[Outcome], title: str, file: Path) -> None:
    """Draw the trials into a PNG, an SVG or one self-contained HTML page, by the file's ending.

    Raises:
        QuestionError: another ending (`check`).
    """
    kind = check(file)
    with matplotlib.rc_context({"svg.hashsalt": "twin", "font.size": 8, "axes.spines.top": False}):
        drawn = trials(outcomes)
        if kind != "html":
            drawn.savefig(file, format=kind, dpi=110)
            return
        svg = io.StringIO()
        drawn.savefig(svg, format="svg", metadata={"Date": None})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twin.sandbox", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    picture = svg.getvalue()
    picture = picture[picture.index("<svg") :]
    page = environment.get_template("page.html.jinja").render(
        title=title, columns=COLUMNS, rows=rows(outcomes), picture=picture
    )
    file.write_text(page, encoding="utf-8")


def check(file: Path) -> str:
    """What a file's ending asks for: png, svg or html.

    Raises:
        QuestionError: another one, or the folder is not there.
    """
    kind = file.suffix.lower().lstrip(".")
    if kind not in ("png", "svg", "html"):
        raise QuestionError(f"{file.name}: plots are written as .png, .svg or .html")
    if not file.absolute().parent.is_dir():
        raise QuestionError(f"{file.absolute().parent} is no folder to draw into")
    return kind
