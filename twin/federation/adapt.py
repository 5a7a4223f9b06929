"""A consensus made a site's own: an ordinary twin of its plant, trained from what the sites agreed on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin
from twin.dynamics.region import Region
from twin.federation.artifact import Consensus
from twin.fleet.common import Common, Unit, equations
from twin.fleet.fleet import Fleet
from twin.fleet.prior import LEAST, WIDE, Prior
from twin.fleet.shape import Tags
from twin.fleet.start import Joining
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.folds import COUNT, split
from twin.training.region import trained_region
from twin.windows import Grid


def adapt(
    consensus: Consensus,
    telemetry: Telemetry,
    tags: Tags | None = None,
    options: Options = Options(),
    clock: Callable[[], float] = time.monotonic,
) -> Twin:
    """A twin of the site's plant: linear part and residual start from the consensus, beside fresh ones.

    Where the site took part, the consensus has seen the rows that judge the twin: its errors out of fold, and the
    bands taken from them, are too small by what one site of several adds. Its card says that it comes from a consensus.

    Args:
        telemetry: of the site, in the common sample period.

    Raises:
        QuestionError: the telemetry does not fit the common model.
        TrainingError: too few rows.
    """
    unit = Unit.of(consensus.shape, telemetry, tags)
    fleet = Fleet(
        id=consensus.id,
        common=_ensemble(consensus.common),
        prior=_prior(consensus.common, unit),
        scaler=unit.scaler,
        shared=False,
        region=_region(consensus, unit.grid),
        card={"units": [], "federation": {"consensus": consensus.id}},
    )
    twin = fit(telemetry, options, clock=clock, fleet=Joining(fleet, tags or {}))
    common = {**twin.card["training"]["common"], "consensus": consensus.id}
    return replace(twin, card={**twin.card, "training": {**twin.card["training"], "common": common}})


def _ensemble(common: Common) -> Common:
    """The same residual in every member."""

    def all_of(leaf: jax.Array) -> jax.Array:
        return jnp.broadcast_to(leaf[0], (COUNT, *leaf.shape[1:]))

    return replace(
        common, parameters=replace(common.parameters, residual=jax.tree.map(all_of, common.parameters.residual))
    )


def _prior(common: Common, unit: Unit) -> Prior:
    """Coefficients near the consensus, as far as the site's rows do not speak against it."""
    mean, shape = np.asarray(common.parameters.linear, np.float64), common.shape
    own = equations(shape, unit.grid, unit.grid.ends(shape.past, 1))
    left = own.squares - 2 * (mean * own.across).sum(axis=0) + (mean * (own.normal @ mean)).sum(axis=0)
    precision = np.broadcast_to(np.eye(len(mean)) / WIDE, (mean.shape[1], len(mean), len(mean)))
    return Prior(mean, precision, np.maximum(left / own.rows, LEAST))


def _region(consensus: Consensus, grid: Grid) -> Region:
    shape = consensus.shape
    return trained_region(grid, split(grid.run, shape.history, shape.horizon))
