"""Move blocking: an MV changes at the start of each block, and ramps there as long as its rate limit asks for.

Blocks lengthen geometrically, as near moves matter most. A block's ramp is linear and as short as the rate limit
allows for the widest move there can be, so that rate limits are bounds on the difference of two levels, and
a slow MV can use its full rate in a long block.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Blocking(NamedTuple):
    """How B levels of one MV, relative to its present value, make K rows.

    Attributes:
        rows: (K, B) the values are rows @ levels; every row is a mean of two neighbouring levels.
        ramp: (B,) rows that the change to each level takes; 0 for a block that is not used.
    """

    rows: np.ndarray
    ramp: np.ndarray


@lru_cache(4096)
def starts(control: int, blocks: int) -> np.ndarray:
    """The rows, from 0, at which blocks start: at most `blocks` of them within `control` rows."""
    count = min(blocks, max(control, 1))
    wanted = np.rint(np.geomspace(1, max(control, 1), blocks)).astype(int)[:count] - 1 if count > 1 else [0]
    found = [0]
    for i, row in enumerate(wanted[1:], start=1):  # near rows would coincide: each block has a row of its own
        found.append(min(max(row, found[-1] + 1), control - count + i))
    rows = np.array(found)
    rows.flags.writeable = False
    return rows


def blocking(first: np.ndarray, control: int, horizon: int, blocks: int, slowest: float) -> Blocking:
    """The blocks of one MV.

    Args:
        first: the rows at which blocks start.
        control: rows after which the MV rests.
        horizon: K.
        blocks: B; more than there are starts leaves the last ones unused.
        slowest: rows that the widest move takes at the rate limit.
    """
    widest = math.ceil(min(slowest, horizon) - 1e-9)
    return _blocking(tuple(first.tolist()), control, horizon, blocks, widest)


@lru_cache(4096)
def _blocking(first: tuple[int, ...], control: int, horizon: int, blocks: int, widest: int) -> Blocking:
    """The same, of the rows that the widest move takes; kept, as the MVs of a plant need few different ones."""
    lengths = np.diff(np.append(first, horizon))
    ramp = np.zeros(blocks, int)
    rows = np.zeros((horizon, blocks))
    for b, (start, length) in enumerate(zip(first, lengths, strict=True)):
        longest = min(length, control - start)
        ramp[b] = max(1, min(widest, longest))
        share = np.minimum(np.arange(1, length + 1) / ramp[b], 1.0)
        rows[start : start + length, b] += share
        if b:
            rows[start : start + length, b - 1] += 1 - share
    rows.flags.writeable = ramp.flags.writeable = False
    return Blocking(rows, ramp)
