"""Identification moves as a person would make them: multi-level steps, long and short, within rate limits."""

from __future__ import annotations

import numpy as np

from twin.errors import Problem, QuestionError
from twin.plant import Plant, Tag

SHORTEST = 0.05  # of the settling time
LONGEST = 1.0


def step_test(
    plant: Plant, start: np.ndarray, rows: int, settling_s: float, generator: np.random.Generator
) -> np.ndarray:
    """MV moves (rows, MVs) for an identification experiment, in engineering units.

    Each MV moves by itself between levels drawn uniformly from its whole range, and stays at each for a time
    drawn log-uniformly between a twentieth of the settling time and the settling time, so that fast modes
    and steady gains both show.

    Args:
        start: (MVs,) the values in force before the first row.
        settling_s: about how long the slowest CV takes to settle.

    Raises:
        QuestionError: an MV has no limits.
    """
    moves = [
        _ramp(_levels(tag, rows, settling_s / plant.sample_period_s, generator), start[i], tag, plant.sample_period_s)
        for i, tag in enumerate(plant.mvs)
    ]
    return np.stack(moves, axis=1)


def _levels(tag: Tag, rows: int, settling_rows: float, generator: np.random.Generator) -> np.ndarray:
    if tag.low is None or tag.high is None:
        raise QuestionError(f"'{tag.name}' needs low and high for a step test", [Problem((tag.name,), "no limits")])
    wanted = np.empty(rows)
    row = 0
    while row < rows:
        dwell = settling_rows * np.exp(generator.uniform(np.log(SHORTEST), np.log(LONGEST)))
        end = row + max(round(dwell), 1)
        wanted[row:end] = generator.uniform(tag.low, tag.high)
        row = end
    return wanted


def _ramp(wanted: np.ndarray, start: float, tag: Tag, period_s: float) -> np.ndarray:
    """`wanted` (rows,) approached at the tag's rate limit."""
    if tag.rate_limit_per_s is None:
        return wanted
    largest = tag.rate_limit_per_s * period_s
    moves = np.empty_like(wanted)
    for row, value in enumerate(wanted):
        start += min(max(value - start, -largest), largest)
        moves[row] = start
    return moves
