"""What is lost when a part of the way from a plant to the store goes away: nothing should be.

    python tests/benchmarks/faults.py [--seconds 20] [--only cut]

A server counts up ten times a second; `twin collect` brings the counts to `twin serve`. Each fault lasts for so many
seconds, then all is well for as long again. Lost are counts between the first and the last that are not in the store.
The server is node-opcua (it keeps its history in memory, so that what it told dies with it) or mosquitto with a
publisher of QoS 1; for a cut its network namespace loses its link without a word, which needs
root.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))  # a benchmark is run as a script
from tests.connectors.support import free_port, needed, wait_for_port

NODE = Path(__file__).parents[1] / "connectors" / "node"
RESULTS = Path(__file__).parent / "results"
KEY = "the-key-of-these-faults"
NAMESPACE, LINK, FAR, ADDRESS = "twinfaults", "twinf0", "twinf1", "10.213.7.2"
PLANT = {
    "name": "Counter",
    "sample_period_s": 0.1,
    "tags": [{"name": "count", "role": "cv"}, {"name": "unused", "role": "mv"}],
}
PUBLISHER = """
import json, sys, time
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="plant", clean_session=False)
client.max_queued_messages_set(0)
client.reconnect_delay_set(0.2, 0.5)
client.connect(sys.argv[1], int(sys.argv[2]))
client.loop_start()
i = 0
while True:
    i += 1
    client.publish("count", json.dumps({"value": i, "at": time.time_ns() // 1000}), qos=1)
    time.sleep(0.1)
"""
FILE = """
plant = "counter"
[service]
url = "{url}"
key_env = "TWIN_KEY"
[collect]
flush_s = 1
[[sources]]
"""
OPCUA = 'kind = "opcua"\nurl = "opc.tcp://{host}:{port}"\nsampling_ms = 20.0\npublishing_ms = 200.0\ntimeout_s = 3.0\n'
OPCUA += '[sources.tags]\ncount = "ns=1;s=T0"\n'
MQTT = 'kind = "mqtt"\nhost = "{host}"\nport = {port}\n[sources.tags]\ncount = {{address = "count", time = "at"}}\n'


class Part:
    """A process that can go and come back."""

    def __init__(self, command: list[str], environment: dict[str, str], first: str = "", port: int = 0) -> None:
        self._command, self._environment, self._first, self._port = command, environment, first, port
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, env={**os.environ, **self._environment}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        if self._port:
            wait_for_port(self._port)
        if self._first:
            self.process.stdin.write(self._first.encode())
            self.process.stdin.flush()

    def stop(self, sign: int = signal.SIGKILL) -> None:
        self.process.send_signal(sign)
        self.process.wait(30)
        self.process.stdin.close()


class Way:
    """A plant, the collector and the service, with what counts."""

    def __init__(self, kind: str, folder: Path, host: str, inside: list[str]) -> None:
        self.url, ports = f"http://127.0.0.1:{(port := free_port())}", free_port()
        served = {"TWIN_DATA_DIR": str(folder / "data"), "TWIN_PORT": str(port), "TWIN_ADMIN_KEY": KEY}
        served |= {"TWIN_WORKERS": "0", "TWIN_LOG_LEVEL": "error"}
        twin = [sys.executable, "-m", "api.cli.main"]
        self.service = Part([*twin, "serve"], served, port=port)
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        self.client.put("/v1/plants/counter", json=PLANT).raise_for_status()
        self.publisher: Part | None = None
        if kind == "opcua":
            command = [*inside, needed("node"), str(NODE / "opcua.mjs"), str(ports), str(folder / "pki"), "1"]
            self.server = Part(command, {"HOST": host}, json.dumps({"every": 100}) + "\n")
        else:
            file = folder / "mosquitto.conf"
            lines = (f"listener {ports} {host}", "allow_anonymous true", "user root", "max_queued_messages 0")
            kept = ("persistence true", f"persistence_location {folder}/", "autosave_on_changes true")
            file.write_text("\n".join([*lines, *kept, "autosave_interval 1", ""]))
            self.server = Part([*inside, needed("mosquitto"), "-c", str(file)], {})
            time.sleep(1.0)
            command = [*inside, sys.executable, "-c", PUBLISHER, host, str(ports)]
            self.publisher = Part(command, {})
        text = FILE.format(url=self.url) + (OPCUA if kind == "opcua" else MQTT).format(host=host, port=ports)
        (folder / "plant.toml").write_text(text)
        self.collector = Part([*twin, "collect", str(folder / "plant.toml")], {"TWIN_KEY": KEY})

    def counts(self) -> list[float]:
        """What the store has, in the order of its times."""
        answer = self.client.get("/v1/plants/counter/telemetry", params={"tags": "count", "max_points": 100_000})
        return [v for v in answer.raise_for_status().json()["values"]["count"] if v is not None]

    def close(self) -> None:
        for part in (self.collector, self.publisher, self.server, self.service):
            if part is not None and part.process.poll() is None:
                part.stop(signal.SIGTERM)
        self.client.close()


@contextlib.contextmanager
def namespace() -> Iterator[list[str]]:
    """A network namespace with one link to here; how to run a program in it."""

    def ip(*words: str) -> None:
        subprocess.run([needed("ip"), *words], check=True, capture_output=True)

    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", LINK, "type", "veth", "peer", "name", FAR, "netns", NAMESPACE)
        ip("addr", "add", f"{ADDRESS.rpartition('.')[0]}.1/24", "dev", LINK)
        ip("link", "set", LINK, "up")
        ip("-n", NAMESPACE, "addr", "add", f"{ADDRESS}/24", "dev", FAR)
        ip("-n", NAMESPACE, "link", "set", FAR, "up")
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield [needed("ip"), "netns", "exec", NAMESPACE]
    finally:
        ip("netns", "del", NAMESPACE)


def cut(way: Way, seconds: float) -> None:
    subprocess.run([needed("ip"), "link", "set", LINK, "down"], check=True)
    time.sleep(seconds)
    subprocess.run([needed("ip"), "link", "set", LINK, "up"], check=True)


def server(way: Way, seconds: float) -> None:
    way.server.stop(signal.SIGTERM if way.publisher else signal.SIGKILL)
    time.sleep(seconds)
    way.server.start()


def service(way: Way, seconds: float) -> None:
    way.service.stop()
    time.sleep(seconds)
    way.service.start()


def silent(way: Way, seconds: float) -> None:
    way.service.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    way.service.process.send_signal(signal.SIGCONT)


def collector(way: Way, seconds: float) -> None:
    way.collector.stop()
    time.sleep(seconds)
    way.collector.start()


FAULTS: dict[str, tuple[str, Callable[[Way, float], None]]] = {
    "opcua: network cut": ("opcua", cut),
    "opcua: server killed": ("opcua", server),
    "opcua: service killed": ("opcua", service),
    "opcua: service silent": ("opcua", silent),
    "opcua: collector killed": ("opcua", collector),
    "mqtt: network cut": ("mqtt", cut),
    "mqtt: broker restarted": ("mqtt", server),
    "mqtt: collector killed": ("mqtt", collector),
}


def lost(counts: list[float]) -> int:
    """Counts that are missing between the first and the last of each life of the server, which begins again at 1."""
    whole = [round(c) for c in counts if c >= 1]
    return sum(b - a - 1 for a, b in itertools.pairwise(whole) if b > a + 1)


def tried(kind: str, fault: Callable[[Way, float], None], seconds: float) -> dict[str, float]:
    """One fault, once."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        inside = stack.enter_context(namespace()) if fault is cut else []
        way = Way(kind, folder, ADDRESS if inside else "127.0.0.1", inside)
        stack.callback(way.close)
        until = time.monotonic() + 60
        while not way.counts() and time.monotonic() < until:
            time.sleep(0.5)
        time.sleep(3.0)
        fault(way, seconds)
        back, before, caught_up = time.monotonic(), len(way.counts()), 0.0
        while time.monotonic() < back + max(seconds, 40.0):
            time.sleep(1.0)
            if not caught_up and len(way.counts()) > before and lost(way.counts()) == 0:
                caught_up = time.monotonic() - back
        counts = way.counts()
        return {"stored": len(counts), "lost": lost(counts), "whole_again_s": caught_up}


def main() -> None:
    """Try each fault, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    results = {}
    print(f"{'':28}{'stored':>8}{'lost':>6}{'whole again after s':>21}")
    for name, (kind, fault) in FAULTS.items():
        if asked.only not in name:
            continue
        if fault is cut and os.getuid() != 0:
            print(f"{name:28} skipped: only root makes network namespaces")
            continue
        results[name] = tried(kind, fault, asked.seconds)
        stored, missing, again = results[name].values()
        print(f"{name:28}{stored:8}{missing:6}{again:21.1f}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    document = {"seconds": asked.seconds, "faults": results}
    (RESULTS / "faults.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
