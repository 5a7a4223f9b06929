"""The branches of the encoder that read vector tags: fitted to telemetry, so that a twin reads a spectrum as CVs.

A frame has many elements and few degrees of freedom. Its components are the principal ones (MacGregor and Kourti,
Control Eng. Practice 3 (1995) 403), which describe what varies, and behind them one for each CV that they do not tell
as well as the frame can: a step of partial least squares on what is left (Wold et al., Chemom. Intell. Lab. Syst. 58
(2001) 109). From there on components are CVs of the twin: measured at the frame's own rate, masked where a frame is
missing, read by backbone and encoder, forecast, and watched by the trust layer. Where most rows are without a frame
that would be linear models of staircases: there the components tell the CVs that they can, and are no CVs themselves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twin.errors import TrainingError
from twin.plant import Role, Tag
from twin.telemetry import Telemetry, calculated
from twin.vector import WHOLE, Branch

MOST = 6  # principal components
NOISE = 2.0  # times the median variance of a direction: below it a component is noise
FEWEST = 20  # frames
PAYS = 0.95  # a further component is taken where a CV is told by it with this share of the error without it
BLOCKS = 5  # of the cross-validation
RARE = 0.5  # of the rows: a CV that is measured in fewer is inferred from frames that tell it; frames in fewer are rare
TELLS = 0.5  # of its standard deviation: a frame whose regression errs by less tells a CV
FRAMES = 20_000  # at most; of more, evenly spread ones are taken


def with_components(telemetry: Telemetry, branches: tuple[Branch, ...] | None = None) -> Telemetry:
    """The rows with the components of their vector tags as further CVs.

    Args:
        branches: how they are read; fitted to these rows by default.

    Raises:
        TrainingError: too few frames of a vector tag to fit a branch.
    """
    plant = telemetry.plant
    if plant.branches or not plant.vectors:
        return telemetry
    if branches is None:
        branches = tuple(fit(telemetry, name) for name in plant.vectors)
    tags = [
        Tag(name, Role.CV, description=f"component {i + 1} of {branch.vector}", vector=branch.vector)
        for branch in branches
        for i, name in enumerate(branch.names)
    ]
    wider = replace(plant, tags=(*plant.tags, *tags), branches=branches)
    room = np.full((len(telemetry), len(tags)), np.nan)
    return calculated(replace(telemetry, plant=wider, values=np.hstack([telemetry.values, room])))


def fit(telemetry: Telemetry, vector: str) -> Branch:
    """The branch of one vector tag.

    Raises:
        TrainingError: there are too few frames.
    """
    frames = telemetry.values[:, telemetry.plant.vectors[vector]]
    whole = np.flatnonzero(np.isfinite(frames).mean(axis=1) >= WHOLE)
    if len(whole) < FEWEST:
        raise TrainingError(f"{vector}: {len(whole)} frames; at least {FEWEST} are needed to read a vector tag")
    mean = np.nanmean(frames[whole[:: -(-len(whole) // FRAMES)]], axis=0)
    x = np.where(np.isfinite(frames[whole]), frames[whole] - mean, 0.0)
    directions = _principal(x[:: -(-len(whole) // FRAMES)])
    pairs = [_pairs(x, whole, telemetry, cv) for cv in range(telemetry.y.shape[1])]
    for at, y in pairs:
        further = _further(at, y, directions)
        if further is not None:
            directions = np.column_stack([directions, further])
    inferred = {}
    for tag, (at, y), measured in zip(telemetry.plant.cvs, pairs, np.isfinite(telemetry.y).mean(axis=0), strict=True):
        if measured < RARE and _told(at @ directions, y):
            inferred[tag.name] = _fitted(at @ directions, y)
    inference = np.column_stack(list(inferred.values())) if inferred else np.empty((0, 0))
    modelled = not inferred or len(whole) >= RARE * len(frames)
    return Branch(vector, mean, directions, tuple(inferred), inference, modelled)


def _pairs(x: np.ndarray, whole: np.ndarray, telemetry: Telemetry, cv: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, elements) frames and (n,) values of a CV at the same moment: between two frames straight from one to the
    other, no further from the nearer one than half of the gap that a moment mostly lies in."""
    rows = np.flatnonzero(np.isfinite(telemetry.y[:, cv]))
    last = np.searchsorted(whole, rows, side="right") - 1
    following = np.minimum(last + (whole[last] < rows), len(whole) - 1)
    gaps = np.diff(whole)
    near = (last >= 0) & (whole[following] >= rows)
    near &= np.minimum(rows - whole[last], whole[following] - rows) <= np.median(np.repeat(gaps, gaps)) / 2
    near &= telemetry.run[whole[last]] == telemetry.run[whole[following]]
    rows, last, following = (part[near][:: -(-max(int(near.sum()), 1) // FRAMES)] for part in (rows, last, following))
    share = (rows - whole[last]) / np.maximum(whole[following] - whole[last], 1)
    return x[last] + share[:, None] * (x[following] - x[last]), telemetry.y[rows, cv]


def _told(scores: np.ndarray, y: np.ndarray) -> bool:
    """Whether the components (n, k) tell a CV (n,), by blocked cross-validation."""
    if len(y) < FEWEST:
        return False
    block = np.arange(len(y)) * BLOCKS // len(y)
    errors = np.concatenate([_errors(scores, y, block, held) for held in range(BLOCKS)])
    return bool(np.sqrt((errors**2).mean()) < TELLS * y.std())


def _errors(x: np.ndarray, y: np.ndarray, block: np.ndarray, held: int) -> np.ndarray:
    """Of the rows of one block, told by a regression on the others."""
    train, test = block != held, block == held
    return y[test] - _regressed(x[train], y[train], x[test])


def _principal(x: np.ndarray) -> np.ndarray:
    """(elements, k) orthonormal: the directions of x (n, elements) that vary by more than noise, the first at least."""
    _, size, directions = np.linalg.svd(x, full_matrices=False)
    variance = size**2
    count = int((variance > NOISE * np.median(variance)).sum()) if len(variance) > MOST else len(variance)
    principal: np.ndarray = directions[: min(max(count, 1), MOST)].T
    return principal


def _further(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> np.ndarray | None:
    """(elements,) what the frame tells of a CV (n,) beside these directions; None where it does not pay."""
    if len(y) < FEWEST:
        return None
    block = np.arange(len(y)) * BLOCKS // len(y)
    errors = np.zeros(2)
    for held in range(BLOCKS):
        train, test = block != held, block == held
        direction = _direction(x[train], y[train], directions)
        for i, used in enumerate((directions, np.column_stack([directions, direction]))):
            told = _regressed(x[train] @ used, y[train], x[test] @ used)
            errors[i] += ((y[test] - told) ** 2).sum()
    return _direction(x, y, directions) if errors[1] < PAYS**2 * errors[0] else None


def _direction(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(elements,) the unit direction, beside those given, along which x varies most with what they leave of y."""
    left = y - _regressed(x @ directions, y, x @ directions)
    found = x.T @ left
    found = found - directions @ (directions.T @ found)
    unit: np.ndarray = found / max(float(np.linalg.norm(found)), 1e-300)
    return unit


def _regressed(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """y regressed on x (n, k) by least squares, at other rows (m, k): (m,)."""
    told: np.ndarray = np.hstack([at, np.ones((len(at), 1))]) @ _fitted(x, y)
    return told


def _fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(k + 1,) the coefficients of y on x (n, k) by least squares, the constant last."""
    coefficients: np.ndarray = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)[0]
    return coefficients
