"""Twins of plants drawn at random, beside ARX and subspace models, against the noise-free truth.

    python tests/benchmarks/random_plants.py [--plants N] [--first SEED] [--budget SECONDS] [--cpu] [--again]

Each plant is a network of first- and second-order lags with dead times, some of them integrating; inputs pass static
nonlinearities (Hammerstein), outputs too (Wiener), or change the time constants (bilinear). MVs move in random steps,
some of them between two values only. A twin is trained by defaults and judged on new rows, once with the moves it was
trained with and once with moves of twice the size around a shifted mean. Results are kept in
`results/random_plants.json`; plants found there are not run again unless asked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from peers.linear import best_arx, best_subspace
from support.free_run import free_run

from twin.forecasting import forecaster
from twin.plant import Plant, Role, Tag
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.correction import recent
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "random_plants.json"
ROWS = (300, 1000, 3000, 10_000)
TEST, STRIDE = 3000, 7
STEPS = (1, 10, 30, 60)
FORMS = ("linear", "linear", "hammerstein", "wiener", "bilinear")


@dataclass(frozen=True)
class Drawn:
    """What was drawn: sizes, form, noise (share of each CV's deviation) and which MVs and CVs are special."""

    seed: int
    mvs: int
    cvs: int
    rows: int
    form: str
    noise: float
    disturbance: float
    dead_rows: int
    integrating: bool
    binary: bool


def draw(seed: int) -> Drawn:
    """The plant of a seed."""
    rng = np.random.default_rng(seed)
    return Drawn(
        seed=seed,
        mvs=int(rng.integers(1, 5)),
        cvs=int(rng.integers(1, 5)),
        rows=int(ROWS[seed % len(ROWS)]),
        form=FORMS[int(rng.integers(len(FORMS)))],
        noise=float(rng.choice([0.0, 0.02, 0.1])),
        disturbance=float(rng.choice([0.0, 0.1, 0.3])),
        dead_rows=int(rng.choice([0, 3, 15, 45])),
        integrating=bool(rng.random() < 0.15),
        binary=bool(rng.random() < 0.2),
    )


def simulate(drawn: Drawn, rows: int, seed: int, far: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (rows, MVs) and noise-free CVs (rows, CVs) of the plant under random steps."""
    rng, moves = np.random.default_rng((drawn.seed, 1)), np.random.default_rng((drawn.seed, seed))
    shape = (drawn.cvs, drawn.mvs)
    gain = rng.normal(size=shape) * (rng.random(shape) < 0.7)
    gain[np.arange(drawn.cvs), np.arange(drawn.cvs) % drawn.mvs] += 1.0
    slow = rng.uniform(3.0, 40.0, shape)
    second = rng.uniform(1.0, 10.0, shape)
    dead = rng.integers(0, drawn.dead_rows + 1, shape)
    curve = rng.uniform(0.3, 1.0, shape)
    hold = int(np.clip(np.median(slow), 5, 40))
    u = np.stack([_moves(moves, rows, hold, drawn.binary and i == 0, far) for i in range(drawn.mvs)], axis=1)
    x1, x2 = np.zeros(shape), np.zeros(shape)
    y = np.zeros((rows, drawn.cvs))
    drift = np.zeros(drawn.cvs)
    for t in range(rows):
        v = u[np.maximum(t - dead, 0), np.arange(drawn.mvs)]
        if drawn.form == "hammerstein":
            v = np.tanh(1.5 * curve * v) + 0.4 * curve * v**2
        rate = 1 / slow
        if drawn.form == "bilinear":
            rate = rate * np.exp(0.6 * curve * np.clip(u[t], -3, 3))
        x1 = x1 + np.minimum(rate, 0.9) * (gain * v - x1)
        x2 = x2 + (x1 - x2) / second
        drift = 0.98 * drift + 0.2 * drawn.disturbance * moves.normal(size=drawn.cvs)
        y[t] = x2.sum(axis=1) + drift
        if drawn.form == "wiener":
            y[t] = y[t] + 0.5 * np.tanh(2 * y[t]) + 0.15 * y[t] ** 2
    if drawn.integrating:
        y[:, 0] = np.cumsum(0.1 * (y[:, 0] - y[:, 0].mean()))
    return u, y


def _moves(rng: np.random.Generator, rows: int, hold: int, binary: bool, far: bool) -> np.ndarray:
    lengths = rng.integers(max(hold // 3, 1), 3 * hold, rows)
    levels = rng.choice([-1.0, 1.0], rows) if binary else rng.uniform(-1, 1, rows)
    steps = np.repeat(levels, lengths)[:rows]
    return steps if binary or not far else 2 * steps + 0.5


def telemetry(drawn: Drawn, u: np.ndarray, y: np.ndarray) -> Telemetry:
    """The rows as a plant would record them, without units."""
    tags = [Tag(f"u{i}", Role.MV) for i in range(drawn.mvs)] + [Tag(f"y{i}", Role.CV) for i in range(drawn.cvs)]
    index = pd.date_range("2026-01-01", periods=len(u), freq="10s", tz="UTC")
    frame = pd.DataFrame(np.concatenate([u, y], axis=1), index, [tag.name for tag in tags])
    return Telemetry.from_frame(Plant(f"Plant {drawn.seed}", 10.0, tuple(tags)), frame)


def judge(seed: int, budget_s: float, cpu_budget: bool) -> dict[str, Any]:
    """Train and judge everything on one plant."""
    drawn = draw(seed)
    u, y = simulate(drawn, drawn.rows, 2)
    size = drawn.noise * y.std(axis=0)
    noise = np.random.default_rng((seed, 3)).normal(size=y.shape) * size
    train = telemetry(drawn, u, y + noise)
    cpu = time.process_time()
    twin = fit(train, Options(budget_s=budget_s), clock=time.process_time if cpu_budget else time.monotonic)
    cpu = time.process_time() - cpu
    grid = Grid.of(train, twin.scaler)
    arx, subspace = best_arx(grid, twin.history, twin.horizon), best_subspace(grid, twin.history, twin.horizon)
    share = twin.corrections
    training = twin.card["training"]
    out: dict[str, Any] = {
        "plant": asdict(drawn),
        "history": twin.history,
        "horizon": twin.horizon,
        "budget_s": budget_s,
        "budget_of": "CPU time" if cpu_budget else "clock",
        "train_cpu_s": round(cpu, 1),
        "backbone": training["backbone"]["name"],
        "noise_model": len(training["noise_model"]),
        "residual_ships": training["residual"]["ships"],
        "out_of_fold": min(point["out_of_fold"] for point in training["curve"]),
        "correction": twin.correction,
    }
    for where, far in (("inside", False), ("outside", True)):
        u, y = simulate(drawn, TEST, 4, far)
        noise = np.random.default_rng((seed, 5)).normal(size=y.shape) * size
        seen, truth = (Grid.of(telemetry(drawn, u, rows), twin.scaler) for rows in (y + noise, y))
        ends = seen.ends(twin.history, twin.horizon)[::STRIDE]
        windows, whole = recent(seen, ends, twin.history)
        future, measured = truth.future(ends, twin.horizon), seen.future(ends, twin.horizon)
        forecasters = {
            "twin": lambda p, k, w: forecaster(twin.dynamics, p, k, share)(w),
            "arx": lambda p, k, w: free_run(arx[1], p, k, w),
            "subspace": lambda p, k, w: free_run(subspace[1], p, k, w),
        }
        parts = {who: jax.jit(jax.vmap(f))(windows, whole, future.w) for who, f in forecasters.items()}
        rmse = {who: np.sqrt(np.mean((np.asarray(p, np.float64) - future.y) ** 2, axis=0)) for who, p in parts.items()}
        low, high = twin.calibration.bands.interval(0.9, twin.horizon)
        error = measured.y - np.asarray(parts["twin"])
        steps = [k for k in STEPS if k <= twin.horizon]
        out[where] = {
            "nrmse": {who: float(e.mean()) for who, e in rmse.items()},
            "at": {who: {str(k): float(e[k - 1].mean()) for k in steps} for who, e in rmse.items()},
            "coverage": float(((error >= low) & (error <= high)).mean()),
        }
    return out


def table(results: dict[str, Any]) -> None:
    """Each plant's errors over the best linear peer's, and what of all of them."""
    columns = "".join(f"{title:>8}" for title in ("inside", "step 1", "10", "60", "outside", "cover"))
    print(f"{'plant':<34}{columns}  residual, noise model, backbone")
    ratios = []
    for r in results.values():
        p = r["plant"]
        kind = f"{p['seed']} {p['form'][:4]} {p['mvs']}x{p['cvs']} {p['rows']} dead {p['dead_rows']}"
        kind += (" int" if p["integrating"] else "") + (" bin" if p["binary"] else "")
        peers = [_best(r[where]["nrmse"]) for where in ("inside", "outside")]
        steps = [(_best({w: v.get(k, np.nan) for w, v in r["inside"]["at"].items()})) for k in ("1", "10", "60")]
        row = [peers[0], *steps, peers[1]]
        ratios.append([*row, r["inside"]["coverage"]])
        ships = f"{'ships' if r['residual_ships'] else 'no':<6}{r['noise_model']} {r['backbone']}"
        print(f"{kind:<34}" + "".join(f"{v:>8.3f}" for v in row) + f"{r['inside']['coverage']:>8.2f}  {ships}")
    if ratios:
        middle, worst = np.nanmedian(ratios, axis=0), np.nanquantile(ratios, 0.9, axis=0)
        print(f"{'median':<34}" + "".join(f"{v:>8.3f}" for v in middle))
        print(f"{'90 % quantile':<34}" + "".join(f"{v:>8.3f}" for v in worst))


def _best(errors: dict[str, float]) -> float:
    """The twin's error over that of the best peer."""
    return errors["twin"] / max(min(errors["arx"], errors["subspace"]), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, default=24)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of training a plant")
    parser.add_argument("--cpu", action="store_true", help="the budget counts CPU time, not the clock")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(judge(asked.one, asked.budget, asked.cpu)))
        return
    results = json.loads(asked.results.read_text()) if asked.results.exists() else {}
    for seed in range(asked.first, asked.first + asked.plants):
        if asked.again or str(seed) not in results:
            command = [sys.executable, __file__, "--one", str(seed), "--budget", str(asked.budget)] + [
                "--cpu"
            ] * asked.cpu
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results[str(seed)] = json.loads(done.stdout.splitlines()[-1])
            asked.results.parent.mkdir(exist_ok=True)
            asked.results.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    table(dict(sorted(results.items(), key=lambda item: int(item[0]))))


if __name__ == "__main__":
    main()
