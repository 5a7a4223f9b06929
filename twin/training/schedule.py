"""How fast the residual learns: a learning rate that falls when the error out of fold no longer does, and when to end.

Large steps find the region, small ones the bottom: the rate falls to a quarter when a while has brought nothing better,
or when so much of the time is spent, and training ends when the last rate brings nothing better either.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FIRST = 30  # evaluations without a better one, before the rate falls for the first time
LATER = 8  # the same at each rate behind it
FALL = 0.25  # to which share of itself the rate falls
DUE = (0.65, 0.85)  # shares of the time by which it has fallen once, and twice


class Schedule(NamedTuple):
    """Where it stands.

    Attributes:
        falls: how often the rate has fallen; once more than `DUE` names is the end.
        since: evaluations since the best one, or since the last fall.
        best: the least error out of fold so far.
    """

    falls: int = 0
    since: int = 0
    best: float = math.inf

    @property
    def rate(self) -> float:
        """The share of the full learning rate."""
        return FALL**self.falls

    @property
    def ended(self) -> bool:
        """Whether nothing better is to be expected."""
        return self.falls > len(DUE)

    def after(self, error: float, spent: float) -> Schedule:
        """Behind an evaluation.

        Args:
            error: out of fold.
            spent: share of the time, or of the steps, that is over; it forces falls, but never the end.
        """
        since = 0 if error < self.best else self.since + 1
        best = min(self.best, error)
        late = self.falls < len(DUE) and spent >= DUE[self.falls]
        if late or since >= (LATER if self.falls else FIRST):
            return Schedule(self.falls + 1, 0, best)
        return Schedule(self.falls, since, best)
