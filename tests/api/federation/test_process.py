"""Flower's process, played by scripts that break off."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from api.federation import process
from api.federation.process import Flower
from twin.errors import FederationError

ORPHAN = """
import os, subprocess, sys
quiet = subprocess.DEVNULL
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=quiet, stdout=quiet)
open(sys.argv[0] + ".pid", "w").write(str(child.pid))
sys.stdin.buffer.read(4)
os._exit(1)
"""


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked at in /proc")
def test_what_a_broken_process_started_does_not_stay(tmp_path: Path) -> None:
    script = tmp_path / "hub.py"
    script.write_text(ORPHAN)
    flower = Flower(Path(sys.executable), str(script), tmp_path, {})
    with pytest.raises(FederationError, match="ended"):
        flower.read()
    pid = int(script.with_name("hub.py.pid").read_text())
    try:
        flower.close()
        until = time.monotonic() + 5
        while alive(pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert not alive(pid)
    finally:
        if alive(pid):
            os.kill(pid, 9)


def test_a_process_that_does_not_take_its_first_frame_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, started = tmp_path / "hub.py", list[subprocess.Popen[bytes]]()
    script.write_text("")
    popen = subprocess.Popen

    def start(*words: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*words, **more))
        return started[-1]

    monkeypatch.setattr(process.subprocess, "Popen", start)
    with pytest.raises(FederationError, match="ended"):
        Flower(Path(sys.executable), str(script), tmp_path, {"more": "x" * 1_000_000})
    assert started[0].returncode == 0
