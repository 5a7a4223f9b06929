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

EITHER = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36}  # Student's t, two-sided 95 %, by degrees
ONE = {1: 6.31, 2: 2.92, 3: 2.35, 4: 2.13, 5: 2.02, 6: 1.94, 7: 1.89}  # one-sided


def unsteered(twin: Twin, history: Telemetry, cvs: Sequence[str], free: np.ndarray, distance: float) -> list[Reason]:
    """A reason not to plan for each CV that no free MV is known to raise or to lower, where the history ends.

    A sign is known where the 95 % jackknife interval of the settled step response over the members, each of which was
    fitted without one block of the telemetry, leaves out zero (`responses.step_responses`): the two-sided one, or, for
    the sign that is known in the middle of what the twin has seen, the one-sided. And where an engineer has told it
    (`gain_sign`) and the response has it.

    Args:
        cvs: that a plan is to steer.
        free: (MVs,) bool, those that may move.
        distance: from the trained region, in its own radii.
    """
    answers = member_responses(twin, history)[:, free, -1]  # (members, free MVs, CVs)
    degrees = len(answers) - 1
    if degrees < 1 or not free.any():
        return []
    middle, usual = _signs(member_responses(twin)[:, free, -1])
    mean, here = _signs(answers)
    same = (np.sign(middle) == np.sign(mean)) & (usual > EITHER.get(degrees, 2.0))
    mvs = [tag.name for tag, may in zip(twin.plant.mvs, free, strict=True) if may]
    known = here > np.where(same, ONE.get(degrees, 1.7), EITHER.get(degrees, 2.0))
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


def _signs(answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (members, MVs, CVs): their mean, and how many deviations of the jackknife it lies from zero."""
    members, mean = len(answers), answers.mean(axis=0)
    deviation = np.sqrt((members - 1) / members * ((answers - mean) ** 2).sum(axis=0))
    return mean, np.abs(mean) / np.maximum(deviation, np.finfo(np.float64).tiny)


def _told(twin: Twin, mvs: Sequence[str]) -> np.ndarray:
    """(MVs, CVs) the signs that an engineer has told: 1, -1, and 0 where none is."""
    effects = twin.card.get("gain_sign", {}).get("effects", {})
    cvs = [tag.name for tag in twin.plant.cvs]
    return np.array([[effects.get(mv, {}).get(cv, {}).get("asked", 0) for cv in cvs] for mv in mvs], np.float64)
