"""What a plant did, what a twin forecast, and how trials went, as figures with readable time axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from twin.plant import Tag
from twin.predict import Forecast
from twin.sandbox.loop import Outcome
from twin.telemetry import Telemetry

COLORS = ("#0b5cad", "#b35900", "#5a7d2b", "#7b3fa0")  # of controllers; line styles differ too
STYLES = ("-", "--", "-.", ":")
LIMIT, WANTED, PAST = "#b00020", "#000000", "#707070"
MAX_CVS = 6  # that are drawn: those with setpoints first
TICKS = 6  # at most, along time
DPI = 80


@dataclass(frozen=True)
class Unit:
    """What time is told in.

    Attributes:
        steps: between ticks, times powers of ten.
    """

    name: str
    seconds: float
    steps: tuple[float, ...]


SECONDS = Unit("seconds", 1.0, (1, 2, 3, 5, 6, 10))
MINUTES = Unit("minutes", 60.0, (1, 2, 3, 5, 6, 10))
HOURS = Unit("hours", 3600.0, (1, 2, 3, 4, 6, 8, 10))
DAYS = Unit("days", 86400.0, (1, 2, 5, 10))


def unit(span_s: float) -> Unit:
    """The unit in which a span (s) is a number that a person pictures: up to some minutes in seconds, and so on."""
    limits = ((180.0, SECONDS), (180 * 60.0, MINUTES), (96 * 3600.0, HOURS))
    return next((one for most, one in limits if span_s <= most), DAYS)


def recorded(telemetry: Telemetry) -> Figure:
    """Every tag of some telemetry, one below the other, over the time since its first row."""
    plant, times = telemetry.plant, pd.DatetimeIndex(telemetry.times, tz="UTC")
    figure = Figure(figsize=(11, 1.3 * len(plant.tags) + 0.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(plant.tags), 1, squeeze=False, sharex=True)[:, 0]
    told = unit((times[-1] - times[0]).total_seconds())
    at = _since(times, times[0], told)
    frame = telemetry.frame()
    for ax, tag in zip(axes, plant.tags, strict=True):
        ax.plot(at, frame[tag.name], color=COLORS[0], lw=0.9, drawstyle=_style(tag))
        _named(ax, tag)
    _time(axes[-1], told, f"after {times[0]:%Y-%m-%d %H:%M:%S} UTC")
    figure.align_ylabels(axes)
    return figure


def what_if(history: Telemetry, answer: Forecast, came: pd.DataFrame, tags: Sequence[str], past: int = 40) -> Figure:
    """A forecast beside what the plant then did, over the time from now.

    Args:
        history: what the twin was shown; its last `past` rows are drawn.
        answer: a forecast of one scenario: its CVs with their bands, its MVs as they were taken, its DVs as supposed.
        came: rows of the plant under those moves, by tag.
        tags: to draw, a panel each.
    """
    plant, (scenario,) = history.plant, answer.scenarios
    figure = Figure(figsize=(3.6 * len(tags), 3.3), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(tags), squeeze=False)[0]
    rows = history.frame().tail(past)
    told = unit((answer.times[-1] - rows.index[0]).total_seconds())
    stamps = (pd.DatetimeIndex(rows.index), answer.times, pd.DatetimeIndex(came.index))
    before, after, then = (_since(index, answer.at, told) for index in stamps)
    for ax, name in zip(axes, tags, strict=True):
        tag = plant.tag(name)
        ax.plot(before, rows[name], color=PAST, lw=1, drawstyle=_style(tag), label="measured until now")
        ax.axvline(0.0, color=PAST, lw=0.8, ls=":")
        inputs = scenario.moves | scenario.disturbances
        if name in inputs:
            ax.plot(after, inputs[name], color=COLORS[0], drawstyle="steps-post")
        else:
            band = scenario.cvs[name]
            ax.plot(after, answer.baseline[name].mean, "--", color=PAST, label="forecast if nothing moves")
            ax.plot(after, band.mean, color=COLORS[0], label="forecast if it moves")
            shown = f"{answer.coverage:.0%} band of that forecast"
            ax.fill_between(after, band.low, band.high, color=COLORS[0], alpha=0.2, lw=0, label=shown)
            ax.plot(then, came[name], ".", color=COLORS[1], ms=3, label="what the plant then did")
        _named(ax, tag)
        _time(ax, told, "from now")
    _legend(figure, axes)
    return figure


def trials(outcomes: Sequence[Outcome], tags: Sequence[str] = (), by: Sequence[str] = ()) -> Figure:
    """Controllers in trials: a column a scenario, CVs above MVs, over the time from its start.

    Args:
        tags: CVs and MVs to draw, in this order; by default CVs, those with setpoints first, and all MVs.
        by: controllers to draw, in this order; all by default.
    """
    names = list(dict.fromkeys(o.scenario for o in outcomes))
    tags = tags or _worth_drawing(outcomes)
    plant = outcomes[0].trace.plant
    figure = Figure(figsize=(3.8 * len(names) + 0.6, 1.45 * len(tags) + 0.8), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(tags), len(names), squeeze=False, sharex="col")
    for column, name in enumerate(names):
        runs = [o for o in outcomes if o.scenario == name]
        runs = [o for controller in by for o in runs if o.controller == controller] if by else runs
        period_s = plant.sample_period_s
        told = unit(len(runs[-1].trace.truth) * period_s)
        at = np.arange(len(runs[-1].trace.truth)) * period_s / told.seconds
        for ax, tag in zip(axes[:, column], map(plant.tag, tags), strict=True):
            (_draw_cv if tag in plant.cvs else _draw_mv)(ax, at, runs, tag)
            ax.tick_params(labelsize=8)
        axes[0, column].set_title(name, fontsize=10)
        _time(axes[-1, column], told, "from the start")
    for ax, tag in zip(axes[:, 0], map(plant.tag, tags), strict=True):
        _named(ax, tag)
    figure.align_ylabels(axes[:, 0])
    _legend(figure, list(axes.flat))
    return figure


def _worth_drawing(outcomes: Sequence[Outcome]) -> list[str]:
    plant = outcomes[0].trace.plant
    asked = np.any([np.isfinite(o.trace.setpoints).any(axis=0) for o in outcomes], axis=0)
    shown = [*np.flatnonzero(asked), *np.flatnonzero(~asked)][:MAX_CVS]
    return [plant.cvs[i].name for i in shown] + [tag.name for tag in plant.mvs]


def _draw_cv(ax: Axes, at: np.ndarray, runs: Sequence[Outcome], tag: Tag) -> None:
    """The true CV of each controller, setpoint and limits; a mark where a plan was not optimal."""
    trace = runs[-1].trace
    i = trace.plant.cvs.index(tag)
    ax.step(at, trace.setpoints[:, i], color=WANTED, ls=":", where="post", lw=1.2, label="setpoint", zorder=3)
    _draw_limits(ax, at, (trace.low[:, i], trace.high[:, i]), [run.trace.truth[:, i] for run in runs])
    for run, color, style in zip(runs, COLORS, STYLES, strict=False):
        ax.plot(at, run.trace.truth[:, i], color=color, ls=style, lw=1.2, label=run.controller)
    for run, color in zip(runs, COLORS, strict=False):
        odd = np.array([status not in (None, "optimal") for status in run.trace.status])
        ax.plot(at[odd], run.trace.truth[odd, i], ".", color=color, ms=4, label=f"{run.controller}, plan not optimal")
    ax.grid(alpha=0.25)


def _draw_mv(ax: Axes, at: np.ndarray, runs: Sequence[Outcome], tag: Tag) -> None:
    """The MV of each controller, and the plant's limits of it."""
    i = runs[-1].trace.plant.mvs.index(tag)
    sides = [np.full(len(at), np.nan if edge is None else edge) for edge in (tag.low, tag.high)]
    _draw_limits(ax, at, sides, [run.trace.mvs[:, i] for run in runs])
    for run, color, style in zip(runs, COLORS, STYLES, strict=False):
        ax.step(at, run.trace.mvs[:, i], color=color, ls=style, lw=1.0, where="post", label=run.controller)
    ax.grid(alpha=0.25)


def _draw_limits(ax: Axes, at: np.ndarray, sides: Sequence[np.ndarray], came: Sequence[np.ndarray]) -> None:
    """Limits near what came; far ones would flatten it."""
    seen = np.concatenate(came)
    reach = 0.4 * max(float(np.ptp(seen)), 1e-9)
    for side in sides:
        near = np.where((side > seen.min() - reach) & (side < seen.max() + reach), side, np.nan)
        ax.step(at, near, color=LIMIT, where="post", lw=0.9, label="limit")


def _since(times: pd.DatetimeIndex, start: pd.Timestamp, told: Unit) -> np.ndarray:
    """(rows,) in the unit."""
    return np.asarray((times - start).total_seconds()) / told.seconds


def _style(tag: Tag) -> str:
    return "steps-post" if tag.role == "mv" else "default"


def _named(ax: Axes, tag: Tag) -> None:
    """The tag and its unit along the axis; a number has none."""
    ax.set_ylabel(tag.name if tag.unit in ("", "1") else f"{tag.name}\n{tag.unit}", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)


def _time(ax: Axes, told: Unit, since: str) -> None:
    ax.set_xlabel(f"{told.name} {since}", fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(TICKS, steps=told.steps))
    ax.margins(x=0.01)
    ax.tick_params(labelsize=8)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One for all panels, above them, where it covers no line; only what is drawn somewhere is named."""
    found: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            values = np.asarray(handle.get_ydata(), float) if hasattr(handle, "get_ydata") else np.zeros(1)
            if np.isfinite(values).any():
                found.setdefault(label, handle)
    columns = min(len(found), max(2, round(figure.get_figwidth() / 2.2)))
    handles, labels = list(found.values()), list(found)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)
