"""What a job may take: nothing is exceeded that is not."""

from __future__ import annotations

from api.jobs.bounds import STATM, Bounds, resident_mib
from api.settings import Settings


def test_nothing_is_exceeded_at_first() -> None:
    assert Bounds(Settings()).exceeded() is None
    assert Bounds(Settings(job_memory_mib=100_000)).exceeded() is None


def test_time_and_memory_are_told_with_what_to_do() -> None:
    told = Bounds(Settings(job_time_s=1e-9)).exceeded()
    assert told is not None
    assert "TWIN_JOB_TIME_S" in told
    assert "smaller budget_s" in told
    if STATM.exists():
        assert 5 < resident_mib() < 100_000
        told = Bounds(Settings(job_memory_mib=1)).exceeded()
        assert told is not None
        assert "TWIN_JOB_MEMORY_MIB, 1 MiB" in told
