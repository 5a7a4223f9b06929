"""What a twin is worth: step responses, gains and dead times, the backtest, and the model card."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble, State
from twin.history import check_history
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.units import per
from twin.windows import Window, latest

STEP = 0.5  # standard deviations of an input: the size of a test step, up and down
HORIZONS = 2  # calibrated horizons: how long a step response is followed
STUDENT_95 = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895}  # by degrees of freedom
REACHED = 0.05  # of the largest response: where dead time ends; of the final one: inside is settled

Triple = dict[str, float]


def step_responses(twin: Twin, history: Telemetry | None = None) -> dict[str, Any]:
    """How each CV answers a step in each MV, around one operating point.

    The response is half the difference between a step up and a step down, per unit of the MV, while everything
    else holds. Its range is a 90 % delete-a-block jackknife interval over the ensemble, each of whose members
    was fitted without one block of the telemetry (Shao and Tu, The Jackknife and Bootstrap, 1995).

    Args:
        twin: a trained twin.
        history: telemetry ending at the operating point; by default a history near the middle of what was seen.

    Returns:
        The contract's shape: times_s, responses, gains, gain_units, dead_times_s, settling_times_s; an effect
        that the training data cannot show is null, and so is the settling time of a response that has not settled.
    """
    plant, scaler = twin.plant, twin.scaler
    window = twin.reference if history is None else _last_window(twin, history)
    rows = HORIZONS * twin.horizon
    answers = np.asarray(_member_steps(twin.dynamics, window, len(plant.mvs), rows))
    scale = scaler.y_scale / scaler.w_scale[: len(plant.mvs), None, None]
    answers = answers * scale  # (members, MVs, rows, CVs), engineering units
    unknown = twin.card.get("unknown_effects", {})
    out: dict[str, Any] = {"times_s": (plant.sample_period_s * np.arange(1, rows + 1)).tolist()}
    for key in ("responses", "gains", "gain_units", "dead_times_s", "settling_times_s"):
        out[key] = {mv.name: {} for mv in plant.mvs}
    for i, mv in enumerate(plant.mvs):
        for j, cv in enumerate(plant.cvs):
            effect = _effect(answers[:, i, :, j], plant.sample_period_s) if mv.name not in unknown else {}
            out["gain_units"][mv.name][cv.name] = per(cv.unit, mv.unit)
            for key in ("responses", "gains", "dead_times_s", "settling_times_s"):
                out[key][mv.name][cv.name] = effect.get(key)
    return out


def report(twin: Twin, telemetry: Telemetry) -> dict[str, Any]:
    """The model card: what the twin was trained on, how well it forecasts, and what it says of the process.

    Args:
        twin: a trained twin.
        telemetry: what it was trained on.

    Returns:
        JSON: twin, created, plant, data, history, horizon_s, min_history_rows, unknown_effects, training (backbone,
        residual, curve, collapse metrics), backtest (by CV and horizon, coverage) and step_responses.
    """
    first, last = (pd.Timestamp(telemetry.times[i], tz="UTC").isoformat() for i in (0, -1))
    return {
        "twin": twin.id,
        "created": pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
        "plant": twin.plant.to_json(),
        "data": {"rows": len(telemetry), "runs": len(np.unique(telemetry.run)), "start": first, "end": last},
        "history": twin.history,
        "min_history_rows": twin.min_history_rows,
        "horizon_s": twin.horizon_s,
        **twin.card,
        "step_responses": step_responses(twin),
    }


def _last_window(twin: Twin, history: Telemetry) -> Window:
    windows = latest(check_history(twin, history), twin.scaler, twin.history)
    return Window(*(part[0] for part in windows))


@partial(jax.jit, static_argnames=("moves", "rows"))
def _member_steps(dynamics: Ensemble, window: Window, moves: int, rows: int) -> jax.Array:
    """(members, MVs, rows, CVs): half the difference of a step up and a step down, per unit, in model units."""
    held = jnp.tile(jnp.asarray(window.w)[-1], (rows, 1))
    start = dynamics.encode(window)

    def answer(size: jax.Array) -> jax.Array:
        return rollout(_Members(dynamics), start, held + size[None, :])

    sizes = STEP * jnp.eye(moves, held.shape[1])
    difference = jax.vmap(answer)(sizes) - jax.vmap(answer)(-sizes)  # (MVs, rows, members, CVs)
    return jnp.moveaxis(difference / (2 * STEP), 2, 0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Members:
    """An ensemble read member by member."""

    ensemble: Ensemble

    def step(self, state: State, w: jax.Array) -> State:
        return self.ensemble.step(state, w)

    def read(self, state: State) -> jax.Array:
        return self.ensemble.read_members(state)


def _effect(answers: np.ndarray, period_s: float) -> dict[str, Any]:
    """Of one MV on one CV, from the responses (members, rows) of the members."""
    mean, low, high = _jackknife(answers)
    gain = {"mean": float(mean[-1]), "low": float(low[-1]), "high": float(high[-1])}
    effect: dict[str, Any] = {
        "responses": {"mean": mean.tolist(), "low": low.tolist(), "high": high.tolist()},
        "gains": gain,
    }
    at_peak = int(np.abs(mean).argmax())
    if not low[at_peak] <= 0 <= high[at_peak]:  # an effect that may be zero has no dead time
        effect["dead_times_s"] = _spread(_dead_rows(mean), [_dead_rows(a) for a in answers], period_s)
        settled = [row for row in map(_settled_row, (mean, *answers)) if row is not None]
        if len(settled) == 1 + len(answers):
            effect["settling_times_s"] = _spread(settled[0], settled[1:], period_s)
    return effect


def _jackknife(answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    members = len(answers)
    mean = answers.mean(axis=0)
    if members == 1:
        return mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    deviation = np.sqrt((members - 1) / members * ((answers - mean) ** 2).sum(axis=0))
    reach = STUDENT_95.get(members - 1, 1.8) * deviation
    return mean, mean - reach, mean + reach


def _dead_rows(response: np.ndarray) -> int:
    """Rows before the response leaves zero: a CV that moves in the row of the step has no dead time."""
    return int(np.argmax(np.abs(response) > REACHED * np.abs(response).max()))


def _settled_row(response: np.ndarray) -> int | None:
    """The first row from which the response stays near its final value; None where it is still moving."""
    tail = response[-max(len(response) // 10, 2) :]
    if np.ptp(tail) > REACHED / 2 * np.abs(response).max():
        return None
    outside = np.flatnonzero(np.abs(response - response[-1]) > REACHED * np.abs(response[-1]))
    return int(outside[-1]) + 2 if len(outside) else 1


def _spread(middle: int, members: list[int], period_s: float) -> Triple:
    ends = [*members, middle]
    return {"mean": middle * period_s, "low": min(ends) * period_s, "high": max(ends) * period_s}
