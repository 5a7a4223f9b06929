"""Twins with and without the signs of gains that an engineer knows, on plants whose gains are known.

    python tests/benchmarks/gain_signs.py [--plants N] [--budget SECONDS]

Each plant has two MVs and two CVs, first-order lags of random gains, some of them nonlinear in the level of an MV. On
*hidden* plants a controller moves the first MV against a disturbance of the first CV that nobody measures, and hardly
anything else moves it; on *open* plants all MVs move in random steps. Twins are trained twice, once with the signs of
all four gains. Scored are the signs of step responses at the end of the horizon (twin's mean, 4 a plant), step
responses against the true ones (root mean square over the horizon over the true gain), and the out-of-fold free run of
the second CV, which no feedback touches. Results are kept in `results/gain_signs.json`; plants found there are not run
again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twin.plant import Plant, Role, Tag
from twin.responses import step_responses
from twin.telemetry import Telemetry
from twin.train import Options, fit

RESULTS = Path(__file__).parent / "results" / "gain_signs.json"
ROWS, PERIOD_S = 2000, 10.0
PLANT = Plant("Drawn", PERIOD_S, (Tag("u0", Role.MV), Tag("u1", Role.MV), Tag("y0", Role.CV), Tag("y1", Role.CV)))


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Gains (CVs, MVs), poles (CVs, MVs) and how much a gain changes with the level of its MV."""
    rng = np.random.default_rng(seed)
    gains = rng.choice([-1.0, 1.0], (2, 2)) * rng.uniform(0.4, 1.5, (2, 2))
    return gains, rng.uniform(0.8, 0.95, (2, 2)), float(rng.choice([0.0, 0.3]))


def simulate(seed: int, hidden: bool) -> tuple[np.ndarray, np.ndarray]:
    """MVs and CVs (ROWS, 2) as they are recorded."""
    gains, poles, curve = draw(seed)
    rng = np.random.default_rng((seed, 1))
    steps = np.stack([np.repeat(rng.uniform(-1, 1, ROWS // 15 + 1), 15)[:ROWS] for _ in range(2)], axis=1)
    u, y, x, wander = np.zeros((ROWS, 2)), np.zeros((ROWS, 2)), np.zeros((2, 2)), 0.0
    for t in range(1, ROWS):
        wander = 0.97 * wander + 0.25 * rng.normal()
        u[t] = steps[t]
        if hidden:
            u[t, 0] = -0.8 * np.sign(gains[0, 0]) * y[t - 1, 0] + 0.02 * rng.normal()
        drive = np.repeat((u[t] + curve * np.tanh(u[t]) ** 2)[None], 2, axis=0)
        drive[0] += 0.6 * np.sign(gains[0]) * wander if hidden else 0.0
        x = poles * x + (1 - poles) * gains * drive
        y[t] = x.sum(axis=1) + 0.03 * rng.normal(size=2)
    return u, y


def truth(seed: int, rows: int) -> np.ndarray:
    """(CVs, MVs, rows) true step responses around zero, of a small step."""
    gains, poles, _ = draw(seed)
    step: np.ndarray = gains[..., None] * (1 - poles[..., None] ** np.arange(1, rows + 1))
    return step


def judge(seed: int, hidden: bool, budget_s: float) -> dict[str, Any]:
    """Both twins of one plant."""
    u, y = simulate(seed, hidden)
    index = pd.date_range("2026-01-01", periods=ROWS, freq=f"{PERIOD_S:g}s", tz="UTC", name="time")
    telemetry = Telemetry.from_frame(PLANT, pd.DataFrame(np.hstack([u, y]), index, list(PLANT.names)))
    gains = draw(seed)[0]
    known = {f"u{i}": {f"y{j}": int(np.sign(gains[j, i])) for j in range(2)} for i in range(2)}
    out: dict[str, Any] = {"gains": gains.tolist(), "hidden": hidden, "budget_s": budget_s}
    for name, asked in (("free", None), ("signed", known)):
        begin = time.process_time()
        twin = fit(telemetry, Options(budget_s=budget_s, gain_sign=asked), clock=time.process_time)
        cpu = time.process_time() - begin
        found = step_responses(twin)["responses"]
        step = np.array([[found[f"u{i}"][f"y{j}"]["mean"] for i in range(2)] for j in range(2)])[..., : twin.horizon]
        true = truth(seed, twin.horizon)
        error = np.sqrt(((step - true) ** 2).mean(axis=2)) / np.abs(gains)
        out[name] = {
            "wrong": int((np.sign(step[..., -1]) != np.sign(gains)).sum()),
            "error": error.tolist(),
            "free_run": float(np.mean(twin.card["backtest"]["cvs"]["y1"]["rmse"]["twin"])),
            "cpu_s": round(cpu, 1),
            "residual_ships": twin.card["training"]["residual"]["ships"],
            "backbone": twin.card["training"]["backbone"]["name"],
        }
        if asked:
            effects = twin.card["gain_sign"]["effects"]
            out[name]["status"] = [[effects[f"u{i}"][f"y{j}"]["status"] for i in range(2)] for j in range(2)]
    return out


def table(results: dict[str, Any]) -> None:
    """Each plant, and sums of each kind."""
    head = f"{'':<12}{'signs wrong':^16}{'step, hidden':^18}{'step, others':^18}{'free run of y1':^18}{'CPU s':^12}"
    print(f"{head}\n{'plant':<12}" + f"{'free':>8}{'signed':>8}" + f"{'free':>9}{'signed':>9}" * 3 + "   status")
    for kind in ("hidden", "open"):
        of_kind = {name: r for name, r in results.items() if name.startswith(kind)}
        rows = []
        for name, r in of_kind.items():
            row = []
            for who in ("free", "signed"):
                error = np.array(r[who]["error"])
                others = error.sum() - error[0, 0]
                row.append([r[who]["wrong"], error[0, 0], others / 3, r[who]["free_run"], r[who]["cpu_s"]])
            rows.append(row)
            print(f"{name:<12}{_line(np.array(row))}   {r['signed']['status']}")
        if rows:
            mean = np.median(rows, axis=0)
            mean[:, 0] = np.sum(rows, axis=0)[:, 0]
            print(f"{'sum, median':<12}{_line(mean)}   of {4 * len(rows)} signs")


def _line(row: np.ndarray) -> str:
    text = f"{row[0, 0]:>8.0f}{row[1, 0]:>8.0f}"
    for column in (1, 2, 3, 4):
        text += "".join(f"{row[who, column]:>9.{1 if column == 4 else 3}f}" for who in (0, 1))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, default=5, help="of each kind")
    parser.add_argument("--budget", type=float, default=20.0, help="CPU seconds of training a twin")
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for seed in range(asked.plants):
        for kind in ("hidden", "open"):
            name = f"{kind}-{seed}"
            if name not in results:
                results[name] = judge(seed, kind == "hidden", asked.budget)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(f"{name} done", flush=True)
    table(results)


if __name__ == "__main__":
    main()
