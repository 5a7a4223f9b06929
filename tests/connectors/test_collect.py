"""Store and forward: units at the edge, nothing lost, nothing twice, bounded, whatever goes away."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.buffer import Buffer, unpacked
from connectors.clock import ManualClock, SystemClock
from connectors.collect import Collector
from connectors.edge import SinkEdge, SourceEdge
from connectors.errors import ConnectorError
from connectors.forward import SegmentRefused
from connectors.memory import MemoryPlant
from connectors.modbus import SinkOptions as ModbusOptions
from connectors.options import Mapped, Options
from connectors.protocol import NS, Samples
from twin.plant import Plant, Role, Tag
from twin.storage.batch import BAD, GOOD

START = 1_777_000_000 * NS
PLANT = Plant("Tank", 10.0, (Tag("level", Role.CV, "m"), Tag("temperature", Role.DV, "degC")))


class Receiver:
    """The service's side: keeps what it confirmed by key, as the upload does; it can be down or lose its answers."""

    def __init__(self) -> None:
        self.segments: dict[str, list[dict[str, Any]]] = {}
        self.sent = 0
        self.down = self.deaf = False
        self.refuse = ""
        self.reports: list[list[Mapping[str, Any]]] = []

    async def send(self, body: bytes, key: str) -> Mapping[str, Any]:
        self.sent += 1
        if self.down:
            raise ConnectorError("no answer")
        if self.refuse:
            raise SegmentRefused(self.refuse)
        rows = unpacked(body).to_pylist()
        self.segments.setdefault(key, rows)
        if self.deaf:
            raise ConnectorError("the answer was lost")
        return {"rows_stored": len(rows)}

    async def report(self, sources: Sequence[Mapping[str, Any]]) -> None:
        self.reports.append(list(sources))

    @property
    def values(self) -> list[float]:
        return [row["value"] for rows in self.segments.values() for row in rows]


@contextlib.asynccontextmanager
async def collecting(
    plant: MemoryPlant, folder: Path, receiver: Receiver, max_bytes: int = 1 << 30
) -> AsyncIterator[tuple[Collector, Buffer]]:
    buffer = Buffer(folder, max_bytes)
    collector = Collector({"memory": plant}, buffer, receiver, 0.02)
    running = asyncio.create_task(collector.run())
    try:
        yield collector, buffer
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        buffer.close()


async def until(condition: Any, patience_s: float = 20.0) -> None:
    end = asyncio.get_running_loop().time() + patience_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, "waited in vain"
        await asyncio.sleep(0.01)


async def test_samples_arrive_with_time_tag_value_and_quality(tmp_path: Path) -> None:
    plant, receiver = MemoryPlant({"level": 1.5}, ManualClock(START)), Receiver()
    plant.set({"level": float("nan")}, BAD)
    async with collecting(plant, tmp_path, receiver):
        await until(lambda: len(receiver.values) == 2)
    rows = [row for segment in receiver.segments.values() for row in segment]
    assert rows[0]["time"].timestamp() == START / NS
    assert [(r["tag"], r["value"], r["quality"]) for r in rows] == [("level", 1.5, GOOD), ("level", None, BAD)]
    assert receiver.reports[-1][0]["name"] == "memory"


async def test_a_full_disk_makes_the_source_wait_and_what_is_on_it_is_still_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.collect.FIRST_TRY_S", 0.01)
    plant, receiver = MemoryPlant({"level": 0.0}), Receiver()
    receiver.down = True
    async with collecting(plant, tmp_path, receiver) as (_, buffer):
        (pages,) = buffer._db.execute("PRAGMA page_count").fetchone()
        buffer._db.execute(f"PRAGMA max_page_count = {pages + 4}")  # SQLite then says the same as of a disk
        for i in range(1, 60):
            plant.set({"level": float(i)})
        await until(lambda: "disk is full" in plant.health.last_error)
        waiting = buffer.rows
        assert 0 < waiting < 60
        receiver.down = False
        await until(lambda: len(receiver.values) == 60, 60.0)
        await until(lambda: buffer.rows == 0)
    assert receiver.values == [float(i) for i in range(60)]
    assert plant.health.connected is False  # it was left once, at the end
    assert plant.health.reconnects == 0


async def test_a_source_that_fails_in_a_way_nobody_foresaw_is_tried_again_and_ends_no_other(tmp_path: Path) -> None:
    plant, broken, receiver = MemoryPlant({"level": 1.0}), MemoryPlant({"temperature": 2.0}, name="broken"), Receiver()
    batches, raised = broken.batches, []

    async def failing(position: str | None = None) -> AsyncIterator[Samples]:
        if not raised:
            raised.append(True)
            raise RuntimeError("dictionary changed size")
        async for batch in batches(position):
            yield batch

    broken.batches = failing  # type: ignore[method-assign]
    buffer, told = Buffer(tmp_path, 1 << 30), []
    collector = Collector({"memory": plant, "broken": broken}, buffer, receiver, 0.02, told.append)
    running = asyncio.create_task(collector.run())
    await until(lambda: set(receiver.values) == {1.0, 2.0})
    plant.set({"level": 3.0})
    await until(lambda: 3.0 in receiver.values)
    assert "broken: RuntimeError: dictionary changed size; trying again in 0 s" in told
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    buffer.close()


async def test_the_reserve_is_given_up_for_what_takes_samples_off_a_full_disk(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, 1 << 30)
    await buffer.append("memory", Samples.at(START, {"level": 1.0}))
    reserve, deletes = tmp_path / "reserve", []
    assert reserve.stat().st_size == 1 << 20
    segment = await buffer.next(10)

    def full_until_the_reserve_is_gone() -> int:
        deletes.append(reserve.exists())
        if reserve.exists():
            raise sqlite3.OperationalError("database or disk is full")
        return delete(segment)

    delete, buffer._delete = buffer._delete, lambda _: full_until_the_reserve_is_gone()  # type: ignore[method-assign]
    await buffer.sent(segment)
    assert deletes == [True, False]
    assert (buffer.rows, reserve.exists()) == (0, True)  # and put aside again, as there is room
    buffer.close()


async def test_nothing_is_lost_or_sent_twice_while_the_service_and_the_source_are_away(tmp_path: Path) -> None:
    plant, receiver = MemoryPlant({"level": 0.0}), Receiver()
    async with collecting(plant, tmp_path, receiver) as (collector, buffer):
        for i in range(1, 200):
            receiver.down = 30 <= i < 120
            receiver.deaf = 120 <= i < 130  # it has the segment, and we do not know
            if i == 60:
                plant.cut()
            if i == 90:
                plant.mend()
            plant.set({"level": float(i)})
            await asyncio.sleep(0.005)
        receiver.deaf = False
        await until(lambda: len(receiver.values) == 200)
        await until(lambda: buffer.rows == 0)
        assert receiver.values == [float(i) for i in range(200)]
        await until(lambda: collector.forwarding.last_error == "")


async def test_what_is_on_disk_outlives_the_collector(tmp_path: Path) -> None:
    plant, receiver = MemoryPlant({"level": 0.0}), Receiver()
    receiver.down = True
    async with collecting(plant, tmp_path, receiver) as (_, buffer):
        for i in range(1, 50):
            plant.set({"level": float(i)})
        await until(lambda: buffer.rows == 50)
    receiver.down = False
    async with collecting(plant, tmp_path, receiver):
        plant.set({"level": 50.0})
        await until(lambda: len(receiver.values) == 51)
        assert receiver.values == [float(i) for i in range(51)]  # the source went on where it was


async def test_a_full_disk_buffer_makes_the_source_wait(tmp_path: Path) -> None:
    plant, receiver = MemoryPlant({"level": 0.0}), Receiver()
    receiver.down = True
    async with collecting(plant, tmp_path, receiver, max_bytes=20_000) as (_, buffer):
        for i in range(1, 300):
            plant.set({"level": float(i)})
        await until(lambda: buffer.full)
        await asyncio.sleep(0.2)
        held = buffer.rows
        assert held < 100
        assert plant.health.received <= held + 1
        receiver.down = False
        await until(lambda: len(receiver.values) == 300)
        assert receiver.values == [float(i) for i in range(300)]
        assert not buffer.full


async def test_a_segment_that_is_refused_is_kept_aside_and_holds_nothing_up(tmp_path: Path) -> None:
    plant, receiver = MemoryPlant({"level": 0.0}), Receiver()
    receiver.refuse = "422: no"
    async with collecting(plant, tmp_path, receiver) as (collector, buffer):
        await until(lambda: collector.forwarding.aside == 1)
        receiver.refuse = ""
        plant.set({"level": 1.0})
        await until(lambda: receiver.values == [1.0])
        assert [(rows, why) for _, rows, why in buffer.aside()] == [(1, "422: no")]


async def test_an_append_that_is_cancelled_ends_before_the_buffer_is_closed(tmp_path: Path) -> None:
    many = Samples.of((START + i, "level", 1.0, GOOD) for i in range(50_000))
    buffer = Buffer(tmp_path, 1 << 30)
    running = asyncio.create_task(buffer.append("a", many))
    while not buffer._lock.locked():
        await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    buffer.close()
    again = Buffer(tmp_path, 1 << 30)
    assert again.rows == 50_000  # cancelled or not, it is all there
    again.close()


async def test_one_collector_has_the_buffer(tmp_path: Path) -> None:
    first = Buffer(tmp_path, 1 << 20)
    await first.append("a", Samples.at(START, {"level": 1.0}))
    with pytest.raises(ConnectorError, match="does another collector run"):
        Buffer(tmp_path, 1 << 20)
    first.close()


async def test_a_disk_that_takes_nothing_is_told_and_the_sample_comes_again(tmp_path: Path) -> None:
    plant, receiver = MemoryPlant({"level": 0.0}), Receiver()
    async with collecting(plant, tmp_path, receiver) as (_, buffer):
        await until(lambda: receiver.values == [0.0])
        (pages,) = buffer._db.execute("PRAGMA page_count").fetchone()
        buffer._db.execute(f"PRAGMA max_page_count = {pages}")
        many = Samples.of((START + i, "level", 1.0, GOOD) for i in range(20_000))
        with pytest.raises(ConnectorError, match="full"):
            await buffer.append("memory", many)
        buffer._db.execute("PRAGMA max_page_count = 1000000")
        plant.set({"level": 2.0})
        await until(lambda: receiver.values == [0.0, 2.0])


class Tags(Options):
    tags: Mapping[str, Mapped]


def edge(plant: MemoryPlant, clock: ManualClock, **tags: Any) -> SourceEdge:
    return SourceEdge(plant, Tags.model_validate({"kind": "memory", "tags": tags}), PLANT, clock)


async def test_units_and_scales_become_the_plants_at_the_edge() -> None:
    clock = ManualClock(START)
    raw = MemoryPlant({"level": 250.0, "temperature": 212.0, "mode": 3.0}, clock)
    source = edge(
        raw,
        clock,
        level={"address": "l", "unit": "cm", "scale": 0.5, "offset": 10.0},
        temperature={"address": "t", "unit": "degF"},
        mode="m",
    )
    async with source:
        batch = await anext(source.batches())
        got = batch.latest()
        assert got["level"][1] == pytest.approx(1.35, rel=1e-12)  # (0.5 · 250 + 10) cm
        assert got["temperature"][1] == pytest.approx(100.0, rel=1e-12)
        assert got["mode"][1] == 3.0
        assert (await source.read(["level"])).values[0] == pytest.approx(1.35, rel=1e-12)


async def test_what_comes_from_the_future_or_is_infinite_is_refused() -> None:
    clock = ManualClock(START)
    raw = MemoryPlant({"level": 1.0}, clock)
    raw.set({"level": 2.0}, time=START + 61 * NS)
    raw.set({"level": float("inf")})
    source = edge(raw, clock, level="l")
    async with source:
        batches = source.batches()
        first, second, third = [await anext(batches) for _ in range(3)]
        assert (first.values.tolist(), len(second)) == ([1.0], 0)
        assert np.isnan(third.values).all()
        assert third.quality.tolist() == [BAD]
        assert source.health.refused == 1
        assert "stamped 61 s ahead" in source.health.last_error
        assert source.health.skew_s == 61.0


@pytest.mark.parametrize("step_s", [-3600, 3600])
async def test_a_step_of_this_machines_clock_refuses_nothing_and_shows_as_skew(
    monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    clock, right = SystemClock(), time.time_ns
    raw = MemoryPlant({"level": 1.0}, clock)
    raw.set({"level": 1.0}, time=right())
    source = edge(raw, clock, level="l")
    async with source:
        batches = source.batches()
        await anext(batches)
        await anext(batches)
        monkeypatch.setattr("connectors.clock.time.time_ns", lambda: right() + step_s * NS)
        for value in range(40):  # the source's own clock is right
            raw.set({"level": float(value)}, time=right())
            assert (await anext(batches)).values.tolist() == [float(value)]
        assert source.health.refused == 0
        assert source.health.skew_s == pytest.approx(-step_s, abs=60.0)
        raw.set({"level": 9.0}, time=right() + 2 * 3600 * NS)  # ahead of both is ahead
        assert len(await anext(batches)) == 0


async def test_writes_are_converted_back() -> None:
    raw = MemoryPlant({"level": 0.0, "temperature": 0.0})
    tags = {"level": {"address": "holding:0", "unit": "cm", "scale": 0.5, "offset": 10.0}}
    options = ModbusOptions.model_validate({"host": "plc", "tags": tags})
    async with SinkEdge(raw, options, PLANT) as sink:
        await sink.write({"level": 1.35})
        assert raw.written[0][1]["level"] == pytest.approx(250.0, rel=1e-12)
        with pytest.raises(ConnectorError, match="'temperature': is not mapped"):
            await sink.write({"temperature": 1.0})
