"""What only the other side knows to be wrong is told at start, with the line of the file: against node-opcua."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.config import load
from connectors.startup import findings
from tests.connectors.servers import Node, started
from twin.plant import Plant, Role, Tag

PLANT = Plant(
    "Tank",
    10.0,
    (
        Tag("depth", Role.CV, "m"),
        Tag("flow", Role.MV, "m3/h", 0.0, 10.0),
    ),
)
FILE = """plant = "tank"
[[sources]]
kind = "opcua"
url = "{url}"
{more}
[sources.tags]
depth = {depth}
flow = {flow}
[[sinks]]
kind = "opcua"
url = "{url}"
[sinks.tags]
flow = "{written}"
"""
DEPTH = '{address = "ns=1;s=Depth", unit = "cm"}'


@pytest.fixture(scope="module")
def node(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with started(tmp_path_factory.mktemp("pki"), 0) as node:
        yield node


async def told(
    tmp_path: Path,
    node: Node,
    *,
    depth: str = DEPTH,
    flow: str = '"ns=1;s=Valve"',
    more: str = "",
    written: str = "ns=1;s=Valve",
) -> list[tuple[int, str, str]]:
    """Line, how grave, and what is wrong with such a file."""
    file = tmp_path / "plant.toml"
    file.write_text(FILE.format(url=node.url, depth=depth, flow=flow, more=more, written=written))
    found = await findings(load(file, {}), PLANT, written=["flow"])
    return [(fault.line, fault.grave, fault.msg) for fault in found]


async def test_nothing_is_wrong(tmp_path: Path, node: Node) -> None:
    assert await told(tmp_path, node) == []


async def test_a_node_that_is_missing_and_one_of_the_wrong_type(tmp_path: Path, node: Node) -> None:
    assert await told(tmp_path, node, depth='"ns=1;s=Dpeth"', flow='"ns=1;s=Text"') == [
        (7, "missing", "the server has no node ns=1;s=Dpeth"),
        (8, "missing", "ns=1;s=Text holds String, no number"),
    ]


async def test_a_node_that_cannot_be_written(tmp_path: Path, node: Node) -> None:
    gone = (13, "missing", "the server has no node ns=1;s=Vavle")
    assert await told(tmp_path, node, written="ns=1;s=Vavle") == [gone]
    locked = (13, "missing", "ns=1;s=Locked may not be written by this user")
    assert await told(tmp_path, node, written="ns=1;s=Locked") == [locked]


async def test_the_unit_that_the_server_states_is_another(tmp_path: Path, node: Node) -> None:
    ((line, grave, msg),) = await told(tmp_path, node, depth='"ns=1;s=Depth"')
    assert (line, grave) == (7, "wrong")
    assert msg == "the source states the unit 'cm', the plant has 'm': write unit = \"cm\" beside it"
    # The file names a unit itself: its word counts, and the contradiction is told.
    named = '{address = "ns=1;s=Depth", unit = "mm"}'
    doubt = (7, "doubt", "the file reads it as 'mm', the source states 'cm'")
    assert await told(tmp_path, node, depth=named) == [doubt]
    # What is scaled by hand has numbers of its own.
    assert await told(tmp_path, node, depth='{address = "ns=1;s=Depth", scale = 0.01}') == []


async def test_a_source_that_sends_the_future_or_only_the_past(tmp_path: Path, node: Node) -> None:
    now = time.time_ns() // 1_000_000
    node.set_all({"Depth": 150.0, "Valve": 40.0}, now - 49 * 3_600_000)
    assert await told(tmp_path, node) == [(3, "doubt", "its newest value is 49.0 h old ('depth')")]
    node.set_all({"Depth": 150.0}, now + 3_600_000)
    ((line, grave, msg),) = await told(tmp_path, node)
    assert (line, grave) == (3, "doubt")
    assert msg.startswith("its clock runs 3")
    assert msg.endswith("s ahead of ours ('depth')")
    assert await told(tmp_path, node, more="future_s = 7200.0") == []
    node.set_all({"Depth": 150.0, "Valve": 40.0}, now)


async def test_a_server_that_does_not_answer_may_come_yet(tmp_path: Path) -> None:
    found = await told(tmp_path, Node(None, 1))
    assert [(line, grave) for line, grave, _ in found] == [(3, "away"), (10, "away")]
