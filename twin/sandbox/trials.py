"""The trials that any plant can be put to: setpoint steps, an unmeasured disturbance, a limit that changes, gains
that are wrong, noise. Sizes follow from the plant: setpoints are where it comes to rest under other moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twin.errors import QuestionError
from twin.plant import near
from twin.plants.base import Process
from twin.plants.simulator import Simulator
from twin.sandbox.processes import Altered, truth
from twin.sandbox.scenario import Event, Scenario

SHIFT = 0.15  # of the range of each MV: how far a setpoint lies from rest
INSIDE = 0.5  # of the room that a CV has to its limits at rest, which it keeps at its setpoints
HALVINGS = 8
DISTURBED = 3.0  # deviations of its wander that an unmeasured disturbance steps by
WRONG = 1.3  # times the gain of training
NOISY = 3.0  # times the plant's noise
DRIFT = 0.01  # of span over a settling time: a CV that still moves so much integrates
ROWS = 180
FIRST, SECOND = 10, 95  # rows at which something changes


def trials(process: Process, cvs: tuple[str, ...] = (), names: tuple[str, ...] = (), seed: int = 0) -> list[Scenario]:
    """The scenarios, or those named.

    Args:
        cvs: that get setpoints; by default the first ones, as many as there are MVs.

    Raises:
        QuestionError: no scenario of that name; an unknown CV.
    """
    plant = process.plant
    for name in cvs:
        plant.tag(name)
    chosen = cvs or tuple(tag.name for tag in plant.cvs)[: len(plant.mvs)]
    here, there, back = (_targets(process, chosen, sign) for sign in (0.0, 1.0, -1.0))
    steps = (Event(0, here), Event(FIRST, there), Event(SECOND, back))
    base = Scenario("setpoints", ROWS, steps, seed=seed)
    hidden = process.disturbances[len(plant.dvs) :] or process.disturbances
    disturbed = {d.name: DISTURBED * d.deviation for d in hidden[:1]}
    first, wanted = chosen[0], there[chosen[0]]
    rises = wanted >= here[first]
    middle = 0.5 * (wanted + here[first])
    found = [
        base,
        replace(base, name="disturbance", events=(Event(0, here), Event(FIRST + 20, disturb=disturbed))),
        replace(base, name="limits", events=(
            Event(0, here), Event(FIRST, there),
            Event(SECOND, limits={first: {"high" if rises else "low": middle}}),
        )),
        replace(base, name="mismatch", gain={tag.name: WRONG for tag in plant.mvs}),
        replace(base, name="noise", noise=NOISY),
    ]  # fmt: skip
    known = [scenario.name for scenario in found]
    for name in names:
        if name not in known:
            raise QuestionError(f"no scenario '{name}': there are {', '.join(known)}{near(name, known)}")
    return [scenario for scenario in found if not names or scenario.name in names]


def _targets(process: Process, cvs: tuple[str, ...], sign: float) -> dict[str, float]:
    """CV → where it comes to rest when every other MV goes up and the rest down, so far that limits allow it."""
    plant = process.plant
    columns = [[tag.name for tag in plant.cvs].index(name) for name in cvs]
    calm = Altered(process, (1.0,) * len(plant.mvs), 0.0, 0.0)
    rest = np.array(process.moves)
    width = np.array([(t.high or 0.0) - (t.low or 0.0) for t in plant.mvs])
    direction = np.where(np.arange(len(rest)) % 2, -1.0, 1.0)
    start, share = _rested(calm, rest)[0], SHIFT
    for _ in range(HALVINGS):
        values, moving = _rested(calm, rest + sign * share * width * direction)
        values = np.where(moving, start + 0.1 * sign * _widths(process), values)
        if _inside(process, start, values):
            break
        share /= 2
    return {name: float(values[i]) for name, i in zip(cvs, columns, strict=True)}


def _rested(process: Process, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true CVs after three settling times under held moves, and which of them still move."""
    rows = int(np.ceil(process.settling_s / process.plant.sample_period_s))
    simulator = Simulator(process, 0)
    simulator.run(np.tile(moves, (2 * rows, 1)))
    ends = []
    for more in (0, rows):
        if more:
            simulator.run(np.tile(moves, (more, 1)))
        ends.append(truth(process, simulator.state))
    return ends[1], np.abs(ends[1] - ends[0]) > DRIFT * _widths(process)


def _widths(process: Process) -> np.ndarray:
    """(CVs,) ranges of the instruments, else of the operating limits; 1 where there is none."""
    pairs = [((t.low, t.high), (t.limit_low, t.limit_high)) for t in process.plant.cvs]
    known = [[high - low for low, high in pair if low is not None and high is not None] for pair in pairs]
    return np.array([(*widths, 1.0)[0] for widths in known])


def _inside(process: Process, start: np.ndarray, values: np.ndarray) -> bool:
    """Whether enough is left of the room to every operating limit that there is at the start."""
    for tag, now, then in zip(process.plant.cvs, start.tolist(), values.tolist(), strict=True):
        if tag.limit_low is not None and then - tag.limit_low < INSIDE * (now - tag.limit_low):
            return False
        if tag.limit_high is not None and tag.limit_high - then < INSIDE * (tag.limit_high - now):
            return False
    return True
