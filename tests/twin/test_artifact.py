"""A twin comes back from disk as it was, and nothing else comes back at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.twin.conftest import history_of
from twin.artifact import MANIFEST, WEIGHTS, Twin, load, save
from twin.errors import ArtifactError
from twin.predict import Scenario, forecast
from twin.timeline import Step

ROOT = Path(__file__).parents[2]
ASK = [Scenario("up", moves={"flow": [Step(0.0, 45.0)]})]


@pytest.fixture
def folder(hand_made: Twin, tmp_path: Path) -> Path:
    save(hand_made, tmp_path / "twin")
    return tmp_path / "twin"


def test_a_loaded_twin_answers_the_same_to_the_last_bit_in_another_process(hand_made: Twin, folder: Path) -> None:
    here = forecast(hand_made, history_of(40.0, 51.0), 200.0, ASK).scenarios[0].cvs["temperature"].mean
    script = (
        "import sys; from pathlib import Path; from tests.twin.conftest import history_of;"
        "from twin.artifact import load; from twin.predict import Scenario, forecast; from twin.timeline import Step;"
        "ask = [Scenario('up', moves={'flow': [Step(0.0, 45.0)]})];"
        "answer = forecast(load(Path(sys.argv[1])), history_of(40.0, 51.0), 200.0, ask);"
        "print(answer.scenarios[0].cvs['temperature'].mean.tobytes().hex())"
    )
    there = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True, cwd=ROOT)
    assert bytes.fromhex(there.stdout.strip()) == here.tobytes()


def test_everything_comes_back(hand_made: Twin, folder: Path) -> None:
    again = load(folder)
    assert (again.id, again.plant, again.history, again.horizon) == ("by-hand", hand_made.plant, 4, 20)
    assert np.array_equal(again.calibration.bands.quantiles, hand_made.calibration.bands.quantiles)
    assert np.array_equal(again.seen.still, hand_made.seen.still)
    assert np.array_equal(again.reference.w, hand_made.reference.w)


def test_a_twin_is_never_overwritten(hand_made: Twin, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="never overwritten"):
        save(hand_made, folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match="checksum"):
        load(folder)


def test_an_altered_manifest_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["plant"]["tags"][0]["high"] = 1000.0  # a wider limit than the plant's
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="checksum"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x80\x04pickle", b'{"format": 99}'])
def test_foreign_content_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError):
        load(folder)


def test_a_twin_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        load(tmp_path / "nowhere")
