"""Systems after the standard benchmarks of nonlinear identification, simulated: telemetry by known equations.

Each is written after the published system (parameters are of its order of magnitude, the data are ours): one input, one
output, a `train` run and a `test` run with measurement noise, in the format of the shared plant data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import signal

Runs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # input and output of train, of test
SUBSTEPS = 20


def spring(rng: np.random.Generator, arrow: bool) -> Runs:
    """An electronic Duffing oscillator, m y'' + d y' + k y + k3 y³ = u, at 610 Hz: multisines, tested by another one or
    by an arrow, noise whose amplitude grows beyond them (Silverbox; Wigren and Schoukens, ECC 2013)."""
    rate = 610.35
    m, d, k, k3 = 5.4e-6, 2.1e-4, 0.99, 3.9

    def answer(u: np.ndarray) -> np.ndarray:
        y, x, v, h = np.zeros(len(u)), 0.0, 0.0, 1 / rate / SUBSTEPS
        for i, force in enumerate(u):
            y[i] = x
            for _ in range(SUBSTEPS):
                half_x, half_v = x + h / 2 * v, v + h / 2 * (force - d * v - k * x - k3 * x**3) / m
                x, v = x + h * half_v, v + h * (force - d * half_v - k * half_x - k3 * half_x**3) / m
        return y + 3e-4 * rng.standard_normal(len(u))

    def multisine(rows: int) -> np.ndarray:
        hertz, line = np.fft.rfftfreq(rows, 1 / rate), np.arange(rows // 2 + 1)
        on = (line % 2 == 1) & (hertz <= 200)
        u = np.fft.irfft(np.where(on, np.exp(2j * np.pi * rng.random(len(line))), 0), rows)
        return u / u.std() * 0.022

    train = np.concatenate([multisine(4096) for _ in range(5)])
    test = multisine(8192)
    if arrow:
        noise = signal.sosfilt(signal.butter(9, 200, fs=rate, output="sos"), rng.standard_normal(10_000))
        test = noise / noise.std() * 0.0446 * np.linspace(0, 1, len(noise))
    return train, answer(train), test, answer(test)


def filters(rng: np.random.Generator) -> Runs:
    """Filter, diode, filter (Wiener–Hammerstein benchmark; Schoukens, Suykens and Ljung, SYSID 2009)."""
    rate = 51_200.0
    before, after = signal.cheby1(3, 0.5, 4400, fs=rate), signal.cheby2(3, 40, 5000, fs=rate)
    u = signal.sosfilt(signal.butter(4, 10_000, fs=rate, output="sos"), rng.standard_normal(28_000))
    u = u / u.std() * 0.64
    x = signal.lfilter(*before, u)
    bent = np.where(x > 0, np.where(0.5 * x > 0.3, 0.3 + 0.1 * (0.5 * x - 0.3), 0.5 * x), x)
    y = signal.lfilter(*after, bent) + 5e-4 * rng.standard_normal(len(u))
    return u[:20_000], y[:20_000], u[20_000:], y[20_000:]


def drives(rng: np.random.Generator) -> Runs:
    """Two motors on a flexible belt; the sensor does not tell the direction (coupled electric drives; Wigren and
    Schoukens, technical report, Uppsala 2017)."""
    a = np.array([[0, 1, 0], [-160.0, -4.0, 160.0], [0, 0, -1.5]])
    ad, bd, *_ = signal.cont2discrete((a, np.array([[0], [0], [1.5]]), np.eye(3), np.zeros((3, 1))), 0.02)

    def run(rows: int) -> tuple[np.ndarray, np.ndarray]:
        level = 3 * (0.3 + 0.7 * rng.random(rows // 25 + 1)) * np.sign(rng.standard_normal(rows // 25 + 1) + 0.4)
        u, x, y = np.repeat(level, 25)[:rows], np.zeros(3), np.zeros(rows)
        for i in range(rows):
            y[i], x = abs(x[0]), ad @ x + bd[:, 0] * u[i]
        return u, y + 0.01 * rng.standard_normal(rows)

    return (*run(1500), *run(500))


def positioner(rng: np.random.Generator) -> Runs:
    """An electro-mechanical positioner with Coulomb friction, recorded in closed loop: force to position, integrating
    (EMPS; Janot, Gautier and Brunot, IFAC-PapersOnLine 2019)."""
    mass, viscous, coulomb, dt = 95.0, 203.0, 20.0, 0.05

    def run(rows: int) -> tuple[np.ndarray, np.ndarray]:
        x = v = target = 0.0
        u, y = np.zeros(rows), np.zeros(rows)
        for i in range(rows):
            target = 0.25 * rng.random() if i % 60 == 0 else target
            u[i] = np.clip(1000 * (target - x) - 300 * v + 10 * rng.standard_normal(), -150, 150)
            y[i] = x
            for _ in range(SUBSTEPS):
                v += dt / SUBSTEPS * (u[i] - viscous * v - coulomb * np.tanh(v / 1e-3)) / mass
                x += dt / SUBSTEPS * v
        return u, y + 1e-4 * rng.standard_normal(rows)

    return (*run(5000), *run(2000))


SYSTEMS: dict[str, tuple[float, Callable[[np.random.Generator], Runs]]] = {
    "spring": (0.002, lambda rng: spring(rng, arrow=False)),
    "spring_arrow": (0.002, lambda rng: spring(rng, arrow=True)),
    "filters": (1.0, filters),
    "drives": (0.02, drives),
    "positioner": (0.05, positioner),
}


def write(name: str, folder: Path, seed: int = 1) -> None:
    """Simulate one system and keep it as `folder`/plant.json, telemetry.parquet and runs.json."""
    period, simulate = SYSTEMS[name]
    u, y, u_test, y_test = simulate(np.random.default_rng(seed))
    start, frames, runs = pd.Timestamp("2026-01-01", tz="UTC"), [], []
    for split, drive, answer in (("train", u, y), ("test", u_test, y_test)):
        time = start + pd.to_timedelta(np.arange(len(drive)) * period, "s")
        frames.append(pd.DataFrame({"time": time, "drive": drive, "answer": answer}))
        runs.append({"split": split, "start": time[0].isoformat(), "end": time[-1].isoformat()})
        start = time[-1] + pd.Timedelta("1D")
    most = float(np.abs(np.concatenate([u, u_test])).max())
    tags = [{"name": "drive", "role": "mv", "low": -most, "high": most}, {"name": "answer", "role": "cv"}]
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(frames).to_parquet(folder / "telemetry.parquet")
    (folder / "runs.json").write_text(json.dumps(runs))
    (folder / "plant.json").write_text(json.dumps({"name": name, "sample_period_s": period, "tags": tags}))
