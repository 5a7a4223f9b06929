"""Training that is stopped half-way and taken up again ends where training without a stop does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from twin.artifact import Twin
from twin.dynamics.ensemble import arrays
from twin.errors import Cancelled
from twin.plant import Plant, Role, Tag
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.checkpoint import Checkpoint, fingerprint
from twin.training.pace import Progress
from twin.training.residual import CHUNK

PLANT = Plant("Curved", 5.0, (Tag("valve", Role.MV), Tag("level", Role.CV)))
ROWS = 400
BUDGET = Options(horizon_s=40.0, budget_s=32.0, seed=4)  # of a clock that ticks at a look, twice a chunk: 8 chunks
STOPPED = 4 * CHUNK  # the step at which it is stopped


def ticking() -> Callable[[], float]:
    ticks = count()
    return lambda: float(next(ticks))


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    rng = np.random.default_rng(2)
    valve = np.repeat(rng.uniform(-1, 1, ROWS // 5), 5)
    level = np.zeros(ROWS)
    for t in range(1, ROWS):
        level[t] = 0.8 * level[t - 1] + 0.2 * (valve[t] + 2.0 * valve[t] ** 2)
    index = pd.date_range("2026-01-01", periods=ROWS, freq="5s", tz="UTC")
    level += 0.01 * rng.standard_normal(ROWS)
    return Telemetry.from_frame(PLANT, pd.DataFrame({"valve": valve, "level": level}, index=index))


@dataclass(frozen=True)
class Runs:
    whole: Twin
    resumed: Twin
    steps: list[int]
    file: Path


@pytest.fixture(scope="module")
def runs(telemetry: Telemetry, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One training without a stop, and one that was stopped."""
    file = tmp_path_factory.mktemp("job") / "checkpoint.safetensors"

    def stop(progress: Progress) -> None:
        if progress.step == STOPPED:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fit(telemetry, BUDGET, stop, ticking(), Checkpoint(file, every_s=0.0))
    kept = file.read_bytes()
    steps: list[int] = []
    checkpoint = Checkpoint(file, every_s=0.0, resumed=steps.append)
    resumed = fit(telemetry, BUDGET, None, ticking(), checkpoint)
    file.write_bytes(kept)
    return Runs(fit(telemetry, BUDGET, None, ticking()), resumed, steps, file)


def test_it_goes_on_from_the_last_step_kept(runs: Runs) -> None:
    assert runs.steps == [STOPPED - CHUNK]


def test_the_twin_is_the_one_that_no_stop_would_have_given(runs: Runs) -> None:
    whole, resumed = runs.whole.card["training"], runs.resumed.card["training"]
    assert resumed["curve"] == whole["curve"]
    assert (resumed["stopping_step"], resumed["stopped_by"]) == (whole["stopping_step"], "time")
    assert resumed["polynomial"] == whole["polynomial"]
    for name, value in arrays(runs.whole.dynamics).items():
        np.testing.assert_array_equal(arrays(runs.resumed.dynamics)[name], value, err_msg=name)


def test_what_was_spent_stays_spent(runs: Runs) -> None:
    assert len(runs.resumed.card["training"]["curve"]) == len(runs.whole.card["training"]["curve"]) < 20


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:-8] + bytes(8), lambda b: b"", lambda b: b"\x80\x04pickle" + b]
)
def test_a_damaged_checkpoint_is_not_taken_up(
    runs: Runs, tmp_path: Path, telemetry: Telemetry, damage: Callable[[bytes], bytes]
) -> None:
    with safe_open(runs.file, "np") as kept:
        of = json.loads(kept.metadata()["standing"])["of"]
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(damage(runs.file.read_bytes()))
    assert Checkpoint(file).load(of, None) is None  # type: ignore[arg-type]


def test_a_training_is_named_by_all_that_it_depends_on(telemetry: Telemetry) -> None:
    name = fingerprint(telemetry, {"seed": 1})
    changed = telemetry.values.copy()
    changed[7, 1] += 1e-9
    others = [
        fingerprint(telemetry, {"seed": 2}),
        fingerprint(telemetry.rows(slice(1, None)), {"seed": 1}),
        fingerprint(replace(telemetry, values=changed), {"seed": 1}),
        fingerprint(replace(telemetry, plant=replace(PLANT, name="Another")), {"seed": 1}),
    ]
    assert fingerprint(telemetry.rows(slice(None)), {"seed": 1}) == name
    assert name not in others


def test_a_checkpoint_of_another_training_is_not_taken_up(runs: Runs, telemetry: Telemetry) -> None:
    steps: list[int] = []
    checkpoint = Checkpoint(runs.file, resumed=steps.append)

    def stop(progress: Progress) -> None:
        if progress.step:
            raise Cancelled("enough seen")

    with pytest.raises(Cancelled):
        fit(telemetry, replace(BUDGET, seed=5), stop, ticking(), checkpoint)
    assert steps == []
