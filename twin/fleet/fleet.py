"""A fleet: a trained common model with what a new unit needs to start from it; saved as safetensors and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten

from twin import artifact
from twin.dynamics.region import Region
from twin.errors import ArtifactError, TwinError
from twin.fleet.common import Common
from twin.fleet.prior import Prior
from twin.fleet.shape import Shape, converted
from twin.scaling import Scaler
from twin.telemetry import Telemetry


@dataclass(frozen=True)
class Fleet:
    """What was learnt from many units.

    Attributes:
        id: unique.
        common: the common model; its linear part is the mean unit's, its residual an ensemble.
        prior: how units differ in their linear parts.
        scaler: of all units together, in the fleet's units of engineering.
        shared: whether units are scaled by it; by their own deviations where their sizes differ too much.
        region: of all units' windows.
        card: JSON; units, the order chosen, errors on units held out.
    """

    id: str
    common: Common
    prior: Prior
    scaler: Scaler
    shared: bool
    region: Region
    card: dict[str, Any]

    @property
    def shape(self) -> Shape:
        """Tags and sizes."""
        return self.common.shape

    def scaler_of(self, rows: Telemetry) -> Scaler:
        """The scaler of a matched unit, in its own units of engineering."""
        return scaler_of(self.shape, rows, self.scaler if self.shared else None)


def scaler_of(shape: Shape, rows: Telemetry, shared: Scaler | None) -> Scaler:
    """The fleet's scaler in a matched unit's units of engineering; where none is shared, the unit's own."""
    if shared is None:
        return Scaler.fit(rows)
    mean = np.concatenate([shared.w_mean, shared.y_mean])
    scale = np.concatenate([shared.w_scale, shared.y_scale])
    mean, scale = converted(shape, rows.plant, mean, scale)
    inputs = shape.inputs
    return Scaler(mean[inputs:], scale[inputs:], mean[:inputs], scale[:inputs])


def save(fleet: Fleet, folder: Path) -> None:
    """Write a fleet to a new folder: all of it or nothing.

    Raises:
        ArtifactError: the folder exists already.
    """
    told = {
        "kind": "fleet",
        "id": fleet.id,
        "shape": fleet.shape.to_json(),
        "members": int(fleet.common.parameters.residual.f1.kernel.shape[0]),
        "shared": fleet.shared,
        "card": fleet.card,
    }
    tensors = {_name("parameters", path): np.asarray(leaf) for path, leaf in _leaves(fleet.common.parameters)}
    for part, owner in (("prior", fleet.prior), ("scaler", fleet.scaler), ("region", fleet.region)):
        tensors |= {f"{part}.{name}": np.asarray(value) for name, value in vars(owner).items()}
    artifact.write(folder, told, tensors)


def load(folder: Path) -> Fleet:
    """Read a fleet.

    Raises:
        ArtifactError: it is not there, damaged, foreign, or of a format this version does not read.
    """
    told, tensors = artifact.read(folder)
    try:
        if told["kind"] != "fleet":
            raise ValueError("it is something else")
        shape = Shape.from_json(told["shape"])
        leaves, tree = tree_flatten_with_path(Common.fresh(shape, members=told["members"]).parameters)
        filled = []
        for path, leaf in leaves:
            found = tensors[_name("parameters", path)]
            if found.shape != leaf.shape or found.dtype != leaf.dtype:
                raise ValueError(f"{_name('parameters', path)} is {found.dtype}{found.shape}")
            filled.append(jnp.asarray(found))

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {n.removeprefix(f"{prefix}."): v for n, v in tensors.items() if n.startswith(f"{prefix}.")}

        return Fleet(
            told["id"],
            Common(shape, tree_unflatten(tree, filled)),
            Prior(**part("prior")),
            Scaler(**part("scaler")),
            bool(told["shared"]),
            Region(*(jnp.asarray(part("region")[name]) for name in ("centre", "whiten"))),
            told["card"],
        )
    except (KeyError, TypeError, ValueError, TwinError) as error:
        raise ArtifactError(f"{Path(folder).name} is no fleet of this version: {error}") from error


def _leaves(tree: Any) -> list[tuple[Any, jax.Array]]:
    return tree_flatten_with_path(tree)[0]


def _name(part: str, path: Any) -> str:
    return f"{part}.{keystr(path, simple=True, separator='.')}"
