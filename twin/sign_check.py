"""Whether a twin keeps the signs of gains that were asked for: by step responses all over the trained region.

Each member is asked as `predict` would ask it, from histories as they were and from MVs at other levels of their
range, wherever that lies inside the trained region; a step goes half a deviation up and down, as far as the range
goes. The answer counts at the end of the calibrated horizon and of twice that: a response may go the other way first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.artifact import Twin
from twin.telemetry import Telemetry
from twin.training.signs import ROUNDING, ZERO, answers, operating_points
from twin.units import per
from twin.windows import Grid

SEED = 1  # of the levels of the MVs: not those that training looked at


def sign_check(
    twin: Twin,
    telemetry: Telemetry,
    asked: np.ndarray,
    bound: np.ndarray | None = None,
    taken: np.ndarray | None = None,
) -> dict[str, Any]:
    """The `gain_sign` part of a model card.

    Args:
        twin: a trained twin.
        telemetry: what it was trained on.
        asked: (MVs, CVs) 1, -1, 0, or NaN where nothing is asked.
        bound: (MVs, CVs) the effects that are kept by bounds, as the rows speak against them.
        taken: (CVs,) the share of the latent residual that could be taken, where it ships.

    Returns:
        JSON: kept (all of them, false where one is broken or unknown), points, members, and effects {MV: {CV: {asked,
        status, why, points, wrong, gain {low, high, unit}}}}: status is kept, bound (kept against the rows), broken or
        unknown; low and high are the ends of the gains found.
    """
    plant, mvs = twin.plant, np.flatnonzero(np.isfinite(asked).any(axis=1))
    ends = Grid.of(telemetry, twin.scaler).ends(twin.history, 0)
    grid = Grid.of(telemetry, twin.scaler)
    points = operating_points(grid, ends, twin.history, twin.dynamics, len(plant.mvs), SEED)
    found = answers(twin.dynamics, points, mvs, twin.horizon, twin.corrections)
    unit = twin.scaler.y_scale / twin.scaler.w_scale[mvs, None]
    effects: dict[str, Any] = {}
    for i, row in enumerate(mvs):
        mv = plant.mvs[row]
        for column in np.flatnonzero(np.isfinite(asked[row])):
            cv, sign = plant.cvs[column], int(asked[row, column])
            if mv.name in twin.card.get("unknown_effects", {}):
                why = f"{twin.card['unknown_effects'][mv.name]}: its effect is unknown"
                effects.setdefault(mv.name, {})[cv.name] = {"asked": sign, "status": "unknown", "why": why}
                continue
            gains = found.ends[:, :, :, i, column]
            bad = found.size[:, :, i, column] > ZERO if sign == 0 else (sign * gains <= -ROUNDING).any(axis=0)
            share = 1.0 if taken is None else float(taken[column])
            against = bound is not None and bool(bound[row, column])
            status = "broken" if bad.any() else "bound" if against else "kept"
            low, high = (float(end(gains) * unit[i, column]) for end in (np.min, np.max))
            effects.setdefault(mv.name, {})[cv.name] = {
                "asked": sign,
                "status": status,
                "why": _why(status, int(bad.any(axis=0).sum()), len(points.held), share),
                "points": len(points.held),
                "wrong": int(bad.any(axis=0).sum()),
                "gain": {"low": low, "high": high, "unit": per(cv.unit, mv.unit)},
            }
    kept = all(e["status"] in ("kept", "bound") for of_mv in effects.values() for e in of_mv.values())
    return {"kept": kept, "points": len(points.held), "members": twin.dynamics.members, "effects": effects}


def _why(status: str, wrong: int, points: int, share: float) -> str:
    """What was found, in words."""
    if status == "broken":
        return f"it does not hold at {wrong} of {points} operating points"
    told = f"it holds at all of {points} operating points, by every member"
    if status == "bound":
        told += "; the rows speak against it: the gain stands at its bound, and only a step test can tell its size"
    if share < 1:
        told += f"; {share:.0%} of the latent correction is taken, as more would break it"
    return told
