"""The twins in memory: loaded when first asked for, the least recently used given up first.

A thread watches the champions, whoever promoted them, and compiles the programs of their usual questions before
one is asked; until then the service is not ready.
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.records.catalog import Catalog
from twin import artifact, optimize, predict
from twin.artifact import Twin
from twin.errors import NotFoundError, TwinError

log = structlog.get_logger()

WATCH_S = 1.0


class Registry:
    """Twins by id.

    Args:
        folder: a folder for each twin.
        capacity: how many stay in memory.
    """

    def __init__(self, catalog: Catalog, folder: Path, capacity: int) -> None:
        self._catalog = catalog
        self._folder = folder
        self._capacity = capacity
        self._twins: OrderedDict[str, Twin] = OrderedDict()
        self._guard = threading.Lock()
        self._loading = threading.Lock()
        self._warm: dict[str, str | None] = {}  # by champion: None, or why it could not be compiled
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="registry", daemon=True)

    def get(self, slug: str, name: str) -> Twin:
        """A twin of a plant by its id or an alias.

        Raises:
            NotFoundError: there is none.
            ArtifactError: it cannot be read.
        """
        return self.load(self._catalog.twin(slug, name).id)

    def load(self, twin_id: str) -> Twin:
        """The twin of that id."""
        found = self._remembered(twin_id)
        if found is not None:
            return found
        with self._loading:
            found = self._remembered(twin_id) or artifact.load(self.path(twin_id))
            with self._guard:
                self._twins[twin_id] = found
                while len(self._twins) > self._capacity:
                    self._twins.popitem(last=False)
            return found

    def path(self, twin_id: str) -> Path:
        """The folder of a twin."""
        return self._folder / twin_id

    def forget(self, twins: Iterable[str]) -> None:
        """Delete twins, in memory and on disk."""
        for twin_id in twins:
            with self._guard:
                self._twins.pop(twin_id, None)
            shutil.rmtree(self.path(twin_id), ignore_errors=True)

    def pending(self) -> list[str]:
        """Why the service is not ready; empty when it is."""
        reasons = []
        for slug, twin_id in self._catalog.champions():
            if twin_id not in self._warm:
                reasons.append(f"plant {slug}: the champion {twin_id} is still being compiled")
            elif self._warm[twin_id]:
                reasons.append(f"plant {slug}: the champion {twin_id} cannot be used: {self._warm[twin_id]}")
        return reasons

    def start(self) -> None:
        """Begin to watch the champions."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; a compilation under way is finished first."""
        self._stopping.set()
        self._thread.join()

    def _remembered(self, twin_id: str) -> Twin | None:
        with self._guard:
            if twin_id in self._twins:
                self._twins.move_to_end(twin_id)
            return self._twins.get(twin_id)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                for _, twin_id in self._catalog.champions():
                    if twin_id not in self._warm and not self._stopping.is_set():
                        self._warm[twin_id] = self._compile(twin_id)
            except SQLAlchemyError as error:
                log.warning("champions not looked at", error=str(error))
            self._stopping.wait(WATCH_S)

    def _compile(self, twin_id: str) -> str | None:
        try:
            twin = self.load(twin_id)
            predict.warm_up(twin)
            optimize.warm_up(twin)
            if twin.slow is not None:
                predict.warm_up(twin.slow)
                optimize.warm_up(twin.slow)
        except NotFoundError:
            return None
        except TwinError as error:
            log.error("a champion cannot be compiled", twin=twin_id, error=str(error))
            return error.detail
        return None
