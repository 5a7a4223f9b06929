"""The queue: leases, deaths, cancellation, events; with worker names in place of workers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from api.jobs.queue import MAX_ATTEMPTS, Jobs, LeaseLostError
from api.records.db import Database
from api.records.tables import JobRow
from api.routes.jobs import line_json
from twin.errors import ConflictError, NotFoundError


@pytest.fixture
def db(tmp_path: Path) -> Database:
    db = Database(f"sqlite:///{tmp_path / 'twin.db'}")
    db.migrate()
    yield db
    db.close()


@pytest.fixture
def jobs(db: Database) -> Jobs:
    return Jobs(db, lease_s=60)


def states(jobs: Jobs, job_id: str) -> list[str]:
    return [event.data["state"] for event in jobs.events(job_id, 0) if event.kind == "state"]


def test_a_job_is_leased_once_and_oldest_first(jobs: Jobs) -> None:
    first, second = jobs.submit("a", {"seed": 1}, "boss"), jobs.submit("b", {"seed": 2}, "boss")
    assert jobs.lease("one").id == first.id
    assert jobs.lease("two").id == second.id
    assert jobs.lease("three") is None


def test_many_workers_never_share_a_job(jobs: Jobs) -> None:
    expected = {jobs.submit(f"plant-{i}", {}, "boss").id for i in range(20)}
    taken: list[str] = []

    def work(name: str) -> None:
        while (job := jobs.lease(name)) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(expected)


def test_a_plant_has_one_running_job_and_the_next_waits_for_its_end(jobs: Jobs) -> None:
    first, second = jobs.submit("a", {}, "boss"), jobs.submit("a", {}, "boss")
    other = jobs.submit("b", {}, "boss")
    assert jobs.lease("one").id == first.id
    assert jobs.lease("two").id == other.id
    assert jobs.lease("three") is None
    jobs.cancel(first.id, "boss")
    assert jobs.lease("three").id == second.id


def test_the_database_itself_refuses_a_second_running_job_of_a_plant(jobs: Jobs, db: Database) -> None:
    for _ in range(2):
        jobs.submit("a", {}, "boss")
    with pytest.raises(IntegrityError), db.write() as session:
        session.execute(update(JobRow).values(state="running"))


def test_the_log_holds_states_alarms_and_what_was_told(jobs: Jobs) -> None:
    job = jobs.submit("a", {}, "boss")
    jobs.lease("one")
    jobs.log(job.id, "900 rows")
    jobs.report(job.id, "one", "progress", {"step": 25}, 0.1, 1.0)
    jobs.report(job.id, "one", "alarm", {"detail": "collapse"}, 0.1, 1.0)
    jobs.fail(job.id, "one", {"detail": "too few rows"})
    lines = jobs.logs(job.id, 0, 10)
    assert [line.kind for line in lines] == ["state", "state", "log", "alarm", "state"]
    assert "log" not in [event.kind for event in jobs.events(job.id, 0)]
    told = [line_json(line) for line in lines]
    assert [(line["level"], line["message"]) for line in told] == [
        ("info", "queued"),
        ("info", "running, attempt 1"),
        ("info", "900 rows"),
        ("warning", "collapse"),
        ("error", "failed: too few rows"),
    ]
    assert [line.id for line in jobs.logs(job.id, lines[1].id, 2)] == [line.id for line in lines[2:4]]


def test_a_silent_worker_loses_its_job_to_another(db: Database) -> None:
    jobs = Jobs(db, lease_s=0.05)
    job = jobs.submit("a", {}, "boss")
    assert jobs.lease("dead").id == job.id
    time.sleep(0.1)
    again = jobs.lease("alive")
    assert (again.id, again.attempts, again.worker) == (job.id, 2, "alive")
    with pytest.raises(LeaseLostError):
        jobs.report(job.id, "dead", "progress", {}, 0.5, 1.0)


def test_renewing_keeps_a_job(db: Database) -> None:
    jobs = Jobs(db, lease_s=0.3)
    job = jobs.submit("a", {}, "boss")
    jobs.lease("one")
    for _ in range(4):
        time.sleep(0.15)
        jobs.renew(job.id, "one")
        assert jobs.lease("two") is None


def test_a_job_that_kills_its_workers_fails_with_the_reason(jobs: Jobs) -> None:
    job = jobs.submit("a", {}, "boss")
    for attempt in range(MAX_ATTEMPTS):
        assert jobs.lease(f"w{attempt}").attempts == attempt + 1
        jobs.release(f"w{attempt}", died=True)
    assert jobs.lease("last") is None
    ended = jobs.get(job.id)
    assert ended.state == "failed"
    assert "died 3 times" in ended.error["detail"]


def test_a_worker_that_is_told_to_stop_costs_no_attempt(jobs: Jobs) -> None:
    job = jobs.submit("a", {}, "boss")
    jobs.lease("one")
    for _ in range(2):
        jobs.release("one", died=False)
    again = jobs.lease("two")
    assert (again.id, again.attempts) == (job.id, 1)


def test_cancelled_jobs_stay_cancelled_and_their_worker_notices(jobs: Jobs) -> None:
    job = jobs.submit("a", {}, "boss")
    jobs.lease("one")
    assert jobs.cancel(job.id, "boss").state == "cancelled"
    assert jobs.cancel(job.id, "boss").state == "cancelled"
    for act in (
        lambda: jobs.renew(job.id, "one"),
        lambda: jobs.report(job.id, "one", "progress", {}, 0.1, None),
        lambda: jobs.fail(job.id, "one", {"detail": "x"}),
    ):
        with pytest.raises(LeaseLostError):
            act()
    assert jobs.lease("two") is None
    assert states(jobs, job.id) == ["queued", "running", "cancelled"]


def test_the_end_and_what_was_made_are_one_transaction(jobs: Jobs, db: Database) -> None:
    job = jobs.submit("a", {}, "boss")
    jobs.lease("one")

    def succeed_and_break() -> None:
        with db.write() as session:
            jobs.succeed(session, job.id, "one", {"twin": "t"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        succeed_and_break()
    assert jobs.get(job.id).state == "running"
    with db.write() as session:
        jobs.succeed(session, job.id, "one", {"twin": "t"})
    ended = jobs.get(job.id)
    assert (ended.state, ended.result, ended.progress) == ("succeeded", {"twin": "t"}, 1.0)
    with pytest.raises(ConflictError):
        jobs.cancel(job.id, "boss")


def test_events_have_increasing_ids_and_resume_behind_one(jobs: Jobs) -> None:
    job = jobs.submit("a", {}, "boss")
    jobs.lease("one")
    for i in range(3):
        jobs.report(job.id, "one", "progress", {"step": i}, i / 4, 10.0 - i)
    events = jobs.events(job.id, 0)
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    later = jobs.events(job.id, ids[2])
    assert [event.data["step"] for event in later] == [1, 2]
    now = jobs.get(job.id)
    assert (now.progress, now.eta_s) == (0.5, 8.0)


def test_pages_of_jobs_meet_without_gap_or_overlap(jobs: Jobs) -> None:
    made = [jobs.submit("a", {}, "boss").id for _ in range(5)]
    jobs.submit("b", {}, "boss")
    seen: list[str] = []
    after = None
    while found := jobs.list({"a"}, 2, after):
        seen += [job.id for job in found]
        after = seen[-1]
    assert seen == made[::-1]


def test_counts_by_state(jobs: Jobs) -> None:
    jobs.submit("a", {}, "boss")
    jobs.submit("b", {}, "boss")
    jobs.lease("one")
    assert jobs.count() == {"queued": 1, "running": 1, "succeeded": 0, "failed": 0, "cancelled": 0}


def test_an_unknown_job_is_not_found(jobs: Jobs) -> None:
    with pytest.raises(NotFoundError):
        jobs.get("job-x")
