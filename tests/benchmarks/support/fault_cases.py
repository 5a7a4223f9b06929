"""Faults that need no service around them: clocks that move, two workers on one job, artifacts with a wrong byte."""

from __future__ import annotations

import argparse
import contextlib
import random
import threading
from datetime import timedelta
from functools import cache
from pathlib import Path
from unittest import mock

from api.jobs import queue as queue
from api.jobs.queue import Jobs, LeaseLostError
from api.records.db import Database
from api.records.tables import PlantRow, TwinRow, utc_now
from twin import artifact
from twin.errors import ArtifactError
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.train import Options, fit

FLIPS = 100  # wrong bytes a repeat


def clock_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """The clock jumps by up to two hours while one worker holds a job and another looks for one: it ends once."""
    db = Database(f"sqlite:///{folder / 'twin.db'}")
    db.migrate()
    jobs = Jobs(db, lease_s=30)
    job = jobs.submit("p", {}, "k")
    jobs.lease("one")
    jump = timedelta(seconds=rng.uniform(-7200, 7200))
    with mock.patch.object(queue, "utc_now", return_value=utc_now() + jump):
        other = jobs.lease("two")
        ended = [name for name in ("one", "two") if _ends(db, jobs, job.id, name, name)]
        if not ended:  # a clock that was put back: the lease runs out later, and nothing before
            later = timedelta(hours=3)
            with mock.patch.object(queue, "utc_now", return_value=utc_now() + jump + later):
                jobs.lease("three")
                ended = [name for name in ("three",) if _ends(db, jobs, job.id, name, name)]
    db.close()
    taken = other is not None and jump < timedelta(seconds=30)
    return {"acknowledged": 1, "lost": int(not ended), "half": int(len(ended) > 1), "trouble": int(taken)}


def queue_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """A worker that was thought dead and its successor store their twins at the same instant: one of them does."""
    db = Database(f"sqlite:///{folder / 'twin.db'}")
    db.migrate()
    with db.write() as session:
        session.add(PlantRow(slug="p", version=1))
    jobs = Jobs(db, lease_s=30)
    job = jobs.submit("p", {}, "k")
    jobs.lease("one")
    late = rng.random() < 0.5  # in half of the runs the first one's lease has run out
    with mock.patch.object(queue, "utc_now", return_value=utc_now() + timedelta(seconds=60 if late else 0)):
        jobs.lease("two")
    barrier, ended = threading.Barrier(2), []

    def finish(name: str) -> None:
        barrier.wait()
        if _ends(db, jobs, job.id, name, name, twin=True):
            ended.append(name)

    threads = [threading.Thread(target=finish, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as session:
        twins = session.query(TwinRow).count()
    db.close()
    right = ended == (["two"] if late else ["one"])
    return {"acknowledged": 1, "lost": int(not right), "half": int(twins != 1), "trouble": 0}


def _ends(db: Database, jobs: Jobs, job: str, worker: str, twin_id: str, *, twin: bool = False) -> bool:
    with contextlib.suppress(LeaseLostError), db.write() as session:
        if twin:
            row = TwinRow(id=twin_id, plant="p", plant_version=1, data_version=1, job=job, summary={})
            session.add(row)
        jobs.succeed(session, job, worker, {"twin": twin_id})
        return True
    return False


def artifact_cases(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """One byte of a stored twin is wrong, or its end is missing: it is refused."""
    artifact.save(_twin(), folder / "twin")
    wrong = 0
    for _flip in range(FLIPS):
        path = folder / "twin" / rng.choice((artifact.MANIFEST, artifact.WEIGHTS))
        content = path.read_bytes()
        at = rng.randrange(len(content))
        cut = rng.random() < 0.2
        damaged = (
            content[:at] if cut else content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        )
        path.write_bytes(damaged)
        try:
            artifact.load(folder / "twin")
            wrong += 1
        except ArtifactError:
            pass
        path.write_bytes(content)
    artifact.load(folder / "twin")
    return {"acknowledged": FLIPS, "lost": 0, "half": wrong, "trouble": 0}


@cache
def _twin() -> artifact.Twin:
    return fit(Simulator(QuadrupleTank(), 3).excite(400), Options(horizon_s=100.0, budget_s=1e-3))
