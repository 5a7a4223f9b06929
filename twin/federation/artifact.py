"""A stored consensus, one file: the shape of the common model, its parameters and the rounds that led there.

Safetensors with a JSON manifest in its metadata; a checksum binds the two, and nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from twin.errors import ArtifactError, TwinError
from twin.federation.updates import checked
from twin.fleet.common import Common
from twin.fleet.shape import Shape

FORMAT = 2


@dataclass(frozen=True)
class Consensus:
    """What sites agreed on.

    Attributes:
        id: unique.
        shape: tags, units of engineering and sizes of the common model.
        vector: (P,) float32, its parameters.
        card: JSON: rule, roster and a record a round.
    """

    id: str
    shape: Shape
    vector: np.ndarray
    card: dict[str, Any]

    @property
    def common(self) -> Common:
        """The model of these parameters."""
        return Common.fresh(self.shape).from_vector(self.vector)


def save(consensus: Consensus, path: Path) -> None:
    """Write a consensus: all of it or nothing; one that is there already is replaced."""
    manifest = {
        "format": FORMAT,
        "id": consensus.id,
        "shape": consensus.shape.to_json(),
        "card": consensus.card,
    }
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    vector = np.ascontiguousarray(consensus.vector, np.float32)
    told = {"manifest": text, "sha256": _digest(text, vector)}
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch.open("wb") as file:
        file.write(save_tensors({"vector": vector}, told))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def load(path: Path) -> Consensus:
    """Read a consensus.

    Raises:
        ArtifactError: it is not there, damaged, foreign, or of a format this version does not read.
    """
    manifest, vector = _read(path)
    if manifest.get("format") != FORMAT:
        why = f"{path.name} is of another format than {FORMAT}, which this version reads: start the federation anew"
        raise ArtifactError(why)
    try:
        shape = Shape.from_json(manifest["shape"])
        checked(path.name, vector, len(Common.fresh(shape).vector()))
        return Consensus(str(manifest["id"]), shape, vector, manifest["card"])
    except (KeyError, TypeError, ValueError, TwinError) as error:
        raise ArtifactError(f"{path.name} is no consensus of this version: {error}") from error


def _read(path: Path) -> tuple[Mapping[str, Any], np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            told, vector = file.metadata() or {}, file.get_tensor("vector")
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path.name} holds no consensus that can be read: {error}") from error
    text = told.get("manifest", "")
    if told.get("sha256") != _digest(text, vector):
        raise ArtifactError(f"{path.name} is damaged: its checksum does not fit")
    manifest = json.loads(text)
    return (manifest if isinstance(manifest, dict) else {}), vector


def _digest(text: str, vector: np.ndarray) -> str:
    return hashlib.sha256(text.encode() + vector.tobytes()).hexdigest()
