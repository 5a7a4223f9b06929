"""The controller's own check of a plan, in float64, against its own configuration: it trusts no planner.

What passes here still goes through the guarded sink.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from api.control.clock import NS
from api.control.configuration import Mv
from api.control.settings import Settings

ACCEPTED = ("optimal", "feasible")


def doubts_of_answer(
    answer: Mapping[str, Any], settings: Settings, at: int, period_s: float, twin: str | None
) -> list[tuple[str, str]]:
    """Why an answer may not be acted on, as (code, detail).

    Args:
        at: the time of the last row that was sent, ns.
        period_s: of the rows; the service puts them on a grid of its own.
        twin: that answered before; None for any.
    """
    status, found = answer.get("status"), []
    if status == "abstained":
        reasons = [r.get("code", "abstained") for r in (answer.get("trust") or {}).get("reasons", [])]
        return [(reasons[0] if reasons else "abstained", str(answer.get("status_detail")))]
    if status not in ACCEPTED and not (status == "relaxed" and settings.accept_relaxed):
        found.append(("status", f"the plan is '{status}': {answer.get('status_detail')}"))
    score = (answer.get("trust") or {}).get("score")
    if not isinstance(score, int | float) or not score >= settings.min_trust:
        reasons = [str(r.get("detail")) for r in (answer.get("trust") or {}).get("reasons", [])]
        found.append(("trust", f"trust {score} is below {settings.min_trust:g}: {'; '.join(reasons)}"))
    if not abs(_seconds(answer.get("at")) - at / NS) <= period_s / 2:
        found.append(("another_time", f"the answer is for {answer.get('at')}, not for the last row"))
    if twin is not None and answer.get("twin") != twin and not settings.follow_twin:
        found.append(("twin_changed", f"twin {answer.get('twin')} answered, {twin} did before; confirm it"))
    return found


def doubts_of_moves(
    following: Any, mvs: Collection[Mv], present: Mapping[str, float], period_s: float
) -> list[tuple[str, str]]:
    """Why the MV values of an answer may not be written, as (code, detail).

    Args:
        following: MV → value.
        mvs: those that may be written.
        present: MV → its measured value.
        period_s: that the move takes.
    """
    if not isinstance(following, Mapping):
        return [("no_moves", "the answer holds no MV values")]
    found = []
    for mv in mvs:
        value, now = following.get(mv.name), present.get(mv.name, math.nan)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            found.append(("no_value", f"{mv.name}: {value} is no value to write"))
        elif not math.isfinite(now):
            found.append(("unknown_mv", f"{mv.name}: its present value is not known"))
        elif not mv.low <= value <= mv.high:
            found.append(("limit", f"{mv.name} = {value!r} is outside {mv.low!r} to {mv.high!r}"))
        elif not abs(value - now) <= mv.step(period_s):
            found.append(("rate", f"{mv.name}: {now!r} to {value!r} is faster than {mv.rate_per_s!r} per second"))
    return found


def _seconds(text: Any) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return math.nan
