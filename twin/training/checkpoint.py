"""Checkpoints of training: where it stands, in one file that replaces the one before as a whole.

Tensors lie as safetensors, the rest as JSON in their header; nothing in it is executed. A checkpoint belongs to one
training: of other telemetry, options, seed or versions of the libraries it is not taken up, nor is a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from twin.telemetry import Telemetry
from twin.training.residual import Evaluation, Moment
from twin.training.schedule import Schedule

FORMAT = 4


@dataclass(frozen=True)
class Standing:
    """Where training stands.

    Attributes:
        moment: of the trainer.
        best: the evaluation with the least out-of-fold error so far.
        curve: all evaluations so far, JSON.
        spent_s, compiled_s, until_s: on the clock of the budget since training began: now, when the first chunk was
            compiled, and when training is to stop.
        curved: whether the residual is around a polynomial.
    """

    moment: Moment
    best: Evaluation
    curve: list[dict[str, Any]]
    spent_s: float
    compiled_s: float
    until_s: float
    curved: bool = False


class Checkpoint:
    """Keeps the standing of one training in a file.

    Args:
        path: of the file; its folder is created.
        every_s: seconds between two that are written.
        resumed: told the step at which training is taken up.
    """

    def __init__(self, path: Path, every_s: float = 10.0, resumed: Callable[[int], object] = lambda _: None) -> None:
        self.path, self._every_s, self._resumed = path, every_s, resumed
        self._due = time.monotonic() + every_s

    def keep(self, standing: Standing, of: str) -> None:
        """Write where the training `of` stands, unless that was done a moment ago.

        Raises:
            OSError: the disk is full or read-only; the checkpoint before is still whole.
        """
        if time.monotonic() < self._due:
            return
        moment, best = standing.moment, standing.best
        arrays = {f"{i:04}": np.ascontiguousarray(a) for i, a in enumerate(jax.tree.leaves(_trees(moment, best)))}
        told = {
            "format": FORMAT,
            "of": of,
            "sha256": _digest(arrays),
            "step": moment.step,
            "rng": moment.rng,
            "schedule": list(moment.schedule),
            "best": {"step": best.step, "out_of_fold": best.out_of_fold, "losses": best.losses},
            "curve": standing.curve,
            "spent_s": standing.spent_s,
            "compiled_s": standing.compiled_s,
            "until_s": standing.until_s,
            "curved": standing.curved,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(save_tensors(arrays, {"standing": json.dumps(told)}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        self._due = time.monotonic() + self._every_s

    def load(self, of: str, start: Moment) -> Standing | None:
        """Where the training `of`, which began at `start`, stood; None where that is not known."""
        try:
            with safe_open(self.path, "np") as file:
                told = json.loads((file.metadata() or {})["standing"])
                arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
            if told["format"] != FORMAT or told["of"] != of or told["sha256"] != _digest(arrays):
                return None
            standing = _standing(told, list(arrays.values()), start)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        self._resumed(standing.moment.step)
        return standing


def fingerprint(telemetry: Telemetry, settings: Mapping[str, Any]) -> str:
    """What names a training: a digest of its telemetry and its settings (JSON)."""
    digest = hashlib.sha256(json.dumps([telemetry.plant.to_json(), settings], sort_keys=True).encode())
    for part in (telemetry.times, telemetry.values, telemetry.run):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _trees(moment: Moment, best: Evaluation) -> tuple[Any, ...]:
    return moment.weights, moment.mean, moment.optimiser, best.residuals


def _standing(told: Mapping[str, Any], arrays: list[np.ndarray], start: Moment) -> Standing:
    """Fill what training began with; ValueError where a shape differs."""
    leaves, layout = jax.tree.flatten((start.weights, start.mean, start.optimiser, start.mean))
    if [(a.shape, a.dtype) for a in arrays] != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise ValueError
    weights, mean, optimiser, residuals = jax.tree.unflatten(layout, map(jnp.asarray, arrays))
    best = told["best"]
    return Standing(
        Moment(int(told["step"]), weights, mean, optimiser, told["rng"], Schedule(*told["schedule"])),
        Evaluation(int(best["step"]), float(best["out_of_fold"]), best["losses"], residuals),
        list(told["curve"]),
        float(told["spent_s"]),
        float(told["compiled_s"]),
        float(told["until_s"]),
        bool(told["curved"]),
    )


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
