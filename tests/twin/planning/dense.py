"""A second check of whole plans, written apart from the planner: numpy, float64, straight from a saved twin's arrays.

It shares no code with `twin`: it reads the safetensors file and the manifest, rolls the answer's own moves through
the formulas of the documentation (windows, encoders, estimate of constant errors, gate, what the latent part has
earned, members), and judges limits, rates and costs on that.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

MEMORY, BACK = 0.9, 24  # of the disturbance estimate: weights 0.9^i over the last 24 one-row errors, 25 readings
COMPILED = (10, 20, 30, 40, 60, 80, 120)  # rows that plans are computed over; inputs hold past the horizon


class Dense:
    """One saved twin."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        self.t = {name: np.asarray(v, np.float64) for name, v in load_file(folder / "weights.safetensors").items()}
        self.tags, self.horizon = {tag["name"]: tag for tag in manifest["plant"]["tags"]}, manifest["horizon"]
        self.period_s, self.rows = manifest["plant"]["sample_period_s"], manifest["history"]
        of = {role: [n for n, t in self.tags.items() if t["role"] == role] for role in ("mv", "dv", "cv")}
        self.mvs, self.dvs, self.cvs = of["mv"], of["dv"], of["cv"]
        self.members = len(self.t["dynamics.backbones.a"])

    def scaled(self, history: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """CVs and inputs of rows, model units."""
        y = np.stack([history[name] for name in self.cvs], axis=1)
        w = np.stack([history[name] for name in self.mvs + self.dvs], axis=1)
        return (y - self.t["scaler.y_mean"]) / self.t["scaler.y_scale"], self._inputs(w)

    def _inputs(self, w: np.ndarray) -> np.ndarray:
        return (w - self.t["scaler.w_mean"]) / self.t["scaler.w_scale"]

    def _layer(self, name: str, member: int, x: np.ndarray) -> np.ndarray:
        return (
            x @ self.t[f"dynamics.residuals.{name}.kernel.value"][member]
            + self.t[f"dynamics.residuals.{name}.bias.value"][member]
        )

    def encode(self, member: int, y: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
        """[x, n, z] of one member at the last row of a window (L, ·) without holes."""
        vec = np.concatenate([y, w], axis=1).ravel()
        x = self.t["dynamics.backbones.E"][member] @ vec + self.t["dynamics.backbones.e"][member]
        n = z = np.zeros(0)
        if "dynamics.noise.E" in self.t:
            n = self.t["dynamics.noise.E"][member] @ vec + self.t["dynamics.noise.e"][member]
        if "dynamics.residuals.f1.kernel.value" in self.t:
            flat = np.concatenate([y.ravel(), w.ravel(), np.ones(y.size)])
            z = np.r_[self._layer("f2", member, np.tanh(self._layer("f1", member, flat))), np.zeros(y.shape[1])]
        return [x, n, z]

    def linear(self, member: int, state: list[np.ndarray]) -> np.ndarray:
        """The CVs of plant and noise model."""
        y = self.t["dynamics.backbones.C"][member] @ state[0] + self.t["dynamics.backbones.c"][member]
        return y + state[1].sum(axis=0) if state[1].size else y

    def step(self, member: int, state: list[np.ndarray], w: np.ndarray) -> list[np.ndarray]:
        """One row later."""
        t = self.t
        x = t["dynamics.backbones.A"][member] @ state[0] + t["dynamics.backbones.B"][member] @ w
        x = x + t["dynamics.backbones.a"][member]
        n = t["dynamics.noise.decay"][member] * state[1] if state[1].size else state[1]
        z = state[2]
        if z.size:
            drive = self._layer("drive1", member, np.concatenate([self.linear(member, [x, n, z]), w]))
            a = np.tanh(self._layer("g1", member, z) + drive)
            u = 1 / (1 + np.exp(-self._layer("renew", member, a)))
            corrections = len(t["dynamics.residuals.share.value"][member])
            put = np.r_[u[:-corrections], np.ones(corrections)]
            z = (1 - u) * z + put * self._layer("g2", member, a)
        return [x, n, z]

    def read(self, states: list[list[np.ndarray]], gate: float) -> np.ndarray:
        """The mean of the members."""
        found = []
        for member, state in enumerate(states):
            y = self.linear(member, state)
            if state[2].size:
                y = y + gate * self.t["dynamics.residuals.share.value"][member] * state[2][-len(y) :]
            found.append(y)
        return np.mean(found, axis=0)

    def gate(self, y: np.ndarray, w: np.ndarray, held: np.ndarray) -> float:
        """Of a window and inputs that are held."""
        features = np.concatenate([y.mean(axis=0), w.mean(axis=0), held])
        far = self.t["dynamics.region.whiten"] @ (features - self.t["dynamics.region.centre"])
        return max(float(np.linalg.norm(far)), 1.0) ** -4

    def hindcast(self, y: np.ndarray, w: np.ndarray, rows: int, learned: bool) -> np.ndarray:
        """Errors (rows, CVs) of the last rows, foretold from those before under the inputs that came."""
        end = len(y) - rows
        before, came = (y[end - self.rows : end], w[end - self.rows : end]), w[end:]
        gate = self.gate(*before, came.mean(axis=0)) if learned else 0.0
        states, path = [self.encode(m, *before) for m in range(self.members)], []
        for row in came:
            states = [self.step(m, state, row) for m, state in enumerate(states)]
            path.append(self.read(states, gate))
        return y[end:] - np.array(path)

    def earned(self, y: np.ndarray, w: np.ndarray) -> float:
        """The share of the latent part, by what it foretold of the last horizon beside the linear part alone."""
        t = self.t
        if len(y) - self.horizon < self.rows:
            return 1.0
        near = self.hindcast(y, w, len(t["surprise.size"]), learned=True)
        far, linear = (self.hindcast(y, w, self.horizon, learned) for learned in (True, False))
        alarms = [*((near / t["surprise.size"]) ** 2).mean(axis=0) / t["surprise.threshold"]]
        alarms.append(((t["shift.whiten"] @ far.mean(axis=0)) ** 2).mean())
        worse = np.sqrt(((far / t["shift.size"]) ** 2).mean() / ((linear / t["shift.size"]) ** 2).mean())
        return max(worse, 1.0) ** (-4 * np.clip(max(alarms) - 1, 0, 1))

    def forecast(self, history: dict[str, np.ndarray], moves: dict[str, list[float]]) -> dict[str, np.ndarray]:
        """CVs (K,) under moves, DVs held, engineering units."""
        y, w = self.scaled(history)
        held, members = w[-1], range(self.members)
        ends = [len(y) - i for i in range(BACK + 1)]
        windows = [(y[end - self.rows : end], w[end - self.rows : end]) for end in ends]
        states = [[self.encode(m, *window) for m in members] for window in windows]
        earned = self.earned(y, w)
        gates = [earned * self.gate(*window, held) for window in windows]
        weight = MEMORY ** np.arange(BACK + 1)
        drift = [[np.zeros_like(part) for part in states[0][m]] for m in members]
        for i in range(BACK):
            for m in members:
                foreseen = self.step(m, states[i + 1][m], w[len(w) - 1 - i])
                for part in range(3):
                    drift[m][part] = drift[m][part] + weight[i] * (states[i][m][part] - foreseen[part])
        drift = [[part / weight[:BACK].sum() for part in drift[m]] for m in members]
        misread = [y[len(y) - 1 - i] - self.read(states[i], gates[i]) for i in range(BACK + 1)]
        bias = (weight[:, None] * misread).sum(axis=0) / weight.sum()
        inputs = np.column_stack([*(moves[name] for name in self.mvs)])
        dvs = np.tile([history[name][-1] for name in self.dvs], (len(inputs), 1))
        now, path = states[BACK], []
        for i in range(BACK - 1, -1, -1):  # the state plans start from: half encoded, half foreseen
            row = w[len(w) - 1 - i]
            seen = [[a + d for a, d in zip(self.step(m, now[m], row), drift[m], strict=True)] for m in members]
            now = [[(a + b) / 2 for a, b in zip(seen[m], states[i][m], strict=True)] for m in members]
        for row in self._inputs(np.hstack([inputs, dvs]) if self.dvs else inputs):
            now = [[a + d for a, d in zip(self.step(m, now[m], row), drift[m], strict=True)] for m in members]
            path.append(self.read(now, gates[0]) + bias)
        engineering = np.array(path) * self.t["scaler.y_scale"] + self.t["scaler.y_mean"]
        return dict(zip(self.cvs, engineering.T, strict=True))

    def margins(self, coverage: float, rows: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """CV → how far below and above its forecast it may lie, (K,) each, from the out-of-fold quantiles."""
        levels, quantiles = self.t["bands.levels"], self.t["bands.quantiles"]
        found = {}
        for i, name in enumerate(self.cvs):
            scale = self.t["scaler.y_scale"][i]
            low, high = (
                np.array([np.interp(level, levels, quantiles[:, k, i]) for k in range(rows)])
                for level in (1 - coverage, coverage)
            )
            found[name] = np.maximum(-low, 0) * scale, np.maximum(high, 0) * scale
        return found


def check(dense: Dense, history: dict[str, np.ndarray], answer: dict, asked: dict[str, dict], coverage: float) -> int:
    """Everything an answer says of its moves, forecasts and limits, recomputed; how many CV limits it does not keep.

    Args:
        answer: the JSON of a plan that did not abstain.
        asked: tag → {"low", "high", "rate_per_s", "max_move"} that the request added.
    """
    rows = len(answer["times"])
    path, margins = dense.forecast(history, answer["moves"]), dense.margins(coverage, rows)
    entries = {(e["tag"], e["side"]): e for e in answer["certificate"]}
    broken = 0
    for name in dense.cvs:
        tag, more = dense.tags[name], asked.get(name, {})
        near = 2e-5 * dense.t["scaler.y_scale"][dense.cvs.index(name)] * 4
        np.testing.assert_allclose(answer["cvs"][name]["mean"], path[name], atol=near)
        low, high = path[name] - margins[name][0], path[name] + margins[name][1]
        np.testing.assert_allclose(answer["cvs"][name]["low"], low, atol=near)
        np.testing.assert_allclose(answer["cvs"][name]["high"], high, atol=near)
        for side, worst, tightest in (("low", low.min(), max), ("high", high.max(), min)):
            given = [v for v in (tag.get(f"limit_{side}"), more.get(side)) if v is not None]
            if not given:
                assert (name, side) not in entries
                continue
            limit, entry = tightest(given), entries.pop((name, side))
            margin = worst - limit if side == "low" else limit - worst
            assert entry["limit"] == limit
            assert abs(entry["worst"] - worst) <= near
            assert abs(entry["margin"] - margin) <= near
            assert entry["kept"] == (entry["margin"] >= 0)
            assert entry["kept"] == (margin >= 0) or abs(margin) <= near
            assert entry["relaxed_by"] == max(-entry["margin"], 0)
            values = low if side == "low" else high
            out = np.flatnonzero(values < limit - near) if side == "low" else np.flatnonzero(values > limit + near)
            if len(out):
                assert entry["span"]["start"] <= answer["times"][out[0]]
                assert entry["span"]["end"] >= answer["times"][out[-1]]
            broken += not entry["kept"]
    for name in dense.mvs:
        _check_mv(dense, name, float(history[name][-1]), answer["moves"][name], asked.get(name, {}), entries)
        assert answer["next"][name] == answer["moves"][name][0]
    assert not entries, "limits that nobody set"
    assert (answer["status"] == "relaxed") == (not all(e["kept"] for e in answer["certificate"]))
    return broken


def _check_mv(dense: Dense, name: str, present: float, moves: list[float], more: dict, entries: dict) -> None:
    """Bounds, rate and largest move, exactly."""
    tag = dense.tags[name]
    low = max(v for v in (tag["low"], more.get("low")) if v is not None)
    high = min(v for v in (tag["high"], more.get("high")) if v is not None)
    rate = min((v for v in (tag.get("rate_limit_per_s"), more.get("rate_per_s")) if v is not None), default=np.inf)
    most = more.get("max_move", np.inf)
    before = [present, *moves[:-1]]
    for value, previous in zip(moves, before, strict=True):
        change = abs(value - previous)
        assert change <= rate * dense.period_s
        assert change / dense.period_s <= rate
        assert change <= most
        assert low <= value <= high or not low <= previous <= high
    for side, worst in (("low", min(moves)), ("high", max(moves))):
        entry = entries.pop((name, side))
        assert (entry["limit"], entry["worst"]) == (low if side == "low" else high, worst)
        assert entry["kept"] == (low <= worst if side == "low" else worst <= high)
    steps = [abs(a - b) for a, b in zip(moves, before, strict=True)]
    if np.isfinite(rate):
        entry = entries.pop((name, "rate"))
        assert entry["kept"]
        assert entry["worst"] == max(step / dense.period_s for step in steps)
    if np.isfinite(most):
        assert entries.pop((name, "move"))["worst"] == max(steps)
