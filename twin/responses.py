"""Step responses, gains, dead and settling times of a twin around an operating point; gains over the whole range."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
LEVELS = 9  # of an MV, at which its gains are told

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
    plant = twin.plant
    answers = member_responses(twin, history)
    rows = answers.shape[2]
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


def member_responses(twin: Twin, history: Telemetry | None = None) -> np.ndarray:
    """(members, MVs, rows, CVs): what each member says of a unit step in each MV, engineering units."""
    moves = len(twin.plant.mvs)
    window = twin.reference if history is None else _last_window(twin, history)
    answers = np.asarray(_member_steps(twin.dynamics, window, moves, HORIZONS * twin.horizon), np.float64)
    scaled: np.ndarray = answers * (twin.scaler.y_scale / twin.scaler.w_scale[:moves, None, None])
    return scaled


def gain_map(twin: Twin, history: Telemetry | None = None) -> dict[str, Any]:
    """The local gain of each MV → CV over the range of the MV that training has seen, the other inputs held.

    The MV is held at each of `LEVELS` values for as long as a step response is followed; the gain is half the
    difference of a small step up and a step down from there, as far as it has come after as long again. A linear
    process has one gain everywhere; where it changes sign no linear controller is safe.

    Returns:
        JSON: MV → {levels: [...], gains: {CV: {mean, low, high: [...]}}} with the ranges of `step_responses`; null
        for an MV that never moved.
    """
    plant, scaler, count = twin.plant, twin.scaler, len(twin.plant.mvs)
    window = twin.reference if history is None else _last_window(twin, history)
    size = STEP / 2 * scaler.w_scale[:count]
    room = np.minimum(size, (twin.seen.high[:count] - twin.seen.low[:count]) / 4)
    levels = np.linspace(twin.seen.low[:count] + room, twin.seen.high[:count] - room, LEVELS, axis=1)
    scaled = (levels - scaler.w_mean[:count, None]) / scaler.w_scale[:count, None]
    gains = _gains(twin.dynamics, window, scaled.astype(np.float32), HORIZONS * twin.horizon)
    answers = np.asarray(gains, np.float64) * (scaler.y_scale / scaler.w_scale[:count, None, None])
    unknown = twin.card.get("unknown_effects", {})
    out: dict[str, Any] = {}
    for i, mv in enumerate(plant.mvs):
        named = {}
        for j, cv in enumerate(plant.cvs):
            parts = zip(("mean", "low", "high"), jackknife(answers[:, i, :, j]), strict=True)
            named[cv.name] = {name: values.tolist() for name, values in parts}
        out[mv.name] = None if mv.name in unknown else {"levels": levels[i].tolist(), "gains": named}
    return out


@partial(jax.jit, static_argnames="rows")
def _gains(dynamics: Ensemble, window: Window, levels: jax.Array, rows: int) -> jax.Array:
    """(members, MVs, levels, CVs): local gains at MV levels (MVs, levels), all in model units."""
    present = jnp.asarray(window.w)[-1]

    def settled(mv: jax.Array, level: jax.Array, size: float) -> jax.Array:
        held = jnp.tile(present.at[mv].set(level), (rows, 1))
        w = jnp.concatenate([held, held.at[:, mv].add(size)])
        return rollout(_Members(dynamics), dynamics.begin(window, held), w)[-1]

    def gain(mv: jax.Array, level: jax.Array) -> jax.Array:
        return (settled(mv, level, STEP / 2) - settled(mv, level, -STEP / 2)) / STEP

    every = jax.vmap(jax.vmap(gain, (None, 0)))(jnp.arange(len(levels)), levels)  # (MVs, levels, members, CVs)
    return jnp.moveaxis(every, 2, 0)


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

    def roll(self, state: State, w: jax.Array) -> jax.Array:
        return self.ensemble.roll_members(state, w)


def _effect(answers: np.ndarray, period_s: float) -> dict[str, Any]:
    """Of one MV on one CV, from the responses (members, rows) of the members."""
    mean, low, high = jackknife(answers)
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


def jackknife(answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of the members' answers (members, ...) and the ends of its 90 % jackknife interval."""
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
