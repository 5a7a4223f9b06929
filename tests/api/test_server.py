"""The service as a process: a worker killed in the middle, a clean end, the restart that finds everything."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from twin.plants.quadruple_tank import QuadrupleTank
from twin.telemetry import Telemetry

KEY = "the-key-of-this-process"


class Process:
    """A service on a free port."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        environment = {**os.environ, "TWIN_DATA_DIR": str(folder), "TWIN_PORT": "0", "JAX_PLATFORMS": "cpu", **settings}
        command = [sys.executable, "-m", "api.cli.main", "serve"]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, env=environment, stderr=self.log, start_new_session=True)

    def text(self) -> str:
        return (self.folder / "log").read_text()

    def client(self, key: str = KEY) -> httpx.Client:
        end = time.monotonic() + 240
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", self.text())):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)
        return httpx.Client(base_url=found[0], headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def workers(self) -> list[int]:
        """The process ids of the children that run Python's spawn."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for task in tasks for pid in task.read_text().split()]
        return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stop(self, sign: int = signal.SIGTERM) -> int:
        self.process.send_signal(sign)
        return self.process.wait(120)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(**settings: str) -> Process:
        started.append(Process(tmp_path, **settings))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()
        process.log.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads process ids from /proc")


def test_a_killed_worker_loses_its_job_to_the_next_which_goes_on_where_it_stood(
    start: Callable[..., Process], measured: Telemetry, until: Callable[[Callable[[], bool], float], None]
) -> None:
    service = start(TWIN_ADMIN_KEY=KEY, TWIN_LEASE_S="4")
    with service.client() as client:
        client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json())
        text = measured.frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z")
        client.post("/v1/plants/tank/telemetry", content=text, headers={"Content-Type": "text/csv"})
        job = client.post("/v1/plants/tank/twins", json={"budget_s": 600}).json()["job"]
        kept = service.folder / "jobs" / job / "checkpoint.safetensors"
        until(kept.exists, 240)
        [first] = service.workers()
        os.kill(first, signal.SIGKILL)
        until(lambda: client.get(f"/v1/jobs/{job}").json()["attempts"] == 2, 240)
        now = client.get(f"/v1/jobs/{job}").json()
        assert (now["state"], now["error"]) == ("running", None)
        until(lambda: bool(service.workers()), 120)
        [second] = service.workers()
        assert second != first

        def lines() -> str:
            return " ".join(line["message"] for line in client.get(f"/v1/jobs/{job}/logs").json()["items"])

        until(lambda: "taken up at step" in lines(), 240)
        assert "running, attempt 2" in lines()

        # The end: an open event stream does not hold it up, the job goes back, no process is left.
        with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
            next(stream.iter_lines())
            assert service.stop() == 0
    assert not alive(second)
    assert "Traceback" not in service.text()

    again = start(TWIN_ADMIN_KEY=KEY, TWIN_WORKERS="0")
    with again.client() as client:
        assert client.get(f"/v1/jobs/{job}").json()["attempts"] <= 2
        assert len(client.get("/v1/plants/tank/telemetry").json()["times"]) == len(measured)
        assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert again.stop(signal.SIGINT) == 0
    assert "Traceback" not in again.text()


def test_a_job_that_takes_more_memory_than_it_may_fails_with_the_reason(
    start: Callable[..., Process], measured: Telemetry, until: Callable[[Callable[[], bool], float], None]
) -> None:
    service = start(TWIN_ADMIN_KEY=KEY, TWIN_LEASE_S="2", TWIN_JOB_MEMORY_MIB="64")  # Python and JAX take more
    with service.client() as client:
        client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json())
        text = measured.frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z")
        client.post("/v1/plants/tank/telemetry", content=text, headers={"Content-Type": "text/csv"})
        until(lambda: bool(service.workers()), 240)
        [first] = service.workers()
        job = client.post("/v1/plants/tank/twins", json={"budget_s": 600}).json()["job"]
        until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "failed", 240)
        ended = client.get(f"/v1/jobs/{job}").json()
        assert "more memory than TWIN_JOB_MEMORY_MIB, 64 MiB" in ended["error"]["detail"]
        assert ended["attempts"] == 1
        until(lambda: bool(service.workers()) and service.workers() != [first], 240)  # with memory of its own
        assert client.get("/v1/plants/tank/twins").json()["items"] == []


def test_workers_do_not_outlive_a_killed_server(
    start: Callable[..., Process], until: Callable[[Callable[[], bool], float], None]
) -> None:
    service = start(TWIN_ADMIN_KEY=KEY)
    with service.client():
        until(lambda: bool(service.workers()), 120)
        pids = service.workers()
    service.stop(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids), 120)


def test_a_generated_key_is_told_once_and_works(start: Callable[..., Process]) -> None:
    service = start(TWIN_WORKERS="0")
    service.client().close()
    [key] = re.findall(r"twin_[\w-]{40,}", service.text())
    with service.client(key) as client:
        assert client.get("/v1/keys").json()["items"][0]["scopes"] == ["admin"]
    assert service.stop() == 0
    again = start(TWIN_WORKERS="0")
    with again.client(key) as client:
        assert client.get("/v1/plants").status_code == 200
    assert "twin_" not in again.text()
    assert again.stop() == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"TWIN_HOST": "0.0.0.0"}, "TWIN_ADMIN_KEY"),  # noqa: S104
        ({"TWIN_PORT": "many"}, "TWIN_PORT"),
        ({"TWIN_ADMIN_KEY": "short"}, "TWIN_ADMIN_KEY"),
        ({"TWIN_LOG_LEVEL": "loud"}, "TWIN_LOG_LEVEL"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    start: Callable[..., Process], settings: dict[str, str], told: str
) -> None:
    service = start(**settings)
    assert service.process.wait(120) in (1, 2)
    assert told in service.text()
    assert "Traceback" not in service.text()
