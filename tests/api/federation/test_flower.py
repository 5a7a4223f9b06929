"""A real federation: Flower's SuperLink and SuperNodes as processes on the loopback, with TLS and keys of sites."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from api.federation import environment, server, site
from api.federation.settings import ServerFile, SiteFile, read
from twin.errors import FederationError
from twin.federation.consensus import Rule
from twin.federation.rounds import Policy, Standing, advance
from twin.federation.site import Asked, Site
from twin.federation.telemetry import resampled
from twin.fleet.common import Common, Unit
from twin.plant import Plant

NAMES = ("north", "south", "west")
ROUNDS, STEPS = 2, 0
SERVER = """
[server]
port = {port}
folder = "server"
flower = "{flower}"
[sites]
north = "keys/north.pub"
south = "keys/south.pub"
west = "keys/west.pub"
east = "keys/east.pub"
[rounds]
rule = "easgd"
count = {rounds}
steps = {steps}
wait_s = {wait_s}
{more}
[model]
sample_period_s = 10
history = 8
horizon = 6
tags = [{{name = "valve", role = "mv", unit = "%"}}, {{name = "level", role = "cv", unit = "m"}}]
"""
SITE = """
[site]
name = "{name}"
server = "127.0.0.1:{port}"
key = "keys/{key}.key"
folder = "{name}"
flower = "{flower}"
plant = "{name}.json"
telemetry = ["{name}.csv"]
{more}
[tags]
valve = "{valve}"
level = "{level}"
"""


@pytest.fixture(scope="session")
def flower(pytestconfig: pytest.Config) -> Path:
    """Flower's environment, made once and kept in pytest's cache."""
    assert pytestconfig.cache is not None
    folder = Path(pytestconfig.cache.mkdir("flower"))
    try:
        return environment.python(None, folder).parent.parent
    except (FederationError, subprocess.TimeoutExpired, OSError) as error:
        pytest.skip(f"no environment with Flower can be made: federation over a network was not tested ({error})")


def write_site(folder: Path, name: str, period_s: float, scale: float, unit: str, tags: tuple[str, str]) -> None:
    """level' = 0.8 level + gain · valve each 10 s, in the site's own tags, unit and sample period."""
    rng = np.random.default_rng(len(name) + ord(name[0]))
    rows, every = 200, round(10 / period_s)
    valve = np.repeat(rng.uniform(20, 80, rows // 10), 10)
    level = np.full(rows, 2.0)
    for row in range(1, rows):
        level[row] = 0.8 * level[row - 1] + 0.01 * valve[row] + 0.01 * rng.standard_normal()
    frame = pd.DataFrame({tags[0]: np.repeat(valve, every), tags[1]: np.repeat(level * scale, every)})
    frame.insert(0, "time", pd.date_range("2026-01-01", periods=len(frame), freq=f"{period_s}s", tz="UTC"))
    frame.to_csv(folder / f"{name}.csv", index=False)
    plant = {
        "name": name,
        "sample_period_s": period_s,
        "tags": [{"name": tags[0], "role": "mv", "unit": "%"}, {"name": tags[1], "role": "cv", "unit": unit}],
    }
    (folder / f"{name}.json").write_text(json.dumps(plant))


TAGS = {"north": ("valve", "level"), "south": ("FCV-7", "LI-101"), "west": ("HV1", "LT1"), "east": ("valve", "level")}


@pytest.fixture
def folder(tmp_path: Path, flower: Path) -> Path:
    """Keys and telemetry of four sites: metres, millimetres, twice as fast, and one that measures a pressure."""
    hosts, sites = "localhost", "north,south,west,east,stranger"
    subprocess.run([flower / "bin/python", environment.FLOWER / "keys.py", tmp_path / "keys", hosts, sites], check=True)
    write_site(tmp_path, "north", 10.0, 1.0, "m", TAGS["north"])
    write_site(tmp_path, "south", 10.0, 1000.0, "mm", TAGS["south"])
    write_site(tmp_path, "west", 5.0, 1.0, "m", TAGS["west"])
    write_site(tmp_path, "east", 10.0, 1.0, "bar", TAGS["east"])
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def site_file(folder: Path, flower: Path, port: int, name: str, key: str = "", more: str = "") -> SiteFile:
    path = folder / f"{name}.toml"
    valve, level = TAGS[name]
    asked = {"name": name, "key": key or name, "port": port, "flower": flower, "valve": valve, "level": level}
    path.write_text(SITE.format(**asked, more=more))
    return read(path, SiteFile)


def server_file(folder: Path, flower: Path, port: int, more: str = "", wait_s: float = 60.0) -> ServerFile:
    path = folder / "fed.toml"
    path.write_text(SERVER.format(port=port, flower=flower, rounds=ROUNDS, steps=STEPS, wait_s=wait_s, more=more))
    return read(path, ServerFile)


class Joined:
    """Sites that take part, each by a thread of ours and a SuperNode of its own."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self._threads: dict[str, threading.Thread] = {}

    def once(self, sites: list[SiteFile]) -> Callable[[str], None]:
        """To be told what the server says: the sites join when it is there."""

        def say(_: str) -> None:
            while sites:
                self.join(sites.pop())

        return say

    def join(self, told: SiteFile) -> None:
        said = self.lines.setdefault(told.site.name, [])
        thread = threading.Thread(target=self._run, args=(told, said.append), daemon=True)
        self._threads[told.site.name] = thread
        thread.start()

    @staticmethod
    def _run(told: SiteFile, say: Callable[[str], None]) -> None:
        try:
            site.join(told, say)
        except FederationError as error:
            say(f"ended: {error.detail}")

    def wait(self) -> None:
        """Until the sites of the roster have ended; a stranger goes on asking."""
        for name in NAMES:
            self._threads[name].join(60)


def in_process(folder: Path, told: ServerFile, names: tuple[str, ...]) -> np.ndarray:
    """The consensus of the same rounds without a network."""
    shape, rule = told.model.shape(), Rule("easgd")
    sites = []
    for name in names:
        plant = Plant.from_json(json.loads((folder / f"{name}.json").read_text()))
        rows = resampled(plant, site.frame(plant, (folder / f"{name}.csv",)), 10.0)
        unit = Unit.of(shape, rows, dict(zip(("valve", "level"), TAGS[name], strict=True)))
        sites.append(Site(name, Common.fresh(shape), unit))
    standing = Standing(0, Common.fresh(shape).vector().astype(np.float64))
    policy = Policy(tuple(sorted(told.sites)), rule)
    for number in range(ROUNDS):
        sent = standing.consensus.astype(np.float32)
        updates = [one.answer(sent, Asked(number, rule, 4, STEPS)) for one in sites]
        standing, _ = advance(standing, updates, policy)
    return standing.consensus


def test_three_sites_agree_and_a_fourth_with_clashing_units_is_named(folder: Path, flower: Path):
    port, joined = free_port(), Joined()
    told = server_file(folder, flower, port)
    found = server.serve(told, joined.once([site_file(folder, flower, port, name) for name in (*NAMES, "east")]))
    joined.wait()
    records = found.card["rounds"]
    assert [record["taken"] for record in records] == [list(NAMES)] * ROUNDS
    assert "'level' is in bar, the fleet's in m" in records[0]["refused"]["east"]
    assert records[0]["refused"]["east"].startswith("east")
    np.testing.assert_allclose(found.vector, in_process(folder, told, NAMES), atol=1e-5)
    kept = server.load(folder / "north" / server.CONSENSUS)  # what a site keeps is what the server has
    np.testing.assert_array_equal(kept.vector, found.vector)


def test_secure_aggregation_counts_sites_it_does_not_see_and_strangers_stay_outside(folder: Path, flower: Path):
    port, joined = free_port(), Joined()
    told = server_file(folder, flower, port, 'secure = true\naggregate = "mean"\nclip = 2.0', wait_s=40.0)
    rounds = told.rounds.model_copy(update={"count": 1})
    told = told.model_copy(update={"sites": {name: told.sites[name] for name in NAMES}, "rounds": rounds})
    sites = [site_file(folder, flower, port, name, more="secure = true") for name in NAMES]
    stranger = site_file(folder, flower, port, "east", key="stranger")
    found = server.serve(told, joined.once([*sites, stranger]))
    joined.wait()
    assert [record["counted"] for record in found.card["rounds"]] == [3]
    assert found.card["rounds"][0]["norms"] == {}
    assert any("Failed to activate SuperNode" in line for line in joined.lines["east"])
    assert not any(line.startswith("round") for line in joined.lines["east"])
