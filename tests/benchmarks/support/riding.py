"""Rides a limit: a price drives one CV against it while a plant that is not quite the twin's is disturbed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import jax
import numpy as np

from twin.artifact import Twin
from twin.limits import Limit
from twin.objective import Objective
from twin.optimize import plan
from twin.planning.backoff import BackOff
from twin.plants.base import Process
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

HISTORY_ROWS = 80
REST = 100  # rows at rest before control starts
SETTLE = 60  # rows under control that are not counted


@dataclass(frozen=True)
class Ride:
    """Which CV is driven against which of its limits.

    Attributes:
        cv, side: "low" or "high".
        limit: engineering units, reachable by the plant.
        price: of the CV, per unit and hour; its sign drives it to the limit.
        setpoints: what else is asked.
    """

    cv: str
    side: str
    limit: float
    price: float


@dataclass(frozen=True)
class Ridden:
    """What a ride has shown.

    Attributes:
        measured, true: share of rows in which the measured, or the true, CV is beyond the limit.
        distance: mean distance of the true CV from the limit, inside, as a share of the training deviation.
        statuses: status → rows.
    """

    measured: float
    true: float
    distance: float
    statuses: dict[str, int]


def ride(
    twin: Twin,
    process: Process,
    asked: Ride,
    rows: int,
    seed: int,
    back_off: BackOff | None,
    coverage: float = 0.95,
    horizon: int = 60,
) -> Ridden:
    """Control `process` by the twin for so many rows."""
    simulator = Simulator(process, seed)
    resting = simulator.run(np.tile(process.moves, (REST, 1)))
    data = deque(resting.values, maxlen=HISTORY_ROWS)
    plant = twin.plant
    column, cv = plant.column(asked.cv), [tag.name for tag in plant.cvs].index(asked.cv)
    measured, true, statuses, state = [], [], {}, None
    for _ in range(rows):
        values = np.array(data)
        end = np.datetime64(simulator.time.tz_localize(None), "ns")
        period = np.timedelta64(round(plant.sample_period_s * 1e9), "ns")
        times = end - period * np.arange(len(values) - 1, -1, -1)
        history = Telemetry(plant, times, values, np.zeros(len(values), np.int64))
        answer = plan(
            twin,
            history,
            Objective(prices={asked.cv: asked.price}),
            {asked.cv: Limit(**{asked.side: asked.limit})},
            horizon_s=horizon * plant.sample_period_s,
            coverage=coverage,
            state=state,
            back_off=back_off,
        )
        state = answer.to_json()["state"]
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        row = simulator.advance(answer.next)
        data.append(np.array([row[name] for name in plant.names]))
        measured.append(data[-1][column])
        with jax.enable_x64(True):
            true.append(float(np.asarray(process.read(simulator.state))[cv]))
    sign = 1.0 if asked.side == "high" else -1.0
    y, truth = (sign * (np.array(v[SETTLE:]) - asked.limit) for v in (measured, true))
    scale = twin.scaler.y_scale[cv]
    return Ridden(float((y > 0).mean()), float((truth > 0).mean()), float(-truth.mean() / scale), statuses)
