"""One of Flower's processes and the pipe to it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from api.federation.environment import FLOWER
from api.federation.flower import frames
from twin.errors import FederationError

END_S = 30.0


class Flower:
    """A script of `api/federation/flower` in Flower's environment.

    Args:
        interpreter: of that environment.
        script: its file name.
        folder: where its log goes.
        asked: its first frame.
    """

    def __init__(self, interpreter: Path, script: str, folder: Path, asked: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "flower.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [str(interpreter), "-E", str(FLOWER / script)],  # -E: PYTHONPATH is that of another environment
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # an interrupt at the terminal is ours to handle
            )
        try:
            self.write(asked)
        except FederationError:
            self.close()
            raise

    def write(self, header: Mapping[str, Any], vector: np.ndarray | None = None) -> None:
        """Send one frame.

        Raises:
            FederationError: the process ended.
        """
        assert self._process.stdin is not None  # noqa: S101
        try:
            frames.write(self._process.stdin, header, vector)
        except OSError as error:
            raise FederationError(f"Flower's process ended: {error}") from error

    def read(self) -> tuple[dict[str, Any], np.ndarray]:
        """The next frame.

        Raises:
            FederationError: the process ended, with what it said.
        """
        assert self._process.stdout is not None  # noqa: S101
        try:
            found = frames.read(self._process.stdout)
        except frames.FrameError as error:
            raise FederationError(f"Flower's process: {error}") from error
        if found is None:
            raise FederationError("Flower's process ended; its log says why")
        if found[0].get("kind") == "ended":
            raise FederationError(str(found[0].get("why")))
        return found

    def ask(self, kind: str, vector: np.ndarray | None = None, **header: Any) -> Iterator[tuple[dict[str, Any], Any]]:
        """A command and the frames that answer it; the last is of the command's kind."""
        self.write({"kind": kind, **header}, vector)
        while True:
            found = self.read()
            yield found
            if found[0].get("kind") == kind:
                return

    def close(self) -> None:
        """Close the pipe, which ends the process, and wait for it; what it started and left behind is ended too."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its session is its own
