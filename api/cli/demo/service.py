"""The demo: the service, a simulated quadruple tank that is live and faster than real time, and its first twin.

A second start finds plant, history, twin and key again, and only lets the telemetry flow on.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from api.cli import show
from api.cli.follow import follow
from api.client.clients import Client
from api.client.errors import ClientError
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

PLANT = "quadruple-tank"
HISTORY_ROWS = 3_000  # about four hours of the plant
CATCH_UP_ROWS = 300  # simulated at each start, so that a question finds enough history at once
GAP_ROWS = 10
BUDGET_S = 40  # of the first training
SPEED = 25  # times real time
EVERY_S = 1.0  # between uploads
SEED = 7
START_S = 180.0  # how long the service may take to answer


class StartError(Exception):
    """The service does not start."""


def main(data_dir: Path, port: int, admin_key: str | None = None) -> int:
    """Run the demo until Ctrl-C; the exit code. A key is made, and kept in the folder, where none is given."""
    url = f"http://127.0.0.1:{port}"
    for ends in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs are born deaf to the first
        signal.signal(ends, signal.default_int_handler)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        key = admin_key or _key(data_dir / "key")
        with _service(data_dir, port, key) as process, Client(url, key) as client:
            _wait(client, process)
            _prepare(client)
            plant = _resume(client)
            _tell(url, key)
            _live(client, process, plant)
    except KeyboardInterrupt:
        show.errors.print("\nThe demo has ended; `make demo` goes on where it stopped.")
        return 0
    except (StartError, ClientError) as error:
        show.errors.print(str(error), style="red", markup=False)
        return 1
    return 0


@contextmanager
def _service(data_dir: Path, port: int, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own, out of reach of the terminal's Ctrl-C, ended with the demo."""
    environment = {**os.environ, "TWIN_DATA_DIR": str(data_dir), "TWIN_HOST": "127.0.0.1", "TWIN_PORT": str(port)}
    environment |= {"TWIN_ADMIN_KEY": key, "TWIN_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "api.cli.main", "serve"]
    process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave the service behind
        process.terminate()
        process.wait()


def _key(path: Path) -> str:
    """The key of this demo, kept where only its owner can read it."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"twin_{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def _wait(client: Client, process: subprocess.Popen[bytes]) -> None:
    with show.errors.status("starting the service"):
        until = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < until:
            if client.alive():
                return
            time.sleep(0.2)
    raise StartError(f"the service does not answer at {client.url}; is another one listening on that port?")


def _prepare(client: Client) -> None:
    """What is missing of plant, history and twin; then wait until its programs are compiled."""
    client.put_plant(PLANT, QuadrupleTank.plant.to_json())
    if not client.telemetry(PLANT, max_points=4)["times"]:
        with show.errors.status(f"simulating and uploading {HISTORY_ROWS} rows of history"):
            start = pd.Timestamp.now("UTC").floor("s") - HISTORY_ROWS * pd.Timedelta(seconds=5)
            _upload(client, Simulator(QuadrupleTank(), SEED, start).excite(HISTORY_ROWS))
    if "champion" not in client.aliases(PLANT):
        job = follow(client, client.train(PLANT, budget_s=BUDGET_S)["job"])
        if job["state"] != "succeeded":
            raise StartError(f"training {job['state']}: {(job['error'] or {}).get('detail', '')}")
    with show.errors.status("compiling"):
        while not client.ready():
            time.sleep(0.2)


def _resume(client: Client) -> Simulator:
    """The plant, running again; a gap in the times tells its new start from what was stored before."""
    last = pd.Timestamp(client.telemetry(PLANT, max_points=4)["times"][-1])
    start = last + GAP_ROWS * pd.Timedelta(seconds=QuadrupleTank.plant.sample_period_s)
    plant = Simulator(QuadrupleTank(), SEED + last.value // 10**9, start)
    _upload(client, plant.excite(CATCH_UP_ROWS))
    return plant


def _live(client: Client, process: subprocess.Popen[bytes], plant: Simulator) -> None:
    """Let the plant run, and upload about once a second."""
    rows = round(SPEED * EVERY_S / plant.plant.sample_period_s)
    due = time.monotonic()
    while process.poll() is None:
        due = max(due + EVERY_S, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
        _upload(client, plant.excite(rows))
    raise StartError(f"the service ended by itself (exit code {process.returncode})")


def _upload(client: Client, telemetry: Telemetry) -> None:
    client.upload(PLANT, telemetry.frame())


def _tell(url: str, key: str) -> None:
    """The address, the key, and lines to paste."""
    optimize = {
        "horizon_s": 300,
        "objective": {"setpoints": {"level_1": {"value": 14.0}, "level_2": {"value": 12.0}}},
        "limits": {"level_3": {"high": 4.0}},
    }
    moves = {"pump_1": [{"after_s": 0, "value": 3.5}]}
    predict = {"horizon_s": 300, "scenarios": [{"name": "more from pump 1", "moves": moves}]}
    show.console.print(f"\n[bold]Plant Twin[/bold]  {url}\n[bold]API key[/bold]     {key}\n")
    for verb, body in (("predict", predict), ("optimize", optimize)):
        print(_curl(f"{url}/v1/plants/{PLANT}/{verb}", key, body), end="\n\n", flush=True)  # noqa: T201
    show.console.print("Telemetry goes on flowing, 25 times as fast as real time. Ctrl-C ends the demo.")


def _curl(url: str, key: str, body: dict[str, Any]) -> str:
    headers = f"-H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
    return f"curl -s {url} {headers} -d '{json.dumps(body)}'"
