"""An export, asked in a process in which nothing of this project can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.twin.conftest import history_of
from twin.dynamics.ensemble import jepas
from twin.dynamics.jepa import Sizes
from twin.dynamics.noise import Noise
from twin.export import export
from twin.exported import Exported
from twin.predict import Scenario, forecast
from twin.timeline import Step

ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("twin", "api", "connectors", "flax", "optax", "pandas"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np
from exported import Exported
question = json.loads(open(sys.argv[2]).read())
twin = Exported.load(sys.argv[3])
history = {tag: [np.nan if v is None else v for v in values] for tag, values in question["history"].items()}
two = twin.forecast(history, {"flow": question["flow"]})
one = twin.forecast(history, {"flow": question["flow"][1]})
low, high = twin.band(one)
print(json.dumps({"two": two["temperature"].tolist(), "one": one["temperature"].tolist(),
                  "low": low["temperature"].tolist(), "high": high["temperature"].tolist(),
                  "held": twin.forecast(history, rows=7)["temperature"].tolist()}))
"""


@pytest.fixture(scope="module")
def twin(hand_made):
    """With everything a twin may have: a residual that adds something, modes of a noise model, a correction."""
    members, columns = hand_made.dynamics.members, hand_made.history * 3
    rng = np.random.default_rng(0)
    residuals = jepas(Sizes(1, 2, hand_made.history), members, 0)
    corrects = jnp.asarray(0.05 * rng.standard_normal((members, 64)), jnp.float32)
    residuals.g2.kernel[...] = residuals.g2.kernel[...].at[..., -1].set(corrects)
    decay = jnp.full((members, 2, 1), 0.6)
    noise = Noise(decay, jnp.asarray(0.05 * rng.standard_normal((members, 2, 1, columns)), jnp.float32), 0.0 * decay)
    return replace(
        hand_made, correction=(0.5, 1.0), dynamics=replace(hand_made.dynamics, residuals=residuals, noise=noise)
    )


def test_it_forecasts_as_the_twin_does_without_any_of_its_code(twin, tmp_path):
    rng = np.random.default_rng(1)
    temperature = (50 + rng.normal(size=40)).tolist()
    temperature[30] = float("nan")
    rows = history_of((40 + 3 * rng.normal(size=40)).tolist(), temperature, 40)
    flow = [[45.0] * 20, [40.0 + 0.5 * k for k in range(20)]]
    steps = [[Step(0.0, 45.0)], [Step(10.0 * k, value) for k, value in enumerate(flow[1])]]
    plant = replace(twin.plant, tags=tuple(replace(tag, rate_limit_per_s=None) for tag in twin.plant.tags))
    unlimited = replace(twin, plant=plant)
    apart = forecast(
        unlimited, replace(rows, plant=plant), 200.0, [Scenario(str(i), {"flow": s}) for i, s in enumerate(steps)]
    )
    (tmp_path / "twin.zip").write_bytes(export(twin))
    with zipfile.ZipFile(tmp_path / "twin.zip") as archive:
        archive.extract("exported.py", tmp_path)
        manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["history_rows"], manifest["cvs"], manifest["plant"]["name"]) == (4, ["temperature"], "By hand")
    frame = rows.frame()
    history = {tag: [None if np.isnan(v) else v for v in frame[tag]] for tag in frame}
    (tmp_path / "question.json").write_text(json.dumps({"history": history, "flow": flow}))
    command = [sys.executable, "-c", ASK, *map(str, (tmp_path, tmp_path / "question.json", tmp_path / "twin.zip"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env={"JAX_PLATFORMS": "cpu"}
    )
    answer = json.loads(done.stdout)
    expected = [s.cvs["temperature"] for s in apart.scenarios]
    assert np.abs(expected[0].mean - expected[1].mean).max() > 0.5
    np.testing.assert_allclose(answer["two"], [band.mean for band in expected], rtol=2e-6)
    np.testing.assert_allclose(answer["one"], expected[1].mean, rtol=2e-6)
    np.testing.assert_allclose(answer["low"], expected[1].low, rtol=2e-6)
    np.testing.assert_allclose(answer["high"], expected[1].high, rtol=2e-6)
    np.testing.assert_allclose(answer["held"], apart.baseline["temperature"].mean[:7], rtol=2e-6)


def test_a_damaged_or_foreign_export_is_refused(twin, tmp_path):
    (tmp_path / "twin.zip").write_bytes(export(twin))
    with zipfile.ZipFile(tmp_path / "twin.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with pytest.raises(ValueError, match=r"arrays\.npz is damaged"):
        Exported({**files, "arrays.npz": files["arrays.npz"][:-1] + b"x"})
    manifest = {**json.loads(files["manifest.json"]), "format": 99}
    with pytest.raises(ValueError, match="format 99"):
        Exported({**files, "manifest.json": json.dumps(manifest).encode()})
    loaded = Exported(files)
    with pytest.raises(ValueError, match="3 rows of history; 4 are needed"):
        loaded.forecast({"flow": [40.0] * 3, "ambient": [20.0] * 3, "temperature": [50.0] * 3})
    with pytest.raises(ValueError, match="coverage"):
        loaded.band({"temperature": np.zeros(20)}, 0.9999)
