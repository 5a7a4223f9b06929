"""What a federation's files refuse, and where they say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from api.federation.flower import frames
from api.federation.settings import ServerFile, SiteFile, read
from api.federation.site import reason
from twin.errors import FederationError

SERVER = """
[sites]
a = "a.pub"
b = "b.pub"
{more}
[model]
sample_period_s = 10
tags = [{{name = "valve", role = "mv", unit = "%"}}, {{name = "level", role = "cv", unit = "m"}}]
"""


def server(tmp_path: Path, more: str) -> ServerFile:
    path = tmp_path / "fed.toml"
    path.write_text(SERVER.format(more=more))
    return read(path, ServerFile)


def test_paths_are_relative_to_the_file_and_defaults_hold(tmp_path: Path):
    found = server(tmp_path, "")
    assert found.sites["a"] == tmp_path / "a.pub"
    assert found.server.key == tmp_path / "keys" / "server.key"
    assert found.policy().sites == ("a", "b")
    assert found.model.shape().units == ("%", "m")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("[rounds]\nrule = 'gossip'", "no rule 'gossip'"),
        ("[rounds]\naggregate = 'krum'", "krum needs five sites"),
        ("[rounds]\nsecure = true", "three are needed"),
        ("c = 'c.pub'\n[rounds]\nsecure = true\naggregate = 'median'", "compares single changes"),
        ("[rounds]\nstep = 3", "rounds.step: Extra inputs"),
        ("[rounds]\ncount = 0", "rounds.count"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, more: str, why: str):
    with pytest.raises(FederationError, match=why):
        server(tmp_path, more).policy()


def test_a_federation_of_one_site_is_refused(tmp_path: Path):
    path = tmp_path / "fed.toml"
    path.write_text(SERVER.format(more="").replace('b = "b.pub"\n', ""))
    with pytest.raises(FederationError, match="at least 2 sites, and only a can be counted"):
        read(path, ServerFile).policy()


def test_a_site_without_telemetry_is_refused(tmp_path: Path):
    path = tmp_path / "site.toml"
    path.write_text('[site]\nname = "a"\nserver = "h:1"\nkey = "k"\nplant = "p.json"\ntelemetry = []\n')
    with pytest.raises(FederationError, match=r"site\.telemetry"):
        read(path, SiteFile)


def test_the_reason_of_a_refused_connection_is_found_in_what_flower_said():
    said = "Exit Code: 305\n[code: 2004] Failed to activate SuperNode.\nFor more, visit\nFinished server process"
    assert reason(said) == "[code: 2004] Failed to activate SuperNode."
    assert reason("it broke") == "it broke"


def test_frames_survive_a_pipe(tmp_path: Path):
    path = tmp_path / "frames"
    vector = np.arange(5, dtype=np.float32)
    with path.open("wb") as stream:
        frames.write(stream, {"kind": "a", "text": "μ"}, vector)
        frames.write(stream, {"kind": "b"})
    with path.open("rb") as stream:
        header, found = frames.read(stream) or ({}, vector)
        assert header == {"kind": "a", "text": "μ"}
        np.testing.assert_array_equal(found, vector)
        assert (frames.read(stream) or ({}, 0))[0] == {"kind": "b"}
        assert frames.read(stream) is None


@pytest.mark.parametrize("content", [b"\x00", b"\x7f\xff\xff\xff{}", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x03nan"])
def test_what_is_no_frame_is_told(tmp_path: Path, content: bytes):
    path = tmp_path / "frames"
    path.write_bytes(content)
    with path.open("rb") as stream, pytest.raises(frames.FrameError):
        frames.read(stream)


@pytest.mark.parametrize(
    ("text", "vectors"),
    [
        ("[1]", [np.zeros(3)]),
        ("{", [np.zeros(3)]),
        ("[" * 100_000, [np.zeros(3)]),
        ('{"rows": "' + "x" * (1 << 16) + '"}', [np.zeros(3)]),
        ("{}", []),
        ("{}", [np.zeros(3), np.zeros(3)]),
        ("{}", [np.array(["1.0"])]),
        ("{}", [np.zeros(3, np.complex64)]),
    ],
)
def test_what_a_site_sends_that_no_frame_can_carry_is_told(text: str, vectors: list[np.ndarray]):
    with pytest.raises(frames.FrameError):
        frames.answer(text, vectors)


def test_what_a_site_sends_is_a_flat_vector_of_single_precision():
    told, vector = frames.answer('{"rows": 3}', [np.array([[1.0, 2.0], [3.0, 1e300]])])
    assert told == {"rows": 3}
    np.testing.assert_array_equal(vector, np.array([1, 2, 3, np.inf], np.float32))
