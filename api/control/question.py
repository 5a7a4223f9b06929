"""What the controller asks of the service in a cycle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.control.configuration import Configuration, setpoints
from api.control.inputs import Snapshot
from api.control.rows import Rows, iso


def question(
    configuration: Configuration,
    snapshot: Snapshot,
    rows: Rows,
    changed: Mapping[str, float],
    now: int,
    deadline_ms: float,
) -> dict[str, Any]:
    """The body of optimize.

    Args:
        rows: the last of them is the snapshot's.
        changed: setpoints that the operator has changed.
        now: plant time, ns, which the rows' age is judged against.
        deadline_ms: for the planner.
    """
    settings = configuration.settings
    wanted = {tag: value for tag, value in setpoints(settings, changed).items() if tag not in snapshot.dropped}
    body = {
        "twin": settings.twin,
        "at": iso(max(now, snapshot.at)),
        "history": rows.history(),
        "horizon_s": settings.horizon_s,
        "objective": {
            "setpoints": wanted,
            "prices": settings.prices,
            "move_suppression": settings.move_suppression,
        },
        "limits": _limits(configuration),
        "hold_mvs": sorted(snapshot.held),
        "coverage": settings.coverage,
        "deadline_ms": deadline_ms,
        "max_age_s": settings.max_age_s or 3 * configuration.period_s,
    }
    if settings.control_horizon_s is not None:
        body["control_horizon_s"] = settings.control_horizon_s
    return body


def aimless(configuration: Configuration, snapshot: Snapshot) -> str:
    """Why there is nothing to optimize now; empty where there is."""
    if all(mv.name in snapshot.held for mv in configuration.mvs):
        return "no MV can be moved: " + ", ".join(f"{tag} ({why})" for tag, why in snapshot.held.items())
    settings = configuration.settings
    if not settings.prices and all(tag in snapshot.dropped for tag in settings.setpoints):
        return "no CV with a setpoint is measured"
    return ""


def _limits(configuration: Configuration) -> dict[str, dict[str, Any]]:
    """The configuration's limits, where they are inside the plant's."""
    limits = {tag: table.model_dump(exclude_none=True) for tag, table in configuration.settings.limits.items()}
    for mv in configuration.mvs:
        tag = configuration.plant.tag(mv.name)
        own = {"low": mv.low} if tag.low != mv.low else {}
        own |= {"high": mv.high} if tag.high != mv.high else {}
        if tag.rate_limit_per_s != mv.rate_per_s and mv.rate_per_s < float("inf"):
            own["rate_per_s"] = mv.rate_per_s
        if mv.moved and own:
            limits[mv.name] = own
    return limits
