"""The peer with every move free: multiple shooting in CasADi, solved by IPOPT from a warm start.

The cost is the planner's own: squared errors and moves over spans, averaged over the horizon, and the same exact
penalties of CV limits. So costs compare, up to tolerances.
"""

from __future__ import annotations

import time

import casadi as ca
import jax
import numpy as np
from support.oracle import SUBSTEPS, Equations, Read, Step

from twin.limits import PENALTY
from twin.plants.base import Process

OPTIONS = {"print_time": 0, "ipopt.print_level": 0, "ipopt.sb": "yes", "ipopt.tol": 1e-8, "ipopt.max_iter": 500}


def rk4_step(equations: Equations, states: int, inputs: int, period_s: float) -> Step:
    """One sample period of a plant's equations."""
    x, w = ca.SX.sym("x", states), ca.SX.sym("w", inputs)
    h, z = period_s / SUBSTEPS, x
    for _ in range(SUBSTEPS):
        k1 = ca.vertcat(*equations(z, w))
        k2 = ca.vertcat(*equations(z + h / 2 * k1, w))
        k3 = ca.vertcat(*equations(z + h / 2 * k2, w))
        k4 = ca.vertcat(*equations(z + h * k3, w))
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return ca.Function("step", [x, w], [z])


class FullMove:
    """One nonlinear programme, built once."""

    name = "IPOPT, every move free"

    def __init__(
        self, process: Process, step: Step, read: Read, setpoint_cvs: tuple[str, ...], rows: int, suppression: float
    ) -> None:
        plant = process.plant
        mvs, names = plant.mvs, [tag.name for tag in plant.cvs]
        with jax.enable_x64(True):
            rest = np.asarray(process.rest())
        n, m, p = len(rest), len(mvs), len(setpoint_cvs)
        span = np.array([tag.high - tag.low for tag in mvs])
        disturbances = np.array([d.rest for d in process.disturbances])
        scale = np.maximum(np.abs(rest), 1.0)
        x, u, s = ca.MX.sym("x", n, rows), ca.MX.sym("u", m, rows), ca.MX.sym("s", len(names), rows)
        now, present, target = ca.MX.sym("now", n), ca.MX.sym("present", m), ca.MX.sym("target", p, rows)
        cost, dynamics, rates, limits = 0.0, [], [], []
        before, last = now, present
        for k in range(rows):
            after = step(before, ca.vertcat(u[:, k] * span, disturbances))
            dynamics.append((x[:, k] * scale - after) / scale)
            before = x[:, k] * scale
            y = read(before)
            for i, name in enumerate(setpoint_cvs):
                tag = plant.tag(name)
                cost += ((y[names.index(name)] - target[i, k]) / (tag.high - tag.low)) ** 2
            moved = u[:, k] - last
            cost += suppression * ca.sumsqr(moved) + PENALTY * ca.sum1(s[:, k])
            rates.append(moved)
            last = u[:, k]
            for i, tag in enumerate(plant.cvs):
                width = 1.0 if tag.low is None or tag.high is None else tag.high - tag.low
                for limit, sign in ((tag.limit_high, 1.0), (tag.limit_low, -1.0)):
                    if limit is not None:
                        limits.append(sign * (y[i] - limit) / width - s[i, k])
        rate = [np.inf if t.rate_limit_per_s is None else t.rate_limit_per_s for t in mvs]
        self._reach = np.array(rate) * plant.sample_period_s / span
        g = ca.vertcat(*dynamics, *rates, *limits)
        v = ca.vertcat(ca.vec(x), ca.vec(u), ca.vec(s))
        parameters = ca.vertcat(now, present, ca.vec(target))
        self._solver = ca.nlpsol("full", "ipopt", {"x": v, "f": 1e3 * cost / rows, "g": g, "p": parameters}, OPTIONS)
        reach = np.tile(self._reach, rows)
        self._low_g = np.concatenate([np.zeros(n * rows), -reach, np.full(len(limits), -np.inf)])
        self._high_g = np.concatenate([np.zeros(n * rows), reach, np.zeros(len(limits))])
        bounds = [np.array([getattr(t, side) for t in mvs]) / span for side in ("low", "high")]
        free = np.full(n * rows, np.inf)
        slack = len(names) * rows
        self._low = np.concatenate([-free, np.tile(bounds[0], rows), np.zeros(slack)])
        self._high = np.concatenate([free, np.tile(bounds[1], rows), np.full(slack, np.inf)])
        self._span, self._n, self._rows, self._m = span, n, rows, m
        start = np.tile(np.array(process.moves) / span, rows)
        self._guess = np.concatenate([np.tile(rest / scale, rows), start, np.zeros(slack)])
        self.cpu_s: list[float] = []
        self.wall_s: list[float] = []
        self.iterations: list[int] = []

    def decide(self, state: np.ndarray, present: np.ndarray, setpoints: np.ndarray) -> np.ndarray:
        """(MVs,) the next values, for setpoints (CVs,) or (rows, CVs)."""
        cpu, wall = time.process_time(), time.perf_counter()
        targets = np.broadcast_to(setpoints, (self._rows, np.shape(setpoints)[-1])).ravel()
        p = np.concatenate([state, present / self._span, targets])
        found = self._solver(x0=self._guess, p=p, lbx=self._low, ubx=self._high, lbg=self._low_g, ubg=self._high_g)
        self._guess = np.asarray(found["x"]).ravel()
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        self.iterations.append(int(self._solver.stats()["iter_count"]))
        first = self._n * self._rows
        return self._guess[first : first + self._m] * self._span
