"""The Flower side of a federation's server, in Flower's environment: a SuperLink, its roster, and one run.

It is started with pipes (`frames`). The first frame says the address, the certificates and the roster; a "ready" frame
answers it. Then each frame that it reads is a command, and is answered:

    sites                      {"online": when each was last started, by name}
    send  site, header, vector {}; an earlier question that the site has not answered is given up
    poll                       a frame for each answer that came, {"site", "round", "answer"} and a vector or
                               {"site", "round", "why"}; then {}
    sum   sites, header, wait_s, vector    {"count"} and the mean of the sites' vectors, or {"why"}
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import frames
import httpx
import numpy as np
import tasks
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.app.message_type import MessageType
from flwr.cli.build import build_fab_from_disk
from flwr.common import FitIns, FitRes, Parameters, Scalar, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.constant import SubStatus
from flwr.common.serde import context_from_proto, fab_to_proto, run_from_proto
from flwr.compat.common.recorddict_compat import (
    fitins_to_recorddict,
    parameters_to_arrayrecord,
    recorddict_to_fitres,
)
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest
from flwr.proto.runtime_pb2 import PullTaskInputRequest, PushTaskOutputRequest
from flwr.server import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

OUT = sys.stdout.buffer
PIPE = tasks.Pipe(sys.stdin.buffer)
START_S = 60.0
KEPT_S = 24 * 3600.0  # how long a message waits for its site
LONGEST_WHY = 2000  # characters of a site's reason


class Hub:
    """A running SuperLink and the grid of its one run."""

    def __init__(self, grid: HttpGrid, context: Context, keys: dict[bytes, str]) -> None:
        self.grid, self.context, self.keys = grid, context, keys
        self.waiting: dict[str, tuple[str, int]] = {}  # by message: site and round

    def nodes(self) -> dict[str, Any]:
        """Nodes that are online, by their site: those whose key is in the roster."""
        found = {self.keys.get(node.public_key): node for node in self.grid.get_nodes()}
        return {site: node for site, node in found.items() if site is not None}

    def do(self, asked: dict[str, Any], vector: np.ndarray) -> None:
        """One command."""
        kind = asked["kind"]
        if kind == "sites":
            frames.write(OUT, {"kind": kind, "online": {s: n.last_activated_at for s, n in self.nodes().items()}})
        elif kind == "send":
            self.send(asked, vector)
            frames.write(OUT, {"kind": kind})
        elif kind == "poll":
            self.poll()
            frames.write(OUT, {"kind": kind})
        else:
            self.sum(asked, vector)

    def send(self, asked: dict[str, Any], vector: np.ndarray) -> None:
        node = self.nodes().get(asked["site"])
        if node is None:
            return
        self.waiting = {message: of for message, of in self.waiting.items() if of[0] != asked["site"]}
        message = Message(_content(asked["header"], vector), node.node_id, MessageType.TRAIN, ttl=KEPT_S, group_id="0")
        for pushed in self.grid.push_messages([message]):
            if pushed:
                self.waiting[pushed] = (asked["site"], int(asked["header"]["round"]))

    def poll(self) -> None:
        if not self.waiting:
            return
        for message in self.grid.pull_messages(list(self.waiting)):
            of = self.waiting.pop(message.metadata.reply_to_message_id, None)
            if of is None:
                continue
            site, told = of[0], {"kind": "update", "site": of[0], "round": of[1]}
            if message.has_error():
                frames.write(OUT, {**told, "why": _named(site, str(message.error.reason))})
                continue
            try:
                found = recorddict_to_fitres(message.content, keep_input=False)
                answer, vector = frames.answer(str(found.metrics["json"]), parameters_to_ndarrays(found.parameters))
                frames.write(OUT, {**told, "answer": answer}, vector)
            except Exception as error:
                why = f"{site}: an answer that cannot be read: {type(error).__name__}: {error}"
                frames.write(OUT, {**told, "why": why[:LONGEST_WHY]})

    def sum(self, asked: dict[str, Any], vector: np.ndarray) -> None:
        """The mean of the sites' vectors by SecAgg+ (J. H. Bell et al., CCS 2020): no single one is seen here."""
        nodes = self.nodes()
        chosen = [nodes[site].node_id for site in asked["sites"] if site in nodes]
        strategy = Sum(chosen, asked["header"])
        context = LegacyContext(self.context, strategy=strategy)
        context.state = RecordDict()
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: asked["header"]["round"]})
        record = parameters_to_arrayrecord(ndarrays_to_parameters([vector]), keep_input=True)
        context.state.array_records[MAIN_PARAMS_RECORD] = record
        workflow = SecAggPlusWorkflow(
            1.0, 0.5, max_weight=1.0, clipping_range=asked["clip"], timeout=asked["wait_s"] / 4.0
        )
        try:
            workflow(self.grid, context)
        except Exception as error:
            strategy.why.append(f"{type(error).__name__}: {error}")
        if strategy.mean is None:
            why = "; ".join(strategy.why)[:LONGEST_WHY] or "too few sites answered every stage"
            frames.write(OUT, {"kind": "sum", "why": why})
        else:
            frames.write(OUT, {"kind": "sum", "count": strategy.count}, strategy.mean)


class Sum(FedAvg):  # type: ignore[misc]
    """What SecAgg+ asks of a strategy: whom to ask, and where its sum goes."""

    def __init__(self, nodes: list[int], header: dict[str, Any]) -> None:
        super().__init__()
        self.nodes, self.header = nodes, header
        self.mean: np.ndarray | None = None
        self.count = 0
        self.why: list[str] = []

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[tuple[Any, FitIns]]:
        return [(Proxy(node), FitIns(parameters, {"json": json.dumps(self.header)})) for node in self.nodes]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[Any, FitRes]], failures: list[Any]
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        self.why += [str(failure) for failure in failures]
        if results:  # each holds the mean
            self.mean, self.count = parameters_to_ndarrays(results[0][1].parameters)[0], len(results)
        return None, {}


class Proxy:
    """A node by its number."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id


def _content(header: dict[str, Any], vector: np.ndarray) -> RecordDict:
    return fitins_to_recorddict(FitIns(ndarrays_to_parameters([vector]), {"json": json.dumps(header)}), False)


def _named(site: str, why: str) -> str:
    return (why if why.startswith(site) else f"{site}: {why}")[:LONGEST_WHY]


def command(asked: dict[str, Any], runtime: tasks.Runtime) -> list[str]:
    """That starts the SuperLink."""
    return [
        *(sys.executable, "-E", str(Path(__file__).with_name("superlink.py"))),
        *("--host", asked["host"], "--port", str(asked["port"]), "--enable-supernode-auth"),
        *("--ssl-certfile", asked["certificate"], "--ssl-keyfile", asked["key"]),
        *("--ssl-ca-certfile", asked["authority"], "--disable-runtime-dependency-installation"),
        *("--isolation", "process", "--superexec-auth-secret-file", str(runtime.secret_file)),
    ]


def roster(sites: dict[str, str]) -> dict[bytes, str]:
    """Names of sites by their public keys, as Flower writes these."""
    found = {}
    for site, path in sites.items():
        key = load_ssh_public_key(Path(path).read_bytes())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError(f"{site}: {path} holds no elliptic-curve key")
        found[public_key_to_bytes(key)] = site
    return found


def started(asked: dict[str, Any], runtime: tasks.Runtime, keys: dict[bytes, str], flower: Any) -> str:
    """Register the roster and start the run; the hash of its empty app."""
    client = ControlHttpClient.from_server_address(
        runtime.address,
        insecure=False,
        root_certificates=runtime.root,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
    )
    until = time.monotonic() + START_S
    for key, site in keys.items():
        while True:
            try:
                client.RegisterNode(RegisterNodeRequest(public_key=key, name=site))
                break
            except httpx.TransportError:
                if flower.poll() is not None or time.monotonic() > until:
                    raise tasks.Ended(f"the SuperLink does not start: {runtime.said()}") from None
                time.sleep(0.2)
    content = build_fab_from_disk(Path(__file__).with_name("app"))
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    client.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
    client.close()
    return str(fab.hash_str)


def serve(asked: dict[str, Any], runtime: tasks.Runtime, flower: subprocess.Popen[bytes]) -> None:
    """Obey commands until our process closes the pipe."""
    keys = roster(asked["sites"])
    ours = started(asked, runtime, keys, flower)
    for token in runtime.tokens(TaskType.SERVER_APP, flower, PIPE):
        with runtime.task(token) as client:
            given = client.PullTaskInput(PullTaskInputRequest())
            if given.fab.hash_str != ours:
                continue  # a run that somebody else on this machine started
            TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
            TaskIdentity.node_id = given.context.node_id
            grid = HttpGrid(runtime.address, root_certificates=runtime.root, token=token)
            grid.set_run(run_from_proto(given.run))
            hub = Hub(grid, context_from_proto(given.context), keys)
            frames.write(OUT, {"kind": "ready"})
            while (found := PIPE.read()) is not None:
                if flower.poll() is not None:
                    raise tasks.Ended(f"the SuperLink ended: {runtime.said()}")
                hub.do(*found)
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=SubStatus.COMPLETED, details=""))
            return


def main() -> None:
    """Start Flower, serve, and take it down again."""
    found = PIPE.read()
    if found is None:
        return
    asked = found[0]
    root = Path(asked["authority"]).read_bytes()
    runtime = tasks.Runtime(Path(asked["folder"]), f"127.0.0.1:{asked['port']}", root)
    flower = runtime.start(command(asked, runtime))
    try:
        serve(asked, runtime, flower)
    except Exception as error:
        frames.write(OUT, {"kind": "ended", "why": f"{type(error).__name__}: {error}"})
    finally:
        tasks.stop(flower)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # what Flower says must not get between the frames
    main()
    tasks.leave()
