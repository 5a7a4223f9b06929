"""The double keeps the protocol: positions, lost links, refused writes; and the guard refuses what it must."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from connectors.clock import ManualClock
from connectors.errors import ConnectorError, RefusedError
from connectors.guard import Bounds, Guarded
from connectors.memory import MemoryPlant
from connectors.protocol import NS, Samples
from twin.storage.batch import BAD, GOOD

START = 1_700_000_000 * NS


async def take(plant: MemoryPlant, count: int, position: str | None = None) -> list[Samples]:
    got = []
    async for batch in plant.batches(position):
        got.append(batch)
        if len(got) == count:
            break
    return got


async def test_batches_go_on_behind_a_position() -> None:
    clock = ManualClock(START)
    plant = MemoryPlant({"level": 1.0}, clock)
    async with plant:
        for value in (2.0, 3.0):
            await clock.advance(10)
            plant.set({"level": value})
        first, second = await take(plant, 2)
        assert (first.values[0], second.values[0]) == (1.0, 2.0)
        assert second.times[0] == START + 10 * NS
        (third,) = await take(plant, 1, second.position)
        assert (third.tags[0], third.values[0], third.quality[0]) == ("level", 3.0, GOOD)


async def test_what_happened_while_it_was_cut_off_comes_later() -> None:
    plant = MemoryPlant({"level": 1.0}, ManualClock(START))
    async with plant:
        plant.cut()
        with pytest.raises(ConnectorError, match="no connection"):
            await plant.read(["level"])
        plant.set({"level": 5.0}, quality=BAD)
        waiting = asyncio.create_task(take(plant, 2))
        await asyncio.sleep(0)
        assert not waiting.done()
        plant.mend()
        _, missed = await waiting
        assert (missed.values[0], missed.quality[0]) == (5.0, BAD)
        assert plant.health.reconnects == 1


async def test_reads_and_refusals_name_the_tag() -> None:
    plant = MemoryPlant({"valve": 40.0, "level": 1.0}, ManualClock(START), writable=["valve"])
    async with plant:
        await plant.write({"valve": 50.0})
        assert (await plant.read(["valve"])).latest() == {"valve": (START, 50.0, GOOD)}
        with pytest.raises(ConnectorError, match="'level': cannot be written"):
            await plant.write({"level": 2.0})
        plant.refuse["valve"] = "BadNotWritable"
        with pytest.raises(ConnectorError, match="'valve': BadNotWritable"):
            await plant.write({"valve": 51.0})
        assert plant.written == [(START, {"valve": 50.0})]


@pytest.fixture
def guarded() -> tuple[MemoryPlant, ManualClock, Guarded]:
    clock = ManualClock(START)
    plant = MemoryPlant({"valve": 40.0, "pump": 0.0, "level": 1.0}, clock)
    bounds = {"valve": Bounds(10.0, 90.0, rate_per_s=0.5), "pump": Bounds(0.0, 1.0)}
    return plant, clock, Guarded(plant, bounds, period_s=10.0, clock=clock)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"level": 2.0}, "'level': is not on the allow-list"),
        ({"pump": math.nextafter(1.0, 2.0)}, r"'pump': 1.0000000000000002 is outside 0 to 1"),
        ({"pump": math.nan}, "'pump': nan is no finite number"),
        ({"pump": True}, "'pump': True is no finite number"),
        ({"valve": 9.0}, "'valve': 9 is outside 10 to 90"),
        ({"pump": 1.0, "valve": 41.0}, "'valve': its present value is not known"),
    ],
)
async def test_the_guard_refuses_and_writes_nothing(guarded, values: dict[str, float], why: str) -> None:
    plant, _, guard = guarded
    async with guard:
        with pytest.raises(RefusedError, match=why):
            await guard.write(values)
    assert plant.written == []


async def test_the_guard_judges_the_rate_from_what_was_seen_or_written(guarded) -> None:
    plant, clock, guard = guarded  # 0.5 a second, every 10 s: 5 a write, 5.5 after a rest
    async with guard:
        guard.seen({"valve": 40.0})
        await guard.write({"valve": 45.0})
        with pytest.raises(RefusedError, match=r"faster than 0\.5 per second: 0 s"):
            await guard.write({"valve": 45.1})
        await clock.advance(3600.0)
        with pytest.raises(RefusedError, match="faster"):
            await guard.write({"valve": 50.6})  # an hour of rest earns no leap
        await guard.write({"valve": 50.0})
        await clock.advance(9.0)  # early: 9 s and the 1 s left over
        await guard.write({"valve": 45.0})
        await clock.advance(9.0)  # early again: nothing is left over
        with pytest.raises(RefusedError, match="9 s of moves are left"):
            await guard.write({"valve": 50.0})
        await clock.advance(1.0)
        guard.seen({"valve": 20.0})  # moved by hand
        guard.seen({"valve": 50.0}, START)  # older news
        with pytest.raises(RefusedError, match="from 20"):
            await guard.write({"valve": 50.0})
        await guard.write({"valve": 25.0})
    assert [values["valve"] for _, values in plant.written] == [45.0, 50.0, 45.0, 25.0]


async def test_a_write_that_failed_has_spent_its_allowance(guarded) -> None:
    plant, _, guard = guarded
    async with guard:
        guard.seen({"valve": 40.0})
        plant.cut()
        with pytest.raises(ConnectorError, match="no connection"):
            await guard.write({"valve": 45.0})
        plant.mend()
        with pytest.raises(RefusedError, match="faster"):
            await guard.write({"valve": 45.0})
    assert plant.written == []


def test_samples_join_and_select() -> None:
    both = Samples.joined([Samples.at(1, {"a": 1.0}), Samples.of([(3, "b", 2.0, BAD), (2, "a", 3.0, GOOD)], "p")])
    assert both.position == "p"
    assert both.latest() == {"a": (2, 3.0, GOOD), "b": (3, 2.0, BAD)}
    assert both.where(both.quality == GOOD).values.tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match="different lengths"):
        Samples(np.zeros(2, np.int64), np.array(["a"], object), np.zeros(2), np.zeros(2, np.int16))
