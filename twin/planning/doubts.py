"""Why nothing can be planned from a history: it is short, stale, incomplete, or a sensor no longer answers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.errors import HistoryError
from twin.history import check_history
from twin.telemetry import BRIDGE, Telemetry
from twin.trust import HINDCAST, Reason
from twin.windows import hold

MOVED = 0.01  # of its trained range: a change of an MV that a CV should answer


def doubts(
    twin: Twin, history: Telemetry, watched: Iterable[str], max_age_s: float | None, now: pd.Timestamp | None
) -> list[Reason]:
    """The reasons not to plan; none where planning can go on.

    Args:
        watched: CVs that the plan is about.
        max_age_s: of the last row, against `now`; where only `now` is given, as many rows as can be bridged.
        now: by default the clock.
    """
    try:
        recent = check_history(twin, history)
    except HistoryError as error:
        return [Reason("history", error.detail)]
    recent = history.last_run(4 * len(recent))
    found = _too_old(twin, history, max_age_s, now)
    last = dict(zip(twin.plant.names, history.values[-1], strict=True))
    for mv in twin.plant.mvs:
        if not math.isfinite(last[mv.name]):
            found.append(Reason("unknown_mv", f"the present value of {mv.name} is missing", mv.name))
    absent, frozen = twin.seen.stale(recent), twin.seen.frozen(recent)
    for tag in watched:
        if tag in absent:
            found.append(Reason("stale", f"{tag} has had no value for {absent[tag]} rows", tag))
        elif tag in frozen and _ignores_moves(twin, recent, tag):
            found.append(Reason("frozen", f"{tag} stands still although MVs have moved", tag))
    return found


def _too_old(twin: Twin, history: Telemetry, max_age_s: float | None, now: pd.Timestamp | None) -> list[Reason]:
    if max_age_s is None:
        if now is None:
            return []
        max_age_s = (BRIDGE + 1) * twin.plant.sample_period_s
    age_s = ((pd.Timestamp.now("UTC") if now is None else now) - history.at).total_seconds()
    if age_s <= max_age_s:
        return []
    return [Reason("stale", f"the last row is {age_s:.0f} s old, more than {max_age_s:g} s")]


def _ignores_moves(twin: Twin, recent: Telemetry, tag: str) -> bool:
    """Whether MVs moved while a CV stood still, long enough ago for it to answer: a plant at rest stands still too."""
    values = hold(recent.values[:, [twin.plant.column(tag)]], recent.run)[:, 0]
    changes = np.flatnonzero(values != values[-1])
    since = changes[-1] + 1 if len(changes) else 0
    mvs = len(twin.plant.mvs)
    moves = hold(recent.w, recent.run)[since : len(recent) - HINDCAST, :mvs]
    seen = twin.seen.high[:mvs] - twin.seen.low[:mvs]
    return len(moves) > 0 and bool((np.ptp(moves, axis=0) > MOVED * seen).any())
