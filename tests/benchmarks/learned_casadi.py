"""One plan with a learned twin: this planner against CasADi and IPOPT on the same network, in the same run.

    python tests/benchmarks/learned_casadi.py [--plans 5]

The twin is drawn at random in the shape training gives it (2 MVs, 4 CVs, 60 rows, 4 members with the latent residual).
Both minimise the same `Problem` over the same blocked moves with the same bounds, rates and penalties, cold, from the
same start. Formulations tried for IPOPT: single shooting by a mapped accumulation of the step, with exact and with
limited-memory Hessians, and multiple shooting over the states; the best of them is the peer.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import casadi as ca
import jax
import numpy as np
from planner import histories, random_twin

from twin.history import recent_windows
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import _estimate, _solve
from twin.planning.deadline import Deadline
from twin.planning.program import outputs
from twin.planning.question import Question
from twin.solvers.problem import cost, penalty

RESULTS = Path(__file__).parent / "results" / "learned_casadi.json"
OPTIONS = {"print_time": 0, "ipopt.print_level": 0, "ipopt.sb": "yes", "ipopt.tol": 1e-5, "ipopt.max_iter": 100,
           "ipopt.max_cpu_time": 120.0}  # fmt: skip


def exported(model, state) -> tuple[ca.Function, np.ndarray, int]:
    """The step of the corrected ensemble as a CasADi function of (state, inputs) to (state, CVs), and the state."""
    lti, net, drift, bias = model.inner.backbones, model.inner.residuals, model.drift, np.asarray(model.bias)
    members, n = np.asarray(state.x).shape
    latent, inputs = np.asarray(state.z).shape[1], np.asarray(lti.B).shape[2]
    gate = float(state.gate)
    x, w = ca.SX.sym("x", members * (n + latent)), ca.SX.sym("w", inputs)

    def of(layer, i):
        return ca.DM(np.asarray(layer.kernel[...])[i].T), ca.DM(np.asarray(layer.bias[...])[i])

    after, read = [], 0
    for i in range(members):
        a, b, e, c, d = (ca.sparsify(ca.DM(np.asarray(getattr(lti, f))[i])) for f in ("A", "B", "a", "C", "c"))
        first = i * (n + latent)
        linear = a @ x[first : first + n] + b @ w + e
        y = c @ linear + d
        (k1, b1), (g1, c1), (g2, c2), (r, e1) = (of(getattr(net, f), i) for f in ("drive1", "g1", "g2", "renew"))
        z = x[first + n : first + n + latent]
        hidden = ca.tanh(g1 @ z + c1 + k1 @ ca.vertcat(y, w) + b1)
        share = ca.DM(np.asarray(net.share[...])[i])
        features = latent - share.numel()
        u = 1 / (1 + ca.exp(-(r @ hidden + e1)))
        z = (1 - u) * z + ca.vertcat(u[:features], ca.DM.ones(share.numel())) * (g2 @ hidden + c2)
        z = z + ca.DM(np.asarray(drift.z)[i])
        linear = linear + ca.DM(np.asarray(drift.x)[i])
        y = c @ linear + d
        read = read + (y + gate * share * z[features:]) / members
        after += [linear, z]
    begun = np.concatenate([np.r_[np.asarray(state.x)[i], np.asarray(state.z)[i]] for i in range(members)])
    return ca.Function("step", [x, w], [ca.vertcat(*after), read + ca.DM(bias)]), begun, members * (n + latent)


def peer(step: ca.Function, begun: np.ndarray, units, problem, start, formulation: str):
    """IPOPT's moves, and its CPU and wall time apart from the building of the problem."""
    mvs, rows, blocks = units.rows.shape
    v = ca.MX.sym("v", mvs * blocks)
    w = ca.vertcat(*[(ca.DM(units.base[:, i]) + ca.DM(units.rows[i]) @ v[i * blocks : (i + 1) * blocks]).T
                     for i in range(mvs)])  # fmt: skip
    p = len(units.y_scale)
    more, gaps, guess = [], [], []
    if formulation == "multiple shooting":
        x = ca.MX.sym("x", len(begun), rows)
        ahead, y = step.map(rows)(ca.horzcat(ca.DM(begun), x[:, :-1]), w)
        more, gaps = [ca.vec(x)], [ca.vec(x - ahead)]
        at, states = ca.DM(begun), []
        inputs = units.base + np.einsum("mkb,mb->km", units.rows, np.reshape(start, (mvs, blocks)))
        for k in range(rows):
            at = step(at, inputs[k])[0]
            states.append(np.asarray(at).ravel())
        guess = [np.concatenate(states)]
    else:
        y = step.mapaccum(rows)(ca.DM(begun), w)[1]
    y = (y * ca.repmat(ca.DM(units.y_scale), 1, rows)).T
    s = ca.MX.sym("s", rows, p)
    part = {f: ca.DM(np.asarray(getattr(problem, f), np.float64)[:rows]) for f in
            ("target", "weight", "price", "low", "high", "low_penalty", "high_penalty")}  # fmt: skip
    f = ca.sum1(ca.sum2(part["weight"] * (y - part["target"]) ** 2 + part["price"] * y))
    f += 0.5 * ca.bilin(ca.DM(np.asarray(problem.H, np.float64)), v, v) + ca.dot(ca.DM(np.asarray(problem.g, float)), v)
    both = np.maximum(np.asarray(problem.low_penalty), np.asarray(problem.high_penalty))[:rows]
    f += ca.sum1(ca.sum2(ca.DM(both.astype(float)) * s))
    change = v - ca.DM(np.asarray(problem.linked, float)) * ca.vertcat(0, v[:-1])
    limited = np.asarray(problem.low_penalty)[:rows] > 0
    g = ca.vertcat(*gaps, change, ca.vec(y + s), ca.vec(y - s))
    count = sum(gap.numel() for gap in gaps)
    low = np.where(limited, np.asarray(problem.low)[:rows], -np.inf).T.ravel()
    high = np.where(limited, np.asarray(problem.high)[:rows], np.inf).T.ravel()
    open_ = np.full(rows * p, np.inf)
    reach = np.asarray(problem.change, float)
    options = dict(OPTIONS)
    if formulation == "single shooting, limited memory":
        options["ipopt.hessian_approximation"] = "limited-memory"
    solver = ca.nlpsol("s", "ipopt", {"x": ca.vertcat(v, *more, ca.vec(s)), "f": f, "g": g}, options)
    free = np.full(count, np.inf)
    cpu, wall = time.process_time(), time.perf_counter()
    found = solver(
        x0=np.concatenate([start, *guess, np.zeros(rows * p)]),
        lbx=np.concatenate([problem.x_low, -free, np.zeros(rows * p)]),
        ubx=np.concatenate([problem.x_high, free, open_]),
        lbg=np.concatenate([np.zeros(count), -reach, low, -open_]),
        ubg=np.concatenate([np.zeros(count), reach, open_, high]),
    )
    took = 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)
    return np.asarray(found["x"]).ravel()[: mvs * blocks].astype(np.float32), took, solver.stats()["return_status"]


FORMULATIONS = ("single shooting, exact Hessian", "single shooting, limited memory", "multiple shooting")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=3)
    plans = parser.parse_args().plans
    twin, rng = random_twin(2, 4, 20, residual=True), np.random.default_rng(2)
    rows = {name: [] for name in ("planner", *FORMULATIONS)}
    for i, history in enumerate(histories(twin, plans + 1)):
        setpoints = {f"y{j}": Setpoint(float(rng.uniform(-1, 1))) for j in range(2)}
        question = Question.of(twin, Objective(setpoints), {"y0": Limit(high=2.0)}, 60.0, None, {}, [], "sqp", 0.95)
        program = question.program(history, False)
        model, state, _ = _estimate(twin.dynamics, *recent_windows(twin, history), program.units.base)
        problem, start = program.problem(), program.start()
        simulate = jax.jit(partial(outputs, model, state, program.units))
        merit = jax.jit(lambda x, p=problem, f=simulate: cost(p, x, f(x)) + penalty(p, f(x)))
        cpu = time.process_time()
        solved = np.asarray(_solve(program, model, state, start, Deadline(), "sqp").x)
        took = 1e3 * (time.process_time() - cpu)
        if i == 0:
            continue  # compiled
        rows["planner"].append((took, float(merit(solved))))
        step, begun, _ = exported(model, state)
        for name in FORMULATIONS:
            x, times, status = peer(step, begun, program.units, problem, start, name)
            rows[name].append((times[0], float(merit(x))))
            print(i, name, f"{times[0]:.0f} ms CPU", status, "merit", float(merit(x)), "ours", float(merit(solved)),
                  f"{took:.1f} ms", flush=True)  # fmt: skip
    table = {}
    for name, got in rows.items():
        times, merits = zip(*got, strict=True)
        table[name] = {"cpu_p50_ms": float(np.median(times)), "merit_mean": float(np.mean(merits))}
    best = min(FORMULATIONS, key=lambda name: table[name]["cpu_p50_ms"])
    table["ratio_to_best"] = table[best]["cpu_p50_ms"] / table["planner"]["cpu_p50_ms"]
    print(json.dumps(table, indent=1))
    RESULTS.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
