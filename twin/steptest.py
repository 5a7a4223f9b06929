"""A step test designed: moves of the MVs, all at once, that show their effects and disturb the plant little.

Generalised binary noise (H. J. A. F. Tulleken, Automatica 26 (1990) 37) switches between two levels at random, after
as long on average as a process needs: a third of its settling time, over ten to twenty settling times (Y. Zhu,
Multivariable System Identification for Process Control, 2001, chapter 3). A pseudo-random binary sequence of maximal
length serves every MV, shifted by more than a settling time from one to the next, so that all are uncorrelated and so
are their effects (K. Godfrey (ed.), Perturbation Signals for System Identification, 1993, chapter 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.errors import QuestionError
from twin.forecasting import forecaster
from twin.history import recent_windows
from twin.moves import Envelope, strict
from twin.plant import Plant, Role, Tag, near
from twin.responses import step_responses
from twin.telemetry import Telemetry
from twin.timeline import iso

SIGNALS = ("gbn", "prbs")
LENGTH = 15  # settling times of the slowest effect: how long a test lasts, where nothing is asked
MEAN, SHORTEST = 1 / 3, 1 / 15  # settling times between two switches of GBN: on average, and at least
CLOCK = 1 / 5  # settling times: the clock of a PRBS
SHARE = 0.1  # of an MV's range, above and below its present value, where nothing is known of noise
VISIBLE = 3.0  # times a CV's noise: how far its strongest MV should move it
DRAWS = 40  # GBN signals drawn a place, of which the least correlated is kept
COVERAGE = 0.95  # two-sided, of the noise that CV limits leave room for
HALVINGS = 12
MAX_ROWS = 200_000

Limits = tuple[float | None, float | None]
Scaled = Callable[[float], dict[str, np.ndarray]]  # a share of the amplitudes → the moves of every MV
TAPS = {3: 2, 4: 3, 5: 3, 6: 5, 7: 6, 9: 5, 10: 7, 11: 9, 15: 14, 17: 14, 18: 11}  # x^n + x^k + 1 is primitive


@dataclass(frozen=True)
class Moving:
    """One MV of a test: its two levels, how long its effects take to settle, and how often it switches."""

    low: float
    high: float
    settling_s: float
    switching_s: float
    switches: int
    why: str


@dataclass(frozen=True)
class StepTest:
    """A schedule: the moves of each row are those in force when it is recorded, as in telemetry.

    Attributes:
        moves: MV → (rows,) engineering units, inside limits and rate limits; MVs that are not tested hold.
        mvs: what was chosen for each MV that moves.
        correlation: the greatest correlation, by magnitude, of two of them, in the row and up to a settling time apart.
        cvs: CV → (low, high): how far it is expected to go, noise included; empty without a twin.
        notes: what an engineer should know.
    """

    signal: str
    times: pd.DatetimeIndex
    moves: Mapping[str, np.ndarray]
    mvs: Mapping[str, Moving]
    correlation: float
    cvs: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "signal": self.signal,
            "times": iso(self.times),
            "moves": {name: values.tolist() for name, values in self.moves.items()},
            "mvs": {name: vars(moving) for name, moving in self.mvs.items()},
            "correlation": self.correlation,
            "cvs": {name: {"low": low, "high": high} for name, (low, high) in self.cvs.items()},
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """A column `time` and one an MV, a row a period: what an operator or an upload reads."""
        frame = pd.DataFrame(dict(self.moves), index=pd.Index(iso(self.times), name="time"))
        return frame.to_csv()


def design(
    plant: Plant,
    present: Mapping[str, float],
    at: pd.Timestamp,
    *,
    settling_s: float | Mapping[str, float] | None = None,
    length_s: float | None = None,
    signal: str = "gbn",
    mvs: Sequence[str] | None = None,
    amplitude: Mapping[str, float] | None = None,
    limits: Mapping[str, Limits] | None = None,
    seed: int = 0,
    twin: Twin | None = None,
    history: Telemetry | None = None,
) -> StepTest:
    """Design a test of some MVs.

    Args:
        present: MV → the value now in force.
        at: the schedule starts one period later.
        settling_s: how long effects take to settle, for all MVs or each; by default what the twin shows.
        length_s: of the test; by default `LENGTH` settling times, 1 more to settle at the end.
        signal: one of `SIGNALS`.
        mvs: that move; by default all.
        amplitude: MV → how far up and down from the present; by default far enough to show above the noise that the
            twin knows, `SHARE` of the range where there is none.
        limits: tag → (low, high) to stay within, where that is tighter than the plant's own.
        seed: of the random signal.
        twin, history: to foresee the CVs; with them, moves are made smaller until CV limits are kept.

    Raises:
        QuestionError: an unknown tag, no limits of an MV, nothing known of settling times.
    """
    if signal not in SIGNALS:
        raise QuestionError.at(("signal",), f"'{signal}' is none of {', '.join(SIGNALS)}{near(signal, SIGNALS)}")
    names = [tag.name for tag in plant.mvs] if mvs is None else list(mvs)
    tags = [_mv(plant, name) for name in names]
    if not tags or len(set(names)) < len(names):
        raise QuestionError.at(("mvs",), "name one MV or more, each once")
    settling = _settling(names, settling_s, twin)
    slowest, period = max(settling.values()), plant.sample_period_s
    rows = math.ceil((length_s or (LENGTH + 1) * slowest) / period)
    if rows > MAX_ROWS or rows * period < 4 * slowest:
        raise QuestionError.at(
            ("length_s",), f"{rows} rows: at most {MAX_ROWS}, and 4 settling times, {4 * slowest:g} s, at least"
        )
    envelopes = {tag.name: _envelope(tag, (limits or {}).get(tag.name), period) for tag in tags}
    wished = _amplitudes(tags, amplitude or {}, twin)
    rng = np.random.default_rng(seed)
    quiet = math.ceil(slowest / period)  # rows at the end in which nothing moves, so that the last switch shows
    signs = _gbn(settling, period, rows - quiet, rng) if signal == "gbn" else _prbs(settling, period, rows - quiet)

    def scaled(share: float) -> dict[str, np.ndarray]:
        moves = {tag.name: np.full(rows, present[tag.name]) for tag in plant.mvs}
        for name, sign in zip(names, signs, strict=True):
            low, high = _levels(present[name], share * wished[name][0], envelopes[name])
            asked = np.full(rows, present[name])
            asked[: len(sign)] = np.where(sign > 0, high, low)
            moves[name] = strict(asked, present[name], envelopes[name])
        return moves

    share, cvs, notes = 1.0, dict[str, tuple[float, float]](), list[str]()
    if twin is not None and history is not None:
        share, cvs, notes = _kept(twin, history, scaled, limits or {})
    moves = scaled(share)
    told = {n: _told(moves[n], present[n], settling[n], period, wished[n][1], share) for n in names}
    notes += [f"{n} has no room to move between its limits" for n in names if not np.ptp(moves[n])]
    correlation = _correlation(np.stack([moves[n] for n in names]), quiet)
    times = pd.date_range(at, periods=rows + 1, freq=pd.Timedelta(seconds=period))[1:]
    return StepTest(signal, times, moves, told, correlation, cvs, tuple(notes))


def _mv(plant: Plant, name: str) -> Tag:
    tag = plant.tag(name)
    if tag.role is not Role.MV:
        raise QuestionError.at(("mvs", name), f"{name} is a {tag.role.upper()}, no MV")
    if tag.low is None or tag.high is None:
        raise QuestionError.at(("mvs", name), f"{name} needs low and high for a step test")
    return tag


def _settling(names: Sequence[str], given: float | Mapping[str, float] | None, twin: Twin | None) -> dict[str, float]:
    """MV → how long its slowest effect takes to settle."""
    known = dict(given) if isinstance(given, Mapping) else {} if given is None else dict.fromkeys(names, given)
    for name, value in known.items():
        if not (math.isfinite(value) and value > 0):
            raise QuestionError.at(("settling_s", name), "must be a positive number of seconds")
    if twin is not None and not set(names) <= set(known):
        shown = twin.card.get("step_responses") or step_responses(twin)
        for name, of_mv in shown["settling_times_s"].items():
            found = [settled["mean"] for settled in of_mv.values() if settled]
            known.setdefault(name, max(found, default=twin.horizon_s))
    unknown = [name for name in names if name not in known]
    if unknown:
        msg = f"how long do the effects of {', '.join(unknown)} take to settle? Give settling_s, or train a twin"
        raise QuestionError.at(("settling_s",), msg)
    return {name: known[name] for name in names}


def _envelope(tag: Tag, limits: Limits | None, period_s: float) -> Envelope:
    whole = Envelope.of(tag, period_s)
    low, high = limits or (None, None)
    low = whole.low if low is None else max(low, whole.low)
    high = whole.high if high is None else min(high, whole.high)
    if not low < high:
        raise QuestionError.at(("limits", tag.name), f"leave nothing between {low:g} and {high:g}")
    return Envelope(low, high, whole.rate_per_s, period_s)


def _amplitudes(tags: Sequence[Tag], given: Mapping[str, float], twin: Twin | None) -> dict[str, tuple[float, str]]:
    """MV → how far up and down it should go, and why."""
    found = {}
    for tag in tags:
        found[tag.name] = (SHARE * _range(tag), f"{SHARE:.0%} of its range")
        if twin is not None and "backtest" in twin.card:
            found[tag.name] = _visible(tag, twin) or found[tag.name]
        if tag.name in given:
            if not (math.isfinite(given[tag.name]) and given[tag.name] > 0):
                raise QuestionError.at(("amplitude", tag.name), "must be a positive number")
            found[tag.name] = (given[tag.name], "as asked")
    return found


def _visible(tag: Tag, twin: Twin) -> tuple[float, str] | None:
    """How far an MV must move for the CV it moves best to show it; None where the twin knows no effect."""
    gains = (twin.card.get("step_responses") or step_responses(twin))["gains"].get(tag.name, {})
    rmse = {name: cv["rmse"]["twin"] for name, cv in twin.card["backtest"]["cvs"].items()}
    noise = {name: next((error for error in errors if error > 0), 0.0) for name, errors in rmse.items()}  # 0: no value
    seen = [(abs(gain["mean"]) / noise[cv], cv) for cv, gain in gains.items() if gain and noise[cv] > 0]
    strength, cv = max(seen, default=(0.0, ""))
    if strength <= 0:
        return None
    wanted, span = VISIBLE / strength, _range(tag)
    size = min(max(wanted, SHARE / 10 * span), 2 * SHARE * span)
    return size, f"moves {cv} by {VISIBLE * size / wanted:.3g} times its noise"


def _range(tag: Tag) -> float:
    low, high = tag.low, tag.high
    return math.inf if low is None or high is None else high - low  # `_mv` has refused the first


def _levels(present: float, amplitude: float, envelope: Envelope) -> tuple[float, float]:
    """Two levels an amplitude from the present, pushed back inside the limits where it lies near one."""
    low, high = present - amplitude, present + amplitude
    if high > envelope.high:
        low, high = low - (high - envelope.high), envelope.high
    elif low < envelope.low:
        low, high = envelope.low, high + (envelope.low - low)
    return max(low, envelope.low), min(high, envelope.high)


def _gbn(settling: Mapping[str, float], period_s: float, rows: int, rng: np.random.Generator) -> np.ndarray:
    """(MVs, rows) of ±1: the draw of each MV that correlates least with those before it, and is balanced."""
    chosen: list[np.ndarray] = []
    for settling_s in settling.values():
        least = max(round(SHORTEST * settling_s / period_s), 1)
        chance = min(least * period_s / (MEAN * settling_s), 0.5)
        draws = [_binary(rows, least, chance, rng) for _ in range(DRAWS)]
        lags = math.ceil(settling_s / period_s)
        worst = [abs(d.mean()) + max((_across(d, c, lags) for c in chosen), default=0.0) for d in draws]
        chosen.append(draws[int(np.argmin(worst))])
    return np.stack(chosen)


def _binary(rows: int, least: int, chance: float, rng: np.random.Generator) -> np.ndarray:
    """(rows,) that may switch every `least` rows, each time with that chance."""
    slots = -(-rows // least)
    switched = rng.random(slots) < chance
    sign = rng.choice([-1.0, 1.0]) * (-1.0) ** np.cumsum(switched)
    return np.repeat(sign, least)[:rows]


def _prbs(settling: Mapping[str, float], period_s: float, rows: int) -> np.ndarray:
    """(MVs, ≤ rows) of ±1: whole periods of one sequence of maximal length, shifted alike from MV to MV."""
    clock = max(round(CLOCK * max(settling.values()) / period_s), 1)
    apart = math.ceil(1 / CLOCK) + 1  # clocks: more than a settling time
    order = max((n for n in TAPS if 2**n - 1 <= rows / clock), default=0)
    if 2**order - 1 < apart * len(settling):
        least = apart * len(settling) * clock * period_s
        raise QuestionError.at(
            ("length_s",), f"too short to shift a PRBS for each MV: {least:g} s or more, or ask for gbn"
        )
    sequence = _maximal(order)
    shift, periods = len(sequence) // len(settling), int(rows / clock) // len(sequence)
    return np.stack([np.tile(np.repeat(np.roll(sequence, -i * shift), clock), periods) for i in range(len(settling))])


def _maximal(order: int) -> np.ndarray:
    """(2^order − 1,) of ±1 from a shift register with feedback."""
    register, out = [1] * order, np.empty(2**order - 1)
    for i in range(len(out)):
        out[i] = 2 * register[-1] - 1
        register = [register[-1] ^ register[TAPS[order] - 1], *register[:-1]]
    return out


def _kept(
    twin: Twin, history: Telemetry, scaled: Scaled, limits: Mapping[str, Limits]
) -> tuple[float, dict[str, tuple[float, float]], list[str]]:
    """The share of the amplitudes that keeps every CV limit as the twin foresees it, where the CVs go, and notes."""
    names = [tag.name for tag in twin.plant.cvs]
    bounds = np.array([_bounds(tag, limits.get(tag.name)) for tag in twin.plant.cvs])
    reach = _Reach(twin, history, scaled)
    outside = _beyond(reach(0.0), bounds)
    ends = reach(1.0)
    tight = _beyond(ends, bounds) & ~outside
    lies = "already lies too near its limits to keep them by smaller moves"
    notes = [f"{name} {lies}" for name, out in zip(names, outside, strict=True) if out]
    share = 1.0
    if tight.any():
        share, failed = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (share + failed) / 2
            fits = not (_beyond(reach(middle), bounds) & ~outside).any()
            share, failed = (middle, failed) if fits else (share, middle)
        ends = reach(share)
        kept = ", ".join(name for name, held in zip(names, tight, strict=True) if held)
        notes.append(f"moves were made smaller, to {share:.0%}, to keep the limits of {kept}")
    return share, {name: (float(low), float(high)) for name, (low, high) in zip(names, ends, strict=True)}, notes


class _Reach:
    """How far the CVs go, (CVs, 2): their present mean, the response to the moves, and the band of the noise.

    What the plant would do without moves counts as standing still: over a whole test no free run foresees it.
    """

    def __init__(self, twin: Twin, history: Telemetry, scaled: Scaled) -> None:
        windows, whole = recent_windows(twin, history)
        self._twin, self._scaled = twin, scaled
        correction = jnp.asarray(twin.corrections)
        self._forecast = jax.jit(forecaster(twin.dynamics, windows, jnp.asarray(whole), correction))
        rows = len(next(iter(scaled(0.0).values())))
        self._held = np.tile(twin.scaler.w_out(windows.w[-1, -1]), (rows, 1))
        self._now = twin.scaler.y_out(windows.y[-1].mean(axis=0))
        self._rest = np.asarray(self._forecast(twin.scaler.w_in(self._held)), np.float64)
        band = twin.calibration.bands.interval(COVERAGE, twin.horizon)
        self._band = [part[-1] * twin.scaler.y_scale for part in band]

    def __call__(self, share: float) -> np.ndarray:
        w = self._held.copy()
        for i, values in enumerate(self._scaled(share).values()):
            w[:, i] = values
        moved = np.asarray(self._forecast(self._twin.scaler.w_in(w)), np.float64)
        change = (moved - self._rest) * self._twin.scaler.y_scale
        low = self._now + np.minimum(change.min(axis=0), 0) + self._band[0]
        return np.stack([low, self._now + np.maximum(change.max(axis=0), 0) + self._band[1]], axis=1)


def _beyond(ends: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(CVs,) bool: which leave their bounds (CVs, 2)."""
    return (ends[:, 0] < bounds[:, 0]) | (ends[:, 1] > bounds[:, 1])


def _bounds(tag: Tag, asked: Limits | None) -> tuple[float, float]:
    low, high = asked or (None, None)
    lows = [v for v in (tag.limit_low, low) if v is not None]
    highs = [v for v in (tag.limit_high, high) if v is not None]
    return max(lows, default=-math.inf), min(highs, default=math.inf)


def _told(moves: np.ndarray, present: float, settling_s: float, period_s: float, why: str, share: float) -> Moving:
    target = np.sign(np.diff(moves, prepend=present))
    moving = target[target != 0]
    switches = int((np.diff(moving) != 0).sum()) + int(len(moving) > 0)
    smaller = "" if share == 1 else f"; made smaller, to {share:.0%}, for CV limits"
    length = len(moves) * period_s
    return Moving(
        float(moves.min()), float(moves.max()), settling_s, length / max(switches, 1), switches, f"{why}{smaller}"
    )


def _across(a: np.ndarray, b: np.ndarray, lags: int) -> float:
    """The greatest correlation, by magnitude, of two signals up to so many rows apart."""
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    if not size:
        return 0.0
    n = 1 << (2 * len(a) - 1).bit_length()
    across = np.fft.irfft(np.fft.rfft(a, n) * np.conj(np.fft.rfft(b, n)), n)
    near_zero = np.r_[across[: lags + 1], across[n - lags :]]
    return float(np.abs(near_zero).max() / size)


def _correlation(moves: np.ndarray, lags: int) -> float:
    pairs = [(a, b) for i, a in enumerate(moves) for b in moves[:i]]
    return max((_across(a, b, lags) for a, b in pairs), default=0.0)
