"""A twin: one trained, immutable version of a plant's world model; saved as safetensors and a JSON manifest.

Nothing in a stored twin is executed: the manifest names the architecture, the tensors fill it, a checksum
binds the two, and anything that does not fit is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from twin.dynamics.ensemble import Ensemble
from twin.dynamics.region import Region
from twin.errors import ArtifactError
from twin.plant import Plant
from twin.scaling import Scaler
from twin.trust import Bands, Calibration, Seen, Surprise
from twin.windows import Window

FORMAT = 1
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
LIBRARIES = ("plant-twin", "jax", "flax", "numpy")


@dataclass(frozen=True)
class Twin:
    """One trained version.

    Attributes:
        id: unique among the twins of its plant.
        plant: as it was described when the twin was trained.
        scaler: engineering units to model units.
        dynamics: the world model, an ensemble, in model units.
        history: L, the rows of a window.
        horizon: K, the rows it was trained and calibrated to forecast.
        region: where in the space of windows and inputs it was trained.
        seen: ranges and stillness of the training telemetry.
        calibration: bands and alarm thresholds.
        reference: one history in model units near the middle of what was seen, (L, ·).
        card: the model card, JSON.
    """

    id: str
    plant: Plant
    scaler: Scaler
    dynamics: Ensemble
    history: int
    horizon: int
    region: Region
    seen: Seen
    calibration: Calibration
    reference: Window
    card: dict[str, Any]

    @property
    def min_history_rows(self) -> int:
        """Rows of history that predict and optimize need before `at`, inclusive."""
        return self.history

    @property
    def horizon_s(self) -> float:
        """The calibrated horizon in seconds."""
        return self.horizon * self.plant.sample_period_s
