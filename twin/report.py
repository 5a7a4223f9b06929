"""The model card as one self-contained HTML page: plots as inline SVG, nothing loaded from elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.summary import PEERS, short, summary

MAX_PANELS = 12  # rows or columns of small multiples; the tables and the JSON hold everything
TWIN, ARX, FLAT = "#0b5cad", "#b35900", "#808080"  # told apart by colour-blind readers; line styles differ too
STYLES = {"twin": (TWIN, "-"), "arx": (ARX, "--"), "persistence": (FLAT, ":")}
LABELS = {"twin": "twin", **PEERS}


def page(card: dict[str, Any]) -> str:
    """The card of a twin (`twin.evaluate.report`) as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twin", ""), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["short"] = short
    return environment.get_template("report.html.jinja").render(
        card=card,
        summary=summary(card),
        gains=_gain_rows(card),
        backtest=_svg(_draw_backtest, card),
        responses=_svg(_draw_responses, card),
        coverage=_svg(_draw_coverage, card),
        training=_svg(_draw_training, card) if len(card["training"]["curve"]) > 1 else "",
        effects=_effects(card),
        gain_map=_svg(_draw_gain_map, card) if any(card.get("gain_map", {}).values()) else "",
        errors=_svg(_draw_errors, card) if "diagnostics" in card else "",
        unwhite=[name for name, cv in card.get("diagnostics", {"cvs": {}})["cvs"].items() if not cv["white"]],
    )


def _effects(card: dict[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """MV → CV → the verdict on that effect, and why, for the table."""
    return {
        mv: {
            cv: {"verdict": effect["verdict"], "why": "; ".join(reason["detail"] for reason in effect["reasons"])}
            for cv, effect in of_mv.items()
        }
        for mv, of_mv in card.get("identifiability", {"effects": {}})["effects"].items()
    }


def _gain_rows(card: dict[str, Any]) -> list[dict[str, Any]]:
    responses = card["step_responses"]
    return [
        {"mv": mv, "cv": cv, "gain": gain, "dead": responses["dead_times_s"][mv][cv]}
        | {
            "settling": responses["settling_times_s"][mv][cv],
            "unit": responses["gain_units"][mv][cv].replace("delta_", ""),
        }
        for mv, of_mv in responses["gains"].items()
        for cv, gain in of_mv.items()
    ]


def _svg(draw: Callable[[dict[str, Any]], Figure], card: dict[str, Any]) -> str:
    """A figure as SVG text without a prologue, the same text for the same card."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "twin", "font.size": 8, "axes.spines.top": False}):
        draw(card).savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _grid(rows: int, columns: int, width: float = 2.6, height: float = 1.9) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(max(width * columns, 4.0), height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _multiples(count: int) -> tuple[int, int]:
    columns = min(count, 4)
    return -(-count // columns), columns


def _draw_backtest(card: dict[str, Any]) -> Figure:
    backtest = card["backtest"]
    cvs = dict(list(backtest["cvs"].items())[:MAX_PANELS])
    figure, axes = _grid(*_multiples(len(cvs)))
    for ax, (name, cv) in zip(axes.flat, cvs.items(), strict=False):
        for who, (color, line) in STYLES.items():
            ax.plot(backtest["times_s"], cv["rmse"][who], line, color=color, label=LABELS[who])
        ax.set_title(f"{name} [{cv['unit']}]")
        ax.set_ylim(bottom=0)
    _finish(axes, len(cvs), "horizon [s]", "RMSE")
    axes.flat[0].legend(frameon=False)
    return figure


def _draw_coverage(card: dict[str, Any]) -> Figure:
    backtest = card["backtest"]
    figure, axes = _grid(1, 1, 5.0, 2.4)
    ax = axes[0, 0]
    for name, cv in list(backtest["cvs"].items())[:MAX_PANELS]:
        ax.plot(backtest["times_s"], 100 * np.asarray(cv["coverage"]["measured"]), label=name, linewidth=1)
        asked = 100 * cv["coverage"]["asked"]
    ax.axhline(asked, color="black", linestyle=":", label="asked")
    ax.set_ylim(min(ax.get_ylim()[0], asked - 10), 100)
    ax.set(xlabel="horizon [s]", ylabel="values inside the band [%]")
    ax.legend(frameon=False, ncol=3, fontsize=7)
    return figure


def _draw_responses(card: dict[str, Any]) -> Figure:
    responses = card["step_responses"]
    mvs = list(responses["responses"])[:MAX_PANELS]
    cvs = list(responses["responses"][mvs[0]])[:MAX_PANELS]
    figure, axes = _grid(len(cvs), len(mvs), 2.4, 1.5)
    for i, cv in enumerate(cvs):
        for j, mv in enumerate(mvs):
            _draw_response(axes[i, j], responses["times_s"], responses["responses"][mv][cv])
            axes[i, j].axvline(card["horizon_s"], color=FLAT, linestyle=":", linewidth=0.7)
            if i == 0:
                axes[i, j].set_title(f"step in {mv}")
            if j == 0:
                axes[i, j].set_ylabel(cv)
    for ax in axes[-1]:
        ax.set_xlabel("time [s]")
    return figure


def _draw_response(ax: Axes, times: list[float], response: dict[str, list[float]] | None) -> None:
    if response is None:
        ax.text(0.5, 0.5, "unknown", ha="center", va="center", transform=ax.transAxes, color=FLAT)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    ax.fill_between(times, response["low"], response["high"], color=TWIN, alpha=0.2, linewidth=0)
    ax.plot(times, response["mean"], color=TWIN)
    ax.axhline(0, color=FLAT, linewidth=0.5)


def _draw_gain_map(card: dict[str, Any]) -> Figure:
    """Local gains (rows: CVs) over the level of each MV (columns)."""
    maps = {mv: found for mv, found in list(card["gain_map"].items())[:MAX_PANELS] if found}
    cvs = list(next(iter(maps.values()))["gains"])[:MAX_PANELS]
    units = {tag["name"]: tag.get("unit", "1") for tag in card["plant"]["tags"]}
    figure, axes = _grid(len(cvs), len(maps), 2.4, 1.5)
    for j, (mv, found) in enumerate(maps.items()):
        for i, cv in enumerate(cvs):
            ax, gain = axes[i, j], found["gains"][cv]
            finite = np.isfinite([v if v is not None else np.nan for v in gain["low"]]).all()
            if finite:
                ax.fill_between(found["levels"], gain["low"], gain["high"], color=TWIN, alpha=0.2, linewidth=0)
            ax.plot(found["levels"], gain["mean"], ".-", color=TWIN, markersize=3)
            ax.axhline(0, color=FLAT, linewidth=0.5)
            if j == 0:
                ax.set_ylabel(cv)
        axes[0, j].set_title(f"gain of {mv}")
        axes[-1, j].set_xlabel(f"{mv} [{units[mv]}]")
    return figure


def _draw_errors(card: dict[str, Any]) -> Figure:
    """A row of each CV: autocorrelation of the one-step errors, bias, accumulated error."""
    found = card["diagnostics"]
    cvs = dict(list(found["cvs"].items())[:MAX_PANELS])
    figure, axes = _grid(len(cvs), 3, 2.9, 1.5)
    for row, (name, cv) in zip(axes, cvs.items(), strict=True):
        row[0].bar(found["lags_s"], cv["autocorrelation"], width=0.8 * found["lags_s"][0], color=TWIN)
        for side in (-1, 1):
            row[0].axhline(side * cv["limit"], color=FLAT, linestyle=":", linewidth=0.8)
        row[1].plot(found["times_s"], cv["bias"], color=TWIN)
        row[1].axhline(0, color=FLAT, linewidth=0.5)
        row[2].plot(found["times_s"], cv["accumulated"], color=TWIN)
        row[0].set_ylabel(f"{name}\n[{cv['unit']}]")
    for ax, title in zip(
        axes[0], ("autocorrelation, one row ahead", "mean error", "accumulated error [unit · s]"), strict=True
    ):
        ax.set_title(title)
    for ax, label in zip(axes[-1], ("lag [s]", "horizon [s]", "horizon [s]"), strict=True):
        ax.set_xlabel(label)
    return figure


def _draw_training(card: dict[str, Any]) -> Figure:
    curve = card["training"]["curve"]
    figure, axes = _grid(1, 1, 5.0, 2.4)
    ax = axes[0, 0]
    ax.plot([point["step"] for point in curve], [point["out_of_fold"] for point in curve], color=TWIN)
    ax.axvline(card["training"]["stopping_step"], color=FLAT, linestyle=":")
    ax.set(xlabel="training step", ylabel="out-of-fold error\n(1 = backbone alone)")
    return figure


def _finish(axes: np.ndarray, used: int, xlabel: str, ylabel: str) -> None:
    for i, ax in enumerate(axes.flat):
        if i >= used:
            ax.set_visible(False)
        if i >= used - axes.shape[1]:
            ax.set_xlabel(xlabel)
        if i % axes.shape[1] == 0:
            ax.set_ylabel(ylabel)
