"""The way to the safe values, when a controller has given up and may still write."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from api.control.configuration import Mv
from twin.moves import Envelope, strict


def ramp(mvs: Collection[Mv], good: Mapping[str, float], held: Collection[str], period_s: float) -> dict[str, float]:
    """The next value of each MV that is not yet at its safe one: one period at its rate limit nearer.

    Args:
        good: tag → what is measured now; an MV that is not is left where it is.
        held: MVs that are not ours to move now.
        period_s: of the cycles.

    Returns:
        MV → value; empty where all are there, or cannot be led there.
    """
    moves = {}
    for mv in mvs:
        present = good.get(mv.name)
        if mv.safe is None or present is None or mv.name in held or abs(present - mv.safe) <= mv.tolerance:
            continue
        envelope = Envelope(mv.low, mv.high, mv.rate_per_s, period_s)
        moves[mv.name] = float(strict([mv.safe], present, envelope)[0])
    return moves
