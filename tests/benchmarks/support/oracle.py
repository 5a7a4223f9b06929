"""The peer that knows the truth: do-mpc (IPOPT) on the plant's own equations, with an observer of its disturbances.

The prediction model is the plant's equations, written again in CasADi, and every move is free (no blocking). An
extended Kalman filter on the simulator's own step function estimates the state and the unmeasured disturbances
(as random walks with their true innovation), from the same noisy rows the twin gets; so it is offset-free. DVs are
held at their measured values over the horizon. What it cannot know is the noise and the future.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import jax
import jax.numpy as jnp
import numpy as np

from twin.plants.base import Process

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import do_mpc

logging.getLogger("do_mpc").setLevel(logging.ERROR)

Equations = Callable[[ca.SX, ca.SX], list]
Step = Callable[[ca.MX, ca.MX], ca.MX]  # state (n,) and inputs to the state one row later
Read = Callable[[ca.MX], ca.MX]
SUBSTEPS = 2  # a sample period
SOFT = 1e2  # of a broken CV limit, relative to a setpoint missed by its span


def tank_equations(h: ca.SX, w: ca.SX) -> list:
    """d level / dt, cm/s (Johansson 2000, minimum phase)."""
    return _tanks(h, w, (3.33, 3.35), (0.7, 0.6))


def other_tank_equations(h: ca.SX, w: ca.SX) -> list:
    """d level / dt, cm/s (Johansson 2000, non-minimum phase)."""
    return _tanks(h, w, (3.14, 3.29), (0.43, 0.34))


def _tanks(h: ca.SX, w: ca.SX, pump: tuple[float, float], split: tuple[float, float]) -> list:
    out = [a * ca.sqrt(2 * 981.0 * ca.fmax(h[i], 1e-3)) for i, a in enumerate((0.071, 0.057, 0.071, 0.057))]
    return [
        (-out[0] * (1 + w[3]) + out[2] + split[0] * pump[0] * w[0]) / 28.0,
        (-out[1] * (1 + w[4]) + out[3] + split[1] * pump[1] * w[1]) / 32.0,
        (-out[2] + (1 - split[1]) * pump[1] * w[1] + w[2]) / 28.0,
        (-out[3] + (1 - split[0]) * pump[0] * w[0]) / 32.0,
    ]


def surge_equations(x: ca.SX, w: ca.SX) -> list:
    """d level / dt, m/s, of the surge tank (McDonald, McAvoy, Tits 1986)."""
    return [(w[1] + w[2] - w[0]) / 4.0 / 3600.0]


def exothermic_equations(x: ca.SX, w: ca.SX) -> list:
    """d state / dt, per second, of the exothermic reactor (Seborg; pc-gym's parameters)."""
    rate = 7.2e10 * ca.exp(-8750.0 / x[1]) * x[0]
    heating = 5e4 / (1000.0 * 0.239)
    return [(w[2] - x[0] - rate) / 60.0, (w[1] - x[1] + heating * rate + heating / 100.0 * (w[0] - x[1])) / 60.0]


def reactor_equations(x: ca.SX, w: ca.SX) -> list:
    """d state / dt, per second (Chen, Kremling, Allgöwer 1995)."""
    k1 = 1.287e12 * ca.exp(-9758.3 / (x[2] + 273.15))
    k3 = 9.043e9 * ca.exp(-8560.0 / (x[2] + 273.15))
    heat = 4.2 * k1 * x[0] - 11.0 * k1 * x[1] - 41.85 * k3 * x[0] ** 2
    across = 4032.0 * 0.215
    return [
        (w[0] / 10.0 * (w[3] - x[0]) - k1 * x[0] - k3 * x[0] ** 2) / 3600.0,
        (-w[0] / 10.0 * x[1] + k1 * x[0] - k1 * x[1]) / 3600.0,
        (w[0] / 10.0 * (w[2] - x[2]) - heat / (0.9342 * 3.01) + across / (0.9342 * 30.1) * (x[3] - x[2])) / 3600.0,
        (-w[1] + across * (x[2] - x[3])) / 10.0 / 3600.0,
    ]


@dataclass(frozen=True)
class Task:
    """What both controllers are asked: setpoints of some CVs, squares over spans, moves suppressed alike."""

    setpoint_cvs: tuple[str, ...]
    horizon: int
    suppression: float


class Observer:
    """An extended Kalman filter on the simulator's step, over the state and the unmeasured disturbances."""

    def __init__(self, process: Process) -> None:
        self._measured = len(process.plant.inputs)
        hidden = process.disturbances[len(process.plant.dvs) :]
        with jax.enable_x64(True):
            state = np.asarray(process.rest())
        keep = np.exp(-process.plant.sample_period_s / np.array([d.time_constant_s for d in hidden]))
        kick = np.array([d.deviation for d in hidden]) * np.sqrt(1 - keep**2)
        n = len(state)
        self.estimate = np.r_[state, [d.rest for d in hidden]]
        self._covariance = np.diag(np.r_[1e-4 * np.maximum(state**2, 1e-4), [d.deviation**2 for d in hidden]])
        self._process_noise = np.diag(np.r_[1e-10 * np.maximum(state**2, 1e-4), kick**2])
        self._noise = np.diag(np.array(process.noise) ** 2)

        def step(z: jax.Array, w: jax.Array) -> jax.Array:
            return jnp.concatenate([process.step(z[:n], jnp.concatenate([w, z[n:]])), z[n:]])

        def read(z: jax.Array) -> jax.Array:
            return process.read(z[:n])

        self._step = jax.jit(lambda z, w: (step(z, w), jax.jacfwd(step)(z, w)))
        self._read = jax.jit(lambda z: (read(z), jax.jacfwd(read)(z)))

    def update(self, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The estimate (state, disturbances) at a row with inputs w (MVs, DVs) and readings y (CVs,)."""
        with jax.enable_x64(True):
            ahead, a = (np.asarray(v) for v in self._step(self.estimate, w))
            predicted, c = (np.asarray(v) for v in self._read(ahead))
        p = a @ self._covariance @ a.T + self._process_noise
        gain = np.linalg.solve(c @ p @ c.T + self._noise, c @ p).T
        self.estimate = ahead + gain @ (y - predicted)
        rest = np.eye(len(p)) - gain @ c
        self._covariance = rest @ p @ rest.T + gain @ self._noise @ gain.T
        return self.estimate


class TrueModel:
    """The controller: observe each row, then solve for the next move."""

    name = "do-mpc, true model"

    def __init__(self, process: Process, equations: Equations | None, task: Task) -> None:
        """Of a plant with equations, or a linear one without: then by the Jacobians of its own step."""
        self._plant, self._task = process.plant, task
        self._observer = Observer(process)
        self._states = len(self._observer.estimate) - len(process.disturbances) + len(process.plant.dvs)
        self._disturbances = np.zeros(len(process.disturbances))
        self._targets = np.zeros(len(task.setpoint_cvs))
        self._mpc = self._controller(process, equations)
        self._started = False
        self.solve_s: list[float] = []
        self._cpu_s = 0.0

    def cpu_s(self) -> float:
        """CPU time in the solver so far."""
        return self._cpu_s

    def observe(self, row: dict[str, float]) -> None:
        """Take in a measured row."""
        plant = self._plant
        w = np.array([row[tag.name] for tag in plant.inputs])
        estimate = self._observer.update(w, np.array([row[tag.name] for tag in plant.cvs]))
        self._disturbances = np.r_[w[len(plant.mvs) :], estimate[self._states :]]
        self._now = np.r_[estimate[: self._states], w[: len(plant.mvs)]]

    def decide(self, setpoints: dict[str, float]) -> dict[str, float]:
        """The next value of every MV."""
        self._targets = np.array([setpoints[name] for name in self._task.setpoint_cvs])
        if not self._started:
            self._mpc.x0 = self._now
            self._mpc.set_initial_guess()
            self._started = True
        begin, cpu = time.perf_counter(), time.process_time()
        move = self._mpc.make_step(self._now[:, None])[:, 0]
        self.solve_s.append(time.perf_counter() - begin)
        self._cpu_s += time.process_time() - cpu
        present = self._now[self._states :]
        return {tag.name: float(present[i] + move[i]) for i, tag in enumerate(self._plant.mvs)}

    def _controller(self, process: Process, equations: Equations | None) -> do_mpc.controller.MPC:
        plant, task = process.plant, self._task
        mvs, cvs = plant.mvs, [tag.name for tag in plant.cvs]
        model = do_mpc.model.Model("discrete", "SX")
        x = model.set_variable("_x", "x", (self._states, 1))
        present = model.set_variable("_x", "present", (len(mvs), 1))
        move = model.set_variable("_u", "move", (len(mvs), 1))
        disturbance = model.set_variable("_tvp", "disturbance", (len(process.disturbances), 1))
        target = model.set_variable("_tvp", "target", (len(task.setpoint_cvs), 1))
        mv = present + move
        w = ca.vertcat(mv, disturbance)
        step, read = linear_step(process) if equations is None else _integrated(equations, self._states, process)
        model.set_rhs("x", step(x, w))
        model.set_rhs("present", mv)
        model.setup()

        y = read(x)
        error = [
            ((y[cvs.index(name)] - target[i]) / (plant.tag(name).high - plant.tag(name).low)) ** 2
            for i, name in enumerate(task.setpoint_cvs)
        ]
        calm = [task.suppression * (move[i] / (tag.high - tag.low)) ** 2 for i, tag in enumerate(mvs)]
        mpc = do_mpc.controller.MPC(model)
        mpc.settings.n_horizon = task.horizon
        mpc.settings.t_step = plant.sample_period_s
        mpc.settings.store_full_solution = False
        mpc.settings.supress_ipopt_output()
        scale = 1e3  # IPOPT's tolerances are absolute; the cost of normalised errors is small
        mpc.set_objective(lterm=scale * (sum(error) + sum(calm)), mterm=scale * sum(error))
        mpc.set_rterm(move=0.0)
        low, high = np.array([tag.low for tag in mvs]), np.array([tag.high for tag in mvs])
        rates = [np.inf if tag.rate_limit_per_s is None else tag.rate_limit_per_s for tag in mvs]
        most = np.array(rates) * plant.sample_period_s
        mpc.bounds["lower", "_x", "present"], mpc.bounds["upper", "_x", "present"] = low, high
        mpc.bounds["lower", "_u", "move"], mpc.bounds["upper", "_u", "move"] = -most, most
        mpc.scaling["_x", "present"] = mpc.scaling["_u", "move"] = high - low
        with jax.enable_x64(True):
            mpc.scaling["_x", "x"] = np.asarray(process.rest()) if equations else np.ones(self._states)
        for i, tag in enumerate(plant.cvs):
            span, penalty = tag.high - tag.low, scale * SOFT
            if tag.limit_high is not None:
                over = (y[i] - tag.limit_high) / span
                mpc.set_nl_cons(f"{tag.name}_high", over, 0.0, soft_constraint=True, penalty_term_cons=penalty)
            if tag.limit_low is not None:
                under = (tag.limit_low - y[i]) / span
                mpc.set_nl_cons(f"{tag.name}_low", under, 0.0, soft_constraint=True, penalty_term_cons=penalty)
        template = mpc.get_tvp_template()

        def ahead(_: float) -> object:
            template["_tvp", :, "disturbance"] = self._disturbances
            template["_tvp", :, "target"] = self._targets
            return template

        mpc.set_tvp_fun(ahead)
        mpc.setup()
        return mpc


def linear_step(process: Process) -> tuple[Step, Read]:
    """Step and readout of a linear plant, by the Jacobians of its own step function."""
    with jax.enable_x64(True):
        x = process.rest()
        w = jnp.array(process.moves + tuple(d.rest for d in process.disturbances))
        a, b = (np.asarray(j) for j in jax.jacfwd(process.step, (0, 1))(x, w))
        c = np.asarray(jax.jacfwd(process.read)(x))
    xs, ws = ca.SX.sym("x", len(a)), ca.SX.sym("w", b.shape[1])
    a, b, c = (ca.sparsify(ca.DM(part)) for part in (a, b, c))
    return ca.Function("step", [xs, ws], [a @ xs + b @ ws]), ca.Function("read", [xs], [c @ xs])


def _integrated(equations: Equations, states: int, process: Process) -> tuple[Step, Read]:
    """Step and readout of a plant whose last states are its CVs."""
    cvs = len(process.plant.cvs)

    def step(x: ca.SX, w: ca.SX) -> ca.SX:
        return _rk4(equations, x, w, process.plant.sample_period_s)

    return step, lambda x: x[states - cvs :]


def _rk4(equations: Equations, x: ca.SX, w: ca.SX, period_s: float) -> ca.SX:
    h = period_s / SUBSTEPS
    for _ in range(SUBSTEPS):
        k1 = ca.vertcat(*equations(x, w))
        k2 = ca.vertcat(*equations(x + h / 2 * k1, w))
        k3 = ca.vertcat(*equations(x + h / 2 * k2, w))
        k4 = ca.vertcat(*equations(x + h * k3, w))
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x
