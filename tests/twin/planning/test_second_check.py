"""Whole plans, recomputed by `dense`, which shares no code with the planner: optimal, relaxed and abstained ones."""

from __future__ import annotations

import json
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from tests.twin.planning.dense import BACK, Dense, check
from twin import artifact
from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble, jepas
from twin.dynamics.jepa import Sizes
from twin.dynamics.lti import build
from twin.dynamics.noise import Noise
from twin.dynamics.region import Region
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.trust import Calibration, Seen
from twin.windows import Window

HISTORY, HORIZON = 10, 20
ROWS = HISTORY + BACK + 6


def drawn(mvs, cvs, states, seed, latent, radius):
    """A twin drawn at random: two members, a DV, in engineering units far from model units.

    Args:
        latent: whether there are a residual that matters and a noise model.
        radius: of the trained region; a small one lies behind us, and the gate is half closed.
    """
    rng = np.random.default_rng(seed)
    inputs = mvs + 1
    tags = [Tag(f"u{i}", Role.MV, "%", 20.0, 90.0, rate_limit_per_s=0.37) for i in range(mvs)]
    tags += [Tag("d", Role.DV, "m3/h")]
    tags += [Tag(f"y{i}", Role.CV, "degC", 0.0, 400.0, 60.0 if i else None, 340.0) for i in range(cvs)]
    members = []
    for _ in range(2):
        poles, read = rng.uniform(0.6, 0.93, states), rng.normal(size=(cvs, states)) / np.sqrt(states)
        E = np.zeros((states, HISTORY * (cvs + inputs)))
        E[:, -(cvs + inputs) : -inputs] = np.linalg.pinv(read)
        gains = rng.normal(size=(states, inputs)) * (1 - poles)[:, None]
        a = 0.01 * rng.normal(size=states)
        members.append(build(A=np.diag(poles), B=gains, a=a, C=read, c=np.zeros(cvs), E=E, e=np.zeros(states)))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    residuals = noise = None
    if latent:
        residuals = jepas(Sizes(cvs, inputs, HISTORY), 2, seed)
        kernel = residuals.g2.kernel[...]
        corrects = jnp.asarray(0.01 * rng.normal(size=(*kernel.shape[:2], cvs)), jnp.float32)
        residuals.g2.kernel[...] = kernel.at[..., -cvs:].set(corrects)
        modes = np.asarray(0.05 * rng.normal(size=(2, 3, cvs, HISTORY * (cvs + inputs))), np.float32)
        noise = Noise(jnp.full((2, 3, cvs), 0.7), jnp.asarray(modes), jnp.zeros((2, 3, cvs)))
    width = cvs + 2 * inputs
    region = Region(jnp.zeros(width), jnp.eye(width) / radius)
    errors = rng.normal(size=(300, HORIZON, cvs)) * np.linspace(0.05, 0.3, HORIZON)[:, None]
    flat = np.zeros(mvs + 1 + cvs, int)
    return Twin(
        id="drawn",
        plant=Plant("Drawn", 7.0, tuple(tags)),
        scaler=Scaler(
            np.linspace(150, 220, cvs), np.linspace(20, 35, cvs), np.full(inputs, 50.0), np.full(inputs, 12.0)
        ),
        dynamics=Ensemble(stacked, residuals, region, noise),
        history=HISTORY,
        horizon=HORIZON,
        seen=Seen(np.full(inputs, 20.0), np.full(inputs, 90.0), flat + 40, flat + 5),
        calibration=Calibration.fit(errors, np.ones_like(errors), np.arange(300) % 2),
        correction=(0.0, 0.0),
        reference=Window(*(np.zeros((HISTORY, n), np.float32) for n in (cvs, inputs, cvs))),
        card={},
    )


CASES = {
    "linear": (2, 2, 3, 1, False, 10.0),
    "latent": (2, 3, 5, 2, True, 10.0),
    "outside of the region": (2, 3, 5, 4, True, 0.6),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request, tmp_path_factory):
    twin = drawn(*request.param)
    folder = tmp_path_factory.mktemp("drawn") / "twin"
    artifact.save(twin, folder)
    return artifact.load(folder), Dense(folder)


def measured(twin, seed):
    """Noisy rows around where the twin was trained."""
    rng = np.random.default_rng(seed)
    inputs, cvs = len(twin.plant.inputs), len(twin.plant.cvs)
    w = 50 + 12 * 0.3 * rng.normal(size=(ROWS, inputs))
    y = twin.scaler.y_mean + twin.scaler.y_scale * 0.3 * rng.normal(size=(ROWS, cvs))
    columns = [tag.name for tag in twin.plant.inputs + twin.plant.cvs]
    index = pd.date_range("2026-02-03", periods=ROWS, freq="7s", tz="UTC", name="time")
    frame = pd.DataFrame(np.hstack([w, y]), index=index, columns=columns)
    return Telemetry.from_frame(twin.plant, frame), {name: frame[name].to_numpy() for name in columns}


def limits(**of):
    return {tag: Limit(**limit) for tag, limit in of.items()}


def asked(given):
    return {tag: {k: v for k, v in asdict(limit).items() if v is not None} for tag, limit in given.items()}


QUESTIONS = {
    "easy": ({}, 0.9),
    "tight MVs": ({"u0": {"low": 45.0, "high": 56.0, "rate_per_s": 0.11}, "u1": {"max_move": 1.3}}, 0.95),
    "no plan keeps it": ({"y0": {"low": 335.0}, "y1": {"high": 62.0, "rank": 2}}, 0.95),
    "sides that cross": ({"y1": {"low": 230.0, "high": 100.0, "hard": True}}, 0.8),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_a_plan_says_of_itself(case, name):
    twin, dense = case
    given, coverage = QUESTIONS[name]
    statuses = []
    for seed in range(2):
        history, rows = measured(twin, seed)
        wanted = Objective({"y0": Setpoint(180.0 + 10 * seed)}, {"u1": 1.0})
        answer = plan(twin, history, wanted, limits(**given), horizon_s=7.0 * (20 - seed), coverage=coverage)
        body = json.loads(json.dumps(answer.to_json()))
        statuses.append(body["status"])
        broken = check(dense, rows, body, asked(limits(**given)), coverage)
        assert (broken > 0) == (body["status"] == "relaxed")
        assert body["hard_violated"] == (name == "sides that cross")
        spans = {"y0": 400.0}
        error = (np.array(body["cvs"]["y0"]["mean"]) - (180.0 + 10 * seed)) / spans["y0"]
        assert body["cost"]["by_term"]["setpoints.y0"] == pytest.approx((error**2).mean())
    if name in ("no plan keeps it", "sides that cross"):
        assert statuses == ["relaxed"] * 2


def test_an_abstention_holds_what_there_is_exactly(case):
    twin, dense = case
    history, rows = measured(twin, 7)
    stale = plan(
        twin, history, Objective({"y0": Setpoint(180.0)}), horizon_s=140.0, max_age_s=60.0,
        now=history.at + pd.Timedelta("1h"),
    ).to_json()  # fmt: skip
    assert stale["status"] == "abstained"
    assert stale["certificate"] == []
    for name in dense.mvs:
        assert stale["moves"][name] == [rows[name][-1]] * 20
        assert stale["next"][name] == rows[name][-1]
    values = history.values.copy()
    values[-1, twin.plant.column("u0")] = 93.21  # outside: it comes back at its rate, and no further
    out = Telemetry(history.plant, history.times, values, history.run)
    back = plan(twin, out, Objective(), horizon_s=140.0, max_age_s=60.0, now=history.at + pd.Timedelta("1h")).to_json()
    assert back["status"] == "abstained"
    moves = back["moves"]["u0"]
    assert moves[0] == pytest.approx(93.21 - 0.37 * 7)
    for value, previous in zip(moves, [93.21, *moves[:-1]], strict=True):
        assert abs(value - previous) <= 0.37 * 7.0
    assert moves[-1] == 90.0
