"""The planner with the plant's own equations in place of a twin, against IPOPT with every move free.

    python tests/benchmarks/true_model.py [plant …]

Both start from the true state, without noise and disturbances, so that only the solvers differ: move blocking, float32
and tolerances against IPOPT. Closed loop over set-point steps, scored by one cost on the true state. CPU and
wall time of each decision after the first 5.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
from support.coupled import Coupled
from support.exact import Planner
from support.full_move import FullMove, rk4_step
from support.oracle import linear_step, other_tank_equations, reactor_equations, tank_equations

from twin.plants.base import Process, steady
from twin.plants.cstr import Cstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.shell import ShellFractionator

HORIZON, SUPPRESSION, WARM = 60, 0.01, 5
RESULTS = Path(__file__).parent / "results" / "true_model.json"


@dataclass(frozen=True)
class Case:
    """A plant, the CVs that follow setpoints, and (from row, setpoints)."""

    name: str
    process: Process
    setpoint_cvs: tuple[str, ...]
    peer: Callable[..., FullMove]
    targets: tuple[tuple[int, tuple[float, ...]], ...]
    rows: int
    unit_s: float = 0.0


def resting(process: Process, setpoint_cvs: tuple[str, ...], moves: tuple[float, ...]) -> tuple[float, ...]:
    """The setpoint CVs at rest under MVs, disturbances at rest."""
    with jax.enable_x64(True):
        w = np.array([*moves, *(d.rest for d in process.disturbances)])
        cvs = np.asarray(process.read(jax.jit(partial(steady, process.derivative))(process.rest(), w)))
    names = [tag.name for tag in process.plant.cvs]
    return tuple(float(cvs[names.index(name)]) for name in setpoint_cvs)


def reactor(process, setpoint_cvs):
    """IPOPT on the reactor: its first state is no CV."""
    step = rk4_step(reactor_equations, 4, 4, process.plant.sample_period_s)
    return FullMove(process, step, lambda x: x[1:], setpoint_cvs, HORIZON, SUPPRESSION)


def tank(process, setpoint_cvs):
    """IPOPT on the four tanks."""
    equations = tank_equations if process == QuadrupleTank() else other_tank_equations
    step = rk4_step(equations, 4, 5, process.plant.sample_period_s)
    return FullMove(process, step, lambda x: x, setpoint_cvs, HORIZON, SUPPRESSION)


def linear(process, setpoint_cvs):
    """IPOPT on a linear plant."""
    step, read = linear_step(process)
    return FullMove(process, step, read, setpoint_cvs, HORIZON, SUPPRESSION)


def cases() -> list[Case]:
    """Every plant of the table."""
    levels, tanks, other = ("level_1", "level_2"), QuadrupleTank(), QuadrupleTank.nonminimum_phase()
    both, cstr = ("product", "reactor_temperature"), Cstr()
    rng = np.random.default_rng(5)
    y = tuple(f"y{i}" for i in range(8))
    far = [tuple(rng.uniform(-0.25, 0.25, 8)) for _ in range(2)]
    return [
        Case("quadruple-tank", tanks, levels, tank,
             tuple((row, resting(tanks, levels, mv)) for row, mv in ((0, (2.4, 2.9)), (70, (2.5, 2.4)))), 140, 1.0),
        Case("quadruple-tank, other phase", other, levels, tank,
             tuple((row, resting(other, levels, mv)) for row, mv in ((0, (2.7, 3.1)), (70, (2.9, 2.7)))), 140, 1.0),
        Case("cstr", cstr, both, reactor,
             tuple((row, resting(cstr, both, mv)) for row, mv in ((0, (90.0, 2000.0)), (70, (200.0, 2500.0)))),
             140, 3600.0),
        Case("shell", ShellFractionator(), ("top_end_point", "side_end_point"), linear,
             ((0, (0.3, -0.2)), (50, (-0.3, 0.3))), 100),
        Case("8 x 12 coupled", Coupled(), y, linear, ((0, far[0]), (50, far[1])), 100),
    ]  # fmt: skip


def run(case: Case, controller) -> dict:
    """One closed loop."""
    process, plant = case.process, case.process.plant
    with jax.enable_x64(True):
        state = np.asarray(process.rest())
        step, read = jax.jit(process.step), jax.jit(process.read)
    rest = np.array([d.rest for d in process.disturbances])
    low, high = (np.array([getattr(t, side) for t in plant.mvs]) for side in ("low", "high"))
    reach = np.array([t.rate_limit_per_s * plant.sample_period_s for t in plant.mvs])
    moves, names = np.array(process.moves), [tag.name for tag in plant.cvs]
    columns = [names.index(name) for name in case.setpoint_cvs]
    spans = np.array([plant.tag(name).high - plant.tag(name).low for name in case.setpoint_cvs])
    limits = [(i, t.limit_low, t.limit_high, 1.0 if t.low is None else t.high - t.low) for i, t in enumerate(plant.cvs)]
    cost = broken = violations = 0.0
    for k in range(case.rows):
        target = np.array([t for row, t in case.targets if row <= k][-1])
        wanted = controller.decide(state, moves, target)
        violations += bool(((wanted < low) | (wanted > high) | (np.abs(wanted - moves) > reach)).any())
        wanted = np.clip(np.clip(wanted, low, high), moves - reach, moves + reach)
        with jax.enable_x64(True):
            state = np.asarray(step(state, np.concatenate([wanted, rest])))
            y = np.asarray(read(state))
        cost += (((y[columns] - target) / spans) ** 2).sum() + SUPPRESSION * (
            ((wanted - moves) / (high - low)) ** 2
        ).sum()
        broken += sum(max(0.0, (y[i] - hi) / s if hi is not None else 0.0, (lo - y[i]) / s if lo is not None else 0.0)
                      for i, lo, hi, s in limits)  # fmt: skip
        moves = wanted
    cpu, wall = 1e3 * np.array(controller.cpu_s[WARM:]), 1e3 * np.array(controller.wall_s[WARM:])
    return {
        "cost": float(cost / case.rows), "limits_broken": float(broken / case.rows), "mv_violations": int(violations),
        "cpu_p50_ms": float(np.percentile(cpu, 50)), "cpu_p99_ms": float(np.percentile(cpu, 99)),
        "wall_p50_ms": float(np.percentile(wall, 50)), "wall_p99_ms": float(np.percentile(wall, 99)),
        "iterations": float(np.mean(controller.iterations)),
    }  # fmt: skip


def main(names: list[str]) -> None:
    """Run the cases named, or all; what is there already is kept."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in cases():
        if names and case.name not in names:
            continue
        ours = run(case, Planner(case.process, case.setpoint_cvs, HORIZON, SUPPRESSION, case.unit_s))
        peer = run(case, case.peer(case.process, case.setpoint_cvs))
        ratio, faster = ours["cost"] / peer["cost"], peer["cpu_p50_ms"] / ours["cpu_p50_ms"]
        results[case.name] = {"planner": ours, "ipopt": peer, "cost_ratio": ratio, "cpu_ratio": faster}
        print(f"{case.name}: cost {ratio:.4f} of IPOPT's, CPU 1 / {faster:.1f}", ours, peer, sep="\n  ", flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
