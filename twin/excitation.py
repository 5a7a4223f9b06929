"""Whether the MVs moved so that their effects can be told apart: from each other, and from the loop's own reactions."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.telemetry import Telemetry
from twin.windows import hold

MOVE = 0.01  # of an MV's range: a smaller change since its last move is none
FEW = 10  # moves: with fewer, an effect rests on hardly anything
LAGS = 8  # rows: order of the persistent excitation asked for
TINY = 1e-6  # of the largest eigenvalue: a direction that is not excited (a thousandth in amplitude)
TIED = 1e-4  # variance of a combination of standardised MVs: below it is a constant
STILL = 1e-9  # of the range of an MV's changes: a smaller one is rounding
PAST = 3  # rows of CVs a controller is assumed to look at
RIDGE = 1e-6
TOLD = 0.02  # of the spread of the changes: where the own past leaves less, nothing is left for the CVs to tell
ECHO, REACTION = 0.9, 0.5  # R² from which an effect cannot, or can hardly, be told from the loop
ENOUGH = 50_000  # rows: the last ones are taken


def excitation(telemetry: Telemetry) -> dict[str, Any]:
    """Moves of each MV, rank of their lag covariance, tied MVs, and MVs that only react to the CVs."""
    mvs = telemetry.plant.mvs
    recent = telemetry.rows(slice(max(len(telemetry) - ENOUGH, 0), None))
    u = recent.values[:, recent.plant.columns(mvs)]
    names = [tag.name for tag in mvs]
    moved = {tag.name: _moves(telemetry, column) for tag, column in zip(mvs, telemetry.plant.columns(mvs), strict=True)}
    active = [i for i, name in enumerate(names) if moved[name]["moves"]]
    tied = _tied(u[:, active], [names[i] for i in active])
    for name, echo in zip(names, _echoes(recent, u), strict=True):
        moved[name] |= {"feedback_r2": echo, "verdict": _verdict(moved[name]["moves"], echo)}
    return {
        "mvs": moved,
        "persistent_excitation": _persistence(u[:, active], recent.run),
        "tied_mvs": tied,
        "warnings": [*_warnings(moved), *_ties(tied)],
    }


def _moves(telemetry: Telemetry, column: int) -> dict[str, Any]:
    """How often and how far an MV moved."""
    values, tag = telemetry.values[:, column], telemetry.plant.tags[column]
    seen = values[np.isfinite(values)]
    if not len(seen):
        return {"moves": 0, "min": None, "max": None, "range_used": None}
    low, high = float(seen.min()), float(seen.max())
    span = tag.high - tag.low if tag.low is not None and tag.high is not None else None
    least = MOVE * (high - low if span is None else min(span, high - low))
    moves = _count(values, telemetry.run, least) if high > low else 0
    return {"moves": moves, "min": low, "max": high, "range_used": None if span is None else (high - low) / span}


def _count(values: np.ndarray, run: np.ndarray, least: float) -> int:
    """How often values (N,) came further than `least` from where the last move had left them, or their run began: as
    often for a slow ramp as for a fast one, however short the rows."""
    count, last, of = 0, np.nan, None
    for value, now in zip(values.tolist(), run.tolist(), strict=True):
        if now != of:
            last, of = value, now
        elif abs(value - last) > least:
            count, last = count + 1, value
        elif last != last:  # no value yet
            last = value
    return count


def _persistence(u: np.ndarray, run: np.ndarray) -> dict[str, int]:
    """Rank of the covariance of the MVs over `LAGS` rows: full rank is persistent excitation of that order.

    Source: Söderström and Stoica, System Identification, 1989, section 5.4.
    """
    n, m = u.shape
    ends = np.arange(LAGS - 1, n)
    ends = ends[run[ends] == run[ends - LAGS + 1]]
    rows = u[ends[:, None] - np.arange(LAGS)].reshape(len(ends), LAGS * m)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 2 or not m:
        return {"order": LAGS, "rank": 0, "full": LAGS * m}
    scaled = _standard(rows)
    eigenvalues = np.linalg.eigvalsh(scaled.T @ scaled / len(scaled))
    return {"order": LAGS, "rank": int((eigenvalues > TINY * eigenvalues[-1]).sum()), "full": LAGS * m}


def _tied(u: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Combinations of MVs that stay constant: along them no effect can be learnt. One that rests in these rows, and has
    moved before them, is tied to none."""
    rows = u[np.isfinite(u).all(axis=1)]
    moving = np.ptp(rows, axis=0) > 0 if len(rows) else np.zeros(u.shape[1], bool)
    rows, names = rows[:, moving], [name for name, moves in zip(names, moving, strict=True) if moves]
    if len(names) < 2:
        return []
    scale, scaled = rows.std(axis=0), _standard(rows)
    eigenvalues, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    ties = []
    for direction in directions.T[eigenvalues < TIED]:
        weights = direction / scale
        weights /= weights[np.argmax(np.abs(weights))]
        parts = {name: round(float(w), 4) for name, w in zip(names, weights, strict=True) if abs(w) > 0.01}
        ties.append(
            {"weights": parts, "constant": float((rows @ weights).mean()), "std": float((rows @ weights).std())}
        )
    return ties


def _echoes(telemetry: Telemetry, u: np.ndarray) -> list[float | None]:
    """How much of each MV's changes the CV rows before them tell, beyond what its own past tells: a share of 0 to 1.

    The share is 1 − (error with the CVs / error without) of ridge regressions, fitted on one half of the rows and
    judged on the other, and the reverse; of all rows, or of those in which the MV moved (a controller slower than the
    rows), whichever is more. Near 1, the MV only echoes the CVs (feedback without excitation of its own), and its
    effect on them cannot be told from theirs on it.
    """
    run = telemetry.run
    y, u = hold(telemetry.y, run), np.nan_to_num(hold(u, run), nan=0.0)
    y = y[:, np.isfinite(y).all(axis=0)]
    rows = np.arange(PAST, len(u))
    rows = rows[run[rows] == run[rows - PAST]]
    if not len(rows):
        return [None] * u.shape[1]
    lags = rows[:, None] - np.arange(1, PAST + 1)
    past = _standard(y)[lags].reshape(len(rows), PAST * y.shape[1])
    return [_echo(past, _standard(u[:, [i]])[lags, 0], u[rows, i] - u[rows - 1, i]) for i in range(u.shape[1])]


def _echo(past: np.ndarray, own: np.ndarray, change: np.ndarray) -> float | None:
    """Of one MV: CV rows before (n, m), its own rows before (n, PAST), its changes (n,)."""
    both = np.concatenate([past, own], axis=1)
    shares = []
    for rows in (np.ones(len(change), bool), np.abs(change) > STILL * np.ptp(change)):
        target = change[rows]
        if not past.shape[1] or rows.sum() < 4 * both.shape[1] + 20 or not np.ptp(target):
            continue
        alone, spread = _error(own[rows], target), float(((target - target.mean()) ** 2).sum())
        told = 1 - _error(both[rows], target) / max(alone, TOLD * spread)
        shares.append(max(told, 0.0) if alone > TOLD * spread else 0.0)
    return max(shares) if shares else None


def _error(x: np.ndarray, target: np.ndarray) -> float:
    """The squared error of ridge regression, each half of the rows forecast from the other."""
    half, total = len(x) // 2, 0.0
    for fit, judge in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        center, mean = x[fit].mean(axis=0), target[fit].mean()
        inside = x[fit] - center
        normal = inside.T @ inside + RIDGE * len(inside) * np.eye(x.shape[1])
        weights = np.linalg.solve(normal, inside.T @ (target[fit] - mean))
        total += float(((target[judge] - mean - (x[judge] - center) @ weights) ** 2).sum())
    return total


def _verdict(moves: int, echo: float | None) -> str:
    """identifiable, weak or unidentifiable: what the telemetry can tell of the MV's effects."""
    if not moves or (echo is not None and echo > ECHO):
        return "unidentifiable"
    return "weak" if moves < FEW or (echo is not None and echo > REACTION) else "identifiable"


def _warnings(moved: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    found = []
    for name, mv in moved.items():
        echo = mv["feedback_r2"]
        if not mv["moves"]:
            detail = "never moved; its effects are unknown"
        elif echo is not None and echo > REACTION:
            detail = f"its moves follow the CVs (R² {echo:.2f}): move it on purpose to learn its own effect"
        elif mv["moves"] < FEW:
            detail = f"moved only {mv['moves']} times; its effects are uncertain"
        else:
            continue
        code = "feedback" if echo is not None and echo > REACTION else "excitation"
        found.append({"code": code, "tag": name, "detail": f"{name}: {detail}"})
    return found


def _ties(tied: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "code": "tied",
            "tag": next(iter(tie["weights"])),
            "detail": f"{' + '.join(f'{w:g} {name}' for name, w in tie['weights'].items())} stays at "
            f"{tie['constant']:g}: these MVs cannot be told apart along this direction",
        }
        for tie in tied
    ]


def _standard(rows: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1 (0 where constant)."""
    deviation = np.where(np.ptp(rows, axis=0) > 0, rows.std(axis=0), np.inf)  # of a constant it is rounding
    return (rows - rows.mean(axis=0)) / deviation
