"""The worker: a process that leases jobs and trains, and the pool of them that the server keeps alive."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import threading
from multiprocessing.process import BaseProcess

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.jobs.bounds import Bounds
from api.jobs.diary import Diary
from api.jobs.fleets import FleetTraining
from api.jobs.queue import ENDED, Jobs, LeaseLostError
from api.jobs.training import Training
from api.logs import configure
from api.records.catalog import Catalog
from api.records.db import Database
from api.records.tables import JobRow
from api.settings import Settings
from api.tracing import Tracing
from twin.errors import Cancelled, TwinError
from twin.store import Store

log = structlog.get_logger()

IDLE_S = 0.5  # between looks at an empty queue
BEAT_S = 1.0  # between renewals of a lease, and so how soon a cancelled job is noticed
GRACE_S = 15.0  # how long a cancelled job may go on before its process is ended


class Worker:
    """Leases one job after another."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._name = name
        self._settings = settings
        self._db = Database(settings.database)
        self._tracing = Tracing(settings)
        self._jobs = Jobs(self._db, settings.lease_s)
        parts = (self._db, self._jobs, Catalog(self._db), Store(settings.telemetry), settings, name)
        self._training, self._fleets = Training(*parts), FleetTraining(*parts)
        self._beat_s = min(BEAT_S, settings.lease_s / 4)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.is_set():
            if not self._next():
                stop.wait(IDLE_S)
        self._db.close()

    def once(self) -> bool:
        """Work on one job, if one waits; whether there was one."""
        try:
            return self._next()
        finally:
            self._db.close()

    def _next(self) -> bool:
        try:
            job = self._jobs.lease(self._name) if self._db.current() else None
        except SQLAlchemyError as error:
            log.warning("no job can be leased", error=str(error))
            return False
        if job is not None:
            self._work(job)
        return job is not None

    def release(self) -> None:
        """Put back what is held, for another worker."""
        self._jobs.release(self._name, died=False)

    def _work(self, job: JobRow) -> None:
        diary = Diary(self._jobs, job.id)
        diary.note(f"attempt {job.attempts}, plant {job.plant}, worker {self._name}")
        ended, lost = threading.Event(), threading.Event()
        threading.Thread(target=self._keep, args=(job, ended, lost), daemon=True).start()
        try:
            with self._tracing.span("train", plant=job.plant, job=job.id, attempt=job.attempts):
                (self._fleets if "fleet" in job.request else self._training).run(job, lost, diary)
        except (Cancelled, LeaseLostError):
            diary.note("given up: the job is no longer this worker's")
        except TwinError as error:
            self._fail(job, error.detail, [{"loc": list(p.loc), "msg": p.msg} for p in error.problems])
        except MemoryError:
            self._fail(job, "not enough memory: train on a shorter span (start, end) or fewer tags", [])
        except Exception as error:
            diary.broke(error)
            self._fail(job, f"{type(error).__name__}: {error}", [])
        finally:
            ended.set()
            self._tidy(job)
            self._tracing.flush()

    def _fail(self, job: JobRow, detail: str, errors: list[dict[str, object]]) -> None:
        log.warning("job failed", job=job.id, detail=detail)
        try:
            self._jobs.fail(job.id, self._name, {"detail": detail, "errors": errors})
        except LeaseLostError:
            log.info("job given up", job=job.id)
        except SQLAlchemyError as lost:  # its lease runs out, and another worker tries
            log.warning("failure not told", job=job.id, error=str(lost))

    def _tidy(self, job: JobRow) -> None:
        """Remove the checkpoint of a job that has ended; the housekeeper does where this cannot."""
        try:
            if self._jobs.get(job.id).state in ENDED:
                shutil.rmtree(self._settings.jobs / job.id, ignore_errors=True)
        except (SQLAlchemyError, TwinError):
            log.info("checkpoint left", job=job.id)

    def _keep(self, job: JobRow, ended: threading.Event, lost: threading.Event) -> None:
        """Renew the lease until the job ends; end the process where a lost job does not end by itself, or where it
        takes more than it may."""
        bounds = Bounds(self._settings)
        while not ended.wait(self._beat_s):
            try:
                if exceeded := bounds.exceeded():
                    self._jobs.fail(job.id, self._name, {"detail": exceeded, "errors": []})
                    os._exit(1)  # at once: its memory is to be free
                self._jobs.renew(job.id, self._name)
            except LeaseLostError:
                lost.set()
                if not ended.wait(GRACE_S):
                    os._exit(1)
                return
            except SQLAlchemyError as error:
                log.warning("lease not renewed", job=job.id, error=str(error))


def main(settings: Settings, name: str | None = None) -> None:
    """Run a worker in this process until it is told to end; what it holds then goes back to the queue."""
    configure(settings.log_level)
    worker = Worker(settings, name or worker_name())
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(sign) is not signal.SIG_IGN:
            signal.signal(sign, lambda *_: stop.set())

    def leave() -> None:
        # From a thread: an exception raised by a signal's handler is lost where a callback of JAX is running.
        stop.wait()
        try:
            worker.release()
        finally:
            os._exit(0)

    threading.Thread(target=leave, daemon=True).start()
    worker.run(stop)


def worker_name() -> str:
    """A name that no other worker has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _child(settings: Settings, name: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the server ends its workers
    parent = multiprocessing.parent_process()

    def outlive() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=outlive, daemon=True).start()
    main(settings, name)


class Pool:
    """Worker processes, each replaced when it dies."""

    CHECK_S = 0.5
    TERMINATE_S = 3.0

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings = settings
        self._jobs = jobs
        self._spawn = multiprocessing.get_context("spawn")
        self._workers: dict[str, BaseProcess] = {}
        self._died: set[str] = set()  # whose jobs are still to be put back
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pool", daemon=True)

    def start(self) -> None:
        """Start the workers and keep them alive."""
        for _ in range(self._settings.workers):
            self._add()
        self._thread.start()

    def stop(self) -> None:
        """End the workers; what they held goes back to the queue."""
        self._stopping.set()
        self._thread.join()
        for process in self._workers.values():
            process.terminate()
        for name, process in self._workers.items():
            process.join(self.TERMINATE_S)
            if process.is_alive():
                process.kill()
                process.join()
                self._release(name)

    def _release(self, name: str) -> None:
        try:
            self._jobs.release(name, died=False)
        except SQLAlchemyError as error:  # the lease runs out
            log.warning("jobs not put back", worker=name, error=str(error))

    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [process.pid for process in self._workers.values() if process.pid is not None]

    def _add(self) -> None:
        name = worker_name()
        process = self._spawn.Process(target=_child, args=(self._settings, name), name=name, daemon=True)
        process.start()
        self._workers[name] = process

    def _watch(self) -> None:
        while not self._stopping.wait(self.CHECK_S):
            for name, process in list(self._workers.items()):
                if not process.is_alive():
                    log.warning("a worker died", worker=name, exit_code=process.exitcode)
                    del self._workers[name]
                    self._died.add(name)
                    self._add()
            self._put_back()

    def _put_back(self) -> None:
        for name in list(self._died):
            try:
                self._jobs.release(name, died=True)
            except SQLAlchemyError as error:
                log.warning("jobs not put back yet", worker=name, error=str(error))
            else:
                self._died.discard(name)
