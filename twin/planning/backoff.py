"""Back-off: how far inside a CV's limit its forecast must stay, so that what is measured keeps the limit.

A plan is made anew every row. So what counts is not how wrong a forecast becomes over the whole horizon when nobody
acts, but how wrong it becomes until the MVs have answered: the error over the rows of the reaction. An error that
shows later is undone before it reaches the limit, and one that shows earlier comes too soon to be undone (as in
minimum-variance control, where the output is the error of the forecast over the dead time: Åström, Introduction to
Stochastic Control Theory, 1970, chapter 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twin.errors import QuestionError
from twin.trust import Bands, Surprise


@dataclass(frozen=True)
class BackOff:
    """One calibration of the closed loop: a record beside the twin, renewable without training.

    Attributes:
        id: of this record; an answer names it.
        twin: whose errors these are.
        bands: quantiles of measured less forecast, of the forecasts that plans are made by, model units, where all DVs
            are announced.
        reaction: (CVs,) rows until the MVs have undone an error as large as the band.
        source: "training" (out of fold) or "live" (telemetry since).
        windows: how many forecasts were held against what was measured.
        start, end: of that telemetry.
        created: when.
        surprise: when such forecasts have failed; None in records of before it was kept.
        unannounced: `bands` where the twin itself says what DVs will do; None where it has none.
    """

    id: str
    twin: str
    bands: Bands
    reaction: np.ndarray
    source: str
    windows: int
    start: pd.Timestamp
    end: pd.Timestamp
    created: pd.Timestamp
    surprise: Surprise | None = None
    unannounced: Bands | None = None

    def margins(self, coverage: float, rows: int, unannounced: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """(rows, CVs) how far below, and above, its forecast a CV may be measured at the coverage, one-sided and per
        step: model units, at least 0.

        Args:
            unannounced: whether the course of some DV is not announced, but expected by the twin.
        """
        bands = self.unannounced if unannounced and self.unannounced is not None else self.bands
        low, high = bands.at(1 - coverage, rows), bands.at(coverage, rows)
        return _until(np.maximum(-low, 0.0), self.reaction), _until(np.maximum(high, 0.0), self.reaction)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "twin": self.twin,
            "source": self.source,
            "windows": self.windows,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "created": self.created.isoformat(),
            "reaction": self.reaction.tolist(),
            "levels": self.bands.levels.tolist(),
            "quantiles": self.bands.quantiles.tolist(),
            "unannounced": None if self.unannounced is None else self.unannounced.quantiles.tolist(),
            "surprise": self.surprise
            and {"size": self.surprise.size.tolist(), "threshold": self.surprise.threshold.tolist()},
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> BackOff:
        """The record that `to_json` wrote."""
        surprise, unannounced = body.get("surprise"), body.get("unannounced")
        levels = np.array(body["levels"], np.float64)
        return cls(
            id=body["id"],
            twin=body["twin"],
            bands=Bands(levels, np.array(body["quantiles"], np.float64)),
            reaction=np.array(body["reaction"], np.int64),
            source=body["source"],
            windows=int(body["windows"]),
            start=pd.Timestamp(body["start"]),
            end=pd.Timestamp(body["end"]),
            created=pd.Timestamp(body["created"]),
            surprise=surprise
            and Surprise(np.array(surprise["size"], np.float64), np.array(surprise["threshold"], np.float64)),
            unannounced=None if unannounced is None else Bands(levels, np.array(unannounced, np.float64)),
        )

    def check(self, twin: str) -> BackOff:
        """The same record; it must be of that twin.

        Raises:
            QuestionError: it is of another.
        """
        if self.twin != twin:
            raise QuestionError.at(("calibration",), f"{self.id} is of twin {self.twin}, not of {twin}")
        return self


def _until(widths: np.ndarray, reaction: np.ndarray) -> np.ndarray:
    """Widths (K, CVs) that grow until the reaction and stay so."""
    grown = np.maximum.accumulate(widths, axis=0)
    last = np.minimum(np.arange(len(grown))[:, None], np.minimum(reaction, len(grown)) - 1)
    settled: np.ndarray = np.take_along_axis(grown, last, axis=0)
    return settled
