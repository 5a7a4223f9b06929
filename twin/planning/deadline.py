"""When a solver must stop, and how to stop at the same place again without a clock."""

from __future__ import annotations

import math
import time


class Deadline:
    """Looked at between chunks of iterations. It counts the looks that let the solver go on: what a plan depends on
    is that number, and not the time, so a plan can be made again exactly.

    Args:
        until: `time.perf_counter()` at which to stop.
        looks: of an earlier plan, to stop where it did, whatever the clock says.
    """

    def __init__(self, until: float = math.inf, looks: int | None = None) -> None:
        self.endless = math.isinf(until)
        self._until = until
        self._allowed = looks
        self.looks = 0

    def passed(self) -> bool:
        """Whether to stop now."""
        over = time.perf_counter() >= self._until if self._allowed is None else self.looks >= self._allowed
        self.looks += not over
        return over
