"""What a job may take: time, and memory of the process that works on it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from api.settings import MIB, Settings

STATM = Path("/proc/self/statm")


class Bounds:
    """Of one job, from now on."""

    def __init__(self, settings: Settings) -> None:
        self._time_s, self._memory_mib = settings.job_time_s, settings.job_memory_mib
        self._began = time.monotonic()

    def exceeded(self) -> str | None:
        """What was exceeded, in a sentence that says what to do; None where nothing was."""
        if time.monotonic() - self._began > self._time_s:
            return f"it ran for longer than TWIN_JOB_TIME_S, {self._time_s:g} s: give it a smaller budget_s"
        if self._memory_mib and resident_mib() > self._memory_mib:
            return (
                f"it needed more memory than TWIN_JOB_MEMORY_MIB, {self._memory_mib} MiB: "
                "train on a shorter span (start, end) or fewer tags"
            )
        return None


def resident_mib() -> float:
    """The memory this process holds; 0 where the system does not tell (other than Linux)."""
    if not STATM.exists():
        return 0.0
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
