"""Trials as pictures: what was wanted, what came, within which limits, by which moves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.errors import QuestionError
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
COLORS = ("#0b5cad", "#b35900", "#5a7d2b", "#7b3fa0")  # of controllers; line styles differ too
STYLES = ("-", "--", "-.", ":")
MAX_CVS = 6  # that are drawn: those with setpoints first


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
        drawn = _figure(outcomes)
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


def _figure(outcomes: Sequence[Outcome]) -> Figure:
    """A column a scenario: its CVs above its MVs."""
    names = list(dict.fromkeys(o.scenario for o in outcomes))
    plant = outcomes[0].trace.plant
    asked = np.any([np.isfinite(o.trace.setpoints).any(axis=0) for o in outcomes], axis=0)
    shown = [*np.flatnonzero(asked), *np.flatnonzero(~asked)][:MAX_CVS]
    lines = len(shown) + len(plant.mvs)
    figure = Figure(figsize=(3.4 * len(names) + 0.6, 1.35 * lines + 0.8), layout="constrained")
    axes = figure.subplots(lines, len(names), squeeze=False, sharex="col", sharey="row")
    for column, name in enumerate(names):
        runs = [o for o in outcomes if o.scenario == name]
        for line, i in enumerate(shown):
            _draw_cv(axes[line, column], runs, int(i))
        for line, i in enumerate(range(len(plant.mvs)), start=len(shown)):
            _draw_mv(axes[line, column], runs, i)
        axes[0, column].set_title(name)
        axes[-1, column].set_xlabel("row")
    for line, i in enumerate(shown):
        axes[line, 0].set_ylabel(f"{plant.cvs[i].name}\n{plant.cvs[i].unit}")
    for line, tag in enumerate(plant.mvs, start=len(shown)):
        axes[line, 0].set_ylabel(f"{tag.name}\n{tag.unit}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def _draw_cv(ax: Axes, runs: Sequence[Outcome], i: int) -> None:
    """The true CV of each controller, setpoint and limits; a mark where a plan was not optimal."""
    trace = runs[-1].trace
    at = np.arange(len(trace.truth))
    ax.step(at, trace.setpoints[:, i], "k:", where="post", lw=1, label="setpoint")
    seen = np.concatenate([run.trace.truth[:, i] for run in runs])
    reach = 0.4 * max(float(np.ptp(seen)), 1e-9)
    for side in (trace.low[:, i], trace.high[:, i]):
        near = np.where((side > seen.min() - reach) & (side < seen.max() + reach), side, np.nan)
        ax.step(at, near, color="#b00020", where="post", lw=0.9)
    for run, color, style in zip(runs, COLORS, STYLES, strict=False):
        ax.plot(at, run.trace.truth[:, i], color=color, ls=style, lw=1.2, label=run.controller)
    for run, color in zip(runs, COLORS, strict=False):
        odd = np.array([status not in (None, "optimal") for status in run.trace.status])
        ax.plot(at[odd], run.trace.truth[odd, i], ".", color=color, ms=4)
    ax.grid(alpha=0.25)


def _draw_mv(ax: Axes, runs: Sequence[Outcome], i: int) -> None:
    for run, color, style in zip(runs, COLORS, STYLES, strict=False):
        ax.step(np.arange(len(run.trace.mvs)), run.trace.mvs[:, i], color=color, ls=style, lw=1.0, where="post")
    ax.grid(alpha=0.25)
