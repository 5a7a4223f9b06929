"""One file for all: what is wrong in it is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.config import load
from connectors.errors import ConfigError
from connectors.kinds import KINDS, Context, module_of
from connectors.lines import Lines
from connectors.memory import MemoryPlant
from connectors.startup import findings
from tests.connectors.certificates import certificate
from twin.plant import Plant, Role, Tag

PLANT = Plant("Tank", 10.0, (Tag("level", Role.CV, "m"), Tag("flow", Role.MV, "m3/h", 0.0, 10.0)))
GOOD = """
plant = "tank"

[service]
url = "http://127.0.0.1:8000"
key_env = "TWIN_KEY"

[[sources]]
kind = "opcua"
url = "opc.tcp://plc:4840"
username = "reader"
password_env = "PLC"
[sources.tags]
level = {address = "ns=2;s=Level", unit = "cm"}

[[sources]]
kind = "modbus"
host = "plc"
[sources.tags.flow]
address = "holding:10"
type = "float32"
unit = "l/min"

[[sinks]]
kind = "modbus"
host = "plc"
tags = {flow = "holding:20"}

[control]
anything = {goes = true}
"""
SECRETS = {"TWIN_KEY": "key", "PLC": "word"}


def told(tmp_path: Path, text: str) -> list[tuple[int, str]]:
    """The faults of a file: line and text."""
    file = tmp_path / "plant.toml"
    file.write_text(text)
    try:
        faults = tuple(load(file, SECRETS).against(PLANT))
    except ConfigError as error:
        faults = error.faults
    for fault in faults:
        assert f"{file}:{fault.line}: " in ConfigError(file, faults).detail
    return [(fault.line, fault.msg) for fault in faults]


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "plant.toml").write_text(GOOD)
    config = load(tmp_path / "plant.toml", SECRETS)
    assert (config.plant, config.key) == ("tank", "key")
    assert [options.title for options in config.sources] == ["opcua", "modbus"]
    assert config.sources[1].tags["flow"].type == "float32"
    assert config.control == {"anything": {"goes": True}}
    assert list(config.against(PLANT)) == []


@pytest.mark.parametrize(
    ("wrong", "by", "line", "why"),
    [
        ('unit = "cm"', 'unit = "centimetre_s"', 14, "unknown unit 'centimetre_s'"),
        ('unit = "cm"', 'unit = "kg"', 14, "'kg' cannot be converted to 'm': they measure different things"),
        ("level =", "levle =", 14, "the plant 'tank' has no such tag; did you mean level?"),
        ('"ns=2;s=Level"', '"two;s"', 14, "'two;s' is no node id; write such as ns=2;s=Level"),
        ('"float32"', '"float"', 21, "input should be 'int16', 'uint16'"),
        ('address = "holding:10"', 'address = "40010"', 20, "'40010' is no register"),
        ("host =", "hots =", 18, "unknown key"),
        ('kind = "modbus"', 'kind = "modbsu"', 17, "unknown kind 'modbsu'; did you mean modbus?"),
        ('key_env = "TWIN_KEY"', 'key_env = "TWIN_KYE"', 6, "the environment has no TWIN_KYE"),
        ('plant = "tank"', 'plant = "The Tank"', 2, "string should match pattern"),
        ("[service]", "[service", 4, "is no TOML"),
        ('type = "float32"', 'type = "float32"\nscale = 0.0', 22, "a scale of 0 makes every value the same"),
        ('type = "float32"', 'type = "float32"\nscale = "2"', 22, "input should be a valid number"),
        ('tags = {flow = "holding:20"}', 'tags = {flow = "input:x"}', 27, "'input:x' is no register"),
    ],
)
def test_each_fault_has_its_line(tmp_path: Path, wrong: str, by: str, line: int, why: str) -> None:
    assert wrong in GOOD
    found = told(tmp_path, GOOD.replace(wrong, by, 1))
    assert any(at == line and msg.startswith(why) for at, msg in found), found


def test_tags_twice_addresses_twice_and_registers_that_overlap(tmp_path: Path) -> None:
    twice = GOOD.replace(
        'type = "float32"\nunit = "l/min"\n',
        'type = "float32"\n'
        '[sources.tags.level]\naddress = "holding:11"\n'
        '[sources.tags.other]\naddress = "holding:10"\n',
    )
    assert told(tmp_path, twice) == [
        (22, "is mapped in line 14 already"),
        (22, "holding 11 belongs to 'flow' already: the register map overlaps"),
        (24, "has the address of 'flow': 'holding:10'"),
    ]


def test_an_expired_certificate(tmp_path: Path) -> None:
    files = certificate(tmp_path, days=-2)
    text = GOOD.replace(
        'username = "reader"', f'certificate = "{files["certificate"]}"\nprivate_key = "{files["private_key"]}"'
    )
    ((line, msg),) = told(tmp_path, text)
    assert line == 11
    assert "client.pem expired on" in msg


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "opcua", ("no_such_library_at_all", "opcua"))
    ((line, msg),) = told(tmp_path, GOOD)
    assert line == 9
    assert msg == "'opcua' needs an extra: pip install 'plant-twin[opcua]'"


def test_every_kind_has_a_module_with_options() -> None:
    for kind in KINDS:
        module = module_of(kind)
        assert hasattr(module, "SourceOptions"), kind
        assert module.SourceOptions.model_fields["kind"].default == kind
        assert hasattr(module, "SinkOptions") == hasattr(module, "sink"), kind


def test_lines_of_nested_and_quoted_keys() -> None:
    lines = Lines('a.b = 1\n[x."y z"]\nk = 2\n[[l]]\n[l.t]\nq = 1\n[[l]]\n[l.t]\nq = 2\n')
    assert lines.of(("a", "b")) == 1
    assert lines.of(("x", "y z", "k")) == 3
    assert lines.of(("l", 0, "t", "q")) == 6
    assert lines.of(("l", 1, "t", "q")) == 9
    assert lines.of(("l", 1, "t", "unknown")) == 8


async def test_what_the_source_itself_shows_is_told_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plant.toml"
    file.write_text(GOOD)
    config = load(file, SECRETS)
    now = Context().clock.now()
    ahead = MemoryPlant({"level": 1.0, "flow": 2.0})
    ahead.set({"level": 1.0}, time=now + 3_600_000_000_000)
    old = MemoryPlant({"flow": float("nan")})
    old.set({"flow": 2.0}, time=now - 48 * 3_600_000_000_000)
    monkeypatch.setattr(type(config), "source", lambda self, i, plant, context: (ahead, old)[i])
    found = [(fault.line, fault.msg) for fault in await findings(config, PLANT)]
    assert found[0][0] == 9
    assert found[0][1].startswith(("its clock runs 3600 s ahead", "its clock runs 3599 s ahead"))
    assert found[1] == (17, "its newest value is 48.0 h old ('flow')")
    ahead.cut()
    assert (9, "no connection: the link is cut") in [(f.line, f.msg) for f in await findings(config, PLANT)]
