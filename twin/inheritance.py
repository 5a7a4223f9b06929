"""What a new twin may take over from an earlier one of its plant: its latent residual, to train on from there.

A member that goes on from earlier weights has seen what they were trained on. So rows that an earlier fold held out
are held out by the same fold again, and only rows since are dealt anew: out-of-fold errors stay honest. The
backbones are least squares over all rows and need no start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.dynamics.jepa import Jepa
from twin.errors import QuestionError, TwinError
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.training.folds import Folds, split

ALIKE = 3.0  # times: by how much scales, and deviations by which means, may differ and the weights still mean the same


@dataclass(frozen=True)
class Inheritance:
    """From an earlier twin.

    Attributes:
        twin: its id.
        scaler: its model units, kept: its weights are in them.
        history, horizon: rows, kept.
        known: (N,) int the fold that held out each row of the new telemetry, -1 for rows that are new.
        residuals: where to start from.
        curved: whether they are around a polynomial.
    """

    twin: str
    scaler: Scaler
    history: int
    horizon: int
    known: np.ndarray
    residuals: Jepa
    curved: bool = False


def inherit(twin: Twin, telemetry: Telemetry) -> Inheritance:
    """What to start from.

    Raises:
        QuestionError: the earlier twin is of other tags or another period, or has no residual, or does not tell which
            rows its folds held out, or the plant now runs elsewhere altogether. Train without it then.
    """
    ours, theirs = telemetry.plant, twin.plant
    names = [[(tag.name, tag.role) for tag in plant.inputs + plant.cvs] for plant in (ours, theirs)]
    if names[0] != names[1] or ours.sample_period_s != theirs.sample_period_s:
        raise _refused(twin, "it has other tags, roles or another sample period")
    if twin.dynamics.residuals is None:
        raise _refused(twin, "it has no latent residual to start from, only backbones, which need no start")
    blocks = twin.card["training"].get("blocks")
    if not blocks:
        raise _refused(twin, "it does not tell which rows each fold held out")
    now = Scaler.fit(telemetry)
    for old, new, mean, before in (
        (twin.scaler.y_scale, now.y_scale, now.y_mean, twin.scaler.y_mean),
        (twin.scaler.w_scale, now.w_scale, now.w_mean, twin.scaler.w_mean),
    ):
        ratio = new / old
        if (ratio > ALIKE).any() or (ratio < 1 / ALIKE).any() or (np.abs(mean - before) > ALIKE * old).any():
            raise _refused(twin, "the plant now runs elsewhere, or a unit has changed")
    known, curved = labels(blocks, telemetry.times), twin.dynamics.polynomials is not None
    return Inheritance(twin.id, twin.scaler, twin.history, twin.horizon, known, twin.dynamics.residuals, curved)


def _refused(twin: Twin, why: str) -> TwinError:
    return QuestionError.at(("from_twin",), f"twin {twin.id} is no start: {why}; train without from_twin")


def blocks(telemetry: Telemetry, label: np.ndarray) -> dict[str, list]:
    """The blocks that each fold held out, JSON: starts [time], folds [number], and the end of the last."""
    first = np.flatnonzero(np.diff(label, prepend=label[0] - 1))
    starts = [pd.Timestamp(time, tz="UTC").isoformat() for time in telemetry.times[first]]
    return {"starts": starts, "folds": label[first].tolist(), "end": [telemetry.at.isoformat()]}


def folds_of(twin: Twin, telemetry: Telemetry) -> Folds:
    """The folds that a twin was trained by, of the telemetry that it was trained on."""
    trained = twin.card.get("training", {})
    if not trained.get("blocks"):  # trained by an earlier version
        return split(telemetry.run, twin.history, twin.horizon)
    label = labels(trained["blocks"], telemetry.times)
    return Folds(telemetry.run, label, twin.history, twin.horizon, trained.get("apart", True))


def labels(blocks: dict[str, list], times: np.ndarray) -> np.ndarray:
    """(N,) the fold of each time in the blocks; -1 outside them."""
    starts, end = (pd.DatetimeIndex(blocks[name]).tz_localize(None).to_numpy() for name in ("starts", "end"))
    block = np.searchsorted(starts, times, side="right") - 1
    inside = (block >= 0) & (times <= end[0])
    return np.where(inside, np.array(blocks["folds"])[np.maximum(block, 0)], -1)
