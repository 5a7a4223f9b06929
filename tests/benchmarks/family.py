"""The family of joint-embedding residuals around one backbone: what keeps embeddings apart, and what is embedded.

    python tests/benchmarks/family.py [--plants NAME ...] [--variants NAME ...] [--seeds N] [--steps N] [--again]

All variants of a plant share the rows, the folds and the backbone; each trains for the same number of steps, and the
step is chosen on held-out blocks. Simulated plants are judged against their noise-free truth, real ones against what
was measured on their `test` runs (no true gains there, and no states to read from the latent). Results are kept in
`results/family.json`; runs found there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from real_data import DATA, STRIDES, load

from twin.dynamics.ensemble import Ensemble
from twin.plants.base import Process, inputs_at_rest
from twin.plants.cstr import Cstr
from twin.plants.excitation import step_test
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.shell import ShellFractionator
from twin.plants.simulator import Simulator
from twin.regularizers import effective_rank, sigreg
from twin.rollout import rollout
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.train import Options, _ensemble, _folds, _reduced
from twin.training.backbone import choose, select
from twin.training.noise import with_noise
from twin.training.residual import Recipe, Trainer, _recent
from twin.windows import Grid, Window

RESULTS = Path(__file__).parent / "results" / "family.json"
PLANTS: dict[str, Process] = {"quadruple_tank": QuadrupleTank(), "cstr": Cstr(), "shell": ShellFractionator()}
RECORDED = ("tclab", "heat_exchanger", "tennessee_eastman")
VARIANTS = {
    "sigreg": Recipe(),
    "none": Recipe(keeps="none"),
    "no latent": Recipe(latent=0.0, sigreg=0.0, keeps="none"),
    "vicreg": Recipe(keeps="vicreg"),
    "ema": Recipe(keeps="ema"),
    "infonce": Recipe(keeps="infonce"),
    "sparse": Recipe(keeps="sparse"),
    "subspace": Recipe(keeps="subspace"),
    "anisotropic": Recipe(keeps="anisotropic"),
    "window": Recipe(target="window"),
    "both": Recipe(target="both"),
    "inverse": Recipe(inverse=0.3),
    "pure": Recipe(pure=True),
}
ROWS, TEST, STRIDE, LABELS = 4000, 2000, 5, 0.01
WINDOWS = 400  # of a test at most
SETTLED = 120  # rows after which gains are read


def record(process: Process, rows: int, seed: int) -> tuple[Telemetry, np.ndarray, np.ndarray]:
    """Rows of a step test as measured, the true CVs (rows, CVs) and the true states (rows, n)."""
    simulator = Simulator(process, seed)
    rng = np.random.default_rng((seed, 9))
    moves = step_test(process.plant, simulator.moves, rows, process.settling_s, rng)
    parts, states = [], []
    for move in moves:
        parts.append(simulator.run(move[None]))
        states.append(np.ravel(simulator.state))
    with jax.enable_x64(True):
        shape = np.shape(simulator.state)
        truth = np.asarray(jax.vmap(lambda x: process.read(x.reshape(shape)))(jnp.asarray(np.stack(states))))
    times, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("times", "values"))
    return Telemetry(process.plant, times, values, np.zeros(rows, np.int64)), truth, np.stack(states)


class Bench:
    """One plant: rows, folds, backbone, and what its test holds."""

    def __init__(self, train: Telemetry, test: Telemetry) -> None:
        self.scaler = Scaler.fit(train)
        self.folds = _folds(train, Options())
        self.grid, self.test = Grid.of(train, self.scaler), Grid.of(test, self.scaler)
        self.truth = self.test.y
        *_, scores = select(self.grid, self.folds)
        chosen = _reduced(choose(scores, self.grid.y.shape[1], self.grid.w.shape[1]), self.grid, self.folds, None)
        self.backbones = with_noise(self.grid, self.folds, chosen.fits).backbones

    def run(self, recipe: Recipe, seed: int, steps: int) -> dict[str, Any]:
        """Train one variant and measure it."""
        began = time.process_time()
        trainer = Trainer(self.grid, self.folds, self.backbones, recipe, seed)
        best = min(trainer.run(steps), key=lambda e: e.out_of_fold)
        cpu = time.process_time() - began
        twin = _ensemble(self.backbones, best, True, self.grid, self.folds)
        plain = _ensemble(self.backbones, best, False, self.grid, self.folds)
        e = jax.vmap(lambda m, c: m.target(_recent(c)[:, -1]))(best.residuals, trainer.judged)  # (members, n, ·)
        directions = np.random.default_rng(0).standard_normal((e.shape[-1], 64)).astype(np.float32)
        return {
            "step": best.step,
            "out_of_fold": best.out_of_fold,
            "nrmse": self._error(twin),
            "nrmse_backbone": self._error(plain),
            **self._known(twin, plain),
            "rank": float(jax.vmap(effective_rank)(e).mean()),
            "deviation": [float(e.std(axis=1).min()), float(e.std(axis=1).max())],
            "sigreg": float(jax.vmap(sigreg, in_axes=(0, None))(e, directions).mean()),
            "cpu_s": round(cpu, 1),
        }

    def _error(self, twin: Ensemble) -> float:
        """Mean NRMSE over CVs and rows of the test."""
        ends = self.test.ends(self.folds.history, self.folds.horizon)[::STRIDE]
        ends = ends[:: max(1, len(ends) // WINDOWS)]
        window, future = self.test.window(ends, self.folds.history), self.test.future(ends, self.folds.horizon)
        y = jax.jit(jax.vmap(lambda p, w: rollout(twin, twin.begin(p, w), w)))(window, future.w)
        truth = self.truth[ends[:, None] + np.arange(1, self.folds.horizon + 1)]
        return float(np.sqrt(np.mean((np.asarray(y, np.float64) - truth) ** 2, axis=0)).mean())

    def _known(self, twin: Ensemble, plain: Ensemble) -> dict[str, float | None]:
        """What only equations tell."""
        return dict.fromkeys(("gain_error", "gain_error_backbone", "reuse"))


class Simulated(Bench):
    """A plant whose equations are known."""

    def __init__(self, process: Process) -> None:
        self.process = process
        train, _, self.states = record(process, ROWS, 0)
        test, truth, self.test_states = record(process, TEST, 1)
        super().__init__(train, test)
        self.truth = self.scaler.y_in(truth)
        self.gains = self._true_gains()

    def _known(self, twin: Ensemble, plain: Ensemble) -> dict[str, float | None]:
        return {
            "gain_error": self._gain_error(twin),
            "gain_error_backbone": self._gain_error(plain),
            "reuse": self._reuse(twin),
        }

    def _true_gains(self) -> np.ndarray:
        """(MVs, CVs) of a small step from rest, model units."""
        with jax.enable_x64(True):
            rest, w = self.process.rest(), np.asarray(inputs_at_rest(self.process))
            shape = (SETTLED, len(w))
            size = 0.5 * self.scaler.w_scale

            def after(w: np.ndarray) -> np.ndarray:
                states = jax.lax.scan(lambda x, w: (self.process.step(x, w),) * 2, rest, jnp.broadcast_to(w, shape))[1]
                return np.asarray(self.process.read(states[-1]))

            up, down = ([after(w + s * np.eye(len(w))[i] * size[i]) for i in self._mvs] for s in (1, -1))
        return (np.array(up) - np.array(down)) / self.scaler.y_scale

    @property
    def _mvs(self) -> range:
        return range(len(self.process.plant.mvs))

    def _gain_error(self, twin: Ensemble) -> float:
        """Of the same steps from the same rest: the Frobenius norm of the error over that of the truth."""
        L = self.folds.history
        with jax.enable_x64(True):
            y0 = self.scaler.y_in(np.asarray(self.process.read(self.process.rest())))
            w0 = self.scaler.w_in(np.asarray(inputs_at_rest(self.process))[: self.grid.w.shape[1]])
        window = Window(np.tile(y0, (L, 1)), np.tile(w0, (L, 1)), np.ones((L, len(y0)), np.float32))
        start = twin.encode(window)

        def after(step: np.ndarray) -> np.ndarray:
            w = np.tile((w0 + step).astype(np.float32), (SETTLED, 1))
            return np.asarray(rollout(twin, start, w)[-1])

        found = [after(0.5 * np.eye(len(w0))[i]) - after(-0.5 * np.eye(len(w0))[i]) for i in self._mvs]
        return float(np.linalg.norm(np.array(found) - self.gains) / np.linalg.norm(self.gains))

    def _reuse(self, twin: Ensemble) -> float:
        """NRMSE of the true states read from a member's latent by ridge on 1 % of the rows' labels."""
        assert twin.residuals is not None
        member = jax.tree.map(lambda leaf: leaf[0], twin.residuals)
        encode = jax.jit(jax.vmap(member.encode))
        ends = [np.arange(self.folds.history - 1, len(g.run)) for g in (self.grid, self.test)]
        z, z_test = (
            np.asarray(encode(g.window(e, self.folds.history)), np.float64)
            for g, e in zip((self.grid, self.test), ends, strict=True)
        )
        some = np.linspace(0, len(z) - 1, int(LABELS * ROWS)).round().astype(int)
        labels, truth = self.states[ends[0]][some], self.test_states[ends[1]]
        mean, scale = self.states.mean(axis=0), self.states.std(axis=0) + 1e-9
        centre = z[some].mean(axis=0)
        target = (labels - mean) / scale
        a = z[some] - centre
        solved = np.linalg.solve(a.T @ a + 0.03 * len(a) * np.eye(a.shape[1]), a.T @ (target - target.mean(axis=0)))
        error = (z_test - centre) @ solved + target.mean(axis=0) - (truth - mean) / scale
        return float(np.sqrt((error**2).mean(axis=0)).mean())


def table(results: dict[str, Any]) -> None:
    """One row a plant and variant, means over seeds."""
    head = ("nrmse", "gain_error", "out_of_fold", "rank", "sigreg", "reuse", "cpu_s")
    print(f"{'plant':<16}{'variant':<13}{'seeds':>6}" + "".join(f"{name:>12}" for name in head) + "  deviation")
    for plant in dict.fromkeys(key.split("/")[0] for key in results):
        mine = {key: r for key, r in results.items() if key.startswith(f"{plant}/")}
        for variant in dict.fromkeys(key.split("/")[1] for key in mine):
            runs = [r for key, r in mine.items() if key.split("/")[1] == variant]
            row = "".join(_mean([r[name] for r in runs]) for name in head)
            low, high = np.mean([r["deviation"] for r in runs if "deviation" in r], axis=0)
            print(f"{plant:<16}{variant:<13}{len(runs):>6}{row}  {low:.2f} to {high:.2f}")
        first = next(iter(mine.values()))
        print(f"{plant:<16}{'backbone':<19}{_mean([first['nrmse_backbone']])}{_mean([first['gain_error_backbone']])}")


def _mean(values: list[float | None]) -> str:
    return f"{'':>12}" if None in values else f"{np.mean(values):>12.4f}"


def bench_of(plant: str) -> Bench:
    """The rows and the backbone of one plant."""
    if plant in PLANTS:
        return Simulated(PLANTS[plant])
    return Bench(*(load(DATA / plant, part, STRIDES.get(plant, 1)) for part in ("train", "test")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", nargs="*", default=[*PLANTS, *RECORDED], choices=[*PLANTS, *RECORDED])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for plant in asked.plants:
        bench: Bench | None = None
        for seed in range(asked.seeds):
            for variant in asked.variants:
                key = f"{plant}/{variant}/{seed}/{asked.steps}"
                if key in results and not asked.again:
                    continue
                bench = bench or bench_of(plant)
                results[key] = bench.run(VARIANTS[variant], seed, asked.steps)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(key, {k: v for k, v in results[key].items() if k != "deviation"}, flush=True)
    table(results)


if __name__ == "__main__":
    main()
