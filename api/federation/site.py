"""A site of a federation: it trains on its own rows when the server asks, and sends how far that led.

Its telemetry, scaler, tags and parameters stay in this process and its folder; Flower's process (`flower/node.py`) is
given the change alone.
"""

from __future__ import annotations

import io
import math
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from api.federation import environment
from api.federation.process import Flower
from api.federation.server import CONSENSUS, readable
from api.federation.settings import SiteFile
from connectors.formats.files import ARROW, CSV, PARQUET, read_upload
from twin.errors import FederationError, TwinError
from twin.federation.artifact import Consensus, save
from twin.federation.privacy import rho
from twin.federation.site import Asked, Privacy, Site
from twin.federation.telemetry import resampled
from twin.fleet.common import Common, Unit
from twin.fleet.shape import Shape
from twin.plant import Plant
from twin.store import Store
from twin.telemetry import Telemetry

TYPES = {".csv": CSV, ".parquet": PARQUET, ".arrow": ARROW}
OWN, SPENT = "own.npy", "spent.txt"
SENT = "sent.txt"  # what earlier versions kept: how many changes, all of the same noise
SENDING_S = 5.0  # what the last answer has until Flower is ended
TRIES, AGAIN_S = 3, 5.0  # to connect
Say = Callable[[str], None]


class Member:
    """A site that answers a server's frames.

    Args:
        told: its file.
        say: told a line a round.
    """

    def __init__(self, told: SiteFile, say: Say) -> None:
        self.told, self.say = told, say
        self.plant, self.folder = told.plant(), told.site.folder
        self.frame = frame(self.plant, told.site.telemetry)
        self._site: Site | None = None
        self._shape: Shape | None = None

    def answer(self, header: Mapping[str, Any], vector: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        """What is sent back for one frame: an update, or why there is none."""
        try:
            if header.get("final"):
                self._finish(header, vector)
                return {"rows": 0, "loss": None}, np.zeros(1, np.float32)
            site, asked = self._of(header), Asked.from_json(header)
            update = site.answer(vector, asked)
            self._keep(site)
        except (TwinError, KeyError, TypeError, ValueError, OSError) as error:
            why = error.detail if isinstance(error, TwinError) else repr(error)
            self.say(f"refused: {why}")
            return {"refused": why if why.startswith(self.told.site.name) else f"{self.told.site.name}: {why}"}, _NONE
        self.say(f"round {asked.round + 1}: sent a change of length {np.linalg.norm(update.change):.3g}")
        loss = None if math.isnan(update.loss) else update.loss
        return {"rows": update.rows, "loss": loss}, update.change.astype(np.float32)

    def telemetry(self, shape: Shape) -> Telemetry:
        """Its rows in the common sample period, under its own tags."""
        return resampled(self.plant, self.frame, shape.sample_period_s)

    def _of(self, header: Mapping[str, Any]) -> Site:
        """The site in the server's form, which must not change."""
        shape = Shape.from_json(header["shape"])
        if self._site is None or self._shape != shape:
            unit = Unit.of(shape, self.telemetry(shape), self.told.tags)
            fresh = Common.fresh(shape, int(header["seed"]))
            privacy = None if self.told.privacy is None else self.told.privacy.privacy()
            own, spent = _own(self.folder / OWN, len(fresh.vector())), _spent(self.folder, privacy)
            self._site, self._shape = Site(self.told.site.name, fresh, unit, privacy, own, spent), shape
        return self._site

    def _keep(self, site: Site) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self.folder / SPENT, f"{site.spent!r}\n".encode())
        if site.own is not None:
            content = io.BytesIO()
            np.save(content, site.own, allow_pickle=False)
            _replace(self.folder / OWN, content.getvalue())

    def _finish(self, header: Mapping[str, Any], vector: np.ndarray) -> None:
        shape = Shape.from_json(header["shape"])
        told = {"site": self.told.site.name, "rounds": int(header["round"])}
        save(Consensus(f"round-{header['round']}", shape, vector, told), self.folder / CONSENSUS)
        self.say(f"the federation ended after {header['round']} rounds: {self.folder / CONSENSUS}")


_NONE = np.zeros(0, np.float32)


def frame(plant: Plant, files: tuple[Path, ...]) -> pd.DataFrame:
    """The rows of telemetry files, one after another.

    Raises:
        FederationError: a file is not there, or not named .csv, .parquet or .arrow.
        TelemetryError: it cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch).plant("site")
        for path in files:
            if path.suffix not in TYPES:
                raise FederationError(f"{path.name}: a name that ends in {', '.join(TYPES)} says how to read it")
            try:
                with path.open("rb") as stream:
                    store.append(read_upload(stream, TYPES[path.suffix], None, plant))
            except OSError as error:
                raise FederationError(f"{path}: {error}") from error
        return store.read(tags=plant.measured)


def _replace(path: Path, content: bytes) -> None:
    """Write a file: all of it, or what was there stays."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _own(path: Path, size: int) -> np.ndarray | None:
    """The site's own parameters of an earlier start; None where there are none, or none that can be read."""
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (size,) and np.isfinite(found).all() else None


def _spent(folder: Path, privacy: Privacy | None) -> float:
    """ρ of the changes that were sent in earlier starts.

    Raises:
        FederationError: the file that tells cannot be read.
    """
    spent, sent = folder / SPENT, folder / SENT
    try:
        if spent.exists():
            return float(spent.read_text())
        count = int(sent.read_text()) if sent.exists() else 0
    except (OSError, ValueError) as error:
        raise FederationError(f"what was sent before cannot be read, and privacy not be counted: {error}") from error
    return count * rho(privacy.noise) if privacy is not None and count else float("inf") if count else 0.0


def join(told: SiteFile, say: Say) -> None:
    """Take part in a federation until its server ends it or this process is interrupted.

    Raises:
        FederationError: the site's file makes no sense, or the server cannot be reached.
    """
    site, member = told.site, Member(told, say)
    for path in (site.authority, site.key):
        readable(path)
    asked = {
        "folder": str(site.folder / "flower"),
        "server": site.server,
        "authority": str(site.authority),
        "key": str(site.key),
        "secure": site.secure,
    }
    interpreter, failed = environment.python(site.flower, site.folder), 0
    say(f"{site.name}: {len(member.frame)} rows, asks {site.server}")
    while True:
        flower = Flower(interpreter, "node.py", site.folder / "flower", {**asked, "port": _free_port()})
        try:
            while True:
                header, vector = flower.read()
                failed = 0
                flower.write(*member.answer(header, vector))
                if header.get("final"):
                    time.sleep(SENDING_S)
                    return
        except FederationError as error:  # the server went away, or does not know the site yet
            failed += 1
            if failed >= TRIES:
                raise
            say(f"{site.name}: no connection, asks again: {reason(error.detail)}")
            time.sleep(AGAIN_S)
        finally:
            flower.close()


def reason(said: str) -> str:
    """The line of Flower's log that says why: the one with its error code, else the last."""
    lines = said.splitlines() or [""]
    return next((line for line in reversed(lines) if line.startswith("[code:")), lines[-1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
