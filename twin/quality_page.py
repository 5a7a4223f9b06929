"""The quality report as one self-contained HTML page: an overview of every tag as inline SVG, then the tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import jinja2
import matplotlib
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.plant import Plant
from twin.summary import short

MAX_TAGS = 40  # drawn; the tables hold all
POINTS = 1000  # of an overview that is drawn
LINE = {"mv": "#b35900", "dv": "#5b5b5b", "cv": "#0b5cad"}
SHADES = {  # what is shaded → colour and hatch, told apart without colour too
    "holes": ("#d9d9d9", ""),
    "frozen": ("#9ecae1", "//"),
    "bad_quality": ("#fcbba1", "xx"),
    "spikes": ("#de2d26", ""),
}
NAMES = {"holes": "missing", "frozen": "frozen", "bad_quality": "bad quality", "spikes": "spike"}


def page(plant: Plant, report: Mapping[str, Any], overview: pd.DataFrame) -> str:
    """The report (`quality.assess`, with `readiness` in it) as HTML.

    Args:
        overview: rows thinned out (`PlantTable.overview`), a column a tag.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twin", ""), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["short"] = short
    template = environment.get_template("quality.html.jinja")
    return template.render(plant=plant, report=report, names=NAMES, plot=_svg(plant, report, overview))


def _svg(plant: Plant, report: Mapping[str, Any], overview: pd.DataFrame) -> str:
    tags = [tag for tag in plant.tags if tag.name in overview.columns][:MAX_TAGS]
    if not len(overview) or not tags:
        return ""
    with matplotlib.rc_context({"svg.hashsalt": "twin", "font.size": 8, "axes.spines.top": False}):
        figure = Figure(figsize=(10.0, 0.3 + 0.75 * len(tags)), layout="constrained")
        axes = figure.subplots(len(tags), 1, sharex=True, squeeze=False)[:, 0]
        index = pd.DatetimeIndex(overview.index)
        times = index.tz_convert("UTC").tz_localize(None).to_numpy()
        for ax, tag in zip(axes, tags, strict=True):
            _shade(ax, report["tags"][tag.name])
            ax.plot(times, overview[tag.name].to_numpy(), color=LINE[str(tag.role)], linewidth=0.7)
            ax.set_ylabel(f"{tag.name}\n[{tag.unit}]", rotation=0, ha="right", va="center")
            for at in report["tags"][tag.name]["level_shifts"]["first"]:
                ax.axvline(_naive(at["at"]), color="black", linestyle=":", linewidth=1)
        locator = mdates.AutoDateLocator()
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _shade(ax: Axes, tag: Mapping[str, Any]) -> None:
    for kind, (color, hatch) in SHADES.items():
        for span in tag[kind]["longest"]:
            edge = "none" if not hatch else "#666666"
            start, end = _naive(span["start"]), _naive(span["end"])
            ax.axvspan(start, end, facecolor=color, hatch=hatch, edgecolor=edge, linewidth=0.0 if not hatch else 0.3)


def _naive(time: str) -> Any:
    return mdates.date2num(np.datetime64(pd.Timestamp(time).tz_convert("UTC").tz_localize(None)))
