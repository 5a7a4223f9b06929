"""The table `control`: what is refused, with its line, and which limits are in force."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.control.configuration import Configuration, problems
from api.control.settings import Settings
from api.control.start import configured, control
from connectors.config import load
from connectors.errors import ConfigError
from tests.control.support import PLANT, SETTINGS

FILE = """plant = "heater"
[[sources]]
kind = "opcua"
url = "opc.tcp://localhost:4840"
[sources.tags]
flow = "ns=2;s=flow"
steam = "ns=2;s=steam"
ambient = "ns=2;s=ambient"
temperature = "ns=2;s=temperature"
level = "ns=2;s=level"
"flow.mode" = "ns=2;s=flow.mode"
[[sinks]]
kind = "opcua"
url = "opc.tcp://localhost:4840"
[sinks.tags]
flow = "ns=2;s=flow"
[control]
horizon_s = 200
[control.setpoints]
temperature = {value = 80}
[control.mvs.flow]
mode_tag = "flow.mode"
"""


def of(tmp_path: Path, text: str) -> Configuration:
    path = tmp_path / "plant.toml"
    path.write_text(text)
    return configured(load(path, {}), PLANT)


def test_a_whole_file(tmp_path: Path) -> None:
    configuration = of(tmp_path, FILE)
    assert configuration.settings.closed_loop_allowed is False
    assert configuration.settings.start_mode == "shadow"
    assert configuration.extra_tags == ("flow.mode",)
    assert configuration.write_within_s == 5.0
    flow, steam = configuration.mvs
    assert (flow.low, flow.high, flow.rate_per_s, flow.tolerance) == (0.0, 100.0, 0.5, 0.1)
    assert not steam.moved
    critical = {asked.name: asked.critical for asked in configuration.inputs}
    assert critical == {"flow": False, "steam": False, "ambient": False, "temperature": True, "level": False}


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("horizon_s = 200", "horizon_s = -1", 18, "greater than 0"),
        ("horizon_s = 200", 'horizon_s = 200\nstart_mode = "closed"', 19, "'off', 'shadow' or 'advisory'"),
        ("horizon_s = 200", "horizon_s = 200\nhorizn = 1", 19, "unknown key"),
        ("temperature = {value = 80}", "temprature = {value = 80}", 20, "did you mean temperature"),
        ("temperature = {value = 80}", "flow = {value = 80}", 20, "is no CV"),
        ('mode_tag = "flow.mode"', "high = 101.0", 22, "outside the plant's limits, 0 to 100"),
        ('mode_tag = "flow.mode"', "rate_per_s = 0.6", 22, "faster than the plant's limit, 0.5"),
        ('mode_tag = "flow.mode"', "safe = 101.0", 22, "101 is outside its limits, 0 to 100"),
        ("horizon_s = 200", "horizon_s = 200\npermissives = {switch = 1}", 17, "no source has 'switch'"),
        ("horizon_s = 200", "horizon_s = 200\nwrite_within_s = 11", 19, "longer than the sample period"),
        (
            "horizon_s = 200",
            'horizon_s = 200\nclosed_loop_allowed = true\nwatchdog = {tag = "beat"}',
            17,
            "no sink has 'beat'",
        ),
        ("horizon_s = 200", 'horizon_s = 200\nwatchdog = {tag = "level"}', 19, "one of its own"),
        ("[control.setpoints]\ntemperature = {value = 80}", "", 17, "nothing to control"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    assert old in FILE
    with pytest.raises(ConfigError, match=told) as refused:
        of(tmp_path, FILE.replace(old, new))
    assert line in [fault.line for fault in refused.value.faults]


async def test_what_the_file_alone_shows_is_told_before_anybody_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "plant.toml"
    path.write_text(FILE.replace("horizon_s", "horizon") + '[service]\nurl = "http://127.0.0.1:9"\n')  # nobody is there
    with pytest.raises(ConfigError, match=r"plant.toml:18: control.horizon: unknown key"):
        await asyncio.wait_for(control(load(path, {})), 5)


def test_a_file_without_the_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="what is to be controlled"):
        of(tmp_path, FILE.partition("[control]")[0].replace('"flow.mode" = "ns=2;s=flow.mode"\n', ""))


def test_a_safe_value_needs_a_rate_at_which_it_is_reached() -> None:
    tags = tuple(replace(tag, rate_limit_per_s=None) if tag.name == "flow" else tag for tag in PLANT.tags)
    plant = replace(PLANT, tags=tags)
    without = Settings.model_validate({**SETTINGS, "mvs": {"flow": {"safe": 5.0}}})
    assert [(p.loc, "needs a rate limit" in p.msg) for p in problems(plant, without)] == [
        (("mvs", "flow", "safe"), True)
    ]
    given = Settings.model_validate({**SETTINGS, "mvs": {"flow": {"safe": 5.0, "rate_per_s": 0.1}}})
    assert not list(problems(plant, given))


def test_the_plants_rate_holds_where_the_file_gives_none() -> None:
    settings: dict[str, Any] = {**SETTINGS, "mvs": {"steam": {"low": 10.0}}}
    made = Settings.model_validate(settings)
    assert not list(problems(PLANT, made))
    flow, steam = Configuration.of("heater", PLANT, made).mvs
    assert (steam.low, steam.high, steam.rate_per_s) == (10.0, 100.0, 1.0)
    assert not flow.moved
