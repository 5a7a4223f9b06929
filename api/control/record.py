"""What a record of a cycle says beyond what was read and answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.control.configuration import Configuration, setpoints
from api.control.inputs import Snapshot

NEAR = 1e-3  # of its span: an MV so close to its limit is at it
FULL = 1.0 - 1e-6  # of its largest move: an MV that moves so far is clamped by its rate


def stage_cost(configuration: Configuration, good: Mapping[str, float], changed: Mapping[str, float]) -> float | None:
    """What this row costs: weighted squares of setpoint errors over the instruments' spans, plus prices over a period.

    None where a tag that it needs is not known.
    """
    settings, plant, total = configuration.settings, configuration.plant, 0.0
    for name, item in setpoints(settings, changed).items():
        if name not in good:
            return None
        tag = plant.tag(name)
        span = tag.high - tag.low if tag.low is not None and tag.high is not None else 1.0
        total += item["weight"] * ((good[name] - item["value"]) / span) ** 2
    for name, price in settings.prices.items():
        if name not in good:
            return None
        total += price * good[name] * configuration.period_s / 3600
    return total


def clamped(configuration: Configuration, snapshot: Snapshot, moves: Mapping[str, float]) -> dict[str, str]:
    """MVs that cannot go where they would: MV → held, low, high or rate."""
    found = {mv.name: "held" for mv in configuration.mvs if mv.moved and mv.name in snapshot.held}
    for mv in configuration.mvs:
        value, now = moves.get(mv.name), snapshot.good.get(mv.name)
        if value is None or now is None:
            continue
        near = NEAR * (mv.high - mv.low)
        if value <= mv.low + near:
            found[mv.name] = "low"
        elif value >= mv.high - near:
            found[mv.name] = "high"
        elif abs(value - now) >= FULL * mv.step(configuration.period_s):
            found[mv.name] = "rate"
    return found


def outlook(answer: Mapping[str, Any], row: int) -> dict[str, float]:
    """CV → its forecast in a row of an answer; empty where it holds none."""
    cvs = answer.get("cvs") or {}
    return {tag: float(band["mean"][row]) for tag, band in cvs.items() if len(band.get("mean", ())) > row}
