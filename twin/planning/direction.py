"""Whether the twin knows which way to steer: outside of what it has seen, the sign of a gain may be a guess.

Where no MV's effect on a CV has a sign that the members of the ensemble agree on, feedback from the forecast errors
may push the wrong way, and the further it pushes, the larger the errors grow that it answers. Inside the trained region
that is what an optimum looks like, and it costs little; outside nothing bounds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twin.artifact import Twin
from twin.responses import member_responses
from twin.telemetry import Telemetry
from twin.trust import Reason

STUDENT = {1: 6.31, 2: 2.92, 3: 2.35, 4: 2.13, 5: 2.02, 6: 1.94, 7: 1.89}  # one-sided 95 %, by degrees of freedom


def unsteered(twin: Twin, history: Telemetry, cvs: Sequence[str], free: np.ndarray, distance: float) -> list[Reason]:
    """A reason not to plan for each CV that no free MV is known to raise or to lower, where the history ends.

    A sign is known where the jackknife over the members, each of which was fitted without one block of the telemetry,
    gives the other one 5 % at most for the settled step response (`responses.step_responses`), and where an engineer
    has told it (`gain_sign`) and the response has it.

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
    known = np.abs(mean) > STUDENT.get(members - 1, 1.7) * deviation
    known |= _told(twin, mvs) * mean > 0
    names = " or of ".join(mvs)
    found = []
    for i, tag in enumerate(twin.plant.cvs):
        if tag.name in cvs and not known[:, i].any():
            detail = (
                f"the twin does not know here whether more of {names} raises or lowers {tag.name}:"
                f" the present lies {distance:.1f} times as far out as the trained region reaches"
            )
            found.append(Reason("unknown_direction", detail, tag.name))
    return found


def _told(twin: Twin, mvs: Sequence[str]) -> np.ndarray:
    """(MVs, CVs) the signs that an engineer has told: 1, -1, and 0 where none is."""
    effects = twin.card.get("gain_sign", {}).get("effects", {})
    cvs = [tag.name for tag in twin.plant.cvs]
    return np.array([[effects.get(mv, {}).get(cv, {}).get("asked", 0) for cv in cvs] for mv in mvs], np.float64)
