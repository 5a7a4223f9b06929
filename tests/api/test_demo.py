"""The demo as a newcomer runs it: start, paste both lines, Ctrl-C, start again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ENDS_WITH = "Ctrl-C ends the demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@contextmanager
def demo(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The demo in a process of its own, once it has said everything; what it said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TWIN_")}
    environment |= {"TWIN_DATA_DIR": str(folder), "TWIN_PORT": str(port), "COLUMNS": "200"}
    command = [sys.executable, "-m", "api.cli.main", "demo"]
    said = ""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            assert run.stdout is not None
            while ENDS_WITH not in said:
                line = run.stdout.readline()
                assert line, f"the demo ended early:\n{said}"
                said += line
            yield said, run
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(60)


def pasted(said: str, verb: str) -> Any:
    """What the shell answers to the line that the demo printed for a verb."""
    line = next(line for line in said.splitlines() if line.startswith("curl") and f"/{verb} " in line)
    answer = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    return json.loads(answer.stdout)


def twins(said: str) -> list[str]:
    url = re.search(r"http://127\.0\.0\.1:\d+", said)
    key = re.search(r"Bearer (\S+)'", said)
    assert url is not None
    assert key is not None
    headers = {"Authorization": f"Bearer {key[1]}"}
    answer = httpx.get(f"{url[0]}/v1/plants/quadruple-tank/twins", headers=headers)
    return [twin["twin"] for twin in answer.json()["items"]]


def test_the_demo_trains_answers_pasted_lines_and_finds_everything_again(folder: Path) -> None:
    with demo(folder) as (said, run):
        predicted = pasted(said, "predict")
        assert len(predicted["times"]) == 60
        assert predicted["scenarios"][0]["moves"]["pump_1"][-1] == 3.5
        assert predicted["scenarios"][0]["change"]["level_1"][-1] > 0  # more flow, a higher level
        time.sleep(2.5)
        planned = pasted(said, "optimize")
        assert planned["status"] in ("optimal", "feasible", "relaxed")
        assert planned["at"] > predicted["at"]  # telemetry flows
        first = twins(said)
        assert len(first) == 1
    assert run.returncode == 0
    assert "Traceback" not in said
    with demo(folder) as (again, run):
        assert twins(again) == first
        assert pasted(again, "predict")["twin"] == first[0]
    assert run.returncode == 0
