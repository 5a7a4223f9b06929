"""What a new unit takes from its fleet: coordinates, linear parts between the prior and its own rows, a residual."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.jepa import Jepa
from twin.dynamics.region import Region
from twin.errors import QuestionError
from twin.fleet.common import equations, lti
from twin.fleet.fleet import Fleet
from twin.fleet.order import reordered
from twin.fleet.prior import STRENGTHS
from twin.fleet.shape import Tags, matched
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.training.backbone import WINDOWS, Score, squares
from twin.training.folds import COUNT, DISJOINT, Folds, narrow, split, spread
from twin.windows import Grid

PARSIMONY = 1.005  # the strongest prior within this of the least error is taken


@dataclass(frozen=True)
class FromFleet:
    """A linear part that is the fleet's as far as a unit's rows do not speak against it."""

    fleet: str
    strength: float
    order: int
    input_order: int

    @property
    def name(self) -> str:
        how = "the mean unit" if np.isinf(self.strength) else f"prior × {self.strength:g}"
        return f"fleet {self.fleet}: ARX({self.order}, {self.input_order}), {how}"

    def states(self, cvs: int, inputs: int) -> int:
        return self.order * cvs + (self.input_order - 1) * inputs


@dataclass(frozen=True)
class Joining:
    """How a unit joins a fleet.

    Args:
        fleet: what was learnt from others.
        tags: the unit's tags by the fleet's, where they have other names.
        unit: its name among the fleet's units, where the fleet has learnt from it: it then starts from a member that
            has not, so that its errors out of fold stay honest.
    """

    fleet: Fleet
    tags: Tags = field(default_factory=dict)
    unit: str | None = None


@dataclass(frozen=True)
class Start:
    """A unit that starts from its fleet.

    Attributes:
        fleet: what it starts from, tags in the unit's order.
        scaler: its model units.
        folds: of its rows.
        member: of the fleet's ensemble, from which alone it starts; None is all.
    """

    fleet: Fleet
    scaler: Scaler
    folds: Folds
    member: int | None = None

    @classmethod
    def of(cls, joining: Joining, telemetry: Telemetry) -> Start:
        """From the rows of a unit, few or many.

        Raises:
            QuestionError: the unit does not fit, or has a tag that the fleet does not know.
            TrainingError: too few rows.
        """
        fleet, shape = joining.fleet, joining.fleet.shape
        known = next((one for one in fleet.card["units"] if one["unit"] == joining.unit), None)
        tags = joining.tags or (known["tags"] if known else {})
        rows = matched(shape, telemetry, tags)
        more = [name for name in telemetry.plant.names if name not in rows.plant.names]
        if more:
            why = f"the fleet has no tag for {', '.join(more)}: train without it, or leave the tag out of the plant"
            raise QuestionError.at(("tags", more[0]), why)
        place = {tags.get(name, name): i for i, name in enumerate(shape.mvs + shape.dvs)}
        place_cv = {tags.get(name, name): i for i, name in enumerate(shape.cvs)}
        plant = telemetry.plant
        inputs, cvs = ([of[tag.name] for tag in tags] for of, tags in ((place, plant.inputs), (place_cv, plant.cvs)))
        fleet = reordered(fleet, np.array(inputs), np.array(cvs))
        lengths = np.unique(rows.run, return_counts=True)[1]
        many = (lengths // (shape.history + shape.horizon)).sum() >= DISJOINT
        folds = (split if many else narrow)(rows.run, shape.history, shape.horizon)
        return cls(fleet, fleet.scaler_of(telemetry), folds, known["held_out_by"] if known else None)

    @property
    def residuals(self) -> Jepa:
        """Weights (members, ·) to go on from."""
        whole = self.fleet.common.parameters.residual
        if self.member is None:
            return whole
        one = self.member
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[one], leaf.shape), whole)

    @property
    def region(self) -> Region:
        """Where the fleet was trained."""
        return self.fleet.region

    def scores(self, grid: Grid) -> list[Score]:
        """Linear parts between the fleet's mean and the unit's own rows; the first is to be taken: the strongest prior
        of those that are nearly the best, by the unit's rows out of fold and by what the fleet's units have shown.
        These count as the rows of one unit: they decide while there are few, where the least error is luck."""
        shape, folds, prior = self.fleet.shape, self.folds, self.fleet.prior
        own = [equations(shape, grid, folds.ends(folds.label != f, shape.past, 1)) for f in range(COUNT)]
        held = [spread(folds.held_out(fold), WINDOWS) for fold in range(COUNT)]
        cases = [(grid.window(ends, folds.history), grid.future(ends, folds.horizon)) for ends in held]
        found = []
        for strength in STRENGTHS:
            fits = tuple(lti(shape, prior.posterior(one, strength)) for one in own)
            errors = [squares(fit, *case) for fit, case in zip(fits, cases, strict=True)]
            error = float(np.sqrt(np.mean(errors, axis=0)).mean())
            candidate = FromFleet(self.fleet.id, strength, shape.lags, shape.input_rows)
            found.append(Score(candidate, error if np.isfinite(error) else np.inf, fits))
        # a consensus of sites (`twin.federation.adapt`) has shown nothing: the unit's rows alone decide
        told = self.fleet.card.get("strengths", {"log_error": [0.0] * len(STRENGTHS), "rows": 0.0})
        rows = float(len(grid.run))
        own_error = np.log([max(score.error, 1e-6) for score in found])
        mean = (rows * own_error + told["rows"] * np.array(told["log_error"])) / (rows + told["rows"])
        best = found[int(np.flatnonzero(mean <= mean.min() + np.log(PARSIMONY))[-1])]  # strengths grow
        return [best, *(score for score in found if score is not best)]
