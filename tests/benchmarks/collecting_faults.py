"""What is lost when a part of the way from a plant to the store goes away: nothing should be.

    python tests/benchmarks/collecting_faults.py [--seconds 20] [--times 5] [--only cut]

A server counts up ten times a second; `twin collect` brings the counts to `twin serve`. Each fault lasts for so many
seconds, then the way is given the time to become whole, and the fault comes again. Lost are counts between the first
and the last stored that are missing. The server is node-opcua, which reports each change by itself: one that samples
misses changes on a busy machine before anybody can collect them. It keeps its history in memory, so that what it told
dies with it. Or it is mosquitto with a publisher of QoS 1. For a cut the server's network namespace loses its link
without a word, for a full disk the collector's buffer lies in a small file system of its own; both need root. A step of
the host's clock is one of the collector's alone, by libfaketime; stamps are the source's. Goes on
where it stopped: what `results/collecting_faults.json` has of the same length is not tried again.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import fcntl
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
from support.namespace import Namespace, namespace

from tests.connectors import support
from tests.connectors.support import free_port, needed, wait_for_port

support.PATIENCE_S = 300.0  # for a service to start on a busy machine

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"  # of Debian's faketime
DISK = 4 << 20  # bytes of the buffer's own file system
NODE = Path(__file__).parents[1] / "connectors" / "node"
RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parent / "cache"
KEY = "the-key-of-these-faults"
PATIENCE_S = 90.0  # for the way to become whole again
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
OPCUA = 'kind = "opcua"\nurl = "opc.tcp://{host}:{port}"\nsampling_ms = 0.0\npublishing_ms = 200.0\ntimeout_s = 3.0\n'
OPCUA += '[sources.tags]\ncount = "ns=1;s=T0"\n'
MQTT = 'kind = "mqtt"\nhost = "{host}"\nport = {port}\n[sources.tags]\ncount = {{address = "count", time = "at"}}\n'


Fault = Callable[["Way", float], None]


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
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:  # at the end of a story on a busy machine
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()


class Way:
    """A plant, the collector and the service, with what counts."""

    def __init__(self, kind: str, folder: Path, network: Namespace | None, own_disk: bool, own_clock: bool) -> None:
        self.network = network
        host, inside = (network.there, network.inside) if network else ("127.0.0.1", ())
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
            self.server = Part(command, {"HOST": host, "MINIMUM_MS": "0"}, json.dumps({"every": 100}) + "\n")
        else:
            file = folder / "mosquitto.conf"
            lines = (
                f"listener {ports} {host}",
                "allow_anonymous true",
                "user root",
                "max_queued_messages 0",
                "log_dest none",
            )
            kept = ("persistence true", f"persistence_location {folder}/", "autosave_on_changes true")
            file.write_text("\n".join([*lines, *kept, "autosave_interval 1", ""]))
            self.server = Part([*inside, needed("mosquitto"), "-c", str(file)], {})
            time.sleep(1.0)
            command = [*inside, sys.executable, "-c", PUBLISHER, host, str(ports)]
            self.publisher = Part(command, {})
        text = FILE.format(url=self.url) + (OPCUA if kind == "opcua" else MQTT).format(host=host, port=ports)
        (folder / "plant.toml").write_text(text)
        self.buffer = folder / "plant.buffer"
        self.buffer.mkdir()
        if own_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self.buffer)], check=True)
        self._own_disk = own_disk
        self.clock, self.seen = folder / "clock", {}
        self.clock.write_text("+0")
        stepped = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1"}
        stepped |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        environment = {"TWIN_KEY": KEY} | (stepped if own_clock else {})
        self.collector = Part([*twin, "collect", str(folder / "plant.toml")], environment)

    def counts(self, since: float = 0.0) -> list[tuple[float, float]]:
        """What the store has since then: time (s since 1970) and count, in the order of times."""
        start = dt.datetime.fromtimestamp(since, dt.UTC).isoformat()
        params = {"tags": "count", "max_points": 100_000, "start": start}
        body = self.client.get("/v1/plants/counter/telemetry", params=params).raise_for_status().json()
        pairs = zip(body["times"], body["values"]["count"], strict=True)
        return [(dt.datetime.fromisoformat(time).timestamp(), count) for time, count in pairs if count is not None]

    def close(self) -> None:
        for part in (self.collector, self.publisher, self.server, self.service):
            if part is not None and part.process.poll() is None:
                part.stop(signal.SIGTERM)
        if self._own_disk:
            subprocess.run(["umount", str(self.buffer)], check=True)
        self.client.close()


def cut(way: Way, seconds: float) -> None:
    way.network.cut()
    time.sleep(seconds)
    way.network.mend()


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


def disk(way: Way, seconds: float) -> None:
    ballast = way.buffer / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(1024))
            file.flush()
    time.sleep(seconds)
    ballast.unlink()


def clock(step_s: int) -> Fault:
    """The collector's clock alone steps, and steps back at the end."""

    def fault(way: Way, seconds: float) -> None:
        way.clock.write_text(f"{step_s:+d}")
        time.sleep(seconds)
        (source,) = way.client.get("/v1/plants/counter/sources").raise_for_status().json()["sources"]
        way.seen = {"step_s": step_s, "skew_s": source["skew_s"], "refused": source["refused"]}
        way.clock.write_text("+0")

    return fault


AHEAD, BEHIND = clock(3600), clock(-3600)
FAULTS: dict[str, tuple[str, Fault]] = {
    "opcua: network cut": ("opcua", cut),
    "opcua: server killed": ("opcua", server),
    "opcua: service killed": ("opcua", service),
    "opcua: service silent": ("opcua", silent),
    "opcua: collector killed": ("opcua", collector),
    "opcua: collector's disk full": ("opcua", disk),
    "opcua: clock an hour ahead": ("opcua", AHEAD),
    "opcua: clock an hour behind": ("opcua", BEHIND),
    "mqtt: network cut": ("mqtt", cut),
    "mqtt: broker restarted": ("mqtt", server),
    "mqtt: service silent": ("mqtt", silent),
    "mqtt: collector killed": ("mqtt", collector),
    "mqtt: collector's disk full": ("mqtt", disk),
    "mqtt: clock an hour ahead": ("mqtt", AHEAD),
    "mqtt: clock an hour behind": ("mqtt", BEHIND),
}


def lost(counts: list[float]) -> int:
    """Counts that are missing between the first and the last of each life of the server, which begins again at 1."""
    whole = [round(c) for c in counts if c >= 1]
    return sum(b - a - 1 for a, b in itertools.pairwise(whole) if b > a + 1)


def whole(way: Way, since: float, patience_s: float) -> tuple[list[float], float]:
    """The counts stored since a moment, when none is missing and new ones arrive, or patience is at its end; and how
    long that took, s."""
    back = time.time()
    while True:
        time.sleep(0.5)
        stored, took_s = way.counts(since), time.time() - back
        counts = [count for _, count in stored]
        if (stored and stored[-1][0] > back + 2.0 and lost(counts) == 0) or took_s > patience_s:
            return counts, took_s


def tried(kind: str, fault: Fault, seconds: float, times: int) -> Iterator[dict[str, float]]:
    """One fault, so many times."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = stack.enter_context(namespace()) if fault is cut else None
        way = Way(kind, folder, network, fault is disk, fault in (AHEAD, BEHIND))
        stack.callback(way.close)
        begun = time.time()
        whole(way, begun, PATIENCE_S)
        for _ in range(times):
            since = time.time() - 3.0
            fault(way, seconds)
            counts, took_s = whole(way, since, max(seconds, PATIENCE_S))
            yield {"stored": len(counts), "lost": lost(counts), "whole_again_s": took_s} | way.seen


def kept(name: str, seconds: float, more: dict[str, float] | None = None) -> list[dict[str, float]]:
    """What was found of a fault of such a length so far; `more` is written to it first."""
    for folder in (RESULTS, CACHE):
        folder.mkdir(exist_ok=True)
    path, key = RESULTS / "collecting_faults.json", f"{name}, {seconds:g} s"
    with (CACHE / "collecting_faults.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = json.loads(path.read_text()) if path.exists() else {}
        if more is not None:
            found.setdefault(key, []).append(more)
            path.write_text(json.dumps(found, indent=1) + "\n")
    return list(found.get(key, []))


def main() -> None:
    """Try each fault, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    print(f"{'':30}{'times':>6}{'stored':>8}{'lost':>10}{'whole again after s':>21}")
    for name, (kind, fault) in FAULTS.items():
        if asked.only not in name:
            continue
        if fault in (cut, disk) and os.getuid() != 0:
            print(f"{name:30} skipped: only root makes network namespaces and mounts")
            continue
        if fault in (AHEAD, BEHIND) and not Path(FAKETIME).exists():
            print(f"{name:30} skipped: there is no libfaketime")
            continue
        left = asked.times - len(kept(name, asked.seconds))
        for told in tried(kind, fault, asked.seconds, left) if left > 0 else ():
            kept(name, asked.seconds, told)
        runs = kept(name, asked.seconds)
        again = [run["whole_again_s"] for run in runs]
        if any("skew_s" in run for run in runs):
            print(f"{'':30}skew told: {', '.join(format(run['skew_s'], '.1f') for run in runs)} s", flush=True)
        missing = "/".join(str(round(run["lost"])) for run in runs)
        spread = f"{min(again):.1f} to {max(again):.1f}"
        print(f"{name:30}{len(runs):6}{sum(run['stored'] for run in runs):8}{missing:>10}{spread:>21}", flush=True)


if __name__ == "__main__":
    main()
