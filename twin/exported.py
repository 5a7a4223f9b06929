"""Ask an exported twin: needs numpy and jax, and nothing of Plant Twin. A copy of this file lies in every export.

    twin = Exported.load("feed-tank.zip")
    answer = twin.forecast(history, {"valve": [55.0] * 60})       # CVs: {tag: (60,) array}
    low, high = twin.band(answer, coverage=0.9)

`history` holds a series a tag, oldest first, one value a sample period, NaN where missing, its last row the present
one; `manifest.json` says how many rows are used. What is planned is taken as it is: it is not clipped to the plant's
limits (they are in the manifest), and nothing here says whether the twin has seen such a state: that needs the service.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

Series = Sequence[float] | np.ndarray


class Exported:
    """One exported twin.

    Attributes:
        manifest: what it is: tags with roles, units and limits, sample period, rows of history, horizon, versions.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.manifest: dict[str, Any] = json.loads(files["manifest.json"])
        if self.manifest["format"] != 1:
            raise ValueError(f"an export of format {self.manifest['format']}; this file reads 1")
        for name, digest in self.manifest["sha256"].items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise ValueError(f"{name} is damaged: its checksum does not fit")
        self._encode = jax.jit(jax.export.deserialize(bytearray(files["encode.bin"])).call)
        self._rollout = jax.jit(jax.export.deserialize(bytearray(files["rollout.bin"])).call)
        with np.load(io.BytesIO(files["arrays.npz"]), allow_pickle=False) as arrays:
            self._arrays = dict(arrays)

    @classmethod
    def load(cls, path: str | Path) -> Exported:
        """Read an export."""
        with zipfile.ZipFile(path) as archive:
            return cls({name: archive.read(name) for name in archive.namelist()})

    @property
    def inputs(self) -> list[str]:
        """The tags that act: MVs, then DVs."""
        return list(self.manifest["inputs"])

    @property
    def cvs(self) -> list[str]:
        """The tags that are forecast."""
        return list(self.manifest["cvs"])

    def forecast(
        self, history: Mapping[str, Series], planned: Mapping[str, Series] = {}, rows: int = 0
    ) -> dict[str, Any]:
        """The CVs that follow: {tag: (K,) or (scenarios, K)}, engineering units.

        Args:
            history: every tag; at least `manifest["history_rows"]` rows.
            planned: of MVs and DVs the values in force at each of the next rows, (K,), or (scenarios, K); a tag that is
                left out holds its last value.
            rows: K, where nothing is planned; the calibrated horizon by default.
        """
        y, w, mask, count = self._history(history)
        shapes = [np.shape(series) for series in planned.values()]
        batch = max((shape[0] for shape in shapes if len(shape) == 2), default=1)
        k = shapes[0][-1] if shapes else rows or self.manifest["horizon_rows"]
        future = np.broadcast_to(self._last(history), (batch, k, len(self.inputs))).copy()
        for tag, series in planned.items():
            future[:, :, self.inputs.index(tag)] = np.asarray(series, np.float64)
        state = self._encode(y, w, mask, np.int32(count))
        scaled = ((future - self._arrays["w_mean"]) / self._arrays["w_scale"]).astype(np.float32)
        found = np.asarray(self._rollout(state, scaled), np.float64) * self._arrays["y_scale"] + self._arrays["y_mean"]
        many = any(len(shape) == 2 for shape in shapes)
        return {tag: found[:, :, i] if many else found[0, :, i] for i, tag in enumerate(self.cvs)}

    def band(self, forecast: Mapping[str, np.ndarray], coverage: float = 0.9) -> tuple[dict[str, np.ndarray], ...]:
        """The low and high ends of the bands of a forecast, up to the calibrated horizon."""
        low, high = (self._quantile(level) for level in ((1 - coverage) / 2, (1 + coverage) / 2))
        return tuple(
            {tag: forecast[tag][..., : len(end)] + end[: forecast[tag].shape[-1], i] for i, tag in enumerate(self.cvs)}
            for end in (low, high)
        )

    def _quantile(self, level: float) -> np.ndarray:
        """(K, CVs) engineering units, linear between the levels that were calibrated."""
        levels, quantiles = self._arrays["levels"], self._arrays["quantiles"]
        if not levels[0] <= level <= levels[-1]:
            raise ValueError(f"coverage: bands are calibrated between {levels[0]} and {levels[-1]}")
        i = int(np.clip(np.searchsorted(levels, level), 1, len(levels) - 1))
        share = (level - levels[i - 1]) / (levels[i] - levels[i - 1])
        between: np.ndarray = (1 - share) * quantiles[i - 1] + share * quantiles[i]
        return between * self._arrays["y_scale"]

    def _history(self, history: Mapping[str, Series]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Scaled CVs, inputs and mask of the rows used, padded at their start, and how many were given."""
        need = self.manifest["rows_used"]
        y, w = (np.stack([np.asarray(history[tag], np.float64)[-need:] for tag in tags], axis=1)
                for tags in (self.cvs, self.inputs))  # fmt: skip
        count = len(y)
        if count < self.manifest["history_rows"] or len(w) != count:
            raise ValueError(
                f"{count} rows of history; {self.manifest['history_rows']} are needed, of every tag as many"
            )
        mask = np.isfinite(y).astype(np.float32)
        y = (_held(y) - self._arrays["y_mean"]) / self._arrays["y_scale"]
        w = (_held(w) - self._arrays["w_mean"]) / self._arrays["w_scale"]
        pad = ((need - count, 0), (0, 0))
        padded = [np.pad(part, pad, mode="edge").astype(np.float32) for part in (y, w)]
        return padded[0], padded[1], np.pad(mask, pad), count

    def _last(self, history: Mapping[str, Series]) -> np.ndarray:
        held = _held(np.stack([np.asarray(history[tag], np.float64) for tag in self.inputs], axis=1))
        return held[-1]


def _held(values: np.ndarray) -> np.ndarray:
    """(N, n) with each missing value replaced by the one before it, else by the next one."""
    out = values.copy()
    for column in out.T:
        known = np.flatnonzero(np.isfinite(column))
        if not len(known):
            raise ValueError("a tag has no value in the history")
        before = np.searchsorted(known, np.arange(len(column)), side="right") - 1
        column[:] = column[known[np.maximum(before, 0)]]
    return out
