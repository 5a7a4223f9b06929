"""The demo of control: the service, a plant behind OPC UA, the collector and the controller, each a process of its own.

The controller starts in shadow; the loop is closed by whoever pastes the line that asks for it. Everything is kept in
one folder, the plant's file among it.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd

from api.cli import show
from api.cli.demo import serve_plant
from api.cli.demo import service as demo
from api.client.clients import Client
from api.client.errors import ClientError
from api.settings import environment
from twin.plants.quadruple_tank import QuadrupleTank
from twin.telemetry import Telemetry

SPEED = 5  # times real time: a cycle of the tank is one second
WINDOW_S = 40  # of rows that a twin must have seen without a hole, at this speed
TAGS = [tag.name for tag in QuadrupleTank.plant.tags]
MODES = [f"{tag.name}.mode" for tag in QuadrupleTank.plant.mvs]
FILE = """# The quadruple tank over OPC UA: for `twin collect` and `twin control`.
plant = "{plant}"

[service]
url = "{service}"
key_env = "TWIN_KEY"

[collect]
flush_s = 2

[[sources]]
kind = "opcua"
url = "{server}"
future_s = 1e9                     # the plant's clock runs {speed} times as fast as ours
[sources.tags]
{sources}

[[sinks]]
kind = "opcua"
url = "{server}"
[sinks.tags]
{sinks}

[control]
horizon_s = 300
closed_loop_allowed = true         # it still starts in shadow, and needs a confirmation
write_within_s = 4                 # of the period of 5; a later plan is not written
[control.setpoints]
level_1 = {{value = 12.4, low = 6, high = 16}}
level_2 = {{value = 12.7, low = 6, high = 16}}
[control.move_suppression]
pump_1 = 0.01
pump_2 = 0.01
[control.mvs.pump_1]
mode_tag = "pump_1.mode"
safe = 3.0                         # where it is led when the controller gives up; without it, it stays
[control.mvs.pump_2]
mode_tag = "pump_2.mode"
safe = 3.0
[control.inputs]                   # the server stamps what is written to it by our clock, not by the plant's
pump_1 = {{max_age_s = 1e9}}
pump_2 = {{max_age_s = 1e9}}
[control.watchdog]
tag = "heartbeat"
[control.permissives]
"controller.permitted" = 1         # the operator's switch
"""


def main(data_dir: Path, port: int, admin_key: str | None = None) -> int:
    """Run until Ctrl-C; the exit code."""
    url = f"http://127.0.0.1:{port}"
    for ends in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs are born deaf to the first
        signal.signal(ends, signal.default_int_handler)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        key = admin_key or demo._key(data_dir / "key")
        with demo._service(data_dir, port, key) as process, Client(url, key) as client, ExitStack() as stack:
            demo._wait(client, process)
            demo._prepare(client)
            epoch = _epoch(client)
            file, server = data_dir / "plant.toml", f"opc.tcp://127.0.0.1:{_free_port()}"
            file.write_text(_file(url, server))
            since = pd.Timestamp.now("UTC")
            pace = ["--speed", str(SPEED), "--epoch", epoch.isoformat(), "--since", since.isoformat()]
            seed = str(_seed(epoch))
            simulated = ["serve-plant", "--port", server.rpartition(":")[2], "--seed", seed, *pace]
            stack.enter_context(_beside(simulated, key, data_dir))
            demo._upload(client, _before(epoch))
            _listens(server)
            stack.enter_context(_beside(["collect", str(file)], key, data_dir))
            stack.enter_context(_beside(["control", str(file), *pace], key, data_dir))
            _tell(url, key, file)
            code = process.wait()
            raise demo.StartError(f"the service ended by itself (exit code {code})")
    except KeyboardInterrupt:
        show.errors.print("\nThe demo has ended; `make demo-control` goes on where it stopped.")
        return 0
    except (demo.StartError, ClientError) as error:
        show.errors.print(str(error), style="red", markup=False)
        return 1


@contextmanager
def _beside(arguments: list[str], key: str, folder: Path) -> Iterator[None]:
    """Another command in a process of its own, which tells what it does in a log; ended in order."""
    command = [sys.executable, "-m", "api.cli.main", *arguments]
    log = folder / f"{arguments[0]}.log"
    with log.open("ab") as out:
        told = {**environment(), "TWIN_KEY": key}
        process = subprocess.Popen(command, env=told, stdout=out, stderr=out, start_new_session=True)  # noqa: S603
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _epoch(client: Client) -> pd.Timestamp:
    """When the served plant begins: behind all that is stored, with room for its rows before."""
    period = pd.Timedelta(seconds=QuadrupleTank.plant.sample_period_s)
    last = pd.Timestamp(client.telemetry(demo.PLANT, max_points=4)["times"][-1])
    return (max(last, pd.Timestamp.now("UTC")) + (serve_plant.WARM_UP_ROWS + demo.GAP_ROWS) * period).ceil("s")


def _seed(epoch: pd.Timestamp) -> int:
    return demo.SEED + epoch.value // 10**9


def _before(epoch: pd.Timestamp) -> Telemetry:
    """The rows at rest that the served plant has behind it: the same seed gives the same."""
    return serve_plant.at_rest(serve_plant.simulator(_seed(epoch), epoch), serve_plant.WARM_UP_ROWS)


def _file(url: str, server: str) -> str:
    def nodes(names: list[str]) -> str:
        return "\n".join(f'"{name}" = "ns=2;s={name}"' for name in names)

    return FILE.format(
        plant=demo.PLANT,
        service=url,
        server=server,
        speed=SPEED,
        sources=nodes([*TAGS, *MODES, "controller.permitted"]),
        sinks=nodes([*(tag.name for tag in QuadrupleTank.plant.mvs), "heartbeat"]),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(server: str) -> None:
    """Wait until the plant is served."""
    port, until = int(server.rpartition(":")[2]), time.monotonic() + demo.START_S
    with show.errors.status("starting the plant"):
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.2)
    raise demo.StartError("the plant's OPC UA server does not start; see serve-plant.log")


def _tell(url: str, key: str, file: Path) -> None:
    """What runs, and lines to paste."""
    where = f"{url}/v1/plants/{demo.PLANT}/controller"
    closed = {"mode": "closed", "confirm": demo.PLANT, "reason": "trying it out"}
    show.console.print(f"\n[bold]Plant Twin[/bold]  {url}\n[bold]API key[/bold]     {key}")
    show.console.print(f"[bold]Plant[/bold]       {file}\n")
    show.console.print(f"The tank is served over OPC UA, {SPEED} times as fast as real time, collected,")
    show.console.print("and watched in shadow: nothing is written to it. What the controller would do;")
    show.console.print("the loop closed; another level; the loop open again; and how it did:\n")
    print(f"curl -s {where} -H 'Authorization: Bearer {key}'\n", flush=True)  # noqa: T201
    for body in (closed, {"setpoints": {"level_1": 14.0}}, {"mode": "advisory", "reason": "enough"}):
        print(f"{_put(where, key)} -d '{json.dumps(body)}'\n", flush=True)  # noqa: T201
    print(f"curl -s {where}/report -H 'Authorization: Bearer {key}'\n", flush=True)  # noqa: T201
    show.console.print(f"`closed` needs a good cycle: about {WINDOW_S} s after the start there are rows enough.")
    show.console.print("Where the machine is too busy to plan in time, cycles fail as `late`, and the")
    show.console.print(f"controller gives up: `why` says so, and {file.with_name('control.log')} has every cycle.")
    show.console.print("Ctrl-C ends the demo.")


def _put(where: str, key: str) -> str:
    return f"curl -s -X PUT {where} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
