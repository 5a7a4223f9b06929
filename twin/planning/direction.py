"""Whether the twin knows which way to steer: outside of what it has seen, the sign of a gain may be a guess.

Where no MV's effect on a CV has a sign that the members of the ensemble agree on, feedback from the forecast errors
may push the wrong way, and the further it pushes, the larger the errors grow that it answers. Inside the trained region
that is what an optimum looks like, and it costs little; outside nothing bounds it. So there MVs may not leave their
usual range, or, where they have left it, go no further out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twin.artifact import Twin
from twin.responses import member_responses
from twin.telemetry import Telemetry
from twin.trust import Reason

OUTSIDE = 4.0  # distance from the trained region, in its own radii, from which the twin does not plan
STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36}  # two-sided 95 %, by degrees of freedom


def unsteered(twin: Twin, history: Telemetry, cvs: Sequence[str], free: np.ndarray, distance: float) -> list[Reason]:
    """A reason to doubt a plan for each CV that no free MV is known to raise or to lower, where the history ends.

    A sign is known where the jackknife interval of the settled step response over the members, each of which was fitted
    without one block of the telemetry, leaves out zero (`responses.step_responses`), and where an engineer has told it
    (`gain_sign`) and the response has it.

    Args:
        cvs: that a plan is to steer.
        free: (MVs,) bool, those that may move.
        distance: from the trained region, in its own radii.
    """
    answers = member_responses(twin, history)[:, free, -1]  # (members, free MVs, CVs)
    members = len(answers)
    if members < 2 or not free.any():
        return []
    mean = answers.mean(axis=0)
    deviation = np.sqrt((members - 1) / members * ((answers - mean) ** 2).sum(axis=0))
    mvs = [tag.name for tag, may in zip(twin.plant.mvs, free, strict=True) if may]
    known = np.abs(mean) > STUDENT.get(members - 1, 2.0) * deviation
    known |= _told(twin, mvs) * mean > 0
    names = " or of ".join(mvs)
    found = []
    for i, tag in enumerate(twin.plant.cvs):
        if tag.name in cvs and not known[:, i].any():
            detail = (
                f"the twin does not know here whether more of {names} raises or lowers {tag.name}:"
                f" the present lies {distance:.1f} times as far out as the trained region reaches; MVs go no further"
            )
            found.append(Reason("unknown_direction", detail, tag.name))
    return found


def usual(twin: Twin) -> np.ndarray:
    """(MVs, 2) where each MV was most of the time in training: within a deviation of its mean, engineering units."""
    mean, deviation = (part[: len(twin.plant.mvs)] for part in (twin.scaler.w_mean, twin.scaler.w_scale))
    return np.stack([mean - deviation, mean + deviation], axis=1)


def _told(twin: Twin, mvs: Sequence[str]) -> np.ndarray:
    """(MVs, CVs) the signs that an engineer has told: 1, -1, and 0 where none is."""
    effects = twin.card.get("gain_sign", {}).get("effects", {})
    cvs = [tag.name for tag in twin.plant.cvs]
    return np.array([[effects.get(mv, {}).get(cv, {}).get("asked", 0) for cv in cvs] for mv in mvs], np.float64)
