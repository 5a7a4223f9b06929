"""What a site keeps between its starts: its own parameters, and how much privacy is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from api.federation.settings import SiteFile, read
from api.federation.site import OWN, SPENT, Member
from twin.federation.consensus import Rule
from twin.federation.privacy import promised
from twin.federation.site import Asked
from twin.fleet.common import Common
from twin.fleet.shape import Shape

SHAPE = Shape(("valve",), (), ("level",), ("%", "m"), 10.0, history=8, horizon=6)
PLANT = """{"name": "north", "sample_period_s": 10, "tags": [
    {"name": "valve", "role": "mv", "unit": "%"}, {"name": "level", "role": "cv", "unit": "m"}]}"""
SITE = """
[site]
name = "north"
server = "127.0.0.1:1"
key = "north.key"
plant = "plant.json"
telemetry = ["rows.csv"]
"""


def started(folder: Path, more: str = "") -> Member:
    """The site, started anew."""
    rng = np.random.default_rng(0)
    valve = np.repeat(rng.uniform(-1, 1, 12), 10)
    level = np.convolve(valve, 0.2 * 0.8 ** np.arange(60))[:120]
    rows = [f"2026-01-01T00:{k // 6:02}:{k % 6}0Z,{v},{y}" for k, (v, y) in enumerate(zip(valve, level, strict=True))]
    (folder / "rows.csv").write_text("\n".join(["time,valve,level", *rows]))
    (folder / "plant.json").write_text(PLANT)
    (folder / "site.toml").write_text(SITE + more)
    return Member(read(folder / "site.toml", SiteFile), lambda _: None)


def private(noise: float, epsilon: float) -> str:
    return f"[privacy]\nclip = 0.1\nnoise = {noise}\nepsilon = {epsilon}\n"


def asked(member: Member, rule: str = "fedavg") -> dict[str, Any]:
    """The site's answer to one question."""
    header = {**Asked(0, Rule(rule), 2, 0).to_json(), "shape": SHAPE.to_json(), "seed": 0}
    return member.answer(header, Common.fresh(SHAPE).vector())[0]


def test_less_noise_before_counts_as_what_it_was(tmp_path: Path) -> None:
    """Of noise 1 the first change spends 2: epsilon 11.597. One more at noise 50 spends 0.0008."""
    assert promised(2.0, 1e-5) < 11.598 < promised(2.0008, 1e-5)
    assert asked(started(tmp_path, private(1.0, 11.598))) == {"rows": 0, "loss": None}
    again = asked(started(tmp_path, private(50.0, 11.598)))
    assert "its privacy is used up" in again["refused"]
    assert "rows" in asked(started(tmp_path, private(50.0, 11.7)))


def test_privacy_cannot_begin_behind_changes_without_noise(tmp_path: Path) -> None:
    assert asked(started(tmp_path))["rows"] == 120
    assert "without noise" in asked(started(tmp_path, private(50.0, 10.0)))["refused"]


def test_what_was_spent_is_never_taken_for_nothing(tmp_path: Path) -> None:
    asked(started(tmp_path, private(50.0, 10.0)))
    (tmp_path / "site" / SPENT).write_text("")
    assert "privacy not be counted" in asked(started(tmp_path, private(50.0, 10.0)))["refused"]


def test_a_count_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Ten thousand changes at noise 50 have spent 8."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sent.txt").write_text("10000\n")
    assert promised(8.0008, 1e-5) > 25
    assert "its privacy is used up" in asked(started(tmp_path, private(50.0, 25.0)))["refused"]


def test_a_file_that_was_half_written_when_the_power_failed_does_not_stop_the_site(tmp_path: Path) -> None:
    asked(started(tmp_path), "easgd")
    own = tmp_path / "site" / OWN
    whole = own.read_bytes()
    for left in (b"", whole[:40], whole[:-8]):
        own.write_bytes(left)
        assert asked(started(tmp_path), "easgd")["rows"] == 120
        assert own.read_bytes()[:6] == whole[:6]
        assert len(own.read_bytes()) == len(whole)
