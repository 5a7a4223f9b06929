"""Vector tags: how they are described, what their branches find, and what a twin does with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twin import artifact
from twin.artifact import Twin
from twin.branches import fit, with_components
from twin.errors import PlantError, TrainingError
from twin.plant import Plant, Role
from twin.plants.nir_reactor import NirReactor
from twin.predict import forecast
from twin.quality import assess
from twin.storage.batch import of_frame
from twin.store import Store
from twin.telemetry import Telemetry
from twin.train import Options
from twin.train import fit as train

BODY = {
    "name": "froth",
    "sample_period_s": 10.0,
    "tags": [
        {"name": "air", "role": "mv", "unit": "m3/h", "low": 0.0, "high": 9.0, "description": ""},
        {"name": "camera", "role": "ov", "unit": "1", "shape": [4, 5], "description": "grey levels"},
        {"name": "grade", "role": "cv", "unit": "%", "description": ""},
    ],
}


def test_a_vector_tag_is_described_whole_and_has_elements() -> None:
    plant = Plant.from_json(BODY)
    assert plant.to_json() == BODY
    assert Plant.from_json(plant.to_json()) == plant
    assert len(plant.names) == 22
    assert plant.vectors == {"camera": tuple(range(1, 21))}
    assert plant.names[1] == "camera[0]"
    assert plant.names[20] == "camera[19]"
    assert [tag.name for tag in plant.cvs] == ["grade"]
    assert [tag.name for tag in plant.inputs] == ["air"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shape": [0, 3]}, "one or two positive whole numbers"),
        ({"shape": []}, "one or two positive whole numbers"),
        ({"shape": [2, 2, 2]}, "one or two positive whole numbers"),
        ({"shape": None}, "one or two positive whole numbers"),
        ({"shape": [2.5]}, "list of whole numbers"),
        ({"shape": "64"}, "list of whole numbers"),
        ({"shape": [200, 200]}, "at most 10000"),
        ({"role": "cv"}, "only a tag of the role ov has a shape"),
    ],
)
def test_what_is_wrong_with_a_vector_tag_is_said_with_its_place(change: dict, why: str) -> None:
    tags = [BODY["tags"][0], {**BODY["tags"][1], **change}, BODY["tags"][2]]
    with pytest.raises(PlantError, match=why) as told:
        Plant.from_json({**BODY, "tags": tags})
    assert told.value.problems[0].loc[:2] == ("tags", 1)


def frames(rows: int, seed: int, noise: float = 0.01) -> tuple[Telemetry, np.ndarray, np.ndarray]:
    """Telemetry of the froth plant: two large patterns that say nothing of the grade and a faint one that does."""
    plant = Plant.from_json(BODY)
    rng = np.random.default_rng(seed)
    patterns = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 3)))[0].T
    amounts = rng.normal(size=(rows, 3)) * [2.0, 1.0, 0.02]
    camera = 5.0 + amounts @ patterns + rng.normal(0.0, noise, (rows, 20))
    grade = 30.0 + 50.0 * amounts[:, 2]
    values = np.column_stack([rng.normal(size=rows), camera, grade])
    times = (10_000_000_000 * np.arange(rows)).view("datetime64[ns]")
    return Telemetry(plant, times, values, np.zeros(rows, np.int64)), patterns, grade


def test_components_are_the_patterns_that_vary_and_the_faint_one_that_a_cv_needs() -> None:
    telemetry, patterns, _ = frames(1500, 1)
    branch = fit(telemetry, "camera")
    assert branch.weights.shape == (20, 3)
    np.testing.assert_allclose(branch.weights.T @ branch.weights, np.eye(3), atol=1e-9)
    large = branch.weights[:, :2]
    np.testing.assert_allclose(np.linalg.norm(patterns[:2] @ large, axis=1), 1.0, atol=1e-3)
    assert abs(patterns[2] @ branch.weights[:, 2]) > 0.95


def test_a_rare_cv_that_the_frames_tell_is_inferred_between_its_measurements() -> None:
    telemetry, _, grade = frames(1500, 2, noise=0.001)
    sparse = telemetry.values.copy()
    sparse[np.arange(len(sparse)) % 15 != 0, 21] = np.nan
    read = with_components(replace(telemetry, values=sparse))
    assert read.plant.branches[0].told == ("grade",)
    assert read.y.shape == (1500, 1 + len(read.plant.components))
    measured = np.isfinite(sparse[:, 21])
    np.testing.assert_array_equal(read.y[measured, 0], grade[measured])
    # a frame's noise of 0.001 along the pattern is 0.05 of the grade, whose own deviation is 1
    assert np.sqrt(np.mean((read.y[~measured, 0] - grade[~measured]) ** 2)) == pytest.approx(0.05, rel=0.2)


def test_a_laboratory_that_never_samples_with_a_frame_is_told_between_two() -> None:
    telemetry, patterns, _ = frames(3000, 6)
    slow = np.sin(np.arange(3000) / 25.0)
    values = telemetry.values.copy()
    values[:, 1:21] = 5.0 + np.outer(slow, patterns[0])
    values[:, 21] = 30.0 + 4.0 * slow
    values[np.arange(3000) % 10 != 0, 1:21] = np.nan
    values[np.arange(3000) % 45 != 4, 21] = np.nan
    read = with_components(replace(telemetry, values=values))
    assert read.plant.branches[0].told == ("grade",)
    at = np.arange(0, 3000, 10)
    np.testing.assert_allclose(read.y[at, 0], 30.0 + 4.0 * slow[at], atol=0.1)
    assert read.plant.components == ()  # most rows are without a frame: it speaks by the grade alone
    assert read.plant.names == telemetry.plant.names


def test_frames_that_come_now_and_then_tell_a_laboratory_that_is_near_one() -> None:
    telemetry, patterns, _ = frames(4000, 7)
    slow = np.sin(np.arange(4000) / 25.0)
    values = telemetry.values.copy()
    values[:, 1:21] = 5.0 + np.outer(slow, patterns[0])
    values[:, 21] = 30.0 + 4.0 * slow
    arrived = np.random.default_rng(8).random(4000) < 0.1
    values[~arrived, 1:21] = np.nan
    values[np.arange(4000) % 45 != 4, 21] = np.nan
    read = with_components(replace(telemetry, values=values))
    assert read.plant.branches[0].told == ("grade",)
    assert read.plant.components == ()
    error = read.y[arrived, 0] - (30.0 + 4.0 * slow[arrived])
    assert np.sqrt(np.mean(error**2)) < 0.4  # of a deviation of 2.8


def test_components_of_rare_frames_that_tell_nothing_are_cvs() -> None:
    telemetry, _, _ = frames(1500, 3)
    telemetry.values[np.arange(1500) % 10 != 0, 1:21] = np.nan
    assert len(with_components(telemetry).plant.components) > 0  # the grade is measured in every row


def test_a_cv_that_the_frames_do_not_tell_is_not_inferred() -> None:
    telemetry, _, _ = frames(1500, 3)
    values = telemetry.values.copy()
    values[:, 21] = np.random.default_rng(9).normal(size=1500)
    values[np.arange(1500) % 15 != 0, 21] = np.nan
    branch = fit(replace(telemetry, values=values), "camera")
    assert branch.told == ()


def test_missing_elements_are_bridged_and_missing_frames_are_missing() -> None:
    telemetry, _, _ = frames(800, 4)
    branch = fit(telemetry, "camera")
    frame = telemetry.values[:3, 1:21].copy()
    whole = branch.read(frame)
    frame[1, :2] = np.nan  # a tenth is gone
    frame[2, :9] = np.nan  # nearly half
    found = branch.read(frame)
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_allclose(found[1], (frame[1, 2:] - branch.mean[2:]) @ branch.weights[2:])
    assert np.isnan(found[2]).all()
    with pytest.raises(TrainingError, match="camera: 3 frames; at least 20"):
        fit(replace(telemetry, values=telemetry.values[:3], times=telemetry.times[:3], run=telemetry.run[:3]), "camera")


def test_quality_speaks_of_a_vector_tag_as_one() -> None:
    telemetry, _, _ = frames(400, 5)
    telemetry.values[100:150, 1:21] = np.nan
    found = assess(telemetry)["tags"]
    assert set(found) == {"air", "camera", "grade"}
    assert found["camera"]["missing_rows"] == 50
    assert found["camera"]["mean"] == pytest.approx(5.0, abs=0.1)


@pytest.fixture(scope="module")
def reactor() -> tuple[Twin, Telemetry, np.ndarray]:
    """A twin of the reactor with a spectrometer, and other telemetry with the true product."""
    plant = NirReactor(laboratory_rows=30)
    twin = train(plant.telemetry(1500, 0)[0], Options(budget_s=4.0))
    return twin, *plant.telemetry(600, 1)


def test_a_twin_knows_from_the_spectrum_what_the_laboratory_has_not_said_yet(
    reactor: tuple[Twin, Telemetry, np.ndarray],
) -> None:
    twin, test, truth = reactor
    assert twin.plant.branches[0].told == ("product",)
    errors, held = [], []
    for end in range(200, 520, 8):
        history = test.rows(slice(0, end + 1))
        answer = forecast(twin, history, 10 * test.plant.sample_period_s)
        errors.append(answer.baseline["product"].mean[0] - truth[end + 1])
        laboratory = test.y[: end + 1, 0]
        held.append(laboratory[np.isfinite(laboratory)][-1] - truth[end + 1])
    assert np.sqrt(np.mean(np.square(errors))) < 0.35 * np.sqrt(np.mean(np.square(held)))


def test_without_laboratory_and_spectrometer_the_last_that_was_known_is_held(
    reactor: tuple[Twin, Telemetry, np.ndarray],
) -> None:
    twin, test, _ = reactor
    values = test.values.copy()
    values[250:, list(test.plant.vectors["spectrum"])] = np.nan
    values[250:, test.plant.column("product")] = np.nan
    assert twin.min_history_rows < 51
    answer = forecast(twin, replace(test, values=values).rows(slice(0, 301)), 200.0)
    assert np.isfinite(answer.baseline["product"].mean).all()
    assert "product" in {reason.tag for reason in answer.trust.reasons if reason.code == "stale"}


@pytest.fixture(scope="module")
def rarely_seen() -> tuple[Twin, Telemetry, np.ndarray]:
    """The same with a spectrum in every tenth row."""
    plant = NirReactor(laboratory_rows=30, frame_rows=10)
    twin = train(plant.telemetry(1500, 0)[0], Options(budget_s=4.0))
    return twin, *plant.telemetry(600, 1)


def test_a_twin_of_rare_frames_forecasts_what_they_tell(
    rarely_seen: tuple[Twin, Telemetry, np.ndarray], tmp_path: Path
) -> None:
    twin, test, truth = rarely_seen
    assert [tag.name for tag in twin.plant.cvs] == [tag.name for tag in test.plant.cvs]
    artifact.save(twin, tmp_path / "twin")
    loaded = artifact.load(tmp_path / "twin")
    assert (loaded.plant.names, loaded.plant.branches[0].told) == (twin.plant.names, ("product",))
    errors, held = [], []
    for end in range(200, 520, 16):
        history = test.rows(slice(0, end + 1))
        answer = forecast(twin, history, 10 * test.plant.sample_period_s)
        again = forecast(loaded, history, 10 * test.plant.sample_period_s)
        np.testing.assert_array_equal(answer.baseline["product"].mean, again.baseline["product"].mean)
        errors.append(answer.baseline["product"].mean[0] - truth[end + 1])
        laboratory = test.y[: end + 1, 0]
        held.append(laboratory[np.isfinite(laboratory)][-1] - truth[end + 1])
    assert np.sqrt(np.mean(np.square(errors))) < 0.6 * np.sqrt(np.mean(np.square(held)))


def test_a_twin_keeps_its_branches_in_its_artifact(reactor: tuple[Twin, Telemetry, np.ndarray], tmp_path: Path) -> None:
    twin, test, _ = reactor
    artifact.save(twin, tmp_path / "twin")
    loaded = artifact.load(tmp_path / "twin")
    assert loaded.plant.names == twin.plant.names
    assert loaded.plant.branches[0].told == ("product",)
    history = test.rows(slice(0, 300))
    ours, theirs = (forecast(one, history, 200.0).baseline["product"].mean for one in (twin, loaded))
    np.testing.assert_array_equal(ours, theirs)


def test_a_spectrometer_that_is_down_is_told_once_and_the_twin_answers_without(
    reactor: tuple[Twin, Telemetry, np.ndarray],
) -> None:
    twin, test, _ = reactor
    values = test.values.copy()
    values[260:, list(test.plant.vectors["spectrum"])] = np.nan
    answer = forecast(twin, replace(test, values=values).rows(slice(0, 301)), 200.0)
    stale = [reason for reason in answer.trust.reasons if reason.code == "stale"]
    assert [reason.tag for reason in stale if reason.tag == "spectrum"] == ["spectrum"]
    assert np.isfinite(answer.baseline["product"].mean).all()


def test_stored_elements_come_back_as_components(reactor: tuple[Twin, Telemetry, np.ndarray], tmp_path: Path) -> None:
    twin, test, _ = reactor
    table = Store(tmp_path).plant("nir")
    table.append(of_frame(test.rows(slice(0, 100)).frame()))
    read = Telemetry.from_frame(twin.plant, table.read(tags=twin.plant.names))
    direct = twin.reads(test.rows(slice(0, 100)))
    np.testing.assert_allclose(read.values, direct.values, equal_nan=True)
    assert [tag.name for tag in read.plant.tags if tag.role is Role.CV][-1].startswith("spectrum#")
    assert pd.Timestamp(read.times[0], tz="UTC") == pd.Timestamp(test.times[0], tz="UTC")
