"""Questions as people write them, to bodies as the contract writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from api.client.types import LimitBody, ScenarioBody, SetpointBody, StepBody

When = str | datetime
Moves = Mapping[str, "float | Sequence[StepBody | tuple[float, float]]"]


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given: the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def moment(when: When | None) -> str | None:
    """A time as text.

    Raises:
        ValueError: it has no offset.
    """
    if when is None or isinstance(when, str):
        return when
    if when.tzinfo is None:
        raise ValueError(f"{when} has no zone; say tzinfo=datetime.UTC, say, or ZoneInfo('Europe/Berlin')")
    return when.isoformat()


def span(
    start: When | None,
    end: When | None,
    tags: Sequence[str] | None = None,
    max_points: int | None = None,
    as_of: int | None = None,
) -> dict[str, Any]:
    """Which telemetry is meant, as the parameters of a URL."""
    names = None if tags is None else list(tags)
    return {"start": moment(start), "end": moment(end), "tags": names, "max_points": max_points, "as_of": as_of}


def steps(moves: Moves | None) -> dict[str, list[dict[str, Any]]] | None:
    """By tag a value at once, or pairs `(after_s, value)`, or steps."""
    return None if moves is None else {tag: _steps(of_tag) for tag, of_tag in moves.items()}


def scenarios(of: Sequence[ScenarioBody] | Mapping[str, Moves] | None) -> list[Any] | None:
    """Moves by the name of a scenario, or bodies."""
    if isinstance(of, Mapping):
        return [{"name": name, "moves": steps(moves)} for name, moves in of.items()]
    return None if of is None else list(of)


def setpoints(of: Mapping[str, float | Sequence[float] | SetpointBody] | None) -> dict[str, Any] | None:
    """By CV a value, a trajectory or a body."""
    return None if of is None else {cv: _setpoint(target) for cv, target in of.items()}


def limits(of: Mapping[str, tuple[float | None, float | None] | LimitBody] | None) -> dict[str, Any] | None:
    """By tag `(low, high)` or a body."""
    if of is None:
        return None
    return {
        tag: given(dict(zip(("low", "high"), limit, strict=True))) if isinstance(limit, tuple) else limit
        for tag, limit in of.items()
    }


def question(
    twin: str,
    at: When | None,
    history: pd.DataFrame | Mapping[str, Any] | None,
    horizon_s: float,
    disturbances: Moves | None,
    coverage: float | None,
) -> dict[str, Any]:
    """What predict and optimize have in common."""
    rows = None if history is None else history_of(history)
    body = {"twin": twin, "at": moment(at), "history": rows, "horizon_s": horizon_s, "coverage": coverage}
    return given({**body, "disturbances": steps(disturbances)})


def history_of(rows: pd.DataFrame | Mapping[str, Any]) -> Mapping[str, Any]:
    """Measured rows, the last of which is where a question starts: a frame, or a body."""
    if isinstance(rows, Mapping):
        return rows
    from api.client import frames

    return frames.history(rows)


def _steps(of_tag: float | Sequence[StepBody | tuple[float, float]]) -> list[dict[str, Any]]:
    if isinstance(of_tag, int | float):
        return [{"after_s": 0.0, "value": float(of_tag)}]
    return [
        {**step} if isinstance(step, Mapping) else {"after_s": float(step[0]), "value": float(step[1])}
        for step in of_tag
    ]


def _setpoint(target: float | Sequence[float] | SetpointBody) -> Any:
    if isinstance(target, Mapping):
        return target
    if isinstance(target, int | float):
        return {"value": float(target)}
    return {"trajectory": [float(value) for value in target]}
