"""Real servers as processes, a network that can be cut, and how to wait for samples."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.config import load
from connectors.errors import Fault
from connectors.kinds import Context
from connectors.protocol import Samples, Source
from connectors.startup import findings, watching
from twin.plant import Plant

PATIENCE_S = 40.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def needed(*names: str) -> str:
    """The path of the first of these programs that is installed; the test is skipped, loudly, where none is."""
    places = [*os.environ["PATH"].split(":"), "/usr/sbin", "/usr/local/sbin"]
    for name in names:
        if found := shutil.which(name, path=":".join(places)):
            return found
    pytest.skip(f"not installed: {' or '.join(names)}")


@contextlib.contextmanager
def process(*command: str | Path, port: int | None = None, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A server, until the end of the block; with a port, it is waited for."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = subprocess.Popen([str(part) for part in command], **(streams | options))
    try:
        if port is not None:
            wait_for_port(port, running)
        yield running
    finally:
        if running.poll() is None:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(5)
        if running.poll() is None:
            running.kill()
            running.wait()
        for stream in (running.stdin, running.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def wait_for_port(port: int, running: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if running is not None and running.poll() is not None:
            told = running.stdout.read() if running.stdout else ""
            raise RuntimeError(f"the server ended with {running.returncode}: {told}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


class Network:
    """A way to a port that can be cut: its connections are reset and new ones refused."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Network:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            for pipe in list(self._pipes):
                pipe.transport.abort()
            self._server = None
            await asyncio.sleep(0.05)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._pipes |= {writer, far_writer}
        await asyncio.gather(self._pumped(reader, far_writer), self._pumped(far_reader, writer))
        self._pipes -= {writer, far_writer}

    @staticmethod
    async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


class Taken:
    """A source's batches, taken in the background."""

    def __init__(self, batches: AsyncIterator[Samples]) -> None:
        self.all: list[Samples] = []
        self._batches = batches
        self._task = asyncio.create_task(self._take())

    async def __aenter__(self) -> Taken:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._batches.aclose()  # type: ignore[attr-defined]

    async def _take(self) -> None:
        async for batch in self._batches:
            self.all.append(batch)

    async def until(self, enough: Callable[[Samples], bool], patience_s: float = PATIENCE_S) -> Samples:
        """All that came, as soon as it is enough."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            got = Samples.joined(self.all)
            if self._task.done() and (error := self._task.exception()):
                raise error
            if enough(got):
                return got
            await asyncio.sleep(0.05)
        raise AssertionError(f"not enough came: {Samples.joined(self.all)}")


def of_tag(samples: Samples, tag: str) -> list[float]:
    """The different values of a tag in the order of their times."""
    mine = samples.where(samples.tags == tag)
    pairs = sorted(set(zip(mine.times.tolist(), mine.values.tolist(), strict=True)))
    values = [value for _, value in pairs]
    return [value for i, value in enumerate(values) if i == 0 or value != values[i - 1]]


async def at_start(folder: Path, plant: Plant, text: str) -> list[tuple[int, str, str]]:
    """What is told at start of such a file: line, how grave, and what is wrong."""
    file = folder / "plant.toml"
    file.write_text(text)
    return [(fault.line, fault.grave, fault.msg) for fault in await findings(load(file, {}), plant)]


def watched(folder: Path, plant: Plant, text: str, told: list[tuple[int, str, str]]) -> Source:
    """The first source of such a file, as it runs; what it tells later goes to the list."""
    file = folder / "plant.toml"
    file.write_text(text)
    config = load(file, {})

    def tell(fault: Fault) -> None:
        told.append((fault.line, fault.grave, fault.msg))

    return config.source(0, plant, watching(config, 0, plant, Context(), tell))
