"""Training jobs on a Ray cluster (extra `cluster`): the same worker, one task a job, wherever there is a free core.

The queue stays the one truth. A task leases a job, works on it and ends; where its node dies, the lease runs out and
the next task takes the job up from its checkpoint. Every node must reach the database, the telemetry and the data
folder: Postgres, an object store and a shared file system, or one machine. Ray moves pickled code and settings between
its nodes and trusts them; give the cluster a token (`RAY_AUTH_MODE=token`) and a network of its own.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.jobs.queue import QUEUED, Jobs
from api.jobs.worker import Worker, worker_name
from api.logs import configure
from api.settings import Settings
from twin.errors import TwinError

log = structlog.get_logger()

REACH_S = 5.0


class Cluster:
    """Keeps as many tasks with Ray as there are jobs that wait; Ray decides where and when each begins."""

    CHECK_S = 0.5
    AT_ONCE = 1000  # tasks that may be with Ray

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        """
        Raises:
            TwinError: Ray is not installed, or no cluster answers at the address.
        """
        try:
            import ray
        except ImportError:
            raise TwinError("TWIN_RAY_ADDRESS needs the extra: pip install 'plant-twin[cluster]'") from None
        self._ray = ray
        self._settings = settings.model_copy(update={"admin_key": None})  # no task needs it
        self._jobs = jobs
        self._tasks: dict[Any, str] = {}  # reference → the worker's name
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cluster", daemon=True)
        try:
            ray.init(settings.ray_address, namespace="plant-twin", log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise TwinError(f"no Ray cluster answers at TWIN_RAY_ADDRESS={settings.ray_address}: {error}") from error
        self._work = ray.remote(num_cpus=1, max_retries=0, max_calls=1)(work)

    def start(self) -> None:
        """Begin to hand out jobs."""
        self._thread.start()

    def stop(self) -> None:
        """End the tasks; what they held goes back to the queue."""
        self._stopping.set()
        self._thread.join()
        for task, name in self._tasks.items():
            self._ray.cancel(task, force=True)
            self._release(name)
        self._ray.shutdown()

    def _watch(self) -> None:
        while not self._stopping.wait(self.CHECK_S):
            try:
                self._collect()
                waiting = self._jobs.count()[QUEUED] - self._unborn()
            except (SQLAlchemyError, self._ray.exceptions.RayError) as error:
                log.warning("no job can be handed out", error=str(error))
                continue
            for _ in range(min(waiting, self.AT_ONCE - len(self._tasks))):
                name = worker_name()
                self._tasks[self._work.options(name=name).remote(self._settings, name)] = name

    def _unborn(self) -> int:
        """Tasks that hold no job yet."""
        return len(self._tasks) - self._jobs.held_by(list(self._tasks.values()))

    def _collect(self) -> None:
        if not self._tasks:
            return
        done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        for task in done:
            name = self._tasks.pop(task)
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayError as error:
                log.warning("a worker died", worker=name, error=str(error).splitlines()[0])
                self._release(name)

    def _release(self, name: str) -> None:
        try:
            self._jobs.release(name, died=not self._stopping.is_set())
        except SQLAlchemyError as error:  # the lease runs out
            log.warning("jobs not put back", worker=name, error=str(error))


def reach(address: str) -> None:
    """See that something listens at host:port; Ray itself waits for minutes before it gives up.

    Raises:
        TwinError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return  # `auto`, or a URL of Ray's own
    try:
        socket.create_connection((host, int(port)), REACH_S).close()
    except OSError as error:
        raise TwinError(f"no Ray cluster answers at TWIN_RAY_ADDRESS={address}: {error}") from None


def work(settings: Settings, name: str) -> bool:
    """The task: one job, if one waits; whether there was one."""
    configure(settings.log_level)
    return Worker(settings, name).once()
