"""What cannot be moved within a horizon: CVs that no free MV reaches before it ends, by the dead times of the twin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twin.artifact import Twin
from twin.planning.question import Question
from twin.responses import step_responses


def out_of_reach(question: Question, free: np.ndarray) -> list[str]:
    """Of each CV that is asked about and that no move can reach within the horizon, why, in words.

    A horizon as long as the twin is calibrated for reaches what training has seen, and is not looked at.

    Args:
        free: (MVs,) bool, those that may move.
    """
    twin, period_s = question.twin, question.twin.plant.sample_period_s
    if question.rows >= twin.horizon:
        return []
    dead_s = dead_times_s(twin)
    names = [tag.name for i, tag in enumerate(twin.plant.mvs) if free[i]]
    said = []
    for cv in question.watched():
        known = {mv: dead for mv in names if (dead := dead_s.get(mv, {}).get(cv)) is not None}
        if known and min(known.values()) >= question.rows * period_s:
            said.append(_told(cv, known, question.rows * period_s))
    return said


def dead_times_s(twin: Twin) -> dict[str, dict[str, float | None]]:
    """MV → CV → dead time, s; None where no effect is known. From the model card, where it has been written."""
    told = twin.card.get("step_responses") or step_responses(twin)
    return {mv: {cv: dead and dead["mean"] for cv, dead in of_mv.items()} for mv, of_mv in told["dead_times_s"].items()}


def _told(cv: str, dead_s: dict[str, float], horizon_s: float) -> str:
    pairs: Sequence[str] = [f"{mv} → {cv} {dead:g} s" for mv, dead in sorted(dead_s.items(), key=lambda pair: pair[1])]
    return f"no move shows in {cv} within the horizon of {horizon_s:g} s: dead times are {', '.join(pairs)}"
