"""A slow plan's averages at the fast rate: paths through them, and where a CV is at a row within them."""

from __future__ import annotations

import numpy as np


def path(now: float, averages: np.ndarray, stride: int, rows: int) -> np.ndarray:
    """(rows,) a CV from `now` on, straight through averages (slow rows,) over `stride` rows at the middles of those.

    The last average holds. Corners are cut: an average knows nothing of what is within its rows.
    """
    middles = stride * np.arange(len(averages)) + (stride + 1) / 2
    return np.interp(np.arange(1, rows + 1), np.r_[0.0, middles], np.r_[now, averages])


def end(averages: np.ndarray, forecast: np.ndarray, stride: int, rows: int) -> float:
    """Where a slow plan has a CV in fast row `rows`: within the slow row that this lies in it takes the course that the
    fast twin forecasts under the slow plan's MVs, moved to the slow plan's average.

    Straight lines between averages would smear a bend at the edge of a slow row and what settles within one.

    Args:
        averages: (slow rows,) of the slow plan.
        forecast: (fast rows,) as far as the end of the slow row that `rows` lies in, or further.
    """
    last = (rows - 1) // stride
    within = forecast[last * stride : (last + 1) * stride]
    return float(averages[last] + forecast[rows - 1] - within.mean())
