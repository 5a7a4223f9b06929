"""What the service loses when it, its disk, its database or its clock fail: nothing that it acknowledged.

    python tests/benchmarks/service_faults.py [--only upload] [--repeats 10] [--outage 60]

Each case is repeated with seeds 0, 1, … until it has so many outcomes in `results/service_faults.json`; a run that was
stopped goes on where it stood. `lost` counts what was acknowledged and is not there, `half` what is there by halves,
`trouble` answers that are neither a success nor a problem document. Disks that are full or read-only are small file
systems in memory (root), the database that goes away is a PostgreSQL of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))  # a benchmark is run as a script
from support.fault_cases import artifact_cases, clock_case, queue_case
from support.postgres import Postgres

from tests.connectors.support import free_port
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.storage.batch import of_frame
from twin.store import Store

RESULTS = Path(__file__).parent / "results" / "service_faults.json"
CACHE = Path(__file__).parent / "cache"
KEY = "the-key-of-these-faults"
PLANT = {"name": "p", "sample_period_s": 1.0, "tags": [{"name": "y", "role": "cv"}, {"name": "u", "role": "mv"}]}
START_S = 300.0
BLOCK = 40  # rows an upload
T0 = pd.Timestamp("2026-01-01", tz="UTC")
COMPACT = """
import sys, time
from twin.store import Store
table = Store(sys.argv[1]).plant("p")
table.rows
print("go", flush=True)
table.compact()
"""


class Server:
    """A service that can be killed and started again on the same folder and port."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.folder = folder
        base = {"TWIN_DATA_DIR": str(folder), "TWIN_PORT": str(self.port), "TWIN_ADMIN_KEY": KEY}
        base |= {"TWIN_WORKERS": "0", "TWIN_LOG_LEVEL": "error", "TWIN_LEASE_S": "5", "JAX_PLATFORMS": "cpu"}
        self._environment = {**os.environ, **base, **settings}
        headers = {"Authorization": f"Bearer {KEY}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=120)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "api.cli.main", "serve"]
        log = (self.folder.parent / "log").open("a")
        self.process = subprocess.Popen(command, env=self._environment, stderr=log)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/healthz").status_code == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError("the service does not start")

    def kill(self, sign: int = signal.SIGKILL) -> None:
        self.process.send_signal(sign)
        self.process.wait(300)

    def restart(self) -> None:
        self.kill()
        self.start()

    def workers(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for task in tasks for pid in task.read_text().split()]
        return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def put_plant(self) -> None:
        self.client.put("/v1/plants/p", json=PLANT).raise_for_status()

    def block(self, i: int) -> httpx.Response:
        """Upload the block of rows `i`, idempotently."""
        times = T0 + pd.to_timedelta(i * BLOCK + pd.RangeIndex(BLOCK), unit="s")
        body = "time,y,u\n" + "".join(f"{t.isoformat()},{i},1\n" for t in times)
        headers = {"Content-Type": "text/csv", "Idempotency-Key": f"block-{i}"}
        return self.client.post("/v1/plants/p/telemetry", content=body, headers=headers)

    def blocks(self) -> dict[int, int]:
        """How many rows there are of each block."""
        answer = self.client.get("/v1/plants/p/telemetry", params={"tags": "y", "max_points": 100_000})
        values = pd.Series(answer.raise_for_status().json()["values"]["y"]).dropna().astype(int)
        return {int(i): int(n) for i, n in values.value_counts().items()}

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill(signal.SIGTERM)
        self.client.close()


def _serving(folder: Path, **settings: str) -> contextlib.closing[Server]:
    return contextlib.closing(Server(folder / "data", **settings))


def _postgres(folder: Path) -> contextlib.closing[Postgres]:
    return contextlib.closing(Postgres(folder / "pg"))


def outcome(server: Server, acknowledged: set[int], trouble: int = 0) -> dict[str, int]:
    """What became of uploads of whole blocks."""
    found = server.blocks()
    whole = {i for i, rows in found.items() if rows == BLOCK}
    half = len(found) - len(whole)
    return {"acknowledged": len(acknowledged), "lost": len(acknowledged - whole), "half": half, "trouble": trouble}


def uploads_until(server: Server, stop: Callable[[int], bool]) -> tuple[set[int], int]:
    """Upload blocks one after another until told to stop or nobody answers: those acknowledged, and odd answers."""
    acknowledged: set[int] = set()
    trouble = i = 0
    while not stop(i):
        try:
            answer = server.block(i)
        except httpx.TransportError:
            break
        if answer.status_code == 200:
            acknowledged.add(i)
        elif not answer.headers["content-type"].startswith("application/problem+json") or answer.status_code == 500:
            trouble += 1
        i += 1
    return acknowledged, trouble


def killed_in(server: Server, seconds: float, act: Callable[[], Any]) -> Any:
    """Kill the server so many seconds into an action; what the action gave."""
    timer = threading.Timer(seconds, server.kill)
    timer.start()
    try:
        return act()
    finally:
        timer.join()
        server.start()


def commit_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """kill -9 of the server while many small uploads are committed."""
    with contextlib.closing(Server(folder / "data")) as server:
        server.put_plant()
        server.block(10_000)
        acknowledged, trouble = killed_in(
            server, rng.uniform(0.05, 2.0), lambda: uploads_until(server, lambda i: i > 5_000)
        )
        for i in acknowledged:  # sent once more, as a client would: nothing is stored twice
            trouble += server.block(i).json()["rows_received"] != BLOCK
        return outcome(server, acknowledged | {10_000}, trouble)


def upload_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """kill -9 of the server in the middle of one large upload, which is then sent again."""
    rows = 60_000

    def body() -> Iterator[bytes]:
        yield b"time,y,u\n"
        for a in range(0, rows, 2_000):
            times = T0 + pd.to_timedelta(pd.RangeIndex(a, a + 2_000), unit="s")
            yield "".join(f"{t.isoformat()},{a},1\n" for t in times).encode()

    def send() -> bool:
        headers = {"Content-Type": "text/csv", "Idempotency-Key": "large"}
        try:
            return server.client.post("/v1/plants/p/telemetry", content=body(), headers=headers).status_code == 200
        except httpx.TransportError:
            return False

    with contextlib.closing(Server(folder / "data")) as server:
        server.put_plant()
        told = killed_in(server, rng.uniform(0.2, 3.0), send)
        stored = Store(server.folder / "telemetry").plant("p").rows
        lost, half = int(told and stored != rows), int(stored not in (0, rows))
        again = send()
        stored = Store(server.folder / "telemetry").plant("p").rows
        return {"acknowledged": 1 + told, "lost": lost + (stored != rows), "half": half, "trouble": int(not again)}


def compaction_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """kill -9 of a process that compacts: reads, now and as of before, answer what they did."""
    table = Store(folder / "t").plant("p")
    for i in range(14):
        index = T0 + pd.to_timedelta(i * 5_000 + pd.RangeIndex(5_000), unit="s")
        table.append(of_frame(pd.DataFrame({"y": float(i), "u": 1.0}, index=index)))
    version, before = table.version, table.read()
    with subprocess.Popen([sys.executable, "-c", COMPACT, str(folder / "t")], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.4))
        process.kill()
    again = Store(folder / "t").plant("p")
    same = again.read().equals(before) and again.read(as_of=version).equals(before)
    again.check()
    again.compact()
    return {
        "acknowledged": len(before),
        "lost": 0 if same and again.read().equals(before) else 1,
        "half": 0,
        "trouble": 0,
    }


def training_case(folder: Path, rng: random.Random, asked: argparse.Namespace) -> dict[str, int]:
    """kill -9 of the worker, or of the server, while it trains: the job ends well, and there is one twin of it."""
    with contextlib.closing(Server(folder / "data", TWIN_WORKERS="1")) as server:
        telemetry = Simulator(QuadrupleTank(), 3, T0).excite(600)
        server.client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).raise_for_status()
        text = telemetry.frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z")
        server.client.post("/v1/plants/tank/telemetry", content=text, headers={"Content-Type": "text/csv"})
        job = server.client.post("/v1/plants/tank/twins", json={"budget_s": 20}).json()["job"]
        kept = server.folder / "jobs" / job / "checkpoint.safetensors"
        until(kept.exists)
        time.sleep(rng.uniform(0.0, 15.0))
        if rng.random() < 0.5:
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
        else:
            server.restart()
        until(lambda: server.client.get(f"/v1/jobs/{job}").json()["state"] in ("succeeded", "failed"))
        ended = server.client.get(f"/v1/jobs/{job}").json()
        twins = server.client.get("/v1/plants/tank/twins").json()["items"]
        folders = [path for path in (server.folder / "twins").iterdir() if (path / "manifest.json").exists()]
        lines = " ".join(line["message"] for line in server.client.get(f"/v1/jobs/{job}/logs").json()["items"])
        resumed = "taken up" in lines or ended["attempts"] == 1
        return {
            "acknowledged": 1,
            "lost": int(ended["state"] != "succeeded" or len(twins) != 1),
            "half": int(len(folders) < len(twins)),
            "trouble": int(not resumed),
        }


def promotion_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """kill -9 of the server while an alias is moved to and fro."""
    from api.records.db import Database
    from api.records.tables import TwinRow

    with contextlib.closing(Server(folder / "data")) as server:
        server.put_plant()
        db = Database(f"sqlite:///{server.folder / 'twin.db'}")
        with db.write() as session:
            for name in ("a", "b"):
                session.add(TwinRow(id=name, plant="p", plant_version=1, data_version=0, job="j", summary={}))
        db.close()
        told: list[str] = []

        def promote() -> str:
            while True:
                name = "ab"[len(told) % 2]
                try:
                    answer = server.client.put("/v1/plants/p/aliases/spare", json={"twin": name})
                except httpx.TransportError:
                    return name
                told.append(answer.raise_for_status().json()["twin"])

        flying = killed_in(server, rng.uniform(0.05, 1.5), promote)
        found = server.client.get("/v1/plants/p/aliases").json().get("spare")
        sound = server.client.get("/v1/audit/verify").json()["ok"]
        wrong = bool(told) and found not in (told[-1], flying)
        return {"acknowledged": len(told), "lost": int(wrong), "half": int(not sound), "trouble": 0}


def trained(folder: Path) -> None:
    """A data folder with the quadruple tank and a twin, trained once."""
    known = CACHE / "service_faults"
    if not (known / "ready").exists():
        shutil.rmtree(known, ignore_errors=True)
        known.mkdir(parents=True)
        with contextlib.closing(Server(known / "data", TWIN_WORKERS="1")) as server:
            server.client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).raise_for_status()
            text = Simulator(QuadrupleTank(), 3, T0).excite(600).frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z")
            server.client.post("/v1/plants/tank/telemetry", content=text, headers={"Content-Type": "text/csv"})
            job = server.client.post("/v1/plants/tank/twins", json={"budget_s": 5}).json()["job"]
            until(lambda: server.client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded")
        (known / "ready").touch()
    shutil.copytree(known / "data", folder)


def plan_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """kill -9 of the server while it answers optimize: every answer is in the log of recommendations, once."""
    trained(folder / "data")
    path = "/v1/plants/tank"
    with contextlib.closing(Server(folder / "data")) as server:
        told: list[float] = []
        numbers = itertools.count()

        def ask() -> None:
            while True:
                wanted = 12.0 + 1e-6 * next(numbers)
                body = {"horizon_s": 60.0, "objective": {"setpoints": {"level_1": {"value": wanted}}}}
                try:
                    answer = server.client.post(f"{path}/optimize", json=body)
                except httpx.TransportError:
                    return
                answer.raise_for_status()
                told.append(wanted)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(told) > 8)  # the program is compiled
        killed_in(server, rng.uniform(0.05, 2.0), lambda: [thread.join() for thread in threads])
        found: list[float] = []
        after: dict[str, Any] = {}
        while True:
            page = server.client.get(f"{path}/recommendations", params={"limit": 1000, **after}).json()
            found += [item["request"]["objective"]["setpoints"]["level_1"]["value"] for item in page["items"]]
            if page.get("next") is None:
                break
            after = {"after": page["next"]}
        sound = server.client.get("/v1/audit/verify").json()["ok"]
        return {
            "acknowledged": len(told),
            "lost": len(set(told) - set(found)),
            "half": len(found) - len(set(found)) + (not sound),
            "trouble": 0,
        }


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """A file system in memory of so many MiB."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """The disk of data, database and all, runs full while uploads come, and has room again."""
    with small_disk(folder / "disk", 24) as disk, contextlib.closing(Server(disk / "data")) as server:
        server.put_plant()
        server.block(10_000)
        ballast = disk / "ballast"
        room = shutil.disk_usage(disk).free
        ballast.write_bytes(bytes(room - rng.randrange(20_000, 400_000)))
        acknowledged, trouble = uploads_until(server, lambda i: i > 60)
        ballast.unlink()
        trouble += server.block(20_000).status_code != 200
        server.restart()
        return outcome(server, acknowledged | {10_000, 20_000}, trouble)


def read_only_case(folder: Path, rng: random.Random, _: argparse.Namespace) -> dict[str, int]:
    """The file system of the telemetry becomes read-only: reads go on, uploads are refused; then it is mended."""
    with small_disk(folder / "disk", 24) as disk, _serving(folder, TWIN_TELEMETRY_URL=str(disk / "t")) as server:
        server.put_plant()
        before, trouble = uploads_until(server, lambda i: i > rng.randrange(2, 8))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refused, more = uploads_until(server, lambda i: i > 5)
        trouble += more + len(refused - before)  # what was stored before is answered as before
        trouble += outcome(server, before)["lost"]
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        trouble += server.block(20_000).status_code != 200
        return outcome(server, before | {20_000}, trouble)


def database_case(folder: Path, rng: random.Random, asked: argparse.Namespace) -> dict[str, int]:
    """PostgreSQL is stopped while uploads, promotions and questions come, and is back after a while."""
    with _postgres(folder) as postgres, _serving(folder, TWIN_DATABASE_URL=postgres.url) as server:
        server.put_plant()
        keys = []

        def note(i: int) -> bool:
            answer = server.client.post("/v1/keys", json={"name": f"k{i}", "scopes": ["read"]})
            if answer.status_code == 201:
                keys.append(f"k{i}")
            return answer.status_code in (201, 503)

        trouble = sum(not note(i) for i in range(5))
        postgres.stop()
        end = time.monotonic() + asked.outage
        acknowledged: set[int] = set()
        i = 0
        while time.monotonic() < end:
            i += 1
            trouble += not note(1_000 + i)
            answer = server.block(i)
            acknowledged |= {i} if answer.status_code == 200 else set()
            trouble += answer.status_code not in (200, 503)
            time.sleep(0.3)
        postgres.start()
        until(lambda: server.client.get("/v1/keys").status_code == 200)
        trouble += sum(not note(2_000 + i) for i in range(3))
        found = {key["name"] for key in server.client.get("/v1/keys").json()["items"]}
        trouble += not server.client.get("/v1/audit/verify").json()["ok"]
        told = outcome(server, acknowledged, trouble) if acknowledged else {"half": 0, "lost": 0}
        lost = told["lost"] + len(set(keys) - found)
        return {
            "acknowledged": len(acknowledged) + len(keys),
            "lost": lost,
            "half": told["half"],
            "trouble": trouble,
        }


CASES: dict[str, Callable[[Path, random.Random, argparse.Namespace], dict[str, int]]] = {
    "server killed in an upload": upload_case,
    "server killed in commits": commit_case,
    "killed in compaction": compaction_case,
    "worker or server killed in training": training_case,
    "server killed in promotion": promotion_case,
    "server killed behind plans": plan_case,
    "disk full": full_disk_case,
    "store read-only": read_only_case,
    "database gone": database_case,
    "clock moved": clock_case,
    "two workers, one job": queue_case,
    "artifact corrupted": artifact_cases,
}


def until(condition: Callable[[], bool], seconds: float = 900.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if condition():
                return
        time.sleep(0.2)
    raise TimeoutError


def main() -> None:
    """Run what is still to be run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--outage", type=float, default=60.0)
    asked = parser.parse_args()
    results: dict[str, list[dict[str, int]]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, case in CASES.items():
        outcomes = results.setdefault(name, [])
        while asked.only in name and len(outcomes) < asked.repeats:
            with tempfile.TemporaryDirectory() as folder:
                outcomes.append(case(Path(folder), random.Random(len(outcomes)), asked))
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{name:38}{outcomes[-1]}", flush=True)
    print(f"\n{'':38}{'runs':>6}{'acknowledged':>14}{'lost':>6}{'half':>6}{'trouble':>9}")
    for name, outcomes in results.items():
        sums = [sum(o[column] for o in outcomes) for column in ("acknowledged", "lost", "half", "trouble")]
        print(f"{name:38}{len(outcomes):6}{sums[0]:14}{sums[1]:6}{sums[2]:6}{sums[3]:9}")


if __name__ == "__main__":
    main()
