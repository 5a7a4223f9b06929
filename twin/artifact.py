"""A twin: one trained, immutable version of a plant's world model; saved as safetensors and a JSON manifest.

Nothing in a stored twin is executed: the manifest names the architecture, the tensors fill it, a checksum
binds the two, and anything that does not fit is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from twin.branches import with_components
from twin.dynamics.disturbances import DisturbanceModel
from twin.dynamics.ensemble import Ensemble, arrays, assemble
from twin.dynamics.region import Region
from twin.errors import ArtifactError, TwinError
from twin.plant import Plant
from twin.scaling import Scaler
from twin.shift import Shift
from twin.telemetry import Telemetry
from twin.trust import Bands, Calibration, Seen, Surprise
from twin.vector import Branch
from twin.windows import Window

FORMAT = 2
MANIFEST, WEIGHTS, SLOW = "manifest.json", "weights.safetensors", "slow"
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
        seen: ranges and stillness of the training telemetry.
        calibration: bands and alarm thresholds.
        correction: the share of its recent constant error that a forecast is corrected by, 0 to 1: inside and outside
            of the trained region.
        reference: one history in model units near the middle of what was seen, (L, ·).
        card: the model card, JSON.
        disturbances: what DVs do when nobody says; without it they hold.
        slow: a twin of the same plant on averages over a whole number of periods, for long horizons; None without one.
    """

    id: str
    plant: Plant
    scaler: Scaler
    dynamics: Ensemble
    history: int
    horizon: int
    seen: Seen
    calibration: Calibration
    correction: tuple[float, float]
    reference: Window
    card: dict[str, Any]
    slow: Twin | None = None
    disturbances: DisturbanceModel | None = None

    @property
    def min_history_rows(self) -> int:
        """Rows of history that predict and optimize need before `at`, inclusive."""
        return self.history

    @property
    def horizon_s(self) -> float:
        """The calibrated horizon in seconds."""
        return self.horizon * self.plant.sample_period_s

    def reads(self, telemetry: Telemetry) -> Telemetry:
        """Telemetry of the plant as this twin reads it: with the components of its vector tags."""
        return with_components(telemetry, self.plant.branches)

    @property
    def corrections(self) -> np.ndarray:
        """(2,) float32: `correction`, as `twin.forecasting` takes it."""
        return np.asarray(self.correction, np.float32)

    @property
    def stride(self) -> int:
        """Rows that a row of the slow twin averages; 1 without one."""
        return 1 if self.slow is None else round(self.slow.plant.sample_period_s / self.plant.sample_period_s)

    def under(self, plant: Plant) -> Twin:
        """The same twin, the slow one included, under other limits: `plant` has the same tags."""
        slow = self.slow and self.slow.under(replace(plant, sample_period_s=self.slow.plant.sample_period_s))
        return replace(self, plant=plant, slow=slow)

    @property
    def region(self) -> Region:
        """Where in the space of windows and planned inputs it was trained."""
        return self.dynamics.region


def save(twin: Twin, folder: Path) -> None:
    """Write a twin to a new folder, a slow one beneath it: all of it or nothing.

    Raises:
        ArtifactError: the folder exists already; a twin is never overwritten.
    """
    with _whole(Path(folder)) as new:
        _write_twin(twin, new)


def write(folder: Path, told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors and what is told of them (JSON) to a new folder, bound by checksums: all of it or nothing.

    Raises:
        ArtifactError: the folder exists already.
    """
    with _whole(Path(folder)) as new:
        new.mkdir()
        _write_parts(new, told, tensors)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to be made, which takes the other's name in the end."""
    if folder.exists():
        raise ArtifactError(f"{folder.name} exists already; it is never overwritten")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        new = Path(scratch) / "new"
        yield new
        new.rename(folder)


def _write_twin(twin: Twin, folder: Path) -> str:
    """Write a twin and what is beneath it; the digest of its manifest, which binds all of it."""
    folder.mkdir()
    told = {
        "id": twin.id,
        "plant": twin.plant.to_json(),
        "branches": {branch.vector: list(branch.told) for branch in twin.plant.branches},
        "history": twin.history,
        "horizon": twin.horizon,
        "correction": list(twin.correction),
        "architecture": twin.dynamics.architecture(),
        "card": twin.card,
    }
    if twin.slow is not None:
        told["slow_sha256"] = _write_twin(twin.slow, folder / SLOW)
    return _write_parts(folder, told, _tensors(twin))


def _write_parts(folder: Path, told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """Write both files; the digest of the manifest."""
    weights = save_tensors({name: np.asarray(value, order="C") for name, value in tensors.items()})
    manifest = {"format": FORMAT, **told}
    manifest |= {"weights_sha256": hashlib.sha256(weights).hexdigest(), "libraries": libraries()}
    manifest["sha256"] = _digest(manifest)
    _write(folder / WEIGHTS, weights)
    _write(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode())
    return str(manifest["sha256"])


def load(folder: Path) -> Twin:
    """Read a twin.

    Raises:
        ArtifactError: it is not there, damaged, foreign, or of a format this version does not read.
    """
    folder = Path(folder)
    manifest, tensors = read(folder)
    slow = _slow(folder / SLOW, manifest) if "slow_sha256" in manifest else None
    try:
        return replace(_assemble(manifest, tensors), slow=slow)
    except (KeyError, TypeError, ValueError, TwinError) as error:
        raise ArtifactError(f"{folder.name} is no twin of this version: {error}") from error


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `write` wrote: what is told, and the tensors.

    Raises:
        ArtifactError: as `load`.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        weights = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder.name} holds nothing that can be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        why = f"{folder.name} is of another format than {FORMAT}, which this version reads: train it again"
        raise ArtifactError(why)
    whole = manifest.pop("sha256", None) == _digest(manifest)
    if not whole or hashlib.sha256(weights).hexdigest() != manifest.get("weights_sha256"):
        raise ArtifactError(f"{folder.name} is damaged: a checksum does not fit; restore a backup")
    try:
        return manifest, load_tensors(weights)
    except SafetensorError as error:
        raise ArtifactError(f"{folder.name} is damaged: {error}") from error


def _slow(folder: Path, manifest: Mapping[str, Any]) -> Twin:
    """The twin beneath another: the very one that this one was saved with."""
    slow = load(folder)
    if json.loads((folder / MANIFEST).read_bytes())["sha256"] != manifest["slow_sha256"]:
        raise ArtifactError(f"{manifest.get('id')} is damaged: its slow twin is another; restore a backup")
    return slow


def _tensors(twin: Twin) -> dict[str, np.ndarray]:
    """Every array of a twin by its path."""
    parts: dict[str, Any] = {
        "scaler": twin.scaler,
        "bands": twin.calibration.bands,
        "surprise": twin.calibration.surprise,
        "seen": twin.seen,
    }
    optional = {
        "shift": twin.calibration.shift,
        "unannounced": twin.calibration.unannounced,
        "disturbances": twin.disturbances,
    }
    parts |= {name: owner for name, owner in optional.items() if owner is not None}
    for i, branch in enumerate(twin.plant.branches):
        parts[f"branches.{i}"] = branch
    named = {
        f"{part}.{name}": value
        for part, owner in parts.items()
        for name, value in vars(owner).items()
        if isinstance(value, np.ndarray)
    }
    named |= {f"reference.{name}": np.asarray(value) for name, value in twin.reference._asdict().items()}
    return named | {f"dynamics.{name}": value for name, value in arrays(twin.dynamics).items()}


def _assemble(manifest: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Twin:
    def part(prefix: str) -> dict[str, np.ndarray]:
        cut = len(prefix) + 1
        return {name[cut:]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}

    plant = Plant.from_json(manifest["plant"])
    told = manifest.get("branches", {})
    modelled = {tag.vector for tag in plant.cvs}
    branches = tuple(
        Branch(name, told=tuple(told[name]), modelled=name in modelled, **part(f"branches.{i}"))
        for i, name in enumerate(told)
    )
    return Twin(
        id=manifest["id"],
        plant=replace(plant, branches=branches),
        scaler=Scaler(**part("scaler")),
        dynamics=assemble(manifest["architecture"], part("dynamics")),
        history=int(manifest["history"]),
        horizon=int(manifest["horizon"]),
        seen=Seen(**part("seen")),
        correction=(float(manifest["correction"][0]), float(manifest["correction"][1])),
        calibration=Calibration(
            Bands(**part("bands")),
            Surprise(**part("surprise")),
            Shift(**part("shift")) if part("shift") else None,
            Bands(**part("unannounced")) if part("unannounced") else None,
        ),
        reference=Window(**part("reference")),
        card=manifest["card"],
        disturbances=DisturbanceModel(**part("disturbances")) if part("disturbances") else None,
    )


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@cache
def libraries() -> dict[str, str]:
    """The versions that a twin's numbers depend on."""
    return {name: _version(name) for name in LIBRARIES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
