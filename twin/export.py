"""Export: a twin as compiled functions that run where none of this library is installed.

`jax.export` writes encode and rollout as StableHLO, the weights inside, for any number of scenarios and rows, on CPU,
CUDA and TPU; a manifest says what goes in and out, and `exported.py`, a copy of `twin.exported`, asks them.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin, libraries
from twin.dynamics.ensemble import State
from twin.dynamics.offset_free import CALM, ROWS, OffsetFree, estimate
from twin.rollout import rollout
from twin.windows import Window

FORMAT = 1
PLATFORMS = ("cpu", "cuda", "tpu")
LOADER = Path(__file__).with_name("exported.py")


def export(twin: Twin) -> bytes:
    """A zip archive: manifest.json, encode.bin, rollout.bin, arrays.npz (scales and bands), exported.py.

    encode: (R, CVs), (R, inputs), (R, CVs) float32 and a count → a state (a tuple of arrays), R = `rows_used`; the
        count is that of the rows that are history, the others before them are padding.
    rollout: a state and inputs (scenarios, K, inputs) → (scenarios, K, CVs): as `predict` forecasts them.
    Both in model units, (value − mean) / scale.
    """
    rows, cvs, inputs = twin.history + ROWS, len(twin.plant.cvs), len(twin.plant.inputs)
    f32 = jnp.float32
    history = [jax.ShapeDtypeStruct((rows, n), f32) for n in (cvs, inputs, cvs)]
    encode = _encode(twin)
    encoded = jax.export.export(jax.jit(encode), platforms=PLATFORMS)(*history, jax.ShapeDtypeStruct((), jnp.int32))
    state = jax.eval_shape(encode, *history, jax.ShapeDtypeStruct((), jnp.int32))
    b, k = jax.export.symbolic_shape("b, k")
    planned = jax.ShapeDtypeStruct((b, k, inputs), f32)
    rolled = jax.export.export(jax.jit(_rollout(twin)), platforms=PLATFORMS)(state, planned)
    files = {
        "encode.bin": bytes(encoded.serialize()),
        "rollout.bin": bytes(rolled.serialize()),
        "arrays.npz": _arrays(twin),
        "exported.py": LOADER.read_bytes(),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files["manifest.json"] = json.dumps(_manifest(twin, rows, digests), indent=1, allow_nan=False).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _encode(twin: Twin) -> Any:
    """(rows, their count) → (x, z, n, p, drifts of them, bias, last window), as `forecasting.forecaster` begins."""
    dynamics, L = twin.dynamics, twin.history

    def encode(y: jax.Array, w: jax.Array, mask: jax.Array, count: jax.Array) -> tuple[jax.Array, ...]:
        at = np.arange(ROWS + 1)[:, None] + np.arange(L)
        windows = Window(y[at], w[at], mask[at])  # type: ignore[arg-type]
        whole = (jnp.arange(ROWS, -1, -1) <= count - L).astype(jnp.float32)
        model, state = estimate(
            dynamics, windows, whole, lambda p: dynamics.begin(p, jnp.asarray(p.w)[-1:]), CALM, filter_gain=1
        )
        decay = CALM ** jnp.arange(len(whole) - 1, -1, -1, dtype=jnp.float32)
        kept = model.scaled((decay @ whole) / decay.sum())
        drift = kept.drift
        return (*_parts(state), *_parts(drift), kept.bias, y[-L:], w[-L:])

    return encode


def _rollout(twin: Twin) -> Any:
    dynamics, (inside, outside) = twin.dynamics, twin.correction

    def roll(state: tuple[jax.Array, ...], planned: jax.Array) -> jax.Array:
        *both, bias, y, past = state
        now, drift = _state(both[:4], jnp.ones(())), _state(both[4:], jnp.zeros(()))
        model = OffsetFree(dynamics, drift, bias)
        window = Window(y, past, jnp.ones_like(y))  # type: ignore[arg-type]

        def one(w: jax.Array) -> jax.Array:
            gate = dynamics.region.gate(window, w)
            return rollout(model.scaled(outside + gate * (inside - outside)), now._replace(gate=gate), w)

        return jax.vmap(one)(planned)

    return roll


def _parts(state: State) -> tuple[jax.Array, ...]:
    return state.x, state.z, state.n, state.p


def _state(parts: Sequence[jax.Array], gate: jax.Array) -> State:
    x, z, n, p = parts
    return State(x, z, gate, n, p)


def _arrays(twin: Twin) -> bytes:
    bands = twin.calibration.bands
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, levels=bands.levels, quantiles=bands.quantiles, **vars(twin.scaler))
    return out.getvalue()


def _manifest(twin: Twin, rows: int, digests: dict[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "twin": twin.id,
        "plant": twin.plant.to_json(),
        "inputs": [tag.name for tag in twin.plant.inputs],
        "cvs": [tag.name for tag in twin.plant.cvs],
        "sample_period_s": twin.plant.sample_period_s,
        "history_rows": twin.history,
        "rows_used": rows,
        "horizon_rows": twin.horizon,
        "trained_range": {
            tag.name: [float(low), float(high)]
            for tag, low, high in zip(twin.plant.inputs, twin.seen.low, twin.seen.high, strict=True)
        },
        "functions": {
            "encode.bin": "y (R, CVs), w (R, inputs), mask (R, CVs) float32, count int32 -> state; R = rows_used",
            "rollout.bin": "state, w (scenarios, K, inputs) float32 -> y (scenarios, K, CVs)",
        },
        "units": "model units: (value - mean) / scale, of arrays.npz; a row's inputs act on that row's CVs",
        "platforms": list(PLATFORMS),
        "libraries": libraries(),
        "sha256": digests,
    }
