"""Does a twin notice that the process has changed? AUROC of its alarms for process faults and sensor faults.

    python tests/benchmarks/fault_detection.py [plant ...] [--again] [--budget SECONDS] [--data FOLDER]

A twin is trained by defaults on healthy telemetry; what its verdict weighs (surprise, shift, distance) is computed
for windows of other healthy telemetry and of faulty telemetry, and so are the peers' statistics: T² and SPE of a PCA
of rows and of rows with their lags (Ku, Storer and Georgakis 1995), and the mean square error of an ARX model over the
same rows. AUROC is the chance that a faulty window scores above a healthy one. False alarms are the share of healthy
windows beyond each one's own alarm size (a share of 0.002 of its training windows for the peers).

Simulated: leaks, wear, fouling, biased and drifting sensors on two plants. Recorded: tennessee_eastman and tclab. The
healthy tests of tclab lie outside the trained region, so that every method alarms; read its false alarms first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from peers.linear import best_arx
from real_data import DATA, STRIDES, load

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.plants.base import Process
from twin.plants.cstr import Cstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.rollout import rollout
from twin.shift import mean_errors
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.trust import FALSE_ALARM
from twin.windows import Grid, Window

RESULTS = Path(__file__).parent / "results" / "fault_detection.json"
WINDOWS = 400  # of each telemetry, evenly spread
LAGS = 2  # of the dynamic PCA
EXPLAINED = 0.9  # of the variance, by the components of the PCA
ONSET = pd.Timedelta(hours=8)  # of the faults of tennessee_eastman


@dataclass(frozen=True)
class Case:
    """Telemetry to learn from, healthy telemetry to be quiet on, and faults."""

    train: Telemetry
    healthy: Telemetry
    faults: dict[str, Telemetry]


def quadruple_tank(_: Path) -> Case:
    process = QuadrupleTank()
    base, spread = Simulator(process, 303).excite(1500), Simulator(process, 303).excite(1500).y.std(axis=0)
    worn = replace(process, pump=(process.pump[0] * 0.85, process.pump[1]))
    return Case(
        Simulator(process, 7).excite(4000),
        Simulator(process, 101).excite(3000),
        {
            "leak 10 %": _disturbed(process, leak_1=0.1),
            "leak 20 %": _disturbed(process, leak_1=0.2),
            "pump 15 % weaker": Simulator(worn, 404).excite(1500),
            "level 1 biased": _offset(base, "level_1", 0.2 * spread[0]),
            "level 4 biased": _offset(base, "level_4", 0.3 * spread[3]),
            "level 1 drifts": _offset(base, "level_1", np.linspace(0, 1, len(base)) * spread[0]),
        },
    )


def cstr(_: Path) -> Case:
    process = Cstr()
    base, spread = Simulator(process, 303).excite(1500), Simulator(process, 303).excite(1500).y.std(axis=0)
    fouled = replace(process, transfer=0.8 * process.transfer)
    return Case(
        Simulator(process, 7).excite(4000),
        Simulator(process, 101).excite(3000),
        {
            "feed 4 % thinner": _disturbed(process, feed_concentration=-0.2),
            "fouling 20 %": Simulator(fouled, 404).excite(1500),
            "product biased": _offset(base, "product", 0.3 * spread[0]),
            "temperature biased": _offset(base, "reactor_temperature", -0.2 * spread[1]),
            "temperature drifts": _offset(base, "reactor_temperature", np.linspace(0, 1, len(base)) * spread[1]),
        },
    )


def tennessee_eastman(data: Path) -> Case:
    folder = data / "tennessee_eastman"
    runs = [r for r in json.loads((folder / "runs.json").read_text()) if r["split"] == "test_fault"]
    stride = STRIDES["tennessee_eastman"]
    test = load(folder, "test_fault", stride)
    faults = {
        r["run"].removeprefix("test_"): test.between(pd.Timestamp(r["start"]) + ONSET, pd.Timestamp(r["end"]))
        for r in runs
    }
    return Case(load(folder, "train", stride), load(folder, "test", stride), faults)


def tclab(data: Path) -> Case:
    folder, stride = data / "tclab", STRIDES["tclab"]
    faults = {"reading ±5 degC, heater ±20 %": load(folder, "test_disturbance", stride)}
    return Case(load(folder, "train", stride), load(folder, "test", stride), faults)


CASES: dict[str, Callable[[Path], Case]] = {
    "quadruple_tank": quadruple_tank,
    "cstr_simulated": cstr,
    "tennessee_eastman": tennessee_eastman,
    "tclab": tclab,
}


def _disturbed(process: Process, **offsets: float) -> Telemetry:
    simulator = Simulator(process, 202)
    simulator.excite(200)
    simulator.disturb(**offsets)
    return simulator.excite(1500)


def _offset(telemetry: Telemetry, tag: str, by: float | np.ndarray) -> Telemetry:
    values = telemetry.values.copy()
    values[:, telemetry.plant.column(tag)] += by
    return replace(telemetry, values=values)


Scores = dict[str, np.ndarray]  # method → (n,) statistic over its own alarm size


def judge(name: str, data: Path, budget_s: float) -> dict[str, Any]:
    """Train, and score every window of a case."""
    case = CASES[name](data)
    twin = fit(case.train, Options(budget_s=budget_s))
    score = _Scorer(twin, case.train)
    healthy = score(case.healthy)
    faults = {fault: score(telemetry) for fault, telemetry in case.faults.items()}
    return {
        "budget_s": budget_s,
        "windows": {"healthy": len(next(iter(healthy.values())))}
        | {fault: len(next(iter(s.values()))) for fault, s in faults.items()},
        "false_alarms": {who: float((s > 1).mean()) for who, s in healthy.items()},
        "alarms": {fault: {who: float((s > 1).mean()) for who, s in found.items()} for fault, found in faults.items()},
        "auroc": {fault: {who: auroc(healthy[who], s) for who, s in found.items()} for fault, found in faults.items()},
    }


class _Scorer:
    """All methods on windows of history + horizon rows."""

    def __init__(self, twin: Twin, train: Telemetry) -> None:
        self._twin = twin
        grid = Grid.of(train, twin.scaler)
        self._arx = best_arx(grid, twin.history, twin.horizon)[1]
        rows = np.concatenate([grid.y, grid.w], axis=1)
        run = grid.run
        self._pca = [("PCA", Pca(rows)), ("PCA, lags", Pca(_lagged(rows, run)[0], LAGS))]
        raw = self._raw(train)
        self._limits = {who: np.quantile(values, 1 - FALSE_ALARM) for who, values in raw.items()}

    def __call__(self, telemetry: Telemetry) -> Scores:
        twin = self._twin
        grid, ends = self._windows(telemetry)
        found: dict[str, list[np.ndarray]] = {"surprise": [], "shift": [], "distance": []}
        for part in np.array_split(ends, max(len(ends) // 100, 1)):
            future, window = grid.future(part, twin.horizon), grid.window(part, twin.history)
            errors = future.y - np.asarray(_free_runs(twin.dynamics, window, future.w))
            found["shift"].append(twin.calibration.shift.ratio(mean_errors(errors, future.mask)))
            found["distance"].append(np.asarray(jax.vmap(twin.region.distance)(window, future.w)))
            late = part + twin.horizon - len(twin.calibration.surprise.size)
            found["surprise"].append(self._surprises(grid, late))
        scores = {who: np.concatenate(parts) for who, parts in found.items()}
        verdict = {"twin": np.maximum(scores["surprise"], scores["shift"]), **scores}
        return verdict | {who: values / self._limits[who] for who, values in self._raw(telemetry).items()}

    def _surprises(self, grid: Grid, ends: np.ndarray) -> np.ndarray:
        """(n,) the greatest ratio of any CV."""
        twin, surprise = self._twin, self._twin.calibration.surprise
        future = grid.future(ends, len(surprise.size))
        errors = future.y - np.asarray(_free_runs(twin.dynamics, grid.window(ends, twin.history), future.w))
        return np.array([surprise.ratio(e, m).max() for e, m in zip(errors, future.mask, strict=True)])

    def _windows(self, telemetry: Telemetry) -> tuple[Grid, np.ndarray]:
        grid = Grid.of(telemetry, self._twin.scaler)
        ends = grid.ends(self._twin.history, self._twin.horizon)
        return grid, ends[np.linspace(0, len(ends) - 1, min(WINDOWS, len(ends))).round().astype(int)]

    def _raw(self, telemetry: Telemetry) -> Scores:
        """The peers' statistics over the last `horizon` rows of each window."""
        twin = self._twin
        grid, ends = self._windows(telemetry)
        future = grid.future(ends, twin.horizon)
        y = np.asarray(jax.jit(jax.vmap(self._linear))(grid.window(ends, twin.history), future.w))
        out = {"ARX": (future.mask * (future.y - y) ** 2).mean(axis=(1, 2))}
        rows = np.concatenate([grid.y, grid.w], axis=1)
        for name, pca in self._pca:
            lagged, at = _lagged(rows, grid.run) if pca.lags else (rows, np.arange(len(rows)))
            t2, spe = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
            t2[at], spe[at] = pca(lagged)
            index = ends[:, None] + np.arange(1, twin.horizon + 1)
            out |= {f"{name} T²": np.nanmean(t2[index], axis=1), f"{name} SPE": np.nanmean(spe[index], axis=1)}
        return out

    def _linear(self, window: Window, w: jax.Array) -> jax.Array:
        return rollout(self._arx, self._arx.encode(window), w)


@jax.jit
def _free_runs(dynamics: Ensemble, windows: Window, w: jax.Array) -> jax.Array:
    """(n, K, CVs)."""
    return jax.vmap(lambda window, w: rollout(dynamics, dynamics.begin(window, w), w))(windows, w)


class Pca:
    """Principal components of healthy rows: T² inside their space, the squared error outside it."""

    def __init__(self, rows: np.ndarray, lags: int = 0) -> None:
        self.lags = lags
        self._mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        self._scale = np.where(deviation > 1e-6, deviation, 1.0)
        values, vectors = np.linalg.eigh(np.cov(((rows - self._mean) / self._scale).T))
        values, vectors = values[::-1], vectors[:, ::-1]
        kept = int(np.searchsorted(np.cumsum(values) / values.sum(), EXPLAINED)) + 1
        self._values, self._vectors = values[:kept], vectors[:, :kept]

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) T² and (n,) SPE."""
        x = (rows - self._mean) / self._scale
        t = x @ self._vectors
        return (t**2 / self._values).sum(axis=1), ((x - t @ self._vectors.T) ** 2).sum(axis=1)


def _lagged(rows: np.ndarray, run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, (LAGS + 1) tags) and the row of each."""
    at = np.arange(LAGS, len(rows))
    at = at[run[at] == run[at - LAGS]]
    return rows[at[:, None] - np.arange(LAGS + 1)].reshape(len(at), -1), at


def auroc(healthy: np.ndarray, faulty: np.ndarray) -> float:
    """The chance that a faulty window scores above a healthy one (Mann and Whitney), ties halved."""
    order = np.concatenate([healthy, faulty])
    ranks = pd.Series(order).rank().to_numpy()[len(healthy) :]
    return float((ranks.sum() - len(faulty) * (len(faulty) + 1) / 2) / (len(healthy) * len(faulty)))


def table(results: dict[str, Any]) -> Iterator[str]:
    """A line a fault, and the false alarms."""
    for name, found in results.items():
        who = list(found["false_alarms"])
        yield f"{name:<34}" + "".join(f"{w:>14}" for w in who)
        for fault, by in found["auroc"].items():
            yield f"  {fault:<32}" + "".join(f"{by[w]:>14.3f}" for w in who)
        mean = {w: np.mean([by[w] for by in found["auroc"].values()]) for w in who}
        yield f"  {'mean AUROC':<32}" + "".join(f"{mean[w]:>14.3f}" for w in who)
        yield f"  {'false alarms, healthy test':<32}" + "".join(f"{found['false_alarms'][w]:>14.3f}" for w in who)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plants", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--again", action="store_true", help="run plants even where there are results")
    parser.add_argument("--budget", type=float, default=Options().budget_s, help="seconds of training a plant")
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in asked.plants or CASES:
        if name not in CASES:
            sys.exit(f"{name} is none of {', '.join(CASES)}")
        if asked.again or name not in results:
            try:
                results[name] = judge(name, asked.data, asked.budget)
            except FileNotFoundError:
                print(f"{name}: no data in {asked.data}: give its folder by --data", file=sys.stderr)
                continue
            RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
